//! Bodies: what is held until scanned, what streams past the scan, and where it is cut. [`Relay`] serves both
//! directions; [`Body`] is an answer on its way to the client.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep};
use wardgate_core::{Decision, Event, EventGuard, Fault, Finding, Outcome};
use wardgate_text::Room;

use crate::framing::{Framing, Violation};
use crate::headers::clean_trailers;
use crate::scan::{Watch, stops};
use crate::stall;
use crate::upload::UploadProgress;
use crate::upstream::Source;

/// The most raw bytes that are held, whatever they decode to.
const MAX_HELD: usize = 1024 * 1024;
/// A page that comes in drips is let go after this time without a byte...
const HOLD_PAUSE: Duration = Duration::from_millis(1_000);
/// ...or after this time in all. What comes later is scanned before it passes, and cut where need be.
const HOLD_TIME: Duration = Duration::from_secs(5);

/// Why a body ended early. hyper turns it into a broken message: a client is never told that half is the whole.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// The other side broke off.
    Broken(hyper::Error),
    /// Nothing came for too long.
    Stalled,
    /// It came too slowly.
    Slow,
    /// Cut because of what it said.
    Cut,
    /// The origin answered without wanting it.
    Unwanted,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(error) => match Violation::behind(error) {
                Some(violation) => f.write_str(violation.reason),
                None => write!(f, "the body broke off: {error}"),
            },
            Self::Stalled => f.write_str("the body stalled"),
            Self::Slow => f.write_str("the body came too slowly"),
            Self::Cut => f.write_str("the body was cut by policy"),
            Self::Unwanted => f.write_str("the origin did not want the body"),
        }
    }
}

impl std::error::Error for BodyError {}

/// The part of a body that was read before anything of it was passed on.
#[derive(Default)]
pub(crate) struct Held {
    frames: VecDeque<Bytes>,
    /// What the frames take of the memory that all bodies share.
    room: Room,
    trailers: Option<HeaderMap>,
    /// The whole body is here.
    ended: bool,
    /// The last decision on it, where one was made.
    pub(crate) decision: Option<Decision>,
}

/// Reads and scans up to `limit` bytes of text before anything is passed on. Stops at a decision to block, at the
/// end of the body, at the limits, or when the body makes people wait.
pub(crate) async fn hold(body: &mut Source, watch: &mut Watch, limit: usize) -> Result<Held, BodyError> {
    let mut held = Held { room: watch.room_for_held(), ..Held::default() };
    if watch.fault().is_some() {
        held.decision = Some(watch.verdict());
        return Ok(held);
    }
    let deadline = Instant::now() + HOLD_TIME;
    let mut bytes = 0;
    while bytes < MAX_HELD && watch.text_bytes() < limit as u64 {
        let pause = deadline.min(Instant::now() + HOLD_PAUSE);
        let Ok(frame) = tokio::time::timeout_at(pause, body.frame()).await else { return Ok(held) };
        let decision = match frame.transpose().map_err(BodyError::Broken)?.map(Frame::into_data) {
            None => {
                held.ended = true;
                watch.end()
            }
            Some(Ok(data)) => {
                bytes += data.len();
                let pushed = match held.room.grow(data.len()) {
                    Ok(()) => watch.push(&data),
                    Err(_) => Some(watch.overflow()),
                };
                held.frames.push_back(data);
                held.ended = body.is_end_stream(); // nobody will ask again once hyper knows the length
                if held.ended { watch.end().or(pushed) } else { pushed }
            }
            Some(Err(frame)) => {
                held.trailers = frame.into_trailers().ok();
                held.trailers.as_mut().map(clean_trailers);
                None
            }
        };
        if let Some(decision) = decision {
            let stop = stops(&decision);
            held.decision = Some(decision);
            if stop {
                break;
            }
        }
        if held.ended || watch.fault().is_some() {
            break;
        }
    }
    Ok(held)
}

/// A body on its way through: first what was held, then the rest as it comes, scanned chunk by chunk.
pub(crate) struct Relay {
    held: Held,
    rest: Option<Source>,
    watch: Option<Watch>,
    /// The newest decision that does not stop the body, until somebody records it.
    decision: Option<Decision>,
    idle: Duration,
    pace: Option<Pace>,
    clock: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl Relay {
    /// Relays `rest` behind what was held of it. `watch` looks at what is still to come.
    pub(crate) fn new(held: Held, rest: Source, watch: Option<Watch>, idle: Duration) -> Self {
        let rest = if held.ended { None } else { Some(rest) };
        Self { held, rest, watch, decision: None, idle, pace: None, clock: None, waiting: false }
    }

    /// Holds the sender to a pace.
    pub(crate) fn at_pace(mut self, pace: Option<Pace>) -> Self {
        self.pace = pace;
        self
    }

    /// What was found in the body, decided on it, and went wrong in looking at it, since this was last asked.
    pub(crate) fn take_notes(&mut self) -> Notes {
        Notes {
            decision: self.decision.take(),
            findings: self.watch.as_mut().map(Watch::take_findings).unwrap_or_default(),
            fault: self.watch.as_ref().and_then(Watch::fault),
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.held.frames.is_empty()
            && self.held.trailers.is_none()
            && self.rest.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    /// How much is to come, where that is known.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match &self.rest {
            _ if !self.held.frames.is_empty() => SizeHint::default(),
            Some(rest) => rest.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }

    /// The next frame, scanned.
    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Passed, BodyError>>> {
        if let Some(data) = self.held.frames.pop_front() {
            return Poll::Ready(Some(Ok(Passed::Frame(Frame::data(data)))));
        }
        if let Some(trailers) = self.held.trailers.take() {
            return Poll::Ready(Some(Ok(Passed::Frame(Frame::trailers(trailers)))));
        }
        self.held.room = Room::default();
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = match Pin::new(rest).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => return self.poll_patience(cx).map(|error| Some(Err(error))),
        };
        self.waiting = false;
        if let (Some(pace), Some(Ok(frame))) = (&mut self.pace, &frame) {
            pace.received(frame.data_ref().map_or(0, Bytes::len));
        }
        let decision = match &frame {
            Some(Ok(frame)) => self.look(frame),
            Some(Err(_)) => None,
            None => self.watch.as_mut().and_then(Watch::end),
        };
        if decision.as_ref().is_some_and(stops) {
            self.rest = None;
            self.decision = decision;
            return Poll::Ready(Some(Ok(Passed::Cut)));
        }
        self.decision = decision.or(self.decision.take());
        Poll::Ready(frame.map(|frame| {
            let mut frame = frame.map_err(BodyError::Broken)?;
            frame.trailers_mut().map(clean_trailers);
            Ok(Passed::Frame(frame))
        }))
    }

    /// Scans a frame before it is passed on; the last one with the end of the text.
    fn look(&mut self, frame: &Frame<Bytes>) -> Option<Decision> {
        let watch = self.watch.as_mut()?;
        let Some(data) = frame.data_ref() else { return watch.end() }; // trailers: the text is over
        let decision = watch.push(data);
        if !self.rest.as_ref().is_some_and(HttpBody::is_end_stream) {
            return decision;
        }
        watch.end().or(decision)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let clock = self.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.idle)));
        if !self.waiting {
            let now = Instant::now();
            let left = self.pace.as_mut().map_or(self.idle, |pace| pace.waits(now));
            clock.as_mut().reset(now + self.idle.min(left));
            self.waiting = true;
        }
        ready!(clock.as_mut().poll(cx));
        let slow = self.pace.as_ref().is_some_and(Pace::is_lost);
        Poll::Ready(if slow { BodyError::Slow } else { BodyError::Stalled })
    }
}

/// A least rate at which a body must come, so that a byte now and then does not hold an exchange for ever. Only time
/// counts in which the sender is waited for: it has some at first, each byte earns more, and what is saved never exceeds
/// what there was at first.
pub(crate) struct Pace {
    bytes_per_sec: u32,
    most: Duration,
    left: Duration,
    waits_since: Option<Instant>,
}

impl Pace {
    /// So many bytes a second, over so much time; nothing where none are demanded.
    pub(crate) fn new(bytes_per_sec: u64, over: Duration) -> Option<Self> {
        let bytes_per_sec = u32::try_from(bytes_per_sec).unwrap_or(u32::MAX);
        (bytes_per_sec > 0).then_some(Self { bytes_per_sec, most: over, left: over, waits_since: None })
    }

    /// Notes that the sender is waited for; how long it may take.
    fn waits(&mut self, now: Instant) -> Duration {
        self.waits_since.get_or_insert(now);
        self.left
    }

    /// Notes that so many bytes came.
    fn received(&mut self, bytes: usize) {
        if let Some(since) = self.waits_since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        let earned = Duration::from_secs(bytes as u64) / self.bytes_per_sec;
        self.left = self.left.saturating_add(earned).min(self.most);
    }

    /// Whether all that was left was used up; silence from the beginning is not slowness.
    fn is_lost(&self) -> bool {
        self.left < self.most && self.waits_since.is_some_and(|since| since.elapsed() >= self.left)
    }
}

/// What a relay hands on.
pub(crate) enum Passed {
    Frame(Frame<Bytes>),
    /// Nothing more: a decision stopped the body.
    Cut,
}

/// What the event must know of a scanned body.
#[derive(Default)]
pub(crate) struct Notes {
    decision: Option<Decision>,
    findings: Vec<Finding>,
    fault: Option<Fault>,
}

impl Notes {
    /// Whether there is nothing to note.
    pub(crate) fn is_empty(&self) -> bool {
        self.decision.is_none() && self.findings.is_empty() && self.fault.is_none()
    }

    /// Writes them into the event.
    pub(crate) fn record(mut self, event: &mut Event) {
        if let Some(decision) = &self.decision {
            event.decided(decision);
        }
        event.findings.append(&mut self.findings);
        event.fault = event.fault.or(self.fault);
    }

    /// Adds what was found and what is of concern; the decision on the answer stays.
    fn add(mut self, event: &mut Event) {
        if let Some(decision) = &self.decision {
            event.concerned(decision);
        }
        event.findings.append(&mut self.findings);
    }

    /// The decision, where it stops the body.
    pub(crate) fn stop(&self) -> Option<&Decision> {
        self.decision.as_ref().filter(|decision| stops(decision))
    }
}

/// What is known of an answer's length before it is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// Nothing follows the head, whatever the body holds: the answer to a HEAD.
    Nothing,
    /// As `Content-Length` says; hyper stops asking for more once so much was sent.
    Exactly(u64),
    /// Until the body ends.
    Open,
}

/// The body of an answer to a client. Carries the exchange's event, which leaves when the body is done or dropped.
pub(crate) struct Body {
    content: Content,
    length: Length,
    event: Option<EventGuard>,
    answered: Option<Arc<Framing>>,
    upload: Option<Arc<UploadProgress>>,
    /// Since when the client has been handed something that it has not asked to go on behind.
    handed: Option<Instant>,
    /// How long it may take for that.
    patience: Duration,
}

enum Content {
    Empty,
    Full(Bytes),
    Relay(Box<Relay>),
}

impl Body {
    /// No bytes at all.
    pub(crate) fn empty() -> Self {
        Self::of(Content::Empty)
    }

    /// A page of Wardgate's own.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self::of(Content::Full(bytes.into()))
    }

    /// An origin's answer.
    pub(crate) fn relay(relay: Relay) -> Self {
        Self::of(Content::Relay(Box::new(relay)))
    }

    fn of(content: Content) -> Self {
        let (length, patience) = (Length::Open, Duration::MAX);
        Self { content, length, event: None, answered: None, upload: None, handed: None, patience }
    }

    /// Gives the body the event to finish, and what else is done when it is done.
    pub(crate) fn carry(
        &mut self,
        mut event: EventGuard,
        length: Length,
        upload: Option<Arc<UploadProgress>>,
        answered: Arc<Framing>,
        patience: Duration,
    ) {
        self.patience = patience;
        self.handed = Some(stall::handed()); // the head, for now
        if self.is_end_stream() || matches!(length, Length::Nothing | Length::Exactly(0)) {
            complete(&mut event);
        }
        self.length = length;
        self.event = Some(event);
        self.upload = upload;
        self.answered = Some(answered);
    }

    /// Releases the connection's count of answers under way, where the event goes elsewhere.
    pub(crate) fn carry_answered(&mut self, answered: Arc<Framing>) {
        self.answered = Some(answered);
    }

    fn cut(&mut self) -> BodyError {
        if let Some(event) = &mut self.event {
            let after = event.response_bytes;
            event.ended(Outcome::Cut, Some(Cow::Owned(format!("cut after {after} bytes"))));
        }
        BodyError::Cut
    }
}

/// Marks an event as complete unless it has been told something more telling already.
fn complete(event: &mut EventGuard) {
    if event.outcome == Outcome::ClientClosed && event.detail.is_none() {
        event.ended(Outcome::Completed, None);
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        stall::taken();
        self.handed = None;
        let passed = match &mut self.content {
            Content::Empty => None,
            Content::Full(bytes) if bytes.is_empty() => None,
            Content::Full(bytes) => Some(Ok(Passed::Frame(Frame::data(std::mem::take(bytes))))),
            Content::Relay(relay) => ready!(relay.poll_frame(cx)),
        };
        let trailers = matches!(&passed, Some(Ok(Passed::Frame(frame))) if frame.is_trailers());
        let at_end = passed.is_none() || trailers || self.is_end_stream();
        let length = self.length;
        self.handed = Some(stall::handed());
        let frame = match passed {
            Some(Ok(Passed::Cut)) => return Poll::Ready(Some(Err(self.cut()))),
            Some(Ok(Passed::Frame(frame))) => Some(frame),
            Some(Err(error)) => {
                if let Some(event) = &mut self.event {
                    let outcome = match error {
                        BodyError::Stalled => Outcome::TimedOut,
                        _ => Outcome::UpstreamFailed,
                    };
                    event.ended(outcome, Some(Cow::Owned(error.to_string())));
                }
                return Poll::Ready(Some(Err(error)));
            }
            None => None,
        };
        if let Some(event) = &mut self.event {
            event.response_bytes +=
                frame.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
            if at_end || length == Length::Exactly(event.response_bytes) {
                complete(event);
            }
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Empty => true,
            Content::Full(bytes) => bytes.is_empty(),
            Content::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Empty => SizeHint::with_exact(0),
            Content::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Relay(_) => SizeHint::default(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let stalled = self.answered.as_ref().is_some_and(|framing| framing.is_stalled())
            || self.handed.is_some_and(|since| since.elapsed() >= self.patience);
        if let Some(event) = &mut self.event {
            if stalled && event.outcome == Outcome::ClientClosed && event.detail.is_none() {
                event.ended(Outcome::TimedOut, Some("the client stopped reading".into()));
            }
            if let Content::Relay(relay) = &mut self.content {
                relay.take_notes().record(event);
            }
            if let Some(upload) = &self.upload {
                event.request_bytes = upload.bytes();
                upload.take_notes().add(event);
            }
        }
        if let Some(upload) = &self.upload {
            upload.answer_is_over();
        }
        if let Some(answered) = &self.answered {
            answered.answered();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces of so many bytes, each after so many milliseconds of waiting; how long the next wait may be, in
    /// milliseconds, or that one of them took too long.
    #[tokio::test(start_paused = true)]
    async fn a_pace_is_an_average() {
        for (name, pieces, expected) in [
            ("a full line", vec![(20_000, 1); 100], Some(10_000)),
            ("silence from the beginning", vec![], Some(10_000)),
            ("as slow as may be", vec![(500, 1_000); 100], Some(10_000)),
            ("in gusts", vec![(4_500, 9_000); 20], Some(10_000)),
            ("half as fast", vec![(250, 1_000); 10], Some(5_000)),
            ("half as fast for long", vec![(250, 1_000); 30], None),
            ("bytes now and then", vec![(1, 3_000); 10], None),
            ("much, and then bytes", [vec![(1 << 30, 1)], vec![(1, 3_000); 10]].concat(), None),
        ] {
            let mut pace = Pace::new(500, Duration::from_secs(10)).unwrap();
            let mut left = Some(pace.most);
            for (bytes, after) in pieces {
                let after = Duration::from_millis(after);
                left = Some(pace.waits(Instant::now())).filter(|left| *left > after);
                if left.is_none() {
                    tokio::time::sleep(pace.left).await;
                    assert!(pace.is_lost(), "{name}");
                    break;
                }
                tokio::time::sleep(after).await;
                pace.received(bytes);
                left = Some(pace.left);
            }
            let left = left.map(|left| left.as_millis() as u64 / 500 * 500);
            assert_eq!(left, expected, "{name}");
        }
        assert!(Pace::new(0, Duration::from_secs(10)).is_none());
    }
}
