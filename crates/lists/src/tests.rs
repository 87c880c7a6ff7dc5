//! Which target is on which list, and what is wrong with which list.

use std::path::Path;

use wardgate_core::{
    CERTAIN, CategoryName, Evidence, Report, RequestHead, Severity, Stage, Target, TextKind,
};

use super::{ListSource, Lists};

fn compile(texts: &[(&str, &str)]) -> Lists {
    let categories: Vec<CategoryName> = texts.iter().map(|(name, _)| CategoryName::from(*name)).collect();
    let sources: Vec<ListSource<'_>> = texts
        .iter()
        .zip(&categories)
        .map(|((name, text), category)| ListSource { name, category, path: Path::new(name), text })
        .collect();
    Lists::compile(&sources).expect("the lists compile").0
}

fn entries(lists: &Lists, url: &str) -> Vec<String> {
    let target = Target::parse(url).expect("a target");
    lists.lookup(&target).into_iter().map(|found| format!("{} {}", found.list, found.entry)).collect()
}

const GAMES: &str = "\u{feff}# Games\r\n\r\nexample.com\r\n  Games.Example.ORG.  # a comment\r\nexample.net/bad\r\n\
    example.net/a/b/c/\r\nbücher.example\r\n192.0.2.7\r\n[2001:DB8::1]\r\nxn--n3h.example/%7Eme\r\n\
    www.only.example\r\nt.co\r\n";

#[test]
fn what_is_listed() {
    let lists = compile(&[("games", GAMES)]);
    for (name, url, expected) in [
        ("the domain", "https://example.com/", Some("example.com")),
        ("http as well", "http://example.com/", Some("example.com")),
        ("case", "https://EXAMPLE.com/", Some("example.com")),
        ("a path", "https://example.com/a/b?c", Some("example.com")),
        ("a subdomain", "https://www.example.com/", Some("example.com")),
        ("a deep subdomain", "https://a.b.c.d.example.com/", Some("example.com")),
        ("no suffix", "https://notexample.com/", None),
        ("no prefix", "https://example.com.evil.example/", None),
        ("the parent is free", "https://example.org/", None),
        ("a sister is free", "https://chess.example.org/", None),
        ("a trailing dot", "https://games.example.org./", Some("games.example.org")),
        ("any port", "https://example.com:8443/", Some("example.com")),
        ("path", "https://example.net/bad", Some("example.net/bad")),
        ("below a path", "https://example.net/bad/worse", Some("example.net/bad")),
        ("path with a query", "https://example.net/bad?x", Some("example.net/bad")),
        ("path with a slash", "https://example.net/bad/", Some("example.net/bad")),
        ("path on a subdomain", "https://www.example.net/bad", Some("example.net/bad")),
        ("path spelled otherwise", "https://example.net/x/../%62ad", Some("example.net/bad")),
        ("a longer name", "https://example.net/badger", None),
        ("path with an escaped slash", "https://example.net/%2Fbad", Some("example.net/bad")),
        ("path with empty segments", "https://example.net//bad//worse", Some("example.net/bad")),
        ("path behind escaped dots", "https://example.net/x%2F..%5Cbad", Some("example.net/bad")),
        ("path with a backslash", "https://example.net/x\\..\\bad", Some("example.net/bad")),
        ("another path", "https://example.net/good", None),
        ("a path's case matters", "https://example.net/BAD", None),
        ("deeper path", "https://example.net/a/b/c/d", Some("example.net/a/b/c")),
        ("half a path", "https://example.net/a/b", None),
        ("the root beside a path", "https://example.net/", None),
        ("international", "https://bücher.example/", Some("xn--bcher-kva.example")),
        ("international, encoded", "https://www.xn--bcher-kva.example/", Some("xn--bcher-kva.example")),
        ("encoded path", "https://xn--n3h.example/~me/x", Some("xn--n3h.example/~me")),
        ("address", "http://192.0.2.7/", Some("192.0.2.7")),
        ("address in hex", "http://0xC0.0.2.7:8080/", Some("192.0.2.7")),
        ("mapped address", "http://[::ffff:192.0.2.7]/", Some("192.0.2.7")),
        ("another address", "http://192.0.2.70/", None),
        ("the end of an address", "http://1.192.0.2/", None),
        ("IPv6", "http://[2001:db8:0::1]/", Some("[2001:db8::1]")),
        ("www is a host like any other", "https://only.example/", None),
        ("short names", "https://t.co/abc", Some("t.co")),
    ] {
        let expected: Vec<String> = expected.iter().map(|entry| format!("games {entry}")).collect();
        assert_eq!(entries(&lists, url), expected, "{name}");
    }
    let deep = format!("https://example.net/bad{}", "/x".repeat(5000));
    assert_eq!(entries(&lists, &deep), ["games example.net/bad"], "however deep the path");
}

#[test]
fn several_lists() {
    let lists = compile(&[
        ("games", "example.com\nexample.com/chess # covered, and more specific\n"),
        ("social", "chat.example.com"),
        ("video", "example.com/chess/tv"),
    ]);
    assert_eq!(lists.len(), 4);
    assert_eq!(
        entries(&lists, "https://chat.example.com/chess/tv"),
        ["social chat.example.com", "video example.com/chess/tv", "games example.com/chess"],
        "each list once, by its most specific entry"
    );
    assert!(entries(&lists, "https://example.net/").is_empty());
}

#[test]
fn findings() {
    let lists = compile(&[("games", "example.com")]);
    let target = Target::parse("https://www.example.com/").unwrap();
    let mut report = Report::default();
    lists.request(&RequestHead { method: "GET", target: &target, content_type: None }, &mut report);
    let [finding] = report.findings.as_slice() else { panic!("one finding") };
    assert_eq!((finding.stage, finding.kind, finding.score), ("lists", TextKind::Address, CERTAIN));
    assert_eq!(finding.category.as_str(), "games");
    assert_eq!(finding.evidence, Evidence::Entry { list: "games".into(), entry: "example.com".into() });
    assert!(lists.inspector(TextKind::Page).is_none());
}

#[test]
fn lists_that_are_wrong() {
    let category = CategoryName::from("games");
    for (name, text, expected) in [
        (
            "empty",
            "# nothing\n\n",
            "games.txt: error: the list `games` is empty\n  help: add an entry, or remove the list from the policy",
        ),
        (
            "scheme",
            "a.example\nhttps://b.example/x\n",
            "games.txt:2:1: error: `https://b.example/x` has a scheme\n  help: write `b.example/x`: lists hold for http \
             and https alike",
        ),
        (
            "wildcard",
            "  *.b.example",
            "games.txt:1:3: error: `*.b.example` has a wildcard\n  help: write `b.example`: it covers its subdomains",
        ),
        (
            "wildcard in the middle",
            "ads.*.b.example",
            "games.txt:1:1: error: `ads.*.b.example` has a wildcard\n  help: write the domain: it covers its subdomains",
        ),
        (
            "wildcard in full width",
            "\u{ff0a}.b.example",
            "games.txt:1:1: error: `\u{ff0a}.b.example` has a wildcard\n  help: write the domain: it covers its \
             subdomains",
        ),
        (
            "hosts file",
            "0.0.0.0 b.example",
            "games.txt:1:1: error: `0.0.0.0 b.example` holds a space\n  help: write one entry a line",
        ),
        (
            "query",
            "b.example/?x",
            "games.txt:1:1: error: `b.example/?x` has a query or fragment\n  help: write the host and the path only",
        ),
        (
            "port",
            "b.example:8080/x",
            "games.txt:1:1: error: `b.example:8080/x` has a port\n  help: leave it out: lists hold for every port",
        ),
        (
            "user",
            "me@b.example",
            "games.txt:1:1: error: `me@b.example` has a user name\n  help: write the host and the path only",
        ),
        (
            "no host",
            "b..example",
            "games.txt:1:1: error: `b..example` is no host\n  help: write a domain such as `example.com`, with a path \
             if need be",
        ),
        (
            "top-level domain",
            "com",
            "games.txt:1:1: error: `com` is a whole top-level domain\n  help: write a domain, such as `example.com`",
        ),
        (
            "registry",
            "co.uk",
            "games.txt:1:1: error: `co.uk` is a whole registry\n  help: write a domain, such as `example.co.uk`",
        ),
        (
            "duplicate",
            "b.example\nB.example.",
            "games.txt:2:1: warning: `b.example` is needless: it also stands on line 1\n  help: remove the line",
        ),
        (
            "covered by a parent",
            "www.b.example\nb.example",
            "games.txt:1:1: warning: `www.b.example` is needless: `b.example` on line 2 covers it\n  help: remove the \
             line",
        ),
        (
            "covered by a host",
            "b.example\na.b.example/x",
            "games.txt:2:1: warning: `a.b.example/x` is needless: `b.example` on line 1 covers it\n  help: remove the \
             line",
        ),
        (
            "covered by a path",
            "b.example/x\nb.example/x/y",
            "games.txt:2:1: warning: `b.example/x/y` is needless: `b.example/x` on line 1 covers it\n  help: remove the \
             line",
        ),
    ] {
        let path = Path::new("games.txt");
        let shown = match Lists::compile(&[ListSource { name: "games", category: &category, path, text }]) {
            Ok((_, warnings)) => {
                assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning), "{name}");
                warnings
            }
            Err(diagnostics) => diagnostics,
        };
        let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
        assert_eq!(shown, [expected], "{name}");
    }
}

#[test]
fn many_warnings_are_counted() {
    let category = CategoryName::from("games");
    let text = "b.example\n".repeat(100);
    let source = ListSource { name: "games", category: &category, path: Path::new("g"), text: &text };
    let (_, warnings) = Lists::compile(&[source]).unwrap();
    assert_eq!(warnings.len(), 21);
    assert_eq!(warnings[20].message, "79 more entries are needless");
}
