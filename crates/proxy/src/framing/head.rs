//! The head of a message: where it ends, whether it can be read in only one way, and what follows it (RFC 9112,
//! sections 2.2, 3, 5 and 6.3).

use memchr::memchr;

use super::bodies::Body;
use super::{State, Violation};

/// The most header fields of a message. As many as hyper reads without setting up room for more with every message;
/// Apache stops there too, HAProxy one further on.
pub(crate) const MAX_FIELDS: usize = 100;
/// The longest body: what still fits into a signed number, as other programs count.
const MAX_LENGTH: u64 = i64::MAX as u64;

pub(super) const fn bad(reason: &'static str) -> Violation {
    Violation { status: 400, reason }
}

/// Finds the end of a head, line by line from `searched` (always the start of a line); a line feed without a
/// carriage return is a violation at once, so that it cannot make anybody wait.
pub(super) fn find_head(raw: &[u8], searched: &mut usize, limit: usize) -> Result<Option<usize>, Violation> {
    const TOO_LARGE: Violation = Violation { status: 431, reason: "the head is too large" };
    while let Some(length) = memchr(b'\n', &raw[*searched..]) {
        let line_end = *searched + length;
        // First, as it would be if the bytes had come one by one: what is behind the limit is not looked at.
        if line_end + 1 > limit {
            return Err(TOO_LARGE);
        }
        if length == 0 || raw[line_end - 1] != b'\r' {
            return Err(bad("a line of the head does not end in CR LF"));
        }
        *searched = line_end + 1;
        if length == 1 {
            return Ok(Some(line_end + 1));
        }
    }
    if raw.len() > limit { Err(TOO_LARGE) } else { Ok(None) }
}

/// Checks the whole head of a request, its empty line included, and says what follows it.
pub(super) fn check_request(head: &[u8]) -> Result<Passed, Violation> {
    let (line, fields) = split_head(head)?;
    let line = check_request_line(line)?;
    let mut seen = Fields::default();
    for_each_field(fields, |name, value| {
        seen.count += 1;
        if seen.count > MAX_FIELDS {
            return Err(Violation { status: 431, reason: "there are too many header fields" });
        }
        seen.add(name, value)
    })?;
    Ok(Passed { next: seen.next_state(&line)?, server_wide: line.server_wide })
}

/// What the head of a sound request says.
pub(super) struct Passed {
    /// What follows it.
    pub(super) next: State,
    /// It is an OPTIONS about a whole server, in absolute form.
    pub(super) server_wide: bool,
}

/// The first line of a head, and the lines of its fields.
pub(super) fn split_head(head: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let text = &head[..head.len() - 2];
    let end = memchr(b'\n', text).ok_or(bad("the first line is empty"))?;
    Ok((&text[..end - 1], &text[end + 1..]))
}

/// Calls `each` with the name and the value of every field, once these can be read in only one way.
pub(super) fn for_each_field<'a>(
    mut lines: &'a [u8],
    mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), Violation>,
) -> Result<(), Violation> {
    while !lines.is_empty() {
        let end = memchr(b'\n', lines).ok_or(bad("a field line does not end"))?;
        let (name, value) = check_field(&lines[..end - 1])?;
        each(name, value)?;
        lines = &lines[end + 1..];
    }
    Ok(())
}

fn check_field(line: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    if line.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
        return Err(bad("a header field is folded over lines"));
    }
    // What ends the name must be the colon, and names are short: one look at each byte.
    let end = line.iter().position(|byte| !is_token(*byte)).unwrap_or(line.len());
    let (name, [b':', value @ ..]) = line.split_at(end) else {
        return Err(bad(match memchr(b':', line) {
            Some(_) => "a header field's name is malformed",
            None => "a header field has no colon",
        }));
    };
    if name.is_empty() {
        return Err(bad("a header field's name is malformed"));
    }
    if holds_control(value) {
        return Err(bad("a header field's value holds a control character"));
    }
    Ok((name, value.trim_ascii()))
}

/// Reads a Content-Length.
pub(super) fn parse_length(value: &[u8]) -> Result<u64, Violation> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|text| text.parse().ok());
    length
        .filter(|length| *length <= MAX_LENGTH)
        .ok_or(bad("the Content-Length is not a number that can be served"))
}

struct RequestLine {
    connect: bool,
    get: bool,
    http_1_1: bool,
    server_wide: bool,
}

fn check_request_line(line: &[u8]) -> Result<RequestLine, Violation> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad("the request line is not a method, a target and a version"));
    };
    if method.is_empty() || !method.iter().copied().all(is_token) {
        return Err(bad("the method is not a token"));
    }
    if target.is_empty() || target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f || *byte == b'#') {
        return Err(bad("the target holds a character that must be encoded"));
    }
    if http::Uri::try_from(target).is_err() {
        return Err(bad("the target cannot be understood"));
    }
    let http_1_1 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            return Err(Violation { status: 505, reason: "only HTTP/1.0 and HTTP/1.1 are spoken here" });
        }
        _ => return Err(bad("the HTTP version is malformed")),
    };
    Ok(RequestLine {
        connect: method == b"CONNECT",
        get: method == b"GET",
        http_1_1,
        server_wide: method == b"OPTIONS" && is_server_wide(target),
    })
}

/// Whether a target in absolute form has neither path nor query (RFC 9112, section 3.2.4).
fn is_server_wide(target: &[u8]) -> bool {
    let authority = target.iter().position(|byte| *byte == b':').and_then(|colon| target.get(colon + 3..));
    target.first() != Some(&b'/')
        && authority.is_some_and(|rest| !rest.iter().any(|byte| matches!(byte, b'/' | b'?')))
}

/// Whether a Host field names a host, with a port or without (RFC 9112, section 3.2). What else may stand in a
/// name, the service decides; what could end a name for one reader and not for another has no place in it.
fn is_host(value: &[u8]) -> bool {
    let literal = value.starts_with(b"[").then(|| memchr(b']', value)).flatten().map_or(0, |end| end + 1);
    let (name, port) = match memchr(b':', &value[literal..]) {
        Some(colon) => (&value[..literal + colon], &value[literal + colon + 1..]),
        None => (value, &[][..]),
    };
    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+;=".contains(byte);
    let in_literal = |byte: &u8| byte.is_ascii_alphanumeric() || b".:%-_~".contains(byte);
    let sound = match literal {
        0 => name.iter().all(in_name),
        end => name.len() == end && end > 2 && name[1..end - 1].iter().all(in_literal),
    };
    !name.is_empty() && sound && port.iter().all(u8::is_ascii_digit)
}

/// The fields of a head that say where the message ends.
#[derive(Default)]
struct Fields {
    count: usize,
    hosts: u32,
    length: Option<u64>,
    chunked: bool,
    upgrade: Upgrade,
    connection_upgrade: bool,
}

/// What the `Upgrade` fields of a head ask for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Upgrade {
    #[default]
    Nothing,
    /// One protocol that is served.
    One,
    /// HTTP/2 in clear, or several at once: the field is ignored, as RFC 9110, section 7.8, allows.
    Ignored,
}

impl Fields {
    fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), Violation> {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.hosts += 1;
                if !is_host(value) {
                    return Err(bad("the Host is not a host"));
                }
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => self.add_length(value)?,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => self.add_coding(value)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => {
                let single = !value.is_empty() && value.iter().all(|byte| is_token(*byte) || *byte == b'/');
                let served = single && !value.eq_ignore_ascii_case(b"h2c");
                self.upgrade = match self.upgrade {
                    Upgrade::Nothing if served => Upgrade::One,
                    _ => Upgrade::Ignored,
                };
            }
            10 if name.eq_ignore_ascii_case(b"connection") => {
                let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
                self.connection_upgrade |= options.any(|option| option.eq_ignore_ascii_case(b"upgrade"));
            }
            _ => {}
        }
        Ok(())
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Violation> {
        match self.length.replace(parse_length(value)?) {
            None => Ok(()),
            Some(_) => Err(bad("there is more than one Content-Length")),
        }
    }

    fn add_coding(&mut self, value: &[u8]) -> Result<(), Violation> {
        if self.chunked {
            return Err(bad("there is more than one Transfer-Encoding"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            let names_chunked = value.to_ascii_lowercase().windows(7).any(|window| window == b"chunked");
            return Err(if names_chunked || value.is_empty() || !value.iter().copied().all(is_token) {
                bad("the Transfer-Encoding is not understood")
            } else {
                Violation { status: 501, reason: "the only Transfer-Encoding served is chunked" }
            });
        }
        self.chunked = true;
        Ok(())
    }

    fn next_state(&self, line: &RequestLine) -> Result<State, Violation> {
        if self.hosts > 1 {
            return Err(bad("the request has more than one Host"));
        }
        if self.hosts == 0 && line.http_1_1 {
            return Err(bad("the request has no Host"));
        }
        if self.chunked && self.length.is_some() {
            return Err(bad("there is both a Transfer-Encoding and a Content-Length"));
        }
        if self.chunked && !line.http_1_1 {
            return Err(bad("HTTP/1.0 has no Transfer-Encoding"));
        }
        let has_body = self.chunked || self.length.is_some_and(|length| length > 0);
        if line.connect {
            return if has_body { Err(bad("CONNECT has no body")) } else { Ok(State::Opaque) };
        }
        if line.get && line.http_1_1 && self.upgrade == Upgrade::One && self.connection_upgrade && !has_body {
            return Ok(State::Opaque);
        }
        Ok(match self.length {
            _ if self.chunked => State::Body(Body::chunked()),
            Some(length) if length > 0 => State::Body(Body::Length(length)),
            _ => State::Head,
        })
    }
}

/// Whether a control character other than a tab stands in a value. Looks at every byte: without a way out early it
/// is done many bytes at a time.
pub(super) fn holds_control(value: &[u8]) -> bool {
    value.iter().fold(false, |found, byte| found | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f))
}

/// RFC 9110, section 5.6.2.
pub(super) fn is_token(byte: u8) -> bool {
    const TOKENS: [bool; 256] = tokens();
    TOKENS[byte as usize]
}

const fn tokens() -> [bool; 256] {
    const MARKS: &[u8] = b"!#$%&'*+-.^_`|~";
    let mut tokens = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        tokens[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut mark = 0;
    while mark < MARKS.len() {
        tokens[MARKS[mark] as usize] = true;
        mark += 1;
    }
    tokens
}
