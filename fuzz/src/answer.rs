//! What passes the check of an origin's answers is read alike by another parser (httparse, which hyper uses): interim
//! answers, one final answer with its body, and nothing behind it; however it arrives in pieces.
//!
//! Input: a line that says what was asked (`GET`, `HEAD` or `UPGRADE`), and the bytes of the origin.

use http::{HeaderName, HeaderValue, StatusCode};
use httparse::Status;
use wardgate_proxy::fuzzing::{Asked, receive_answer};

use crate::{chunked, pieces};

/// The most fields that the check lets pass.
const MAX_FIELDS: usize = 256;

/// Checks one answer.
pub fn check(data: &[u8]) {
    let Some((asked, data)) = parts(data) else { return };
    let whole = receive_answer(asked, [data]);
    for pieces in pieces::of_bytes(data) {
        let cut = receive_answer(asked, pieces);
        assert_eq!(cut.is_broken, whole.is_broken, "{cut:?}\n{whole:?}");
        // A read that ends in an error takes the sound bytes before the error with it.
        let common = if whole.is_broken { cut.bytes.len().min(whole.bytes.len()) } else { usize::MAX };
        assert!(cut.bytes.iter().take(common).eq(whole.bytes.iter().take(common)), "{cut:?}\n{whole:?}");
    }
    read_again(asked, &whole.bytes);
}

fn parts(data: &[u8]) -> Option<(Asked, &[u8])> {
    let (line, rest) = data.split_at_checked(data.iter().position(|byte| *byte == b'\n')? + 1)?;
    let asked = match line {
        b"GET\n" => Asked::Get,
        b"HEAD\n" => Asked::Head,
        b"UPGRADE\n" => Asked::Upgrade,
        _ => return None,
    };
    Some((asked, rest))
}

/// Reads what passed with another parser.
fn read_again(asked: Asked, mut rest: &[u8]) {
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(Status::Complete(length)) = head.parse(rest) else {
            panic!("httparse reads another head in {:?}", String::from_utf8_lossy(rest))
        };
        let status = is_sound(&head);
        rest = &rest[length..];
        if status == 101 {
            assert_eq!(asked, Asked::Upgrade, "a switch of protocols that nobody asked for");
            return;
        }
        if status >= 200 {
            let body = body_length(asked, status, &head, rest);
            assert_eq!(body, rest.len(), "bytes passed behind the answer");
            return;
        }
    }
}

/// What hyper makes of a head that httparse has read; returns the status.
fn is_sound(head: &httparse::Response<'_, '_>) -> u16 {
    let status = head.code.unwrap_or_default();
    StatusCode::from_u16(status).expect("a status");
    for field in head.headers.iter() {
        HeaderName::from_bytes(field.name.as_bytes()).expect("a field's name");
        HeaderValue::from_bytes(field.value).expect("a field's value");
    }
    status
}

/// How many of these bytes are the body (RFC 9112, section 6.3), as far as it has arrived.
fn body_length(asked: Asked, status: u16, head: &httparse::Response<'_, '_>, bytes: &[u8]) -> usize {
    if asked == Asked::Head || matches!(status, 204 | 304) {
        return 0;
    }
    let values = |name: &'static str| {
        head.headers
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    };
    if let Some(coding) = values("transfer-encoding").next() {
        assert!(
            coding.eq_ignore_ascii_case(b"chunked") && values("content-length").next().is_none(),
            "{head:?}"
        );
        return chunked::length(bytes);
    }
    let lengths = values("content-length").flat_map(|value| value.split(|byte| *byte == b','));
    let lengths: Vec<u64> = lengths
        .map(|value| std::str::from_utf8(value.trim_ascii()).unwrap_or_default().parse().expect("a length"))
        .collect();
    let Some(length) = lengths.first() else { return bytes.len() };
    assert!(lengths.iter().all(|other| other == length), "{head:?}");
    usize::try_from(*length).unwrap_or(usize::MAX).min(bytes.len())
}
