//! Stage: ways around the filter that show by the form of a request, whatever address it goes to.
//!
//! So far that is DNS over HTTPS (RFC 8484): a browser that looks names up elsewhere is told of other ways to a site,
//! QUIC among them, and of keys that hide where it goes. Well-known services are on a list; this finds the others.

use data_encoding::BASE64URL_NOPAD;
use wardgate_core::{CERTAIN, CategoryName, Evidence, Finding, Report, RequestHead, Stage, TextKind};

/// The category of what is found.
const DNS_OVER_HTTPS: &str = "dns-over-https";
/// What findings name in place of a list of the policy.
const SOURCE: &str = "dns-messages";
/// Media types of DNS messages in requests: RFC 8484, RFC 9230, and the drafts before the first.
const MEDIA_TYPES: [&str; 3] =
    ["application/dns-message", "application/oblivious-dns-message", "application/dns-udpwireformat"];
/// The header of a DNS message (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// So much of a message in an address is looked at, in characters of base64url: the header and the longest question.
const MAX_LOOKED_AT: usize = 372;

/// The stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Avoidance;

impl Stage for Avoidance {
    fn name(&self) -> &'static str {
        "avoidance"
    }

    fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
        let Some(entry) = media_type(head).or_else(|| parameter(head)) else { return };
        report.findings.push(Finding {
            stage: self.name(),
            category: CategoryName::new(DNS_OVER_HTTPS),
            kind: TextKind::Address,
            score: CERTAIN,
            evidence: Evidence::Entry { list: SOURCE.into(), entry: entry.into() },
        });
    }
}

/// The media type, where it is one of DNS messages.
fn media_type(head: &RequestHead<'_>) -> Option<&'static str> {
    let essence = head.content_type?.split(';').next()?.trim();
    MEDIA_TYPES.into_iter().find(|known| essence.eq_ignore_ascii_case(known))
}

/// The parameter of the address that holds a DNS message, where one does (RFC 8484, section 4.1.1).
fn parameter(head: &RequestHead<'_>) -> Option<&'static str> {
    let query = head.target.query().filter(|query| query.contains("dns="))?;
    let values = query.split('&').filter_map(|pair| pair.strip_prefix("dns="));
    values.into_iter().any(holds_question).then_some("dns=")
}

/// Whether a value is base64url of a DNS query with one question.
fn holds_question(value: &str) -> bool {
    let value = value.trim_end_matches('=').as_bytes();
    // A group of four characters is three bytes: what is cut at a group decodes by itself.
    let looked_at = if value.len() > MAX_LOOKED_AT { &value[..MAX_LOOKED_AT] } else { value };
    BASE64URL_NOPAD.decode(looked_at).is_ok_and(|message| is_query(&message))
}

/// Whether bytes are a DNS query: no answer, one question, and a name that ends, with its type and class behind it.
fn is_query(message: &[u8]) -> bool {
    const RESPONSE: u8 = 0x80;
    let Some((header, mut question)) = message.split_at_checked(HEADER) else { return false };
    if header[2] & RESPONSE != 0 || header[4..8] != [0, 1, 0, 0] {
        return false;
    }
    while let Some((&length, rest)) = question.split_first() {
        match rest.get(usize::from(length)..) {
            _ if length == 0 => return rest.len() >= 4,
            Some(behind) if length < 64 => question = behind,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use wardgate_core::Target;

    use super::*;

    /// The queries of RFC 8484, section 4.1.1.
    const SHORT: &str = "AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB";
    const LONG: &str = "AAABAAABAAAAAAAAAWE-NjJjaGFyYWN0ZXJsYWJlbC1tYWtlcy1iYXNlNjR1cmwtZGlzdGluY3QtZnJvbS1zdGFuZGFyZC1iYXNlNjQHZXhhbXBsZQNjb20AAAEAAQ";

    fn found(method: &str, url: &str, content_type: Option<&str>) -> Option<String> {
        let target = Target::parse(url).unwrap();
        let mut report = Report::default();
        Avoidance.request(&RequestHead { method, target: &target, content_type }, &mut report);
        let finding = report.findings.pop()?;
        assert_eq!((finding.category.as_str(), finding.kind), (DNS_OVER_HTTPS, TextKind::Address));
        let Evidence::Entry { list, entry } = finding.evidence else { return None };
        Some(format!("{list} {entry}"))
    }

    #[test]
    fn look_ups_are_found_wherever_they_go() {
        let padded = format!("{SHORT}{}", "A".repeat(20_000));
        for (name, url, content_type, expected) in [
            ("a GET", format!("https://a.example/dns-query?dns={SHORT}"), None, Some("dns-messages dns=")),
            (
                "another path",
                format!("https://a.example/x/y?a=b&dns={LONG}"),
                None,
                Some("dns-messages dns="),
            ),
            ("padding signs", format!("https://a.example/?dns={SHORT}=="), None, Some("dns-messages dns=")),
            ("a long message", format!("https://a.example/?dns={padded}"), None, Some("dns-messages dns=")),
            (
                "a POST",
                "https://a.example/q".to_owned(),
                Some("application/dns-message"),
                Some("dns-messages application/dns-message"),
            ),
            (
                "capitals and parameters",
                "https://a.example/".to_owned(),
                Some("Application/DNS-Message; x=y"),
                Some("dns-messages application/dns-message"),
            ),
            (
                "through a relay",
                "https://a.example/".to_owned(),
                Some("application/oblivious-dns-message"),
                Some("dns-messages application/oblivious-dns-message"),
            ),
            ("a page about DNS", "https://a.example/dns-query".to_owned(), None, None),
            ("an address of a server", "https://a.example/?dns=8.8.8.8".to_owned(), None, None),
            ("a word", "https://a.example/?dns=example-com".to_owned(), None, None),
            ("nothing", "https://a.example/?dns=".to_owned(), None, None),
            ("zeros", format!("https://a.example/?dns={}", "A".repeat(64)), None, None),
            (
                "an answer",
                format!("https://a.example/?dns={}", SHORT.replacen("AAAB", "AACB", 1)),
                None,
                None,
            ),
            ("a name that does not end", format!("https://a.example/?dns={}", &SHORT[..32]), None, None),
            ("another parameter", format!("https://a.example/?xdns={SHORT}"), None, None),
            ("a form", "https://a.example/".to_owned(), Some("application/x-www-form-urlencoded"), None),
        ] {
            assert_eq!(found("GET", &url, content_type).as_deref(), expected, "{name}");
        }
    }
}
