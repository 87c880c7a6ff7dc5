//! An origin that speaks no protocol at all: for what passes unread.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a [`ByteOrigin`] does with a connection.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Sends back what it gets, until there is no more.
    Echo,
    /// Speaks first, then sends back what it gets.
    Greet(&'static [u8]),
    /// Sends so many bytes of a pattern once the client has ended its side, and ends.
    AnswerAtTheEnd(usize),
    /// Ends its side at once, and reads on.
    EndFirst,
    /// Reads a few bytes, then resets the connection.
    Reset,
}

/// A running origin; its port closes when it is dropped.
pub(crate) struct ByteOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    _tasks: JoinSet<()>,
}

impl ByteOrigin {
    /// Listens on 127.0.0.1.
    pub(crate) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (mut tasks, into) = (JoinSet::new(), Arc::clone(&received));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, manner.clone(), Arc::clone(&into)));
            }
        });
        Self { address, received, _tasks: tasks }
    }

    /// Everything received so far, on all connections.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap().clone()
    }
}

/// The byte at this place of the pattern that origins send.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

async fn serve(mut stream: TcpStream, manner: Manner, received: Arc<Mutex<Vec<u8>>>) {
    let _ = stream.set_nodelay(true);
    if let Manner::Greet(words) = manner {
        let _ = stream.write_all(words).await;
    }
    if let Manner::EndFirst = manner {
        let _ = stream.shutdown().await;
    }
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => count,
            _ => break,
        };
        received.lock().unwrap().extend(&buffer[..count]);
        match manner {
            Manner::Echo | Manner::Greet(_) => {
                if stream.write_all(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Manner::Reset => {
                let _ = stream.set_zero_linger();
                return;
            }
            Manner::AnswerAtTheEnd(_) | Manner::EndFirst => {}
        }
    }
    if let Manner::AnswerAtTheEnd(length) = manner {
        let _ = stream.write_all(&pattern(length)).await;
    }
    let _ = stream.shutdown().await;
}
