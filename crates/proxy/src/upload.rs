//! A request's body on its way to the origin: scanned like an answer's, kept back while the origin has not asked for
//! it, and watched, so that somebody who waits can tell slow from stuck.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::Notify;

use crate::body::{BodyError, Notes, Passed, Relay};
use crate::framing::Violation;

/// How a request's body failed on the client's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientFailure {
    /// It stopped coming.
    Stalled,
    /// It came too slowly.
    Slow,
    /// It is malformed: not the chunks or the length that its head announced.
    Malformed(&'static str),
    /// The client went away.
    Broken,
}

impl ClientFailure {
    /// Reads the failure out of a body's error; the framing check left its reason there.
    pub(crate) fn of(error: &BodyError) -> Self {
        let error = match error {
            BodyError::Broken(error) => error,
            BodyError::Slow => return Self::Slow,
            _ => return Self::Stalled,
        };
        if let Some(violation) = Violation::behind(error) {
            return Self::Malformed(violation.reason);
        }
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(cause) = source {
            match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(std::io::ErrorKind::TimedOut) => return Self::Stalled,
                _ => source = cause.source(),
            }
        }
        Self::Broken
    }
}

/// What the exchange must know of a request's body while the connection to the origin is sending it.
#[derive(Default)]
pub(crate) struct UploadProgress {
    bytes: AtomicU64,
    /// Changes with every frame, so that somebody who waits can tell slow from stuck.
    moves: AtomicU64,
    /// The whole body was handed on.
    ended: AtomicBool,
    /// How the body failed on the client's side, if it did.
    failure: Mutex<Option<ClientFailure>>,
    notes: Mutex<Notes>,
    /// Keeps back a body that waits for 100 Continue.
    gate: Gate,
}

/// Where a body waits until the origin wants it.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    moved: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum GateState {
    /// The origin has not said anything yet.
    #[default]
    Shut,
    /// The origin asked for the body, or kept silent for long enough.
    Open,
    /// The origin answered without asking; its answer is on the way and must not be disturbed.
    Answered,
    /// The answer is through: the body can be given up.
    Over,
}

impl Gate {
    fn state(&self) -> GateState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves on, never back.
    fn advance(&self, from: GateState, to: GateState) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == from {
            *state = to;
            self.moved.notify_one();
        }
    }

    /// Waits until the body may flow; says whether it may.
    async fn pass(&self) -> bool {
        let patience = tokio::time::sleep(CONTINUE_PATIENCE);
        tokio::pin!(patience);
        loop {
            match self.state() {
                GateState::Open => return true,
                GateState::Over => return false,
                GateState::Answered => self.moved.notified().await,
                GateState::Shut => tokio::select! {
                    () = self.moved.notified() => {}
                    () = &mut patience => self.advance(GateState::Shut, GateState::Open),
                },
            }
        }
    }
}

impl UploadProgress {
    /// Bytes sent so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// A number that changes whenever something was sent.
    pub(crate) fn moves(&self) -> u64 {
        self.moves.load(Ordering::Relaxed)
    }

    /// Whether the whole body was handed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// How the body failed on the client's side, if it did.
    pub(crate) fn client_failure(&self) -> Option<ClientFailure> {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the event must know of the body. Complete once the body is done or dropped.
    pub(crate) fn take_notes(&self) -> Notes {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets a body flow that waits for 100 Continue.
    pub(crate) fn open_gate(&self) {
        self.gate.advance(GateState::Shut, GateState::Open);
    }

    /// Says that the origin has answered: a body that still waits is not wanted any more.
    pub(crate) fn origin_answered(&self) {
        self.gate.advance(GateState::Shut, GateState::Answered);
    }

    /// Says that the answer is through.
    pub(crate) fn answer_is_over(&self) {
        self.gate.advance(GateState::Answered, GateState::Over);
    }
}

/// A request's body on its way to the origin.
pub(crate) struct Upload {
    /// In a box: most requests have none, and are moved about.
    relay: Option<Box<Relay>>,
    progress: Arc<UploadProgress>,
    /// Waits for the gate.
    gate: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
}

/// How long an origin may keep silent before it gets the body that it was asked to expect (RFC 9110, section
/// 10.1.1: no client should wait for ever).
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

impl Upload {
    /// No body.
    pub(crate) fn empty() -> (Self, Arc<UploadProgress>) {
        let progress = Arc::new(UploadProgress { ended: AtomicBool::new(true), ..UploadProgress::default() });
        (Self { relay: None, progress: Arc::clone(&progress), gate: None }, progress)
    }

    /// A body; `expects_continue` keeps it back until the origin asks for it.
    pub(crate) fn new(relay: Relay, expects_continue: bool) -> (Self, Arc<UploadProgress>) {
        let progress = Arc::new(UploadProgress::default());
        let gate = expects_continue.then(|| {
            let progress = Arc::clone(&progress);
            Box::pin(async move { progress.gate.pass().await }) as Pin<Box<dyn Future<Output = bool> + Send>>
        });
        (Self { relay: Some(Box::new(relay)), progress: Arc::clone(&progress), gate }, progress)
    }

    /// Whether this request could be sent a second time: it has no body.
    pub(crate) fn is_empty(&self) -> bool {
        self.relay.is_none()
    }
}

impl Upload {
    fn leave_notes(&mut self) {
        if let Some(relay) = &mut self.relay {
            let notes = relay.take_notes();
            if !notes.is_empty() {
                *self.progress.notes.lock().unwrap_or_else(PoisonError::into_inner) = notes;
            }
            self.relay = None;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.leave_notes();
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(gate) = &mut self.gate {
            let wanted = ready!(gate.as_mut().poll(cx));
            self.gate = None;
            if !wanted {
                return Poll::Ready(Some(Err(BodyError::Unwanted)));
            }
        }
        let this = &mut *self;
        let Some(relay) = &mut this.relay else { return Poll::Ready(None) };
        let progress = &this.progress;
        let frame = match ready!(relay.poll_frame(cx)) {
            Some(Ok(Passed::Frame(frame))) => frame,
            Some(Ok(Passed::Cut)) => {
                this.leave_notes();
                return Poll::Ready(Some(Err(BodyError::Cut)));
            }
            Some(Err(error)) => {
                *progress.failure.lock().unwrap_or_else(PoisonError::into_inner) =
                    Some(ClientFailure::of(&error));
                return Poll::Ready(Some(Err(error)));
            }
            None => {
                progress.ended.store(true, Ordering::Relaxed);
                return Poll::Ready(None);
            }
        };
        if relay.is_end_stream() {
            progress.ended.store(true, Ordering::Relaxed);
        }
        progress.moves.fetch_add(1, Ordering::Relaxed);
        let length = frame.data_ref().map_or(0, Bytes::len);
        progress.bytes.fetch_add(length as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.relay.as_ref().is_none_or(|relay| relay.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.relay.as_ref().map_or_else(|| SizeHint::with_exact(0), |relay| relay.size_hint())
    }
}
