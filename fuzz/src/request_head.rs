//! What passes the check of HTTP/1 framing is read alike by another parser (httparse, which hyper uses), to the same
//! borders between messages, and however it arrives in pieces. Input: the bytes of a connection.

use http::{HeaderName, HeaderValue, Method, Uri};
use httparse::Status;
use wardgate_proxy::fuzzing::{Received, receive};

use crate::{chunked, pieces};

/// The most fields that the check lets pass.
const MAX_FIELDS: usize = 128;

/// Checks one connection.
pub fn check(data: &[u8]) {
    let whole = receive([data]);
    for pieces in pieces::of_bytes(data) {
        let cut = receive(pieces);
        assert_eq!(
            (cut.requests, cut.refused, cut.opaque_behind),
            (whole.requests, whole.refused, whole.opaque_behind)
        );
        assert_eq!(cut.is_broken, whole.is_broken);
        // A read that ends in an error takes the sound bytes before the error with it.
        let common = if whole.is_broken { cut.passed.len().min(whole.passed.len()) } else { usize::MAX };
        assert!(cut.passed.iter().take(common).eq(whole.passed.iter().take(common)), "{cut:?}\n{whole:?}");
    }
    read_again(&whole);
}

/// Reads what passed with another parser.
fn read_again(received: &Received) {
    let mut rest = &received.passed[..];
    let mut number = 0;
    while !rest.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut head = httparse::Request::new(&mut fields);
        let Ok(Status::Complete(length)) = head.parse(rest) else {
            panic!("httparse reads another head in {:?}", String::from_utf8_lossy(rest))
        };
        is_sound(&head);
        number += 1;
        let body = &rest[length..];
        if received.opaque_behind == Some(number - 1) {
            assert!(is_opaque(&head), "{head:?} is followed by requests");
            break;
        }
        rest = &body[body_length(&head, body)..];
    }
    assert_eq!(number, received.requests, "another number of requests");
}

/// What hyper makes of a head that httparse has read.
fn is_sound(head: &httparse::Request<'_, '_>) {
    Method::from_bytes(head.method.unwrap_or_default().as_bytes()).expect("a method");
    Uri::try_from(head.path.unwrap_or_default()).expect("a target");
    for field in head.headers.iter() {
        HeaderName::from_bytes(field.name.as_bytes()).expect("a field's name");
        HeaderValue::from_bytes(field.value).expect("a field's value");
    }
    assert!(values(head, "host").count() <= 1, "{head:?}");
}

fn is_opaque(head: &httparse::Request<'_, '_>) -> bool {
    let is_upgrade = || values(head, "upgrade").count() == 1 && values(head, "connection").count() > 0;
    head.method == Some("CONNECT") || (head.method == Some("GET") && is_upgrade())
}

fn values<'h>(head: &'h httparse::Request<'_, '_>, name: &str) -> impl Iterator<Item = &'h [u8]> {
    head.headers.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
}

/// How many of these bytes are the body that the head announces (RFC 9112, section 6.3), as far as it has arrived.
fn body_length(head: &httparse::Request<'_, '_>, bytes: &[u8]) -> usize {
    let lengths: Vec<&[u8]> = values(head, "content-length").collect();
    let codings: Vec<&[u8]> = values(head, "transfer-encoding").collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => 0,
        ([length], []) => {
            let length: u64 = std::str::from_utf8(length).unwrap().parse().expect("a length");
            usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len())
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => chunked::length(bytes),
        other => panic!("two answers to where the body ends: {other:?}"),
    }
}
