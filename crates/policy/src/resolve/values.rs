//! Values that TOML has no type for: sizes, durations, hosts, ranges of addresses, scores.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use wardgate_core::{Diagnostic, Host};

use crate::hosts::Hosts;
use crate::raw::Text;
use crate::source::Source;

/// The most decoded text that may be held for one page.
const MAX_HOLD_BYTES: u64 = 4 << 20;
/// The longest time for which "continue" may be good.
const MAX_WARN_FOR: Duration = Duration::from_secs(24 * 3600);
/// The highest limit that makes sense on the scale of [`wardgate_core::CERTAIN`].
const MAX_SCORE: f32 = 10_000.0;

/// Parses `64 KiB`.
pub(crate) fn size(source: Source<'_>, text: &Text, problems: &mut Vec<Diagnostic>) -> Option<usize> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("B", 1)];
    let bytes = with_unit(text.get_ref(), &units).filter(|bytes| *bytes <= MAX_HOLD_BYTES);
    if bytes.is_none() {
        let message = format!("`{}` is not a size up to {} MiB", text.get_ref(), MAX_HOLD_BYTES >> 20);
        problems.push(source.error(text.span(), message).help("write it like `64 KiB`"));
    }
    bytes.and_then(|bytes| usize::try_from(bytes).ok())
}

/// Parses `30 min`.
pub(crate) fn duration(source: Source<'_>, text: &Text, problems: &mut Vec<Diagnostic>) -> Option<Duration> {
    let units = [("s", 1), ("min", 60), ("m", 60), ("h", 3600)];
    let parsed = with_unit(text.get_ref(), &units).map(Duration::from_secs);
    let duration = parsed.filter(|duration| *duration <= MAX_WARN_FOR);
    if duration.is_none() {
        let message = format!("`{}` is not a duration up to 24 h", text.get_ref());
        problems.push(source.error(text.span(), message).help("write it like `30 min`"));
    }
    duration
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// Checks a score at which something counts.
pub(crate) fn score(source: Source<'_>, score: &Spanned<f32>, problems: &mut Vec<Diagnostic>) -> Option<f32> {
    let value = *score.get_ref();
    let sound = value > 0.0 && value <= MAX_SCORE;
    if !sound {
        let message = format!("a score is more than 0 and at most {MAX_SCORE}");
        problems.push(source.error(score.span(), message));
    }
    sound.then_some(value)
}

/// Labels under which a country's registry sells names: `co.uk` belongs to nobody.
const REGISTRY_LABELS: [&str; 9] = ["ac", "co", "com", "gov", "ltd", "net", "org", "plc", "sch"];

/// Which hosts may be named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breadth {
    /// Any, a whole top-level domain such as `zip` too.
    Any,
    /// Nothing as wide as a top-level domain or a registry's: what is named is always allowed, or never looked at.
    Narrow,
    /// Any, and the host alone without its subdomains.
    Exact,
}

/// The widest ranges of addresses that may be named where nothing as wide as a registry may.
const WIDEST_IPV4: u8 = 8;
const WIDEST_IPV6: u8 = 20;

/// Parses a host, which stands for its subdomains too, or a range of addresses.
pub(crate) fn hosts(
    source: Source<'_>,
    text: &Text,
    breadth: Breadth,
    problems: &mut Vec<Diagnostic>,
) -> Option<Hosts> {
    if text.get_ref().parse::<IpNet>().is_err() {
        return host(source, text, breadth, problems).map(Hosts::One);
    }
    let range = range(source, text, problems)?;
    let widest = if range.addr().is_ipv4() { WIDEST_IPV4 } else { WIDEST_IPV6 };
    if breadth == Breadth::Narrow && range.prefix_len() < widest {
        let message = format!("`{range}` is a large part of all addresses");
        problems.push(source.error(text.span(), message).help("name the hosts that are meant"));
        return None;
    }
    Some(Hosts::Range(range))
}

/// Parses a host, which stands for its subdomains too.
pub(crate) fn host(
    source: Source<'_>,
    text: &Text,
    breadth: Breadth,
    problems: &mut Vec<Diagnostic>,
) -> Option<Host> {
    let written = text.get_ref().as_str();
    let mut complain = |message: String, help: String| {
        problems.push(source.error(text.span(), message).help(help));
        None
    };
    if let Ok(address) = written.parse::<IpAddr>() {
        return Some(Host::Address(address.to_canonical()));
    }
    if breadth == Breadth::Exact && written.starts_with(['*', '.']) {
        return complain(format!("`{written}` is not a host"), "write each host by itself".to_owned());
    }
    if let Some(bare) = written.strip_prefix("*.").or_else(|| written.strip_prefix('.')) {
        return complain(
            format!("`{written}` is not a host"),
            format!("write `{bare}`: its subdomains are meant too"),
        );
    }
    match Host::parse(written) {
        Ok(Host::Name(name)) if breadth == Breadth::Narrow && is_registry(&name) => complain(
            format!("`{written}` is a whole registry of names"),
            "name the hosts that are meant".to_owned(),
        ),
        Ok(Host::Name(name)) if name.contains('*') => complain(
            format!("`{written}` is not a host"),
            "an asterisk stands for nothing here: name each host itself".to_owned(),
        ),
        Ok(host) => Some(host),
        Err(_) => complain(
            format!("`{written}` is not a host"),
            "write a host alone, without scheme, port and path, such as `example.com`".to_owned(),
        ),
    }
}

/// Whether anybody can buy a name directly below this one: `zip`, `co.uk`.
fn is_registry(name: &str) -> bool {
    match name.split_once('.') {
        None => true,
        Some((label, country)) => country.len() == 2 && REGISTRY_LABELS.contains(&label),
    }
}

/// Parses `10.2.0.0/16`, or a single address.
pub(crate) fn range(source: Source<'_>, text: &Text, problems: &mut Vec<Diagnostic>) -> Option<IpNet> {
    let written = text.get_ref();
    let range = written.parse().or_else(|_| written.parse::<IpAddr>().map(IpNet::from));
    let Ok(range) = range else {
        let message = format!("`{written}` is not a range of addresses");
        problems.push(source.error(text.span(), message).help("write it like `10.2.0.0/16` or `10.2.3.4`"));
        return None;
    };
    if range.trunc() != range {
        let message = format!("`{written}` names an address inside the range");
        let help = format!("did you mean `{}`, or `{}`?", range.trunc(), range.addr());
        problems.push(source.error(text.span(), message).help(help));
    }
    Some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_units() {
        let units = [("s", 1), ("min", 60)];
        for (text, expected) in [
            ("30 min", Some(1800)),
            ("30min", Some(1800)),
            ("5 s", Some(5)),
            ("5", None),
            ("min", None),
            ("-5 s", None),
            ("5 h", None),
            ("1.5 min", None),
            ("18446744073709551615 min", None),
        ] {
            assert_eq!(with_unit(text, &units), expected, "{text}");
        }
    }
}
