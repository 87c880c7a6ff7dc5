//! Fields that mean something to a proxy: those that belong to one hop, the traces that it leaves, and what is asked
//! of it (RFC 9110, sections 6.5, 7.6 and 10.1.1).

use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use http::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, EXPECT, HeaderMap, HeaderName,
    HeaderValue, MAX_FORWARDS, TE, VIA,
};
use http::{Method, Version};

use crate::framing::Violation;

/// Whether a field never goes further, whether or not `Connection` names it.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "http2-settings"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authentication-info"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// The name under which this process appears in `Via`: its own, so that one Wardgate may stand behind another.
static PSEUDONYM: LazyLock<String> =
    LazyLock::new(|| format!("wardgate-{:08x}", RandomState::new().hash_one(std::process::id()) as u32));

/// Removes what was meant for this hop only: the standing list, and whatever `Connection` names. `TE: trailers` is
/// kept, being about the message as a whole.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let wants_trailers = headers
        .get(TE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")));
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
            .filter(|name| !is_end_to_end(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    // Few are there, mostly one: looked for among the names that are.
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(name);
    }
    if wants_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// Fields that a `Connection` field cannot take away: a client that names them wants to confuse somebody.
fn is_end_to_end(name: &HeaderName) -> bool {
    use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HOST, SET_COOKIE};
    [
        HOST,
        CONTENT_LENGTH,
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CACHE_CONTROL,
        COOKIE,
        SET_COOKIE,
        AUTHORIZATION,
        VIA,
    ]
    .contains(name)
}

/// Removes from trailers what must not stand in any: fields about framing, routing, who somebody is, and what a body
/// is. Somebody behind this proxy may merge trailers into the head (RFC 9110, sections 6.5.1 and 6.5.2).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    use http::header::{
        AGE, ALT_SVC, AUTHORIZATION, CACHE_CONTROL, CONTENT_RANGE, DATE, EXPECT, EXPIRES, HOST, LOCATION,
        MAX_FORWARDS, PRAGMA, RANGE, RETRY_AFTER, SET_COOKIE, TRAILER, VARY, WWW_AUTHENTICATE,
    };
    remove_hop_by_hop(trailers);
    for name in [
        AGE,
        ALT_SVC, // it would lead the browser to QUIC, as in a head
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        COOKIE,
        DATE,
        EXPECT,
        EXPIRES,
        HOST,
        LOCATION,
        MAX_FORWARDS,
        PRAGMA,
        RANGE,
        RETRY_AFTER,
        SET_COOKIE,
        TE,
        TRAILER,
        VARY,
        VIA,
        WWW_AUTHENTICATE,
    ] {
        trailers.remove(name);
    }
}

/// Leaves one Content-Length of several that agree; which the framing check, or HTTP/2, has made sure of.
pub(crate) fn join_lengths(headers: &mut HeaderMap) {
    let mut fields = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = fields.next() else { return };
    if fields.next().is_none() && !first.as_bytes().contains(&b',') {
        return;
    }
    let one = first.as_bytes().split(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    if let Ok(one) = HeaderValue::from_bytes(one) {
        headers.insert(CONTENT_LENGTH, one);
    }
}

/// Whether a client wants to be asked for its body; a violation where it expects something else, which nobody here
/// or behind is known to understand (RFC 9110, section 10.1.1).
pub(crate) fn expects_continue(headers: &HeaderMap) -> Result<bool, Violation> {
    let mut fields = headers.get_all(EXPECT).iter();
    match (fields.next(), fields.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if only.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Violation { status: 417, reason: "the only expectation that is met is 100-continue" }),
    }
}

/// How much further an OPTIONS or a TRACE may go (RFC 9110, section 7.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hops {
    /// As far as it likes.
    Any,
    /// To the next hop, told that so many are left.
    Left(u64),
    /// No further: the answer is given here.
    None,
}

impl Hops {
    /// Reads `Max-Forwards` where it means something.
    pub(crate) fn of(method: &Method, headers: &HeaderMap) -> Result<Self, Violation> {
        if !matches!(*method, Method::OPTIONS | Method::TRACE) {
            return Ok(Self::Any);
        }
        let mut fields = headers.get_all(MAX_FORWARDS).iter();
        let (Some(only), None) = (fields.next(), fields.next()) else {
            return if headers.contains_key(MAX_FORWARDS) { Err(MALFORMED_HOPS) } else { Ok(Self::Any) };
        };
        let digits = !only.is_empty() && only.as_bytes().iter().all(u8::is_ascii_digit);
        match only.to_str().ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok()) {
            Some(0) => Ok(Self::None),
            Some(hops) => Ok(Self::Left(hops - 1)),
            None => Err(MALFORMED_HOPS),
        }
    }
}

const MALFORMED_HOPS: Violation = Violation { status: 400, reason: "the Max-Forwards is not a number" };

/// What HTTP/2 forbids in a request's fields and its library lets pass: a value with white space around it (RFC 9113,
/// section 8.2.1).
pub(crate) fn check_http2(headers: &HeaderMap) -> Result<(), Violation> {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded =
        |value: &HeaderValue| is_space(value.as_bytes().first()) || is_space(value.as_bytes().last());
    if headers.values().any(padded) {
        return Err(Violation { status: 400, reason: "a header field's value has white space around it" });
    }
    Ok(())
}

/// The media type of a message as browsers see it: of several fields the last that names one (WHATWG MIME Sniffing,
/// section 4.4 and Fetch, "extract a MIME type"); types that say nothing count as none, so that the bytes are looked at.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let told = headers.get_all(CONTENT_TYPE).iter().filter_map(|value| value.to_str().ok());
    told.flat_map(|value| value.split(',')).map(str::trim).rfind(|value| names_a_type(value))
}

fn names_a_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    let Some((kind, subtype)) = essence.split_once('/') else { return false };
    let is_name = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    is_name(kind)
        && is_name(subtype)
        && !kind.eq_ignore_ascii_case("unknown")
        && !essence.eq_ignore_ascii_case("application/unknown")
}

/// The content codings of a message, over all fields, in the order in which they were applied.
pub(crate) fn codings(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut fields = headers.get_all(CONTENT_ENCODING).iter();
    let first = fields.next()?.to_str().unwrap_or(UNREADABLE);
    let mut codings = Cow::Borrowed(first);
    for field in fields {
        let codings = codings.to_mut();
        codings.push_str(", ");
        codings.push_str(field.to_str().unwrap_or(UNREADABLE));
    }
    Some(codings)
}

/// Stands for a coding that is not even text: nobody decodes it.
const UNREADABLE: &str = "unreadable";

/// Joins the `Cookie` fields that HTTP/2 clients send in crumbs: HTTP/1.1 knows only one (RFC 9113, section 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Adds this proxy to `Via`, with the protocol in which the message was received.
pub(crate) fn add_via(headers: &mut HeaderMap, received: Version) {
    static ENTRIES: LazyLock<[HeaderValue; 3]> = LazyLock::new(|| {
        ["1.0", "1.1", "2"].map(|version| {
            HeaderValue::try_from(format!("{version} {}", *PSEUDONYM))
                .expect("letters, digits, dots and a hyphen")
        })
    });
    let entry = match received {
        Version::HTTP_10 => 0,
        Version::HTTP_2 => 2,
        _ => 1,
    };
    headers.append(VIA, ENTRIES[entry].clone());
}

/// Whether a message has passed through this proxy before.
pub(crate) fn came_from_here(headers: &HeaderMap) -> bool {
    headers
        .get_all(VIA)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|entry| entry.split_whitespace().nth(1) == Some(PSEUDONYM.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_end_to_end_fields_remain() {
        let mut headers = map(&[
            ("connection", "close, x-secret, host"),
            ("x-secret", "1"),
            ("host", "a.example"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic YTpi"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "host", "te"]);
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn media_types_as_browsers_see_them() {
        for (name, fields, expected) in [
            ("one", &["text/html; charset=utf-8"][..], Some("text/html; charset=utf-8")),
            ("the last of several", &["image/png", "text/html"], Some("text/html")),
            ("the last in one field", &["image/png, text/html"], Some("text/html")),
            ("one that says nothing after one that does", &["text/html", "*/*"], Some("text/html")),
            ("unknown", &["unknown/unknown"], None),
            ("application/unknown", &["application/unknown"], None),
            ("anything", &["*/*"], None),
            ("no slash", &["html"], None),
            ("none", &[], None),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(CONTENT_TYPE, HeaderValue::from_static(field));
            }
            assert_eq!(media_type(&headers), expected, "{name}");
        }
    }

    #[test]
    fn codings_over_all_fields() {
        let headers = map(&[("content-encoding", "identity"), ("content-encoding", "gzip")]);
        assert_eq!(codings(&headers).as_deref(), Some("identity, gzip"));
        assert_eq!(codings(&HeaderMap::new()), None);
    }

    #[test]
    fn hops() {
        for (name, method, fields, expected) in [
            ("absent", Method::OPTIONS, &[][..], Ok(Hops::Any)),
            ("the last", Method::TRACE, &["0"], Ok(Hops::None)),
            ("one more", Method::OPTIONS, &["1"], Ok(Hops::Left(0))),
            ("with a sign", Method::OPTIONS, &["+1"], Err(MALFORMED_HOPS)),
            ("twice", Method::OPTIONS, &["1", "1"], Err(MALFORMED_HOPS)),
            ("empty", Method::OPTIONS, &[""], Err(MALFORMED_HOPS)),
            ("of no meaning", Method::GET, &["0", "x"], Ok(Hops::Any)),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(MAX_FORWARDS, HeaderValue::from_static(field));
            }
            assert_eq!(Hops::of(&method, &headers), expected, "{name}");
        }
    }

    #[test]
    fn trailers_lose_what_somebody_could_take_for_the_head() {
        let mut trailers = map(&[
            ("x-sum", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("host", "a.example"),
            ("authorization", "Basic YTpi"),
            ("set-cookie", "a=1"),
            ("alt-svc", "h3=\":443\""),
            ("connection", "close"),
        ]);
        clean_trailers(&mut trailers);
        assert_eq!(trailers, map(&[("x-sum", "1")]));
    }

    #[test]
    fn lengths_that_agree_become_one() {
        for (name, fields, expected) in [
            ("none", &[][..], &[][..]),
            ("one", &[("content-length", "5")], &["5"]),
            ("two", &[("content-length", "5"), ("content-length", "5")], &["5"]),
            ("a list", &[("content-length", "5, 5")], &["5"]),
        ] {
            let mut headers = map(fields);
            join_lengths(&mut headers);
            assert_eq!(headers.get_all(CONTENT_LENGTH).iter().collect::<Vec<_>>(), expected, "{name}");
        }
    }

    #[test]
    fn cookie_crumbs_become_one_field() {
        let mut headers = map(&[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]);
        join_cookies(&mut headers);
        assert_eq!(headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn via_grows_and_shows_loops() {
        let mut headers = map(&[("via", "1.1 other")]);
        assert!(!came_from_here(&headers));
        add_via(&mut headers, Version::HTTP_2);
        assert!(came_from_here(&headers));
        assert_eq!(headers.get_all(VIA).iter().count(), 2);
    }
}
