//! What is asked for: scheme, host, port, path and query, canonicalised once so that every later comparison is
//! a plain comparison of bytes.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// Longest host name that DNS can carry (RFC 1035, section 2.3.4), without the trailing dot.
const MAX_HOST_LEN: usize = 253;

/// The scheme of a target. Nothing else is proxied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS; also the scheme of a CONNECT.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port when none is written.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// A canonical host: a lower-case ASCII name without trailing dot, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name: lower case, IDNA-encoded, without a trailing dot.
    Name(Box<str>),
    /// An address literal, however it was spelled (`0x7f.1` is `127.0.0.1`).
    Address(IpAddr),
}

impl Host {
    /// Parses a host as it stands in a URL or a `Host` field, `[::1]` brackets included, and canonicalises it
    /// (WHATWG URL, section 3.5: IDNA, percent-decoding, IPv4 in every spelling).
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let plain = text.strip_suffix('.').unwrap_or(text);
        if is_plain_name(plain) {
            return Self::name(plain.to_ascii_lowercase());
        }
        match url::Host::parse(text).map_err(|_| TargetError::Host)? {
            url::Host::Domain(name) => Self::name(name.strip_suffix('.').map(str::to_owned).unwrap_or(name)),
            url::Host::Ipv4(address) => Ok(Self::Address(IpAddr::V4(address))),
            url::Host::Ipv6(address) => Ok(Self::Address(unmapped(address))),
        }
    }

    /// Whether a text is a canonical name as it stands. A name with an IDNA label may be canonical all the same:
    /// only [`Host::parse`] can tell.
    pub fn is_canonical_name(text: &str) -> bool {
        is_plain_name(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase()) && is_sound_name(text)
    }

    fn name(name: String) -> Result<Self, TargetError> {
        if is_sound_name(&name) { Ok(Self::Name(name.into())) } else { Err(TargetError::Host) }
    }

    /// The name, or nothing where the host is an address.
    pub fn as_name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }

    /// Whether this host is `domain` or one of its subdomains. `domain` must be canonical.
    pub fn is_within(&self, domain: &str) -> bool {
        match self {
            Self::Name(name) => {
                name.strip_suffix(domain).is_some_and(|front| front.is_empty() || front.ends_with('.'))
            }
            Self::Address(address) => domain.parse().is_ok_and(|other: IpAddr| other == *address),
        }
    }
}

impl fmt::Display for Host {
    /// The host as it stands in a URL: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

/// An IPv4 address in IPv6 clothing is the IPv4 address: one host, one spelling.
fn unmapped(address: Ipv6Addr) -> IpAddr {
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), |v4: Ipv4Addr| IpAddr::V4(v4))
}

/// The domain above a name: `example.com` above `www.example.com`, nothing above `com`. Labels are short: they are looked
/// through by hand, which costs a fraction of searching a text for a character.
pub fn domain_above(name: &str) -> Option<&str> {
    name.bytes().position(|byte| byte == b'.').map(|dot| &name[dot + 1..])
}

/// Whether a name's labels are as long as DNS allows.
fn is_sound_name(name: &str) -> bool {
    let mut labels = name.as_bytes().split(|byte| *byte == b'.');
    name.len() <= MAX_HOST_LEN && labels.all(|label| !label.is_empty() && label.len() <= 63)
}

/// Letters, digits, hyphens, underscores and dots, not ending in a label that could be a number: the names that
/// need no IDNA and cannot be an IPv4 address in disguise.
fn is_plain_name(text: &str) -> bool {
    let mut labels = text.as_bytes().split(|byte| *byte == b'.');
    let is_plain = |label: &[u8]| {
        label.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && label.get(2..4).is_none_or(|hyphens| hyphens != b"--")
    };
    let last = labels.clone().next_back().and_then(|label| label.first());
    last.is_some_and(u8::is_ascii_alphabetic) && labels.all(is_plain)
}

/// Why a request's target could not be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The host is empty, too long or not a name or address.
    #[error("the host is not a valid name or address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// CONNECT needs `host:port`.
    #[error("CONNECT needs a host and a port")]
    Authority,
    /// Not `http` or `https`.
    #[error("only http and https addresses are served")]
    Scheme,
    /// User name or password in the address: long a way to deceive, never needed.
    #[error("an address with a user name in it is not served")]
    UserInfo,
    /// The path does not begin with a slash.
    #[error("the path does not begin with a slash")]
    Path,
}

/// The target of a request, canonical: see [`Host::parse`] for the host; in the path, percent-encoded unreserved
/// characters are decoded, other escapes are in upper case, characters that have no place in a path are escaped, a
/// backslash is a slash, and dot segments are resolved (RFC 3986, section 6.2.2; WHATWG URL, section 4.4).
/// The query is kept as sent. The proxy forwards the bytes it received; this form is for comparing and recording.
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(Arc<Parts>);

#[derive(PartialEq, Eq)]
struct Parts {
    scheme: Scheme,
    host: Host,
    port: u16,
    url: Box<str>,
    path_start: u32,
    query_start: u32,
}

impl Target {
    /// Builds a target from a scheme, the authority as sent (`host`, `host:port`, `[v6]:port`) and the path with
    /// query as sent. An empty path counts as `/`.
    pub fn new(scheme: Scheme, authority: &str, path_and_query: &str) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        Self::assemble(scheme, Host::parse(host)?, port.unwrap_or(scheme.default_port()), path_and_query)
    }

    /// The target of a CONNECT: `host:port`, port required (RFC 9110, section 9.3.6).
    pub fn connect(authority: &str) -> Result<Self, TargetError> {
        let (host, port) = split_authority(authority)?;
        Self::assemble(Scheme::Https, Host::parse(host)?, port.ok_or(TargetError::Authority)?, "/")
    }

    /// Parses an absolute URL; a bare `host/path` counts as https. For people's input (`wardgate explain`).
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, rest),
            Some((scheme, _)) if !scheme.contains(['/', '?', '#', '.']) => return Err(TargetError::Scheme),
            _ => (Scheme::Https, url),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let cut = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        if path.starts_with('?') {
            return Self::new(scheme, authority, &format!("/{path}"));
        }
        Self::new(scheme, authority, path)
    }

    fn assemble(scheme: Scheme, host: Host, port: u16, path_and_query: &str) -> Result<Self, TargetError> {
        let (path, query) = match path_and_query.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path_and_query, None),
        };
        if !path.is_empty() && !path.starts_with('/') {
            return Err(TargetError::Path);
        }
        let mut url = String::with_capacity(path_and_query.len() + 48);
        url.push_str(scheme.as_str());
        url.push_str("://");
        match &host {
            Host::Name(name) => url.push_str(name),
            Host::Address(_) => url.push_str(&host.to_string()),
        }
        if port != scheme.default_port() {
            url.push(':');
            url.push_str(&port.to_string());
        }
        let path_start = url.len() as u32;
        push_canonical_path(&mut url, path);
        let query_start = url.len() as u32;
        if let Some(query) = query {
            url.push('?');
            url.push_str(query);
        }
        Ok(Self(Arc::new(Parts { scheme, host, port, url: url.into(), path_start, query_start })))
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.0.scheme
    }

    /// The canonical host.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// The port, the scheme's default where none was written.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The canonical path, beginning with a slash.
    pub fn path(&self) -> &str {
        &self.0.url[self.0.path_start as usize..self.0.query_start as usize]
    }

    /// The path as the most forgiving of servers reads it: every escape decoded, empty and dot segments gone. What
    /// keeps people from a path compares these, so that no spelling leads around it.
    pub fn folded_path(&self) -> Cow<'_, str> {
        let path = self.path();
        if !path.contains('%') && !path.contains("//") {
            return Cow::Borrowed(path);
        }
        let decoded = unescaped(path);
        let mut segments: Vec<&[u8]> = Vec::new();
        for segment in decoded.split(|byte| matches!(byte, b'/' | b'\\')) {
            match segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                _ => segments.push(segment),
            }
        }
        let folded = segments.iter().flat_map(|segment| [b"/", *segment]).collect::<Vec<_>>().concat();
        if folded.is_empty() {
            return Cow::Borrowed("/");
        }
        Cow::Owned(String::from_utf8_lossy(&folded).into_owned())
    }

    /// The query as sent, without the question mark.
    pub fn query(&self) -> Option<&str> {
        self.0.url.get(self.0.query_start as usize + 1..)
    }

    /// The whole canonical URL.
    pub fn as_str(&self) -> &str {
        &self.0.url
    }

    /// `host` or `host:port` as it stands in the URL.
    pub fn authority(&self) -> &str {
        &self.0.url[self.0.scheme.as_str().len() + 3..self.0.path_start as usize]
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.url)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.0.url)
    }
}

fn split_authority(authority: &str) -> Result<(&str, Option<u16>), TargetError> {
    if authority.contains('@') {
        return Err(TargetError::UserInfo);
    }
    let (host, port) = match authority.rfind(']') {
        Some(end) => match &authority[end + 1..] {
            "" => (authority, None),
            rest => (&authority[..=end], Some(rest.strip_prefix(':').ok_or(TargetError::Host)?)),
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err(TargetError::Host);
    }
    let Some(port) = port else { return Ok((host, None)) };
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(number) if digits && number != 0 => Ok((host, Some(number))),
        _ => Err(TargetError::Port),
    }
}

fn push_canonical_path(url: &mut String, path: &str) {
    if path.is_empty() {
        url.push('/');
        return;
    }
    if !path.contains("/.") && path.bytes().all(|byte| byte != b'%' && !is_out_of_place(byte)) {
        url.push_str(path);
        return;
    }
    let start = url.len();
    let decoded = spelled(path);
    for segment in decoded[1..].split('/') {
        match segment {
            "." => {
                url.push('/');
                trim_trailing_slash(url, start);
            }
            ".." => {
                let parent = url[start..].rfind('/').map_or(start, |slash| start + slash);
                url.truncate(parent);
            }
            _ => {
                url.push('/');
                url.push_str(segment);
            }
        }
    }
    let ends_in_dots = matches!(decoded.rsplit('/').next(), Some("." | ".."));
    if url.len() == start || ends_in_dots {
        url.push('/');
    }
}

fn trim_trailing_slash(url: &mut String, start: usize) {
    if url.len() > start && url.ends_with('/') {
        url.pop();
    }
}

/// Whether a byte of a path stands for something else: browsers escape these, and take a backslash for a slash.
fn is_out_of_place(byte: u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// A path in one spelling: `%41` is `A`, other escapes are in upper case, what is out of place is escaped, a percent
/// sign that begins no escape too.
fn spelled(path: &str) -> String {
    let mut rest = path.as_bytes();
    let mut out = String::with_capacity(path.len());
    while let [first, ..] = *rest {
        let (byte, length) = escaped(rest).map_or((first, 1), |byte| (byte, 3));
        match byte {
            b'\\' if length == 1 => out.push('/'),
            byte if length == 1 && byte != b'%' && !is_out_of_place(byte) => out.push(char::from(byte)),
            byte if length == 3 && (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        rest = &rest[length..];
    }
    out
}

/// A path with every escape decoded.
fn unescaped(path: &str) -> Vec<u8> {
    let mut rest = path.as_bytes();
    let mut out = Vec::with_capacity(path.len());
    while let [first, ..] = *rest {
        let (byte, length) = escaped(rest).map_or((first, 1), |byte| (byte, 3));
        out.push(byte);
        rest = &rest[length..];
    }
    out
}

/// The byte that is escaped at the beginning, if one is.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = *bytes else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_targets() {
        for (name, given, expected) in [
            ("plain", "http://Example.COM", "http://example.com/"),
            ("default port", "https://example.com:443/a", "https://example.com/a"),
            ("other port", "https://example.com:8443/a", "https://example.com:8443/a"),
            ("trailing dot", "https://example.com./a", "https://example.com/a"),
            ("dot segments", "https://example.com/a/./b/../c", "https://example.com/a/c"),
            ("dot segments at the end", "https://example.com/a/b/..", "https://example.com/a/"),
            ("above the root", "https://example.com/../../a", "https://example.com/a"),
            ("encoded dots", "https://example.com/a/%2e%2E/b", "https://example.com/b"),
            ("unreserved escapes", "https://example.com/%41%7eb", "https://example.com/A~b"),
            ("reserved escapes", "https://example.com/a%2fb", "https://example.com/a%2Fb"),
            ("broken escapes", "https://example.com/a%zz%4%%34%31", "https://example.com/a%25zz%254%2541"),
            ("letters beyond ASCII", "https://example.com/caf\u{e9}", "https://example.com/caf%C3%A9"),
            ("the same escaped", "https://example.com/caf%c3%a9", "https://example.com/caf%C3%A9"),
            ("out of place", "https://example.com/{a|b}^", "https://example.com/%7Ba%7Cb%7D%5E"),
            ("backslashes", "https://example.com/a\\b\\..\\c", "https://example.com/a/c"),
            ("an escaped percent sign", "https://example.com/%2541", "https://example.com/%2541"),
            ("encoded dots at the end", "https://example.com/a/b/%2e%2E", "https://example.com/a/"),
            ("an encoded dot at the end", "https://example.com/a/%2e", "https://example.com/a/"),
            ("query untouched", "https://example.com/?q=%41", "https://example.com/?q=%41"),
            ("query without path", "https://example.com?q=a", "https://example.com/?q=a"),
            ("fragment dropped", "https://example.com/a#b", "https://example.com/a"),
            ("international name", "https://bücher.example/", "https://xn--bcher-kva.example/"),
            ("percent in host", "https://ex%61mple.com/", "https://example.com/"),
            ("full-width host", "https://ｅxample.com/", "https://example.com/"),
            ("hex address", "http://0x7f.1/", "http://127.0.0.1/"),
            ("decimal address", "http://2130706433/", "http://127.0.0.1/"),
            ("mapped address", "http://[::ffff:127.0.0.1]/", "http://127.0.0.1/"),
            ("IPv6", "http://[2001:DB8::1]:81/", "http://[2001:db8::1]:81/"),
            ("bare host", "example.com/a", "https://example.com/a"),
            ("underscore", "https://a_b.example.com/", "https://a_b.example.com/"),
        ] {
            assert_eq!(Target::parse(given).map(|t| t.to_string()), Ok(expected.to_owned()), "{name}");
        }
    }

    #[test]
    fn folded_paths() {
        for (name, given, expected) in [
            ("plain", "/a/b", "/a/b"),
            ("with a slash at its end", "/a/", "/a/"),
            ("root", "/", "/"),
            ("empty segments", "//a///b//", "/a/b"),
            ("escaped slashes", "/a%2Fb%5cc", "/a/b/c"),
            ("escaped dots between escaped slashes", "/x%2F%2e%2E%2fa", "/a"),
            ("above the root", "/%2F..%2F..%2Fa", "/a"),
            ("everything else", "/a%21%7Bb%20c", "/a!{b c"),
            ("nothing left", "/a/%2F..", "/"),
            ("once and not twice", "/%252Fa", "/%2Fa"),
            ("broken", "/%2", "/%2"),
        ] {
            let target = Target::parse(&format!("https://example.com{given}")).unwrap();
            assert_eq!(target.folded_path(), expected, "{name}");
        }
    }

    #[test]
    fn refused_targets() {
        for (name, given, expected) in [
            ("user name", "https://user@example.com/", TargetError::UserInfo),
            ("no host", "https:///a", TargetError::Host),
            ("empty label", "https://a..b/", TargetError::Host),
            ("port zero", "https://a.example:0/", TargetError::Port),
            ("port too large", "https://a.example:65536/", TargetError::Port),
            ("port with sign", "https://a.example:+80/", TargetError::Port),
            ("ftp", "ftp://a.example/", TargetError::Scheme),
            ("space in host", "https://a b/", TargetError::Host),
            ("long label", &format!("https://{}.example/", "a".repeat(64)), TargetError::Host),
        ] {
            assert_eq!(Target::parse(given).map(|t| t.to_string()), Err(expected), "{name}");
        }
        assert_eq!(Target::connect("example.com").err(), Some(TargetError::Authority));
        assert!(Target::connect("example.com:443").is_ok());
    }

    #[test]
    fn parts() {
        let target = Target::parse("https://www.example.com:8443/a/b?c=d").unwrap();
        assert_eq!(target.path(), "/a/b");
        assert_eq!(target.query(), Some("c=d"));
        assert_eq!(target.authority(), "www.example.com:8443");
        assert!(target.host().is_within("example.com"));
        assert!(!target.host().is_within("ample.com"));
        assert!(Target::parse("http://e.example/").unwrap().query().is_none());
    }
}
