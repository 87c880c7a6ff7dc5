//! Stage `search`: the words that a person typed, taken out of the address of a request, and what the body of a
//! request is when it goes to a search engine or an assistant.
//!
//! The module `engines` is the table of search engines and sites with a search box, `assistants` that of chat
//! assistants; both are data, read top to bottom. A request to neither is looked at with one cautious rule for sites that we do
//! not know.

mod address;
mod assistants;
mod engines;

use wardgate_core::{Report, RequestHead, Stage, TextKind, Written};

use crate::address::Address;

/// The stage. Holds nothing: its knowledge is in its tables.
#[derive(Clone, Copy, Debug, Default)]
pub struct Search;

impl Stage for Search {
    fn name(&self) -> &'static str {
        "search"
    }

    fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
        let Some(name) = head.target.host().as_name() else { return };
        if !matches!(head.method, "GET" | "POST") {
            return;
        }
        let address = Address { host: name, path: head.target.path(), query: head.target.query() };
        let engine = engines::engine(&address);
        if let Some((service, text)) = engines::search_words(engine, &address) {
            report.written.push(Written { kind: TextKind::Search, service, text });
        }
        if head.method == "POST" {
            report.body_kind = report.body_kind.or_else(|| body_kind(engine, &address));
        }
    }
}

/// What the body of a POST to this address is, where that is known.
fn body_kind(engine: Option<&engines::Engine>, address: &Address<'_>) -> Option<TextKind> {
    if assistants::is_prompt(address) {
        return Some(TextKind::Prompt);
    }
    engine.filter(|engine| engine.is_search_path(address.path)).map(|_| TextKind::Search)
}

#[cfg(test)]
mod tests {
    use wardgate_core::Target;

    use super::*;

    fn report(method: &str, url: &str) -> Report {
        let target = Target::parse(url).unwrap();
        let mut report = Report::default();
        Search.request(&RequestHead { method, target: &target, content_type: None }, &mut report);
        report
    }

    #[test]
    fn searches() {
        for (url, service, words) in [
            ("https://www.google.com/search?q=how+to+tie+a%20knot&hl=en", "google", "how to tie a knot"),
            ("https://www.google.co.uk/search?tbm=isch&q=cats", "google", "cats"),
            ("https://www.google.com.au/search?udm=2&q=%E7%8C%AB", "google", "\u{732b}"),
            ("https://google.de/search?q=a%26b", "google", "a&b"),
            ("https://images.google.com/images?q=cats", "google", "cats"),
            ("https://news.google.com/search?q=cats", "google", "cats"),
            ("https://scholar.google.com/scholar?q=cats", "google", "cats"),
            ("https://cse.google.com/cse?cx=1&q=cats", "google", "cats"),
            ("https://www.google.com/maps/search/bridges+near+me/@1,2", "google", "bridges near me"),
            ("https://play.google.com/store/search?q=vpn&c=apps", "google-play", "vpn"),
            ("https://www.bing.com/search?form=X&q=cats", "bing", "cats"),
            ("https://www.bing.com/images/search?q=cats", "bing", "cats"),
            ("https://cn.bing.com/videos/search?q=cats", "bing", "cats"),
            ("https://duckduckgo.com/?q=cats&ia=web", "duckduckgo", "cats"),
            ("https://html.duckduckgo.com/html/?q=cats", "duckduckgo", "cats"),
            ("https://lite.duckduckgo.com/lite/?q=cats", "duckduckgo", "cats"),
            ("https://uk.search.yahoo.com/search?p=cats", "yahoo", "cats"),
            ("https://search.yahoo.com/search;_ylt=A0?p=cats", "yahoo", "cats"),
            ("https://images.search.yahoo.com/search/images?p=cats", "yahoo", "cats"),
            ("https://search.yahoo.co.jp/search?p=cats", "yahoo", "cats"),
            ("https://www.ecosia.org/search?q=cats", "ecosia", "cats"),
            ("https://www.ecosia.org/images?q=cats", "ecosia", "cats"),
            ("https://search.brave.com/search?q=cats&source=web", "brave", "cats"),
            ("https://www.qwant.com/?q=cats&t=web", "qwant", "cats"),
            ("https://api.qwant.com/v3/search/web?q=cats", "qwant", "cats"),
            ("https://www.startpage.com/sp/search?query=cats", "startpage", "cats"),
            ("https://yandex.ru/search/?text=cats", "yandex", "cats"),
            ("https://yandex.com.tr/images/search?text=cats", "yandex", "cats"),
            ("https://ya.ru/search/?text=cats", "yandex", "cats"),
            ("https://www.baidu.com/s?wd=cats", "baidu", "cats"),
            ("https://m.baidu.com/s?wd=&word=cats", "baidu", "cats"),
            ("https://search.aol.com/aol/search?q=cats", "aol", "cats"),
            ("https://www.ask.com/web?q=cats", "ask", "cats"),
            ("https://swisscows.com/en/web?query=cats", "swisscows", "cats"),
            ("https://www.mojeek.com/search?q=cats", "mojeek", "cats"),
            ("https://www.perplexity.ai/search?q=cats", "perplexity", "cats"),
            ("https://www.youtube.com/results?search_query=funny+cats", "youtube", "funny cats"),
            ("https://m.youtube.com/results?search_query=cats", "youtube", "cats"),
            ("https://music.youtube.com/search?q=cats", "youtube", "cats"),
            ("https://en.wikipedia.org/w/index.php?search=cats&title=Special:Search", "wikipedia", "cats"),
            ("https://en.m.wikipedia.org/wiki/Special:Search?search=cats", "wikipedia", "cats"),
            (
                "https://www.wikipedia.org/search-redirect.php?family=wikipedia&search=cats",
                "wikipedia",
                "cats",
            ),
            (
                "https://de.wikipedia.org/w/api.php?action=query&list=search&srsearch=cats",
                "wikipedia",
                "cats",
            ),
            ("https://commons.wikimedia.org/w/index.php?search=cats", "wikimedia", "cats"),
            ("https://www.reddit.com/search/?q=cats", "reddit", "cats"),
            ("https://old.reddit.com/r/aww/search?q=cats", "reddit", "cats"),
            ("https://www.tiktok.com/search?q=cats", "tiktok", "cats"),
            ("https://www.tiktok.com/api/search/general/full/?aid=1&keyword=cats", "tiktok", "cats"),
            ("https://www.instagram.com/explore/search/keyword/?q=cats", "instagram", "cats"),
            ("https://www.instagram.com/explore/tags/cats/", "instagram", "cats"),
            ("https://x.com/search?q=cats&src=typed_query", "x", "cats"),
            (
                "https://x.com/i/api/graphql/a1/SearchTimeline?variables=%7B%22rawQuery%22%3A%22cats%22%2C%22count%22%3A20%7D",
                "x",
                "cats",
            ),
            ("https://twitter.com/hashtag/cats", "x", "cats"),
            ("https://uk.pinterest.com/search/pins/?q=cats", "pinterest", "cats"),
            (
                "https://www.pinterest.co.uk/resource/BaseSearchResource/get/?data=%7B%22query%22%3A%22cats%22%7D",
                "pinterest",
                "cats",
            ),
            ("https://www.tumblr.com/search/sad%20cats?src=x", "tumblr", "sad cats"),
            ("https://www.tumblr.com/tagged/sad-cats", "tumblr", "sad cats"),
            ("https://www.amazon.co.uk/s?k=rope&ref=nb", "amazon", "rope"),
            ("https://www.ebay.de/sch/i.html?_nkw=rope", "ebay", "rope"),
            ("https://giphy.com/search/sad-cats", "giphy", "sad cats"),
            ("https://tenor.com/search/sad-cats-gifs", "tenor", "sad cats gifs"),
            ("https://www.urbandictionary.com/define.php?term=cats", "urban-dictionary", "cats"),
            ("https://shop.example/search?q=cats", "site", "cats"),
            ("https://shop.example/de/suche/?query=cats", "site", "cats"),
        ] {
            let written = report("GET", url).written;
            let found: Vec<_> = written.iter().map(|w| (w.kind, w.service, &*w.text)).collect();
            assert_eq!(found, [(TextKind::Search, service, words)], "{url}");
        }
    }

    #[test]
    fn no_searches() {
        for (name, method, url) in [
            ("Google suggests", "GET", "https://www.google.com/complete/search?q=ca&client=chrome"),
            ("Google suggests elsewhere", "GET", "https://suggestqueries.google.com/complete/search?q=ca"),
            ("YouTube suggests", "GET", "https://suggestqueries-clients6.youtube.com/complete/search?q=ca"),
            ("Bing suggests", "GET", "https://www.bing.com/AS/Suggestions?qry=ca&q=ca"),
            ("Bing suggests to a browser", "GET", "https://api.bing.com/osjson.aspx?query=ca"),
            ("DuckDuckGo suggests", "GET", "https://duckduckgo.com/ac/?q=ca"),
            ("Yahoo suggests", "GET", "https://search.yahoo.com/sugg/gossip/gossip-us?p=ca"),
            ("Ecosia suggests", "GET", "https://ac.ecosia.org/autocomplete?q=ca"),
            ("Brave suggests", "GET", "https://search.brave.com/api/suggest?q=ca"),
            ("Qwant suggests", "GET", "https://api.qwant.com/v3/suggest?q=ca"),
            ("Wikipedia suggests", "GET", "https://en.wikipedia.org/w/api.php?action=opensearch&search=ca"),
            ("Wikipedia suggests titles", "GET", "https://en.wikipedia.org/w/rest.php/v1/search/title?q=ca"),
            ("Instagram suggests", "GET", "https://www.instagram.com/web/search/topsearch/?query=ca"),
            ("an engine's front page", "GET", "https://www.google.com/"),
            ("nothing searched", "GET", "https://www.google.com/search?q="),
            ("white space searched", "GET", "https://www.google.com/search?q=++"),
            ("a look-alike", "GET", "https://www.google.com.evil.example/find?q=cats"),
            ("another path", "GET", "https://www.google.com/url?q=https://example.com"),
            ("a video", "GET", "https://www.youtube.com/watch?v=abc&q=cats"),
            ("an article", "GET", "https://en.wikipedia.org/wiki/Cat"),
            ("a product", "GET", "https://www.amazon.co.uk/dp/B000?keywords=rope"),
            ("a method of programs", "PUT", "https://www.google.com/search?q=cats"),
            ("an unknown page", "GET", "https://shop.example/products?q=cats"),
            ("an unknown program", "GET", "https://shop.example/api/search?q=cats"),
            ("an unknown suggestion", "GET", "https://suggest.shop.example/search?q=cats"),
            ("no words", "GET", "https://shop.example/search?q=12345"),
            ("far too many words", "GET", &format!("https://shop.example/search?q={}", "cats+".repeat(100))),
            ("an address", "GET", "http://192.0.2.1/search?q=cats"),
        ] {
            assert!(report(method, url).written.is_empty(), "{name}");
        }
    }

    #[test]
    fn bodies() {
        for (name, method, url, expected) in [
            ("ChatGPT", "POST", "https://chatgpt.com/backend-api/f/conversation", Some(TextKind::Prompt)),
            (
                "ChatGPT without account",
                "POST",
                "https://chatgpt.com/backend-anon/conversation",
                Some(TextKind::Prompt),
            ),
            (
                "Gemini",
                "POST",
                "https://gemini.google.com/_/BardChatUi/data/assistant.lamda.BardFrontendService/StreamGenerate?rt=c",
                Some(TextKind::Prompt),
            ),
            (
                "Gemini for programs",
                "POST",
                "https://generativelanguage.googleapis.com/v1beta/models/x:streamGenerateContent",
                Some(TextKind::Prompt),
            ),
            (
                "Claude",
                "POST",
                "https://claude.ai/api/organizations/a/chat_conversations/b/completion",
                Some(TextKind::Prompt),
            ),
            ("Copilot", "POST", "https://copilot.microsoft.com/c/api/conversations", Some(TextKind::Prompt)),
            (
                "Perplexity",
                "POST",
                "https://www.perplexity.ai/rest/sse/perplexity_ask",
                Some(TextKind::Prompt),
            ),
            ("Grok", "POST", "https://grok.com/rest/app-chat/conversations/new", Some(TextKind::Prompt)),
            ("Meta AI", "POST", "https://www.meta.ai/api/graphql/", Some(TextKind::Prompt)),
            ("Character.AI", "POST", "https://plus.character.ai/chat/streaming/", Some(TextKind::Prompt)),
            ("DeepSeek", "POST", "https://chat.deepseek.com/api/v0/chat/completion", Some(TextKind::Prompt)),
            ("Mistral", "POST", "https://chat.mistral.ai/api/chat", Some(TextKind::Prompt)),
            ("Poe", "POST", "https://poe.com/api/gql_POST", Some(TextKind::Prompt)),
            (
                "DuckDuckGo's assistant",
                "POST",
                "https://duckduckgo.com/duckchat/v1/chat",
                Some(TextKind::Prompt),
            ),
            ("any assistant", "POST", "https://ai.example/v1/chat/completions", Some(TextKind::Prompt)),
            ("DuckDuckGo", "POST", "https://html.duckduckgo.com/html/", Some(TextKind::Search)),
            ("Startpage", "POST", "https://www.startpage.com/sp/search", Some(TextKind::Search)),
            (
                "YouTube within its page",
                "POST",
                "https://www.youtube.com/youtubei/v1/search?prettyPrint=false",
                Some(TextKind::Search),
            ),
            ("YouTube, next video", "POST", "https://www.youtube.com/youtubei/v1/next", None),
            ("an assistant's list", "GET", "https://chatgpt.com/backend-api/conversations", None),
            ("an assistant's statistics", "POST", "https://chatgpt.com/ces/v1/t", None),
            ("a look-alike", "POST", "https://chatgpt.com.example/backend-api/conversation", None),
            ("a form", "POST", "https://forum.example/post", None),
        ] {
            assert_eq!(report(method, url).body_kind, expected, "{name}");
        }
    }

    #[test]
    fn what_another_stage_knew_stays() {
        let target = Target::parse("https://chatgpt.com/backend-api/conversation").unwrap();
        let mut report = Report { body_kind: Some(TextKind::Post), ..Report::default() };
        Search.request(&RequestHead { method: "POST", target: &target, content_type: None }, &mut report);
        assert_eq!(report.body_kind, Some(TextKind::Post));
    }
}
