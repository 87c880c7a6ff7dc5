//! Media types: which bodies are text, how their words are found, and which of them never end.

/// How the words of a body are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// HTML and XHTML.
    Html,
    /// Other XML.
    Xml,
    /// One JSON text.
    Json,
    /// JSON texts, one a line.
    JsonLines,
    /// Server-sent events.
    Events,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data` and its kin.
    Multipart,
    /// As it stands: plain text, scripts, style sheets, queries.
    Plain,
}

/// A parsed value of `Content-Type` (RFC 9110, section 8.3). Lenient, as browsers are.
#[derive(Debug)]
pub(crate) struct MediaType<'a> {
    essence: String,
    parameters: &'a str,
}

impl<'a> MediaType<'a> {
    pub(crate) fn parse(value: &'a str) -> Self {
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        Self { essence: essence.trim().to_ascii_lowercase(), parameters }
    }

    /// The value of a parameter, unquoted.
    pub(crate) fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.parameters;
        while !rest.is_empty() {
            let (parameter, after) = split_parameter(rest);
            rest = after;
            let Some((key, value)) = parameter.split_once('=') else { continue };
            if key.trim().eq_ignore_ascii_case(name) {
                let value = value.trim();
                return Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value));
            }
        }
        None
    }

    /// The format, or nothing where the body is not text.
    pub(crate) fn format(&self) -> Option<Format> {
        let (kind, subtype) = self.essence.split_once('/')?;
        let subtype = subtype.strip_prefix("x-").unwrap_or(subtype);
        Some(match (kind, subtype) {
            ("text", "html") | ("application", "xhtml+xml" | "vnd.wap.xhtml+xml") => Format::Html,
            ("text", "event-stream") => Format::Events,
            ("application" | "text", "json" | "json5" | "json+protobuf") => Format::Json,
            ("application" | "text", "ndjson" | "jsonl" | "jsonlines" | "json-seq" | "stream+json") => {
                Format::JsonLines
            }
            ("application" | "text", "xml") => Format::Xml,
            ("application", "www-form-urlencoded") => Format::Form,
            ("multipart", _) => Format::Multipart,
            ("application", "javascript" | "ecmascript" | "graphql" | "yaml" | "toml" | "sql" | "rtf") => {
                Format::Plain
            }
            (_, subtype) if subtype.ends_with("+json") => Format::Json,
            ("image", "svg+xml") => Format::Xml,
            (_, subtype) if subtype.ends_with("+xml") => Format::Xml,
            ("text", _) => Format::Plain,
            _ => return None,
        })
    }
}

/// Splits at the next semicolon outside quotes.
fn split_parameter(text: &str) -> (&str, &str) {
    let mut quoted = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b';' if !quoted => return (&text[..at], &text[at + 1..]),
            _ => {}
        }
    }
    (text, "")
}

/// Whether a body of this type arrives bit by bit for as long as the page is open, so that it must be scanned as it
/// passes and never held back: event streams, JSON lines, replaced parts, gRPC-Web.
pub fn is_live(content_type: Option<&str>) -> bool {
    let Some(value) = content_type else { return false };
    let media = MediaType::parse(value);
    matches!(media.format(), Some(Format::Events | Format::JsonLines))
        || media.essence == "multipart/x-mixed-replace"
        || media.essence.starts_with("application/grpc")
}

/// How many first bytes tell what a body without `Content-Type` is.
pub(crate) const SNIFFED_BYTES: usize = 512;

/// What a body without `Content-Type` is, from its first [`SNIFFED_BYTES`] (after WHATWG MIME Sniffing, section 7):
/// nothing where they hold bytes that no text has.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    let wide = head.starts_with(&[0xFE, 0xFF]) || head.starts_with(&[0xFF, 0xFE]);
    if !wide && head.iter().copied().any(is_binary) {
        return None;
    }
    let head = head.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(head).trim_ascii_start();
    Some(match head {
        [b'<', b'?', ..] if starts_with_ignore_case(head, b"<?xml") => Format::Xml,
        [b'<', ..] => Format::Html,
        [b'{' | b'[', ..] => Format::Json,
        _ if wide => Format::Html,
        _ => Format::Plain,
    })
}

/// A "binary data byte" of WHATWG MIME Sniffing, section 4.2.
fn is_binary(byte: u8) -> bool {
    matches!(byte, 0x00..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F)
}

fn starts_with_ignore_case(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        for (value, expected) in [
            ("text/html", Some(Format::Html)),
            ("Text/HTML; charset=utf-8", Some(Format::Html)),
            ("application/xhtml+xml", Some(Format::Html)),
            ("application/rss+xml", Some(Format::Xml)),
            ("image/svg+xml", Some(Format::Xml)),
            ("application/json", Some(Format::Json)),
            ("application/problem+json", Some(Format::Json)),
            ("application/json+protobuf", Some(Format::Json)),
            ("application/x-ndjson", Some(Format::JsonLines)),
            ("application/stream+json", Some(Format::JsonLines)),
            ("text/event-stream", Some(Format::Events)),
            ("text/javascript", Some(Format::Plain)),
            ("application/x-javascript", Some(Format::Plain)),
            ("application/x-www-form-urlencoded", Some(Format::Form)),
            ("multipart/form-data; boundary=a", Some(Format::Multipart)),
            ("multipart/x-mixed-replace; boundary=a", Some(Format::Multipart)),
            ("text/x-whatever", Some(Format::Plain)),
            ("image/png", None),
            ("application/octet-stream", None),
            ("application/grpc-web-text", None),
            ("video/mp4", None),
            ("nonsense", None),
            ("", None),
        ] {
            assert_eq!(MediaType::parse(value).format(), expected, "{value}");
        }
    }

    #[test]
    fn parameters() {
        for (value, expected) in [
            ("text/html; charset=utf-8", Some("utf-8")),
            ("text/html;CHARSET=\"utf-8\"", Some("utf-8")),
            ("text/html; a=\"x;charset=no\"; charset = koi8-r", Some("koi8-r")),
            ("text/html; charset", None),
            ("text/html", None),
        ] {
            assert_eq!(MediaType::parse(value).parameter("charset"), expected, "{value}");
        }
    }

    #[test]
    fn live_types() {
        for (value, expected) in [
            (Some("text/event-stream"), true),
            (Some("application/x-ndjson; charset=utf-8"), true),
            (Some("application/stream+json"), true),
            (Some("multipart/x-mixed-replace; boundary=x"), true),
            (Some("application/grpc-web-text"), true),
            (Some("text/html"), false),
            (Some("application/json"), false),
            (None, false),
        ] {
            assert_eq!(is_live(value), expected, "{value:?}");
        }
    }

    #[test]
    fn sniffed() {
        for (name, head, expected) in [
            ("page", &b"  <!DOCTYPE html>"[..], Some(Format::Html)),
            ("XML", b"<?xml version='1.0'?>", Some(Format::Xml)),
            ("JSON", b"\n{\"a\":1}", Some(Format::Json)),
            ("words", b"hello", Some(Format::Plain)),
            ("nothing", b"", Some(Format::Plain)),
            ("wide characters", b"\xFF\xFEh\0i\0", Some(Format::Html)),
            ("image", b"\x89PNG\r\n\x1A\n\0\0", None),
            ("archive", b"PK\x03\x04", None),
            ("program", b"\x7FELF\x02", None),
        ] {
            assert_eq!(sniff(head), expected, "{name}");
        }
    }
}
