//! Both ends of a connection in plain bytes, for what no well-behaved library would send.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long a peer may take to answer and close before a test calls it a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What came back on a raw connection.
#[derive(Debug)]
pub(crate) struct Talk {
    /// Every byte that the peer sent.
    pub(crate) received: String,
    /// Whether the peer closed the connection within [`PATIENCE`].
    pub(crate) closed: bool,
}

impl Talk {
    /// The status of the first response, or nothing where the bytes are no response.
    pub(crate) fn status(&self) -> Option<u16> {
        status_of(&self.received)
    }

    /// How many responses came back.
    pub(crate) fn responses(&self) -> usize {
        self.received.matches("HTTP/1.1 ").count()
    }
}

/// The status in a response's first line.
pub(crate) fn status_of(response: &str) -> Option<u16> {
    response.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

/// Connects, sends these bytes and reads until the peer closes or [`PATIENCE`] ends.
pub(crate) async fn talk(to: SocketAddr, bytes: &[u8]) -> Talk {
    talk_over(TcpStream::connect(to).await.unwrap(), bytes).await
}

/// Sends these bytes over an open connection and reads until the peer closes or [`PATIENCE`] ends.
pub(crate) async fn talk_over(mut stream: impl AsyncRead + AsyncWrite + Unpin, bytes: &[u8]) -> Talk {
    // The peer may close before it has read everything: that is no failure here.
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    let mut received = Vec::new();
    let closed = timeout(PATIENCE, stream.read_to_end(&mut received)).await.is_ok();
    Talk { received: String::from_utf8_lossy(&received).into_owned(), closed }
}

/// Reads a head up to and including its empty line.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// What a [`RawOrigin`] does with a connection once it has read the request's head.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    /// Sends these bytes and closes.
    Answer(String),
    /// Sends these bytes and keeps the connection open without another word.
    Hang(String),
}

/// An origin that records the very bytes that it receives and answers with given bytes, right or wrong.
pub(crate) struct RawOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl RawOrigin {
    /// Listens on 127.0.0.1.
    pub(crate) async fn start(then: Then) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, then, Arc::clone(&received)));
        Self { address, received, _tasks: tasks }
    }

    /// An origin that answers everything with a short 200.
    pub(crate) async fn polite() -> Self {
        Self::start(Then::Answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok".to_owned(),
        ))
        .await
    }

    /// Everything received so far, on all connections.
    pub(crate) fn received(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap()).into_owned()
    }
}

async fn accept(listener: TcpListener, then: Then, received: Arc<Mutex<Vec<u8>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, then.clone(), Arc::clone(&received)));
    }
}

async fn serve(mut stream: TcpStream, then: Then, received: Arc<Mutex<Vec<u8>>>) {
    let mut seen: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    while !seen.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => {
                seen.extend(&buffer[..count]);
                received.lock().unwrap().extend(&buffer[..count]);
            }
            _ => return,
        }
    }
    let (Then::Answer(bytes) | Then::Hang(bytes)) = &then;
    let _ = stream.write_all(bytes.as_bytes()).await;
    if matches!(then, Then::Hang(_)) {
        // Until the peer gives up.
        let _ = stream.read(&mut buffer).await;
    }
}
