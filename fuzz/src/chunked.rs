//! Where a chunked body ends, as another parser than ours reads it (httparse).

use httparse::Status;

/// More trailer fields than the check lets pass.
const MAX_TRAILERS: usize = 8 * 1024;

/// How many of these bytes are the body, as far as it has arrived.
pub(crate) fn length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Ok(size) = httparse::parse_chunk_size(&bytes[at..]) else { panic!("another chunk size") };
        let Status::Complete((line, size)) = size else { return bytes.len() };
        at += line;
        if size == 0 {
            return at + trailer_length(&bytes[at..]);
        }
        let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let Some(after) = bytes.get(end..) else { return bytes.len() };
        assert!(b"\r\n".starts_with(&after[..after.len().min(2)]), "another end of a chunk");
        at = (end + 2).min(bytes.len());
    }
}

fn trailer_length(bytes: &[u8]) -> usize {
    let mut fields = vec![httparse::EMPTY_HEADER; MAX_TRAILERS];
    match httparse::parse_headers(bytes, &mut fields).expect("sound trailers") {
        Status::Complete((length, _)) => length,
        Status::Partial => bytes.len(),
    }
}
