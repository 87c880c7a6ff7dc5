//! Shows the text of a body to the stages as it streams, and asks policy again whenever they find something new.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use metrics::counter;
use tokio::time::{Instant, sleep};
use wardgate_core::{
    CertificateException, Decision, Fault, Finding, Membership, Phase, Purpose, Question, Report,
    RequestHead, Ruleset, Scan, Target, TextKind, Verdict, Who,
};
use wardgate_text::{Extractor, Limits, Memory, Room, TextError};

/// How long a body may wait for room before it is given up, and how often it asks meanwhile.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
const ROOM_ASKED: Duration = Duration::from_millis(50);
/// What every body that is read holds beside its decoders: text on its way to the stages, and what they remember.
const BODY_BYTES: usize = TEXT_KEPT + 16 * 1024;
/// The room for text that a body keeps from one piece to the next.
const TEXT_KEPT: usize = 32 * 1024;

/// What every question about one exchange has in common.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) rules: Arc<Ruleset>,
    pub(crate) who: Who,
    pub(crate) membership: Membership,
    pub(crate) method: http::Method,
    pub(crate) target: Target,
    /// The same request at the other host that its tunnel is said to be for, where its names do not agree.
    pub(crate) beside: Option<Target>,
    pub(crate) purpose: Purpose,
}

impl Context {
    /// Asks policy. The only place in the proxy that does. Where an exchange goes by two names, the stricter answer
    /// counts.
    pub(crate) fn decide(&self, phase: Phase, findings: &[Finding], fault: Option<Fault>) -> Decision {
        let question = Question {
            phase,
            who: &self.who,
            membership: &self.membership,
            at: SystemTime::now(),
            method: self.method.as_str(),
            target: &self.target,
            purpose: self.purpose,
            findings,
            fault,
        };
        let decision = self.rules.policy.decide(&question);
        match &self.beside {
            Some(beside) => {
                decision.stricter(self.rules.policy.decide(&Question { target: beside, ..question }))
            }
            None => decision,
        }
    }

    /// Shows the request's head to the stages.
    pub(crate) fn look(&self, content_type: Option<&str>) -> Result<Report, Fault> {
        let mut report = self.look_at(&self.target, content_type)?;
        if let Some(beside) = &self.beside {
            report.findings.append(&mut self.look_at(beside, content_type)?.findings);
        }
        Ok(report)
    }

    fn look_at(&self, target: &Target, content_type: Option<&str>) -> Result<Report, Fault> {
        let head = RequestHead { method: self.method.as_str(), target, content_type };
        self.rules.pipeline.request(&head).map_err(|failure| Fault::Stage(failure.stage))
    }

    /// What policy overlooks of the origin's certificate.
    pub(crate) fn certificate_exception(&self) -> Option<&Arc<CertificateException>> {
        self.rules.policy.certificate_exception(self.target.host(), SystemTime::now())
    }
}

/// One body on its way past the stages.
pub(crate) struct Watch {
    context: Arc<Context>,
    kind: TextKind,
    /// Nothing once looking has failed. In a box, because most exchanges have none.
    reader: Option<Box<Reader>>,
    /// What the request's head led to.
    before: Arc<[Finding]>,
    found: Vec<Finding>,
    fault: Option<Fault>,
    text_bytes: u64,
    /// What this body holds of the memory that all share, beside its decoders.
    room: Room,
}

struct Reader {
    extractor: Extractor,
    scan: Scan,
    text: String,
}

impl Watch {
    /// Begins to watch a body of this media type and coding; nothing where it holds no text or no stage cares. Where
    /// the coding is unknown the watch begins with a fault: [`Watch::verdict`] says what follows.
    pub(crate) fn begin(
        context: &Arc<Context>,
        kind: TextKind,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        before: &Arc<[Finding]>,
    ) -> Option<Self> {
        let mut watch = Self {
            context: Arc::clone(context),
            kind,
            reader: None,
            before: Arc::clone(before),
            found: Vec::new(),
            fault: None,
            text_bytes: 0,
            room: Room::default(),
        };
        match Extractor::new(content_type, content_encoding, Limits::default()) {
            Ok(None) => return None,
            Ok(Some(extractor)) => match context.rules.pipeline.scan(kind) {
                Ok(scan) if scan.is_idle() => return None,
                Ok(scan) => watch.reader = Some(Box::new(Reader { extractor, scan, text: String::new() })),
                Err(failure) => watch.fault = Some(Fault::Stage(failure.stage)),
            },
            Err(error) => watch.fault = Some(fault(&error)),
        }
        Some(watch)
    }

    /// Waits for room among the bodies that are being read. Where there is none in time, that is a fault.
    pub(crate) async fn enter(&mut self, memory: &Arc<Memory>) {
        let Some(reader) = &mut self.reader else { return };
        let deadline = Instant::now() + ROOM_PATIENCE;
        loop {
            if let Some(room) = memory.begin(BODY_BYTES) {
                reader.extractor.hold_in(room.another());
                self.room = room;
                return;
            }
            if Instant::now() >= deadline {
                return self.give_up(Fault::NoRoom);
            }
            sleep(ROOM_ASKED).await; // rare, and no queue to be kept in order
        }
    }

    /// Room for what is held back of this body.
    pub(crate) fn room_for_held(&self) -> Room {
        self.room.another()
    }

    /// Says that what is held back of this body has no room; the decision on that.
    pub(crate) fn overflow(&mut self) -> Decision {
        self.give_up(Fault::NoRoom);
        self.verdict()
    }

    fn give_up(&mut self, fault: Fault) {
        if fault == Fault::NoRoom {
            counter!("wardgate_scan_no_room_total").increment(1);
        }
        self.fault = Some(fault);
        self.reader = None;
        self.room = Room::default();
    }

    /// What went wrong in looking, if anything.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Bytes of readable text seen so far.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.text_bytes
    }

    /// What was found in this body.
    pub(crate) fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.found)
    }

    /// Shows the next bytes as they came over the wire; a decision where there is something new to decide.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Decision> {
        self.step(|reader| reader.extractor.push(bytes, &mut reader.text), false)
    }

    /// Says that the body has ended; a decision where there is something new to decide.
    pub(crate) fn end(&mut self) -> Option<Decision> {
        let decision = self.step(|reader| reader.extractor.finish(&mut reader.text), true);
        self.reader = None;
        self.room = Room::default();
        decision
    }

    /// The decision on what is known now.
    pub(crate) fn verdict(&self) -> Decision {
        let mut findings = Vec::with_capacity(self.before.len() + self.found.len());
        findings.extend_from_slice(&self.before);
        findings.extend_from_slice(&self.found);
        self.context.decide(Phase::Text(self.kind), &findings, self.fault)
    }

    fn step(
        &mut self,
        extract: impl FnOnce(&mut Reader) -> Result<(), TextError>,
        at_end: bool,
    ) -> Option<Decision> {
        let reader = self.reader.as_mut()?;
        let extracted = extract(reader);
        self.text_bytes += reader.text.len() as u64;
        let scanned = reader.inspect(at_end);
        reader.text.clear();
        reader.text.shrink_to(TEXT_KEPT);
        let (changed, failed) = match (extracted, scanned) {
            (_, Err(failure)) => (false, Some(Fault::Stage(failure.stage))),
            (extracted, Ok(found)) => {
                let changed = found.is_some();
                self.found = found.unwrap_or_else(|| std::mem::take(&mut self.found));
                (changed, extracted.err().map(|error| fault(&error)))
            }
        };
        if !changed && failed.is_none() {
            return None;
        }
        if let Some(fault) = failed {
            self.give_up(fault);
        }
        Some(self.verdict())
    }
}

impl Reader {
    /// Shows the extracted text to the stages; the findings where they changed.
    fn inspect(&mut self, at_end: bool) -> Result<Option<Vec<Finding>>, wardgate_core::StageFailure> {
        let mut changed = !self.text.is_empty() && self.scan.text(&self.text)?;
        if at_end {
            changed |= self.scan.end()?;
        }
        if changed { self.scan.findings().map(Some) } else { Ok(None) }
    }
}

/// Whether a decision stops the bytes of a body.
pub(crate) fn stops(decision: &Decision) -> bool {
    decision.verdict == Verdict::Block
}

fn fault(error: &TextError) -> Fault {
    match error {
        TextError::Bomb { .. } => Fault::Bomb,
        TextError::NoRoom => Fault::NoRoom,
        TextError::Undecodable { .. } => Fault::Undecodable,
    }
}
