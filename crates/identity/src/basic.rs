//! Reads `Proxy-Authorization: Basic …` (RFC 7617).

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::users::is_name;

/// Longest value that is decoded, in bytes; a name and a password of their greatest lengths are well within it.
const MAX_VALUE_BYTES: usize = 1024;

/// Padding is often left out; what it says is known anyway.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name and a password as a client sent them. Has no `Debug`: neither may reach a log.
pub(crate) struct Login {
    pub(crate) name: String,
    pub(crate) password: String,
}

/// The name and password in a header's value; nothing where it is another scheme or cannot be understood.
pub(crate) fn parse(value: &[u8]) -> Option<Login> {
    let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= MAX_VALUE_BYTES)?;
    let (scheme, token) = value.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(BASE64.decode(token.trim_start()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    is_name(name).then(|| Login { name: name.to_owned(), password: password.to_owned() })
}

#[cfg(test)]
pub(crate) fn header(name: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{name}:{password}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &[u8]) -> Option<(String, String)> {
        parse(value).map(|login| (login.name, login.password))
    }

    #[test]
    fn understood() {
        for (name, value, expected) in [
            ("RFC 7617, section 2", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", ("Aladdin", "open sesame")),
            ("RFC 7617, section 2.1", "Basic dGVzdDoxMjPCow==", ("test", "123£")),
            ("no padding", "Basic dGVzdDoxMjPCow", ("test", "123£")),
            ("another case", "bAsIc dGVzdDoxMjPCow==", ("test", "123£")),
            ("more spaces", " Basic   dGVzdDoxMjPCow== ", ("test", "123£")),
            ("colons in the password", &header("a", "b:c:"), ("a", "b:c:")),
            ("no password", &header("a", ""), ("a", "")),
        ] {
            let expected = Some((expected.0.to_owned(), expected.1.to_owned()));
            assert_eq!(read(value.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn not_understood() {
        for (name, value) in [
            ("nothing", &b""[..]),
            ("a scheme alone", b"Basic"),
            ("another scheme", b"Bearer dGVzdDoxMjPCow=="),
            ("not base64", b"Basic dGVz*DoxMjPCow=="),
            ("broken base64", b"Basic dGVzd"),
            ("no colon", b"Basic dGVzdA=="),
            ("no name", b"Basic OnNlc2FtZQ=="),
            ("not UTF-8 inside", b"Basic /zo="),
            ("not UTF-8", b"Basic \xff\xff"),
            ("a control character", header("a\nb", "c").as_bytes()),
            ("too long", header("a", &"b".repeat(1024)).as_bytes()),
        ] {
            assert_eq!(read(value), None, "{name}");
        }
    }
}
