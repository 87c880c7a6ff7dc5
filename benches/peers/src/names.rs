//! The DNS server of the benchmark: every name below `peers.test` is at 127.0.0.1, and nothing else exists.

use anyhow::{Context, Result};
use tokio::net::UdpSocket;

/// The end of every name that is answered, as DNS writes it.
const ZONE: &[u8] = b"\x05peers\x04test\x00";
const HEADER: usize = 12;
const TYPE_A: [u8; 2] = [0, 1];

/// Answers until the benchmark ends.
pub(crate) async fn serve() -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:53").await.context("cannot serve DNS on 127.0.0.1:53")?;
    tokio::spawn(async move {
        let mut query = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut query).await {
            if let Some(answer) = answer(&query[..length]) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    });
    Ok(())
}

/// Answers one question (RFC 1035, section 4.1); nothing where there is none.
fn answer(query: &[u8]) -> Option<Vec<u8>> {
    let name = query.get(HEADER..)?;
    let end = name.iter().position(|byte| *byte == 0)? + 1;
    let question = name.get(..end + 4)?;
    let ours = question[..end].to_ascii_lowercase().ends_with(ZONE);
    let found = ours && question[end..end + 2] == TYPE_A;
    let status = if ours { 0x80 } else { 0x83 }; // recursion available; no such name
    let mut answer = Vec::with_capacity(64);
    answer.extend([query[0], query[1], 0x85, status, 0, 1, 0, u8::from(found), 0, 0, 0, 0]);
    answer.extend(question);
    if found {
        // The name as a pointer to the question, type A, class IN, an hour, four bytes of address.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0x0e, 0x10, 0, 4, 127, 0, 0, 1]);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &[u8], kind: u8) -> Vec<u8> {
        [&[7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, kind, 0, 1]].concat()
    }

    #[test]
    fn names_of_the_benchmark_are_here() {
        let found = answer(&query(b"\x02n7\x05Peers\x04test\x00", 1)).unwrap();
        assert_eq!((found[..2].to_vec(), found[3] & 0x0f, found[7]), (vec![7, 9], 0, 1));
        assert!(found.ends_with(&[127, 0, 0, 1]));
    }

    #[test]
    fn there_are_no_other_addresses() {
        let six = answer(&query(b"\x02n7\x05peers\x04test\x00", 28)).unwrap();
        assert_eq!((six[3] & 0x0f, six[7]), (0, 0), "it has no IPv6 address");
        let other = answer(&query(b"\x07example\x04test\x00", 1)).unwrap();
        assert_eq!((other[3] & 0x0f, other[7]), (3, 0), "it does not exist");
        assert_eq!(answer(b"short"), None);
    }
}
