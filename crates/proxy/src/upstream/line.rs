//! One HTTP/1.1 connection to an origin, and who drives it.
//!
//! hyper's connection is a future that somebody has to poll. A task of its own for each would have to be woken, and to
//! wake the exchange in turn, several times for every request; so the exchange that uses the connection drives it
//! itself, and nobody does while it lies idle: whether it was closed meanwhile shows when it is asked.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use super::Overlooked;
use crate::framing::Answers;
use crate::upload::Upload;

/// What a connection runs over.
pub(super) type Wire = Either<TcpStream, TlsStream<TcpStream>>;

type Connection = http1::Connection<TokioIo<Answers<Wire>>, Upload>;

/// An open HTTP/1.1 connection.
pub(super) struct Line {
    /// What was overlooked when it was opened.
    pub(super) overlooked: Option<Overlooked>,
    sender: http1::SendRequest<Upload>,
    connection: Driven,
}

enum Driven {
    /// By whoever holds the line.
    Here(Box<Connection>),
    /// By a task of its own.
    Elsewhere,
    /// It has ended.
    Ended,
}

impl Line {
    pub(super) fn new(
        sender: http1::SendRequest<Upload>,
        connection: Connection,
        overlooked: Option<Overlooked>,
    ) -> Self {
        Self { overlooked, sender, connection: Driven::Here(Box::new(connection)) }
    }

    /// Lets a task of its own drive the connection from now on: for an upgrade, which leaves it behind, and for a
    /// request with a body, which is sent whether or not anybody reads the answer meanwhile.
    pub(super) fn set_free(&mut self) {
        match std::mem::replace(&mut self.connection, Driven::Elsewhere) {
            Driven::Here(connection) => {
                tokio::spawn(connection.with_upgrades());
            }
            other => self.connection = other,
        }
    }

    /// Whether a task of its own drives the connection.
    pub(super) fn is_free(&self) -> bool {
        matches!(self.connection, Driven::Elsewhere)
    }

    /// Whether the next request can be sent.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.sender.is_ready() && !self.is_closed()
    }

    /// Whether the connection is known to have ended.
    pub(super) fn is_closed(&self) -> bool {
        matches!(self.connection, Driven::Ended) || self.sender.is_closed()
    }

    /// Sends a request and waits for the head of the answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Upload>>> {
        if !request.body().is_empty() {
            self.set_free();
        }
        let mut answer = pin!(self.sender.try_send_request(request));
        std::future::poll_fn(|cx| {
            if self.is_free() {
                return answer.as_mut().poll(cx);
            }
            self.drive(cx);
            // Only driving brings the answer, so it need not wake anybody.
            answer.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        })
        .await
    }

    /// Lets the connection read and write what it can, where nobody else does.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let Driven::Here(connection) = &mut self.connection else { return };
        if let Poll::Ready(ended) = Pin::new(&mut **connection).poll(cx) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to an origin ended");
            }
            self.connection = Driven::Ended;
        }
    }
}
