//! A canonical target is the same however it is spelled, and stays as it is when read again. Input: an address, as a
//! person types it or as it stands in a request.

use std::net::IpAddr;

use http::Uri;
use wardgate_core::{Host, Scheme, Target};

/// Longest canonical target for each byte of the input: every byte percent-encoded; and its scheme, host and port.
const GROWTH: usize = 3;
const GROWTH_OF_HOST: usize = 300;

/// Checks one address.
pub fn check(data: &[u8]) {
    let Ok(address) = std::str::from_utf8(data) else { return };
    let _ = Target::connect(address);
    if let Ok(target) = Target::parse(address) {
        is_canonical(&target, address.len());
    }
    if let Ok(uri) = Uri::try_from(address)
        && let Some(authority) = uri.authority()
    {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        for scheme in [Scheme::Http, Scheme::Https] {
            let Ok(target) = Target::new(scheme, authority.as_str(), path) else { continue };
            is_canonical(&target, address.len());
        }
    }
}

fn is_canonical(target: &Target, given: usize) {
    let url = target.as_str();
    assert!(url.len() <= GROWTH * given + GROWTH_OF_HOST, "{url} has grown");
    assert_eq!(Target::parse(url).as_ref(), Ok(target), "{url} is another target when read again");
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let again = Target::new(target.scheme(), target.authority(), &format!("{}{query}", target.path()));
    assert_eq!(again.as_ref(), Ok(target), "{url} is another target when put together again");
    path_is_canonical(target.path());
    host_is_canonical(target.host());
    let connect =
        Target::connect(&format!("{}:{}", target.host(), target.port())).expect("a host and a port");
    assert_eq!((connect.host(), connect.port()), (target.host(), target.port()));
}

fn path_is_canonical(path: &str) {
    assert!(path.starts_with('/'), "{path}");
    assert!(!path.contains('?'), "{path}");
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{path} has dot segments");
    for (at, _) in path.match_indices('%') {
        let Some(digits) = path.get(at + 1..at + 3) else { panic!("{path} has a broken escape") };
        let byte = u8::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{path} has a broken escape"));
        assert_eq!(digits, format!("{byte:02X}"), "{path} has an escape in lower case");
        let is_unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        assert!(!is_unreserved, "{path} has a needless escape");
    }
}

fn host_is_canonical(host: &Host) {
    assert_eq!(Host::parse(&host.to_string()).as_ref(), Ok(host), "another host when read again");
    let Some(name) = host.as_name() else { return };
    assert!(name.is_ascii() && name.len() <= 253 && !name.ends_with('.'), "{name}");
    assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase()), "{name}");
    assert!(name.parse::<IpAddr>().is_err(), "{name} is an address");
    for (disguise, spelling) in [
        ("in capitals", name.to_ascii_uppercase()),
        ("with a dot behind it", format!("{name}.")),
        ("in escapes", name.bytes().map(|byte| format!("%{byte:02x}")).collect()),
        ("in full width", name.chars().map(full_width).collect()),
    ] {
        assert_eq!(Host::parse(&spelling).as_ref(), Ok(host), "{name} {disguise}");
    }
    let parents = std::iter::successors(Some(name), |name| name.split_once('.').map(|(_, parent)| parent));
    for parent in parents {
        assert!(host.is_within(parent), "{name} is within {parent}");
    }
}

/// The same character as East Asian texts write it: IDNA folds it back.
fn full_width(c: char) -> char {
    match c {
        'a'..='z' | '0'..='9' => char::from_u32(c as u32 + 0xFEE0).unwrap_or(c),
        _ => c,
    }
}
