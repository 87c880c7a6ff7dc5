//! The journal's record of one exchange, and the guard that makes sure there is exactly one.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use uuid::Uuid;

use crate::decision::add_concerns;
use crate::{
    BoxFuture, Concern, Decision, Fault, Finding, GroupName, IdentitySource, Purpose, Route, RuleRef, Target,
    TextKind, TlsProblem, UserName, Verdict,
};

/// The decision id: on the block page, in the alert and in the access log. A version 7 UUID: sorts by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "an id is drawn, not defaulted")]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was delivered (Wardgate's own pages included).
    Completed,
    /// The client went away before the end.
    ClientClosed,
    /// The request could not be understood and was refused.
    Malformed,
    /// A limit was reached and the request refused.
    Limited,
    /// The client must log in first.
    Unidentified,
    /// The origin could not be reached, verified or understood, or broke off.
    UpstreamFailed,
    /// Somebody took too long.
    TimedOut,
    /// The answer was cut because of what it said.
    Cut,
    /// Wardgate is shutting down.
    ShutDown,
    /// Wardgate's own fault.
    Internal,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Completed,
        Self::ClientClosed,
        Self::Malformed,
        Self::Limited,
        Self::Unidentified,
        Self::UpstreamFailed,
        Self::TimedOut,
        Self::Cut,
        Self::ShutDown,
        Self::Internal,
    ];

    /// The name used in the access log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::ClientClosed => "client-closed",
            Self::Malformed => "malformed",
            Self::Limited => "limited",
            Self::Unidentified => "unidentified",
            Self::UpstreamFailed => "upstream-failed",
            Self::TimedOut => "timed-out",
            Self::Cut => "cut",
            Self::ShutDown => "shut-down",
            Self::Internal => "internal",
        }
    }
}

/// Words that the person wrote, as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenText {
    /// Search, prompt or post.
    pub kind: TextKind,
    /// The service, for example `google`.
    pub service: &'static str,
    /// The words, bounded.
    pub text: Box<str>,
}

/// The names under which a tunnel's destination was given, where they do not agree. Canonical, without port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fronting {
    /// The host of the CONNECT.
    pub connect: Box<str>,
    /// The server name in the ClientHello; nothing where there was none, or no TLS.
    pub sni: Option<Box<str>>,
    /// The host of the request inside; nothing for the CONNECT itself.
    pub host: Option<Box<str>>,
}

/// The record of one exchange.
#[derive(Clone, Debug)]
pub struct Event {
    /// The decision id.
    pub id: EventId,
    /// When the exchange began.
    pub at: SystemTime,
    /// From the request's head to the last byte of the answer.
    pub duration: Duration,
    /// The client's address.
    pub client: IpAddr,
    /// Who, where known.
    pub user: Option<UserName>,
    /// How we know.
    pub identity_source: IdentitySource,
    /// The group whose settings applied; nothing where the exchange ended before it was known.
    pub group: Option<GroupName>,
    /// The method; `-` where not even that could be read.
    pub method: Cow<'static, str>,
    /// The target; nothing where it could not be understood.
    pub target: Option<Target>,
    /// `HTTP/1.1` or the like, as the client spoke it.
    pub protocol: &'static str,
    /// Page or part of a page.
    pub purpose: Purpose,
    /// What became of a CONNECT.
    pub route: Option<Route>,
    /// The names of the destination, where they do not agree.
    pub fronting: Option<Fronting>,
    /// How the client turned down the certificate that it was shown: the TLS alert, or `closed`.
    pub tls_refused: Option<Cow<'static, str>>,
    /// Allow, warn or block.
    pub verdict: Verdict,
    /// The verdict that a monitor-only group was spared.
    pub spared: Option<Verdict>,
    /// Whether the person had chosen to continue past a warning.
    pub continued: bool,
    /// The rule that decided; nothing where the exchange ended before a decision.
    pub rule: Option<RuleRef>,
    /// The category that the rule matched.
    pub category: Option<crate::CategoryName>,
    /// Its theme.
    pub theme: Option<crate::ThemeName>,
    /// Whom to tell of what.
    pub concerns: Vec<Concern>,
    /// What the stages found.
    pub findings: Vec<Finding>,
    /// What went wrong in looking.
    pub fault: Option<Fault>,
    /// What the person wrote.
    pub written: Vec<WrittenText>,
    /// What was wrong with the origin's TLS: why it was refused, or what was overlooked.
    pub tls_problems: Vec<TlsProblem>,
    /// The exception under which it was overlooked; nothing where it was not.
    pub tls_exception: Option<RuleRef>,
    /// The status sent to the client.
    pub status: Option<u16>,
    /// Media type of the answer, without parameters.
    pub mime: Option<Box<str>>,
    /// Bytes of the request's body (of a tunnel: from the client).
    pub request_bytes: u64,
    /// Bytes of the answer's body (of a tunnel: to the client).
    pub response_bytes: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// More about how it ended, in words for a technician; names no person.
    pub detail: Option<Cow<'static, str>>,
    /// The policy that decided.
    pub policy_hash: Arc<str>,
}

impl Event {
    /// A new event about a client, before anything else is known. Until somebody says otherwise the client has
    /// gone away: an exchange that is dropped on the floor records just that.
    pub fn new(client: IpAddr, policy_hash: Arc<str>) -> Self {
        Self {
            id: EventId::new(),
            at: SystemTime::now(),
            duration: Duration::ZERO,
            client,
            user: None,
            identity_source: IdentitySource::None,
            group: None,
            method: Cow::Borrowed("-"),
            target: None,
            protocol: "HTTP/1.1",
            purpose: Purpose::Navigation,
            route: None,
            fronting: None,
            tls_refused: None,
            verdict: Verdict::Allow,
            spared: None,
            continued: false,
            rule: None,
            category: None,
            theme: None,
            concerns: Vec::new(),
            findings: Vec::new(),
            fault: None,
            written: Vec::new(),
            tls_problems: Vec::new(),
            tls_exception: None,
            status: None,
            mime: None,
            request_bytes: 0,
            response_bytes: 0,
            outcome: Outcome::ClientClosed,
            detail: None,
            policy_hash,
        }
    }

    /// Takes over a decision; a later one replaces an earlier one, but a concern once raised stays.
    pub fn decided(&mut self, decision: &Decision) {
        self.concerned(decision);
        self.verdict = decision.verdict;
        self.spared = decision.spared;
        self.rule = Some(decision.rule.clone());
        self.category = decision.category.clone();
        self.theme = decision.theme.clone();
        if decision.route.is_some() {
            self.route = decision.route;
        }
    }

    /// Takes over the concerns of a decision, and nothing else of it.
    pub fn concerned(&mut self, decision: &Decision) {
        add_concerns(&mut self.concerns, &decision.concerns);
    }

    /// Takes over a verdict that no policy was asked for, such as on a request that could not be understood. A
    /// decision of policy stays.
    pub fn ruled(&mut self, rule: &str, verdict: Verdict) {
        if self.rule.is_none() {
            self.rule = Some(RuleRef::built_in(rule));
            self.verdict = verdict;
        }
    }

    /// Takes back what policy decided on a CONNECT: what came in the tunnel is refused under this built-in rule.
    pub fn overruled(&mut self, rule: &str) {
        self.rule = Some(RuleRef::built_in(rule));
        self.verdict = Verdict::Block;
        self.route = Some(Route::Refuse);
        self.spared = None;
    }

    /// Notes how the exchange ended.
    pub fn ended(&mut self, outcome: Outcome, detail: impl Into<Option<Cow<'static, str>>>) {
        self.outcome = outcome;
        self.detail = detail.into();
    }
}

/// The journal cannot record: the disk is full, the log unwritable. No exchange may begin.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the access log cannot be written: {0}")]
pub struct Unrecordable(pub Arc<str>);

/// Records events. Implemented by `journal`.
pub trait Journal: Send + Sync {
    /// Reserves room for one event; waits while the journal is behind, fails while it cannot write. Each success
    /// must be followed by exactly one [`Journal::record`]; [`EventGuard`] sees to it.
    fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>>;

    /// Records an event for which room was reserved. Never waits, never fails.
    fn record(&self, event: Event);
}

/// Holds the event of an exchange that is under way, and records it when dropped: however the exchange ends, by
/// return, error, panic or a client that hangs up, there is one event.
pub struct EventGuard {
    /// In a box: the guard travels from station to station, and lies in every tunnel for as long as that is open.
    event: Option<Box<Event>>,
    began: Instant,
    journal: Arc<dyn Journal>,
}

impl EventGuard {
    /// Reserves room in the journal and begins an event.
    pub async fn begin(
        journal: &Arc<dyn Journal>,
        client: IpAddr,
        policy_hash: Arc<str>,
    ) -> Result<Self, Unrecordable> {
        let began = Instant::now();
        journal.reserve().await?;
        Ok(Self {
            event: Some(Box::new(Event::new(client, policy_hash))),
            began,
            journal: Arc::clone(journal),
        })
    }
}

impl std::ops::Deref for EventGuard {
    type Target = Event;
    fn deref(&self) -> &Event {
        self.event.as_deref().expect("the event leaves only in drop")
    }
}

impl std::ops::DerefMut for EventGuard {
    fn deref_mut(&mut self) -> &mut Event {
        self.event.as_deref_mut().expect("the event leaves only in drop")
    }
}

impl Drop for EventGuard {
    fn drop(&mut self) {
        let Some(mut event) = self.event.take() else { return };
        event.duration = self.began.elapsed();
        if std::thread::panicking() {
            event.ended(Outcome::Internal, Cow::Borrowed("the exchange panicked"));
        }
        self.journal.record(*event);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[derive(Default)]
    struct Memory(Mutex<Vec<Outcome>>);

    impl Journal for Memory {
        fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
            Box::pin(std::future::ready(Ok(())))
        }
        fn record(&self, event: Event) {
            self.0.lock().unwrap().push(event.outcome);
        }
    }

    fn begin(journal: &Arc<dyn Journal>) -> EventGuard {
        let future = pin!(EventGuard::begin(journal, Ipv4Addr::LOCALHOST.into(), "hash".into()));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(guard)) => guard,
            _ => panic!("ready at once"),
        }
    }

    #[test]
    fn one_event_however_it_ends() {
        let memory = Arc::new(Memory::default());
        let journal: Arc<dyn Journal> = memory.clone();
        begin(&journal).ended(Outcome::Completed, None);
        drop(begin(&journal));
        let panicking = Arc::clone(&journal);
        std::thread::spawn(move || {
            let _guard = begin(&panicking);
            panic!("on purpose");
        })
        .join()
        .unwrap_err();
        assert_eq!(*memory.0.lock().unwrap(), [Outcome::Completed, Outcome::ClientClosed, Outcome::Internal]);
    }
}
