//! A name server (RFC 1035) of a few names, that says of each what it is told to: an address, that there is no such name,
//! that it failed, or nothing.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// How long an answer may be remembered, in seconds.
pub(super) const TTL: u32 = 1;

const RECURSION: u16 = 0x8180; // a response; recursion desired and available
const FAILED: u16 = 2;
const NO_SUCH_NAME: u16 = 3;
const ADDRESS: [u8; 2] = [0, 1];

/// What is said of a name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Said {
    /// Its only address.
    At(Ipv4Addr),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failed,
    /// No answer at all.
    Nothing,
}

/// A running name server.
pub(super) struct Dns {
    said: Arc<Mutex<HashMap<String, Said>>>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    _task: JoinSet<()>,
}

impl Dns {
    pub(super) async fn start(at: SocketAddr) -> Self {
        let socket = UdpSocket::bind(at).await.unwrap_or_else(|error| {
            panic!("no name server at {at}: {error}; tests/soak/run gives the soak a network of its own")
        });
        let (said, answered, failed) = (Arc::default(), Arc::default(), Arc::default());
        let mut task = JoinSet::new();
        task.spawn(serve(socket, Arc::clone(&said), Arc::clone(&answered), Arc::clone(&failed)));
        Self { said, answered, failed, _task: task }
    }

    /// Says this of a name from now on. Nobody else has a name.
    pub(super) fn say(&self, name: &str, said: Said) {
        self.said.lock().unwrap().insert(name.to_owned(), said);
    }

    /// How many questions were answered with an address, and how many were not.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.answered.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
    }
}

async fn serve(
    socket: UdpSocket,
    said: Arc<Mutex<HashMap<String, Said>>>,
    answered: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
) {
    let mut buffer = [0; 1500];
    loop {
        let Ok((count, from)) = socket.recv_from(&mut buffer).await else { continue };
        let Some((name, question)) = question(&buffer[..count]) else { continue };
        let said = said.lock().unwrap().get(&name).copied().unwrap_or(Said::NoSuchName);
        let counter = if matches!(said, Said::At(_)) { &answered } else { &failed };
        counter.fetch_add(1, Ordering::SeqCst);
        if let Some(answer) = answer(&buffer[..2], question, said) {
            let _ = socket.send_to(&answer, from).await;
        }
    }
}

/// The name that is asked for, in lower case, and the bytes of the question.
fn question(message: &[u8]) -> Option<(String, &[u8])> {
    let (mut at, mut labels) = (12, Vec::new());
    loop {
        let length = usize::from(*message.get(at)?);
        if length == 0 {
            break;
        }
        let label = message.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        at += 1 + length;
    }
    Some((labels.join("."), message.get(12..at + 5)?))
}

fn answer(id: &[u8], question: &[u8], said: Said) -> Option<Vec<u8>> {
    let (code, address) = match said {
        Said::Nothing => return None,
        Said::Failed => (FAILED, None),
        Said::NoSuchName => (NO_SUCH_NAME, None),
        // Of the other types there is nothing: there is no IPv6 here.
        Said::At(address) => (0, (question[question.len() - 4..][..2] == ADDRESS).then_some(address)),
    };
    let mut message = id.to_vec();
    for number in [RECURSION | code, 1, u16::from(address.is_some()), 0, 0] {
        message.extend(number.to_be_bytes());
    }
    message.extend(question);
    if let Some(address) = address {
        message.extend([0xc0, 12, 0, 1, 0, 1]); // the name of the question, type A, class IN
        message.extend(TTL.to_be_bytes());
        message.extend([0, 4]);
        message.extend(address.octets());
    }
    Some(message)
}
