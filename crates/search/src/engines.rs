//! The search engines and the sites with a search box, and where each of them keeps the words.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

use foldhash::fast::RandomState;
use wardgate_core::domain_above;

use crate::address::{Address, Hosts, Path, parameter, path_words};
use Hosts::{Brand, Exactly, Within};

/// Most bytes of a search that are kept. Search boxes take a few hundred; the rest is somebody's program.
const MAX_SEARCH_BYTES: usize = 2048;

/// Most bytes of what counts as a search on a site that we do not know.
const MAX_UNKNOWN_SEARCH_BYTES: usize = 256;

/// The service of a search on a site that we do not know.
const UNKNOWN_SITE: &str = "site";

/// A site with a search box.
#[derive(Debug)]
pub(crate) struct Engine {
    service: &'static str,
    hosts: Hosts,
    /// Where its searches go. The first whose path fits and whose words are there counts.
    searches: &'static [Place],
}

/// Where searches go, and where in them the words are.
#[derive(Debug)]
struct Place {
    path: Path,
    words: Words,
}

#[derive(Clone, Copy, Debug)]
enum Words {
    /// In this parameter of the query.
    Parameter(&'static str),
    /// In this parameter of the query, which is JSON, under this key.
    JsonParameter(&'static str, &'static str),
    /// In the part of the path that follows.
    NextSegment,
    /// In the body of a POST.
    Body,
}

impl Engine {
    /// Whether searches go to this path.
    pub(crate) fn is_search_path(&self, path: &str) -> bool {
        self.searches.iter().any(|place| place.path.contains(path))
    }
}

/// The engine that this address belongs to: the first of the table.
pub(crate) fn engine(address: &Address<'_>) -> Option<&'static Engine> {
    /// The places of engines in the table, by a label that each of their hosts has.
    static BY_LABEL: LazyLock<HashMap<&str, Vec<usize>, RandomState>> = LazyLock::new(|| {
        let mut places: HashMap<&str, Vec<usize>, RandomState> = HashMap::default();
        for (place, engine) in ENGINES.iter().enumerate() {
            places.entry(engine.hosts.label()).or_default().push(place);
        }
        places
    });
    let names = std::iter::successors(Some(address.host), |name| domain_above(name));
    let labels =
        names.map(|name| &name[..name.len() - domain_above(name).map_or(0, |above| above.len() + 1)]);
    let candidates = labels.filter_map(|label| BY_LABEL.get(label)).flatten();
    let place = candidates.filter(|place| ENGINES[**place].hosts.contain(address.host)).min()?;
    Some(&ENGINES[*place])
}

/// The service and the words of a search, where the address holds one.
pub(crate) fn search_words(
    engine: Option<&Engine>,
    address: &Address<'_>,
) -> Option<(&'static str, Box<str>)> {
    let Some(engine) = engine else { return unknown_search(address).map(|words| (UNKNOWN_SITE, words)) };
    let words = engine
        .searches
        .iter()
        .filter(|place| place.path.contains(address.path))
        .find_map(|place| clean(&place.words(address)?, MAX_SEARCH_BYTES))?;
    Some((engine.service, words))
}

impl Place {
    fn words<'a>(&self, address: &Address<'a>) -> Option<Cow<'a, str>> {
        match (self.words, self.path) {
            (Words::Parameter(name), _) => parameter(address.query, name),
            (Words::JsonParameter(name, key), _) => {
                json_string(&parameter(address.query, name)?, key).map(Cow::Owned)
            }
            (Words::NextSegment, Path::Under(start)) => path_words(address.path, start).map(Cow::Owned),
            (Words::NextSegment | Words::Body, _) => None,
        }
    }
}

/// The string under a key, by its looks: what lies between the quotes that follow.
fn json_string(json: &str, key: &str) -> Option<String> {
    let (_, value) = json.split_once(&format!("\"{key}\":\""))?;
    let mut escaped = false;
    let ends = |c: char| {
        let ends = c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    value.split(ends).next().map(|value| value.replace('\\', ""))
}

/// Trims the words and cuts them to a length; nothing where none are left.
fn clean(words: &str, limit: usize) -> Option<Box<str>> {
    let words = words.trim();
    let words = &words[..words.floor_char_boundary(limit)];
    (!words.is_empty()).then(|| words.into())
}

/// Last parts of paths at which sites keep their search.
const SEARCH_PAGES: [&str; 9] = [
    "search",
    "search.asp",
    "search.aspx",
    "search.html",
    "search.php",
    "searchresults",
    "search-results",
    "suche",
    "recherche",
];

/// Parameters in which sites keep the words, the surest first.
const SEARCH_PARAMETERS: [&str; 8] =
    ["q", "query", "search_query", "searchterm", "search", "keyword", "keywords", "s"];

/// Parts of paths that say that a program is asking, or a person is still typing.
const NO_SEARCH_SEGMENTS: [&str; 9] =
    ["ac", "ajax", "api", "autocomplete", "autosuggest", "complete", "suggest", "suggestions", "typeahead"];

/// A search on a site that we do not know. Cautious: the path must say `search`, and the words must be words.
fn unknown_search(address: &Address<'_>) -> Option<Box<str>> {
    let mut segments = address.path.trim_end_matches('/').rsplit('/');
    let last = segments.next()?.to_ascii_lowercase();
    let is_page = SEARCH_PAGES.contains(&last.as_str())
        && !segments.any(|segment| NO_SEARCH_SEGMENTS.iter().any(|no| segment.eq_ignore_ascii_case(no)));
    let first_label = address.host.split('.').next().unwrap_or_default();
    if !is_page || first_label.contains("suggest") || NO_SEARCH_SEGMENTS.contains(&first_label) {
        return None;
    }
    let words = SEARCH_PARAMETERS.iter().find_map(|name| parameter(address.query, name))?;
    let are_words = words.len() <= MAX_UNKNOWN_SEARCH_BYTES && words.chars().any(char::is_alphabetic);
    clean(&words, MAX_UNKNOWN_SEARCH_BYTES).filter(|_| are_words)
}

const fn site(service: &'static str, hosts: Hosts, searches: &'static [Place]) -> Engine {
    Engine { service, hosts, searches }
}

const fn at(path: &'static str, parameter: &'static str) -> Place {
    Place { path: Path::Exactly(path), words: Words::Parameter(parameter) }
}

const fn under(path: &'static str, parameter: &'static str) -> Place {
    Place { path: Path::Under(path), words: Words::Parameter(parameter) }
}

const fn ending(path: &'static str, parameter: &'static str) -> Place {
    Place { path: Path::Ending(path), words: Words::Parameter(parameter) }
}

const fn json(path: Path, parameter: &'static str, key: &'static str) -> Place {
    Place { path, words: Words::JsonParameter(parameter, key) }
}

const fn next_segment(path: &'static str) -> Place {
    Place { path: Path::Under(path), words: Words::NextSegment }
}

const fn body(path: &'static str) -> Place {
    Place { path: Path::Exactly(path), words: Words::Body }
}

/// Searches in the software of Wikipedia. `opensearch` and `rest.php/v1/search/title` suggest while a person types.
const MEDIA_WIKI: &[Place] = &[
    at("/w/index.php", "search"),
    under("/wiki/", "search"),
    at("/search-redirect.php", "search"),
    at("/w/api.php", "srsearch"),
    at("/w/rest.php/v1/search/page", "q"),
];

/// Every engine that we know; the first whose hosts fit is the one. What an engine suggests while a person is still
/// typing (`/complete/search`, `/AS/Suggestions`, `/ac/`) is no search: one would become twenty. A hashtag is one:
/// on the sites that have them, that is where a search for one leads. The empty path is a site's front page.
const ENGINES: &[Engine] = &[
    // Search engines.
    site("google-play", Exactly("play.google.com"), &[at("/store/search", "q")]),
    site(
        "google",
        Brand("google"),
        &[
            at("/search", "q"),
            at("/webhp", "q"),
            at("/images", "q"),
            at("/imghp", "q"),
            at("/videosearch", "q"),
            at("/shopping", "q"),
            at("/books", "q"),
            at("/scholar", "q"),
            at("/custom", "q"),
            at("/cse", "q"),
            next_segment("/maps/search/"),
            at("/maps", "q"),
        ],
    ),
    site(
        "bing",
        Within("bing.com"),
        &[
            at("/search", "q"),
            at("/images/search", "q"),
            at("/videos/search", "q"),
            at("/news/search", "q"),
            at("/copilotsearch", "q"),
            at("/shop", "q"),
            at("/maps", "q"),
        ],
    ),
    site("duckduckgo", Within("duckduckgo.com"), &[at("", "q"), at("/html", "q"), at("/lite", "q")]),
    site("yahoo", Brand("yahoo"), &[under("/search", "p")]),
    site(
        "ecosia",
        Within("ecosia.org"),
        &[at("/search", "q"), at("/images", "q"), at("/videos", "q"), at("/news", "q")],
    ),
    site(
        "brave",
        Exactly("search.brave.com"),
        &[
            at("/search", "q"),
            at("/images", "q"),
            at("/videos", "q"),
            at("/news", "q"),
            at("/goggles", "q"),
            at("/ask", "q"),
        ],
    ),
    site("qwant", Within("qwant.com"), &[at("", "q"), under("/v3/search/", "q")]),
    site(
        "startpage",
        Within("startpage.com"),
        &[at("/sp/search", "query"), at("/do/search", "query"), at("/do/dsearch", "query")],
    ),
    site(
        "yandex",
        Brand("yandex"),
        &[
            at("/search", "text"),
            at("/search/touch", "text"),
            at("/images/search", "text"),
            at("/images", "text"),
            at("/video/search", "text"),
        ],
    ),
    site("yandex", Exactly("ya.ru"), &[at("/search", "text")]),
    site(
        "baidu",
        Within("baidu.com"),
        &[at("/s", "wd"), at("/s", "word"), at("/search/index", "word"), at("/sf/vsearch", "wd")],
    ),
    site("aol", Within("aol.com"), &[at("/aol/search", "q"), at("/aol/image", "q"), at("/aol/video", "q")]),
    site("ask", Within("ask.com"), &[at("/web", "q"), at("/youtube", "q"), at("/pictures", "q")]),
    site(
        "swisscows",
        Within("swisscows.com"),
        &[
            ending("/web", "query"),
            ending("/images", "query"),
            ending("/video", "query"),
            ending("/news", "query"),
        ],
    ),
    site("mojeek", Within("mojeek.com"), &[at("/search", "q")]),
    site("mojeek", Within("mojeek.co.uk"), &[at("/search", "q")]),
    site("kagi", Within("kagi.com"), &[at("/search", "q"), at("/images", "q"), at("/videos", "q")]),
    site("you", Within("you.com"), &[at("/search", "q")]),
    site("perplexity", Within("perplexity.ai"), &[at("/search", "q"), at("/search/new", "q"), at("", "q")]),
    site("naver", Within("naver.com"), &[at("/search.naver", "query")]),
    site("seznam", Exactly("search.seznam.cz"), &[at("", "q")]),
    site("sogou", Within("sogou.com"), &[at("/web", "query"), at("/pics", "query")]),
    site("metager", Within("metager.org"), &[at("/meta/meta.ger3", "eingabe")]),
    site("dogpile", Within("dogpile.com"), &[at("/serp", "q")]),
    site("lycos", Within("lycos.com"), &[at("/web", "q")]),
    site("kiddle", Within("kiddle.co"), &[at("/s.php", "q")]),
    site("kidzsearch", Within("kidzsearch.com"), &[at("/kzsearch.php", "q")]),
    // Video and sound. YouTube's own pages search with a POST, without a new address.
    site(
        "youtube",
        Within("youtube.com"),
        &[
            at("/results", "search_query"),
            at("/results", "q"),
            at("/search", "q"),
            body("/youtubei/v1/search"),
        ],
    ),
    site("youtube", Exactly("youtubei.googleapis.com"), &[body("/youtubei/v1/search")]),
    site("vimeo", Within("vimeo.com"), &[at("/search", "q")]),
    site("dailymotion", Within("dailymotion.com"), &[next_segment("/search/")]),
    site("twitch", Within("twitch.tv"), &[at("/search", "term")]),
    site("rumble", Within("rumble.com"), &[under("/search/", "q")]),
    site("soundcloud", Within("soundcloud.com"), &[under("/search", "q")]),
    site("spotify", Exactly("open.spotify.com"), &[next_segment("/search/")]),
    site("netflix", Within("netflix.com"), &[at("/search", "q")]),
    // Reference.
    site("wikipedia", Within("wikipedia.org"), MEDIA_WIKI),
    site("wiktionary", Within("wiktionary.org"), MEDIA_WIKI),
    site("wikimedia", Within("wikimedia.org"), MEDIA_WIKI),
    site("wikiquote", Within("wikiquote.org"), MEDIA_WIKI),
    site("wikibooks", Within("wikibooks.org"), MEDIA_WIKI),
    site("wikisource", Within("wikisource.org"), MEDIA_WIKI),
    site("wikinews", Within("wikinews.org"), MEDIA_WIKI),
    site("wikiversity", Within("wikiversity.org"), MEDIA_WIKI),
    site("wikivoyage", Within("wikivoyage.org"), MEDIA_WIKI),
    site("wikidata", Within("wikidata.org"), MEDIA_WIKI),
    site("fandom", Within("fandom.com"), &[under("/wiki/Special:Search", "query")]),
    site("urban-dictionary", Within("urbandictionary.com"), &[at("/define.php", "term")]),
    site("quora", Within("quora.com"), &[at("/search", "q")]),
    site("archive", Exactly("archive.org"), &[at("/search", "query"), at("/search.php", "query")]),
    site("wattpad", Within("wattpad.com"), &[next_segment("/search/")]),
    // Social networks. Instagram's `/web/search/topsearch/` suggests while a person types.
    site("reddit", Within("reddit.com"), &[ending("/search", "q"), ending("/search/", "q")]),
    site(
        "tiktok",
        Within("tiktok.com"),
        &[
            at("/search", "q"),
            at("/search/video", "q"),
            at("/search/user", "q"),
            at("/search/live", "q"),
            at("/api/search/general/full", "keyword"),
            at("/api/search/item/full", "keyword"),
            next_segment("/tag/"),
        ],
    ),
    site(
        "instagram",
        Within("instagram.com"),
        &[at("/explore/search/keyword", "q"), at("/explore/search", "q"), next_segment("/explore/tags/")],
    ),
    site("x", Exactly("x.com"), X),
    site("x", Within("twitter.com"), X),
    site("facebook", Within("facebook.com"), &[under("/search/", "q"), next_segment("/hashtag/")]),
    site("linkedin", Within("linkedin.com"), &[under("/search/results/", "keywords")]),
    site(
        "pinterest",
        Brand("pinterest"),
        &[under("/search/", "q"), json(Path::Exactly("/resource/BaseSearchResource/get"), "data", "query")],
    ),
    site("tumblr", Within("tumblr.com"), &[next_segment("/search/"), next_segment("/tagged/")]),
    site("imgur", Within("imgur.com"), &[under("/search", "q")]),
    site("deviantart", Within("deviantart.com"), &[at("/search", "q")]),
    site("flickr", Within("flickr.com"), &[at("/search", "text")]),
    // Moving pictures for messages.
    site("giphy", Exactly("giphy.com"), &[next_segment("/search/")]),
    site("tenor", Exactly("tenor.com"), &[next_segment("/search/")]),
    // Shops.
    site(
        "amazon",
        Brand("amazon"),
        &[at("/s", "k"), under("/s/", "field-keywords"), at("/s", "field-keywords")],
    ),
    site("ebay", Brand("ebay"), &[under("/sch/", "_nkw")]),
    site("etsy", Within("etsy.com"), &[ending("/search", "q")]),
    site(
        "aliexpress",
        Within("aliexpress.com"),
        &[under("/w/wholesale", "SearchText"), at("/wholesale", "SearchText")],
    ),
    site("temu", Within("temu.com"), &[ending("/search_result.html", "search_key")]),
    site("steam", Exactly("store.steampowered.com"), &[at("/search", "term")]),
    site("roblox", Within("roblox.com"), &[at("/discover", "Keyword"), at("/search/users", "keyword")]),
];

/// X searches within its page through GraphQL.
const X: &[Place] = &[
    at("/search", "q"),
    next_segment("/hashtag/"),
    json(Path::Ending("/SearchTimeline"), "variables", "rawQuery"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_in_json() {
        for (name, json, expected) in [
            ("plain", r#"{"a":1,"query":"two words","b":"c"}"#, Some("two words")),
            ("quotes", r#"{"query":"say \"no\""}"#, Some("say \"no\"")),
            ("other key", r#"{"aquery":"x"}"#, None),
            ("unclosed", r#"{"query":"x"#, Some("x")),
        ] {
            assert_eq!(json_string(json, "query").as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_long_search_is_cut_between_characters() {
        let words = clean(&"ä".repeat(MAX_SEARCH_BYTES), MAX_SEARCH_BYTES + 1).unwrap();
        assert_eq!(words.len(), MAX_SEARCH_BYTES);
    }
}
