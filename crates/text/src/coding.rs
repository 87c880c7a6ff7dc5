//! Content codings: which we decode, and how `Accept-Encoding` is narrowed to them.

use std::borrow::Cow;

/// Most codings stacked on one body. More than one is rare, more than three is an attack.
pub(crate) const MAX_CODINGS: usize = 3;

/// A content coding that we decode (RFC 9110, section 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// The names that we know, in the order in which they are offered in place of `*`.
const CODINGS: [(&str, Coding); 5] = [
    ("gzip", Coding::Gzip),
    ("x-gzip", Coding::Gzip),
    ("br", Coding::Brotli),
    ("zstd", Coding::Zstd),
    ("deflate", Coding::Deflate),
];

impl Coding {
    fn parse(name: &str) -> Option<Self> {
        CODINGS.iter().find(|(known, _)| name.eq_ignore_ascii_case(known)).map(|(_, coding)| *coding)
    }
}

/// Parses `Content-Encoding`: the codings in the order in which they come off, or nothing where one of them is
/// unknown or there are too many.
pub(crate) fn parse_content_encoding(value: Option<&str>) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for name in value.unwrap_or_default().split(',').map(str::trim).rev() {
        if name.is_empty() || name.eq_ignore_ascii_case("identity") {
            continue;
        }
        if codings.len() == MAX_CODINGS {
            return None;
        }
        codings.push(Coding::parse(name)?);
    }
    Some(codings)
}

/// What to ask the origin for: the client's `Accept-Encoding` narrowed to the codings that we decode. Weights are
/// kept, `*` becomes the codings that the client did not name, and `identity` is asked for where nothing is left.
///
/// A client that sent no such field accepts anything (RFC 9110, section 12.5.3), yet most such clients decode
/// nothing. The answer for them is `identity`, so that the origin does not choose a coding that one of us cannot
/// read.
pub fn narrow_accept_encoding(client: Option<&str>) -> Cow<'_, str> {
    let Some(client) = client else { return Cow::Borrowed(IDENTITY) };
    let items = || client.split(',').map(str::trim).filter(|item| !item.is_empty());
    if items().next().is_some() && items().all(|item| is_readable(coding_name(item))) {
        return Cow::Borrowed(client);
    }
    let mut narrowed = Vec::new();
    for item in items() {
        match coding_name(item) {
            "*" => narrowed.extend(unnamed_codings(client, item.strip_prefix('*').unwrap_or_default())),
            name if is_readable(name) => narrowed.push(item.to_owned()),
            _ => {}
        }
    }
    if narrowed.is_empty() { Cow::Borrowed(IDENTITY) } else { Cow::Owned(narrowed.join(", ")) }
}

const IDENTITY: &str = "identity";

/// The coding of `gzip;q=0.5`.
fn coding_name(item: &str) -> &str {
    item.split(';').next().unwrap_or_default().trim()
}

fn is_readable(name: &str) -> bool {
    name.eq_ignore_ascii_case(IDENTITY) || Coding::parse(name).is_some()
}

/// What `*` with this weight stands for: the codings that the client did not name.
fn unnamed_codings<'a>(client: &'a str, weight: &'a str) -> impl Iterator<Item = String> + 'a {
    let named = |name: &str| client.split(',').any(|item| coding_name(item).eq_ignore_ascii_case(name));
    CODINGS
        .iter()
        .map(|(name, _)| *name)
        .filter(move |name| !name.starts_with("x-") && !named(name))
        .map(move |name| format!("{name}{weight}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_codings() {
        for (name, client, expected) in [
            ("a browser", Some("gzip, deflate, br, zstd"), "gzip, deflate, br, zstd"),
            ("weights", Some("br;q=0.9, gzip;q=0.5"), "br;q=0.9, gzip;q=0.5"),
            ("unknown ones", Some("gzip, dcb, compress, br"), "gzip, br"),
            ("only unknown ones", Some("compress, sdch"), "identity"),
            ("anything", Some("*"), "gzip, br, zstd, deflate"),
            ("anything else, weighted", Some("gzip, *;q=0.1"), "gzip, br;q=0.1, zstd;q=0.1, deflate;q=0.1"),
            ("nothing else", Some("gzip, *;q=0"), "gzip, br;q=0, zstd;q=0, deflate;q=0"),
            ("no identity", Some("identity;q=0, gzip"), "identity;q=0, gzip"),
            ("capitals", Some("GZIP"), "GZIP"),
            ("empty", Some(""), "identity"),
            ("empty items", Some(" , ,"), "identity"),
            ("absent", None, "identity"),
        ] {
            assert_eq!(narrow_accept_encoding(client), expected, "{name}");
        }
    }

    #[test]
    fn content_codings() {
        for (name, value, expected) in [
            ("absent", None, Some(vec![])),
            ("identity", Some("identity"), Some(vec![])),
            ("one", Some("x-GZIP"), Some(vec![Coding::Gzip])),
            ("last applied comes off first", Some("gzip, br"), Some(vec![Coding::Brotli, Coding::Gzip])),
            ("empty items", Some(",zstd, "), Some(vec![Coding::Zstd])),
            ("unknown", Some("gzip, sdch"), None),
            ("too many", Some("gzip, gzip, gzip, gzip"), None),
        ] {
            assert_eq!(parse_content_encoding(value), expected, "{name}");
        }
    }
}
