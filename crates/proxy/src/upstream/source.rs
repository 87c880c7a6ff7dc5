//! A body as it comes in, with what it takes to receive it.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::{Flight, Return};

/// A body that is received: from a client, or from an origin over a connection that is given back at its end.
pub(crate) struct Source {
    body: Incoming,
    carrier: Carrier,
}

/// What must be kept, or driven, for as long as a body comes in.
pub(super) enum Carrier {
    /// Somebody else sees to it.
    None,
    /// The place on a shared connection.
    Http2(#[expect(dead_code, reason = "counted by being there")] Flight),
    /// The connection.
    Http1(Box<Return>),
}

impl Source {
    pub(super) fn new(body: Incoming, carrier: Carrier) -> Self {
        let mut source = Self { body, carrier };
        source.settle();
        source
    }

    /// Gives the connection back where nothing more is to come.
    fn settle(&mut self) {
        if self.body.is_end_stream() {
            self.over();
        }
    }

    fn over(&mut self) {
        if let Carrier::Http1(back) = std::mem::replace(&mut self.carrier, Carrier::None) {
            back.give_back();
        }
    }
}

impl From<Incoming> for Source {
    fn from(body: Incoming) -> Self {
        Self { body, carrier: Carrier::None }
    }
}

impl HttpBody for Source {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.carrier {
            Carrier::Http1(back) => {
                // Only driving brings the next frame, so it need not wake anybody.
                let mut quiet = Context::from_waker(Waker::noop());
                match Pin::new(&mut this.body).poll_frame(&mut quiet) {
                    Poll::Pending => {
                        back.line.drive(cx);
                        std::task::ready!(Pin::new(&mut this.body).poll_frame(&mut quiet))
                    }
                    Poll::Ready(frame) => frame,
                }
            }
            _ => std::task::ready!(Pin::new(&mut this.body).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(_)) => this.settle(),
            Some(Err(_)) => this.carrier = Carrier::None,
            None => this.over(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
