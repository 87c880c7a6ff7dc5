//! An origin that never does as it should: each path is a way of being wrong.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::ledger::Kind;
use crate::harness::Pki;
use crate::harness::raw::read_head;

/// What an origin does once it has read a request.
#[derive(Clone, Copy)]
enum Manner {
    /// Sends this and closes as it should.
    Close(&'static str),
    /// Sends this and resets the connection.
    Reset(&'static str),
    /// Sends this and not another byte.
    Hang(&'static str),
}

/// What a client must get.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    /// A page of Wardgate with this status.
    Page(u16),
    /// Something that cannot be taken for a whole answer: one that breaks off, or a page that says so.
    NothingWhole,
    /// These very bytes, whole.
    Whole(&'static str),
}

/// A fault, and what must become of it.
pub(super) struct Fault {
    /// Its path, behind `/fault/`.
    pub(super) path: &'static str,
    /// How it is recorded.
    pub(super) kind: Kind,
    /// What the client gets.
    pub(super) wanted: Wanted,
    manner: Manner,
}

const fn fault(
    path: &'static str,
    name: &'static str,
    manner: Manner,
    wanted: Wanted,
    recorded: &'static [(u16, &'static str)],
) -> Fault {
    Fault { path, kind: Kind::new(name, recorded), wanted, manner }
}

const REFUSED: &[(u16, &str)] = &[(502, "upstream-failed")];
const BROKEN: &[(u16, &str)] = &[(200, "upstream-failed"), (502, "upstream-failed")];

/// Every fault of an origin that answers.
pub(super) static FAULTS: [Fault; 10] = [
    fault(
        "reset-head",
        "origin resets in the head",
        Manner::Reset("HTTP/1.1 200 OK\r\nContent-Ty"),
        Wanted::Page(502),
        REFUSED,
    ),
    fault("no-answer", "origin closes without a word", Manner::Close(""), Wanted::Page(502), REFUSED),
    fault(
        "reset-body",
        "origin resets in the body",
        Manner::Reset(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\nsome of it",
        ),
        Wanted::NothingWhole,
        BROKEN,
    ),
    fault(
        "short",
        "origin promises more than it sends",
        Manner::Close(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nsome of it",
        ),
        Wanted::NothingWhole,
        BROKEN,
    ),
    fault(
        "long",
        "origin sends more than it promised",
        Manner::Close(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 10\r\n\r\n0123456789and more of it",
        ),
        Wanted::Whole("0123456789"),
        &[(200, "completed")],
    ),
    fault(
        "two-lengths",
        "origin promises two lengths",
        Manner::Close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 11\r\n\r\n01234567890"),
        Wanted::Page(502),
        REFUSED,
    ),
    fault(
        "no-last-chunk",
        "origin ends without the last chunk",
        Manner::Close(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\n",
        ),
        Wanted::NothingWhole,
        BROKEN,
    ),
    fault(
        "bad-chunk",
        "origin sends a chunk that is none",
        Manner::Close(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\na\r\nsome of it\r\nzz\r\n",
        ),
        Wanted::NothingWhole,
        BROKEN,
    ),
    fault(
        "silent",
        "origin never answers",
        Manner::Hang(""),
        Wanted::Page(504),
        &[(504, "timed-out"), (504, "upstream-failed")],
    ),
    fault(
        "stall",
        "origin stops in the body",
        Manner::Hang(
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: 1000\r\n\r\nsome of it",
        ),
        Wanted::NothingWhole,
        &[(200, "timed-out")],
    ),
];

/// A path that this origin answers as it should, on a connection that it closes: the next request looks its name up.
pub(super) const SOUND: &str = "/sound";
/// What it answers there.
pub(super) const SOUND_BODY: &str = "as it should be";
const SOUND_ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 15\r\nConnection: close\r\n\r\nas it should be";

/// The running origin, in plain HTTP and over TLS.
pub(super) struct Faulty {
    pub(super) http: SocketAddr,
    pub(super) https: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Faulty {
    pub(super) async fn start(pki: &Pki) -> Self {
        let plain = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let secure = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (http, https) = (plain.local_addr().unwrap(), secure.local_addr().unwrap());
        let acceptor = TlsAcceptor::from(pki.server(&["http/1.1"]));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(plain, None));
        tasks.spawn(accept(secure, Some(Arc::new(acceptor))));
        Self { http, https, _tasks: tasks }
    }
}

async fn accept(listener: TcpListener, acceptor: Option<Arc<TlsAcceptor>>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let acceptor = acceptor.clone();
        connections.spawn(async move {
            let Some(acceptor) = acceptor else { return serve(stream, |stream| stream).await };
            let Ok(stream) = acceptor.accept(stream).await else { return };
            serve(stream, |stream| stream.get_ref().0).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Serves one request; `tcp` is the connection below.
async fn serve<S>(mut stream: S, tcp: impl Fn(&S) -> &TcpStream)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let head = read_head(&mut stream).await;
    let manner = manner(head.split(' ').nth(1).unwrap_or_default());
    let (Manner::Close(bytes) | Manner::Reset(bytes) | Manner::Hang(bytes)) = manner;
    let _ = stream.write_all(bytes.as_bytes()).await;
    let _ = stream.flush().await;
    match manner {
        Manner::Close(_) => drop(stream.shutdown().await),
        Manner::Reset(_) => {
            // A reset takes back what the peer has not read: let it read.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let _ = tcp(&stream).set_zero_linger();
        }
        Manner::Hang(_) => drop(stream.read(&mut [0]).await), // until the peer gives up
    }
}

fn manner(path: &str) -> Manner {
    let name = path.strip_prefix("/fault/").and_then(|rest| rest.split('?').next());
    let fault = FAULTS.iter().find(|fault| Some(fault.path) == name);
    fault.map_or(Manner::Close(SOUND_ANSWER), |fault| fault.manner)
}
