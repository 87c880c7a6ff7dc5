//! A look at a ClientHello gives one verdict, whatever has arrived behind it and however it is spread over records.
//! Input: the first bytes of a tunnel; looked at as they are, and again as the content of handshake records.

use wardgate_tls::{MAX_HELLO, Peek, peek};

use crate::pieces;

/// Most bytes of content that one record may have (RFC 8446, section 5.1).
const MAX_RECORD: usize = 1 << 14;

/// Checks one tunnel's first bytes.
pub fn check(data: &[u8]) {
    is_one_verdict(data);
    let one = record(&data[..data.len().min(MAX_RECORD)]);
    let verdict = is_one_verdict(&one);
    if data.len() <= MAX_RECORD
        && let Peek::Hello(_) = verdict
    {
        for pieces in pieces::of_bytes(data) {
            let many: Vec<u8> = pieces.into_iter().flat_map(record).collect();
            // Records have a cost that is limited; within the limit they make no difference.
            assert!(many.len() > MAX_HELLO || peek(&many) == verdict, "another verdict over several records");
        }
    }
}

fn record(content: &[u8]) -> Vec<u8> {
    [&[22, 3, 1], &(content.len() as u16).to_be_bytes()[..], content].concat()
}

/// Checks that the verdict on the beginning is the verdict on the whole, as soon as there is one.
fn is_one_verdict(bytes: &[u8]) -> Peek {
    let whole = peek(bytes);
    if let Peek::Partial = whole {
        assert!(bytes.len() <= MAX_HELLO, "waits for more than a hello may take");
    }
    if let Peek::Hello(hello) = &whole
        && let Some(name) = &hello.server_name
    {
        assert!(!name.is_empty() && name.len() <= 255, "{name}");
        assert!(!name.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii_graphic()), "{name}");
    }
    let mut end = 0;
    for cut in pieces::cut_at_random(bytes) {
        end += cut.len();
        match peek(&bytes[..end]) {
            Peek::Partial => {}
            settled => {
                assert_eq!(settled, whole, "after {end} bytes of {}", bytes.len());
                break;
            }
        }
    }
    whole
}
