//! Runs the stages in their order and keeps a stage that panics from taking the exchange with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::{Finding, Inspector, Report, RequestHead, Stage, TextKind};

/// A stage that panicked. The exchange follows the group's `on_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stage `{stage}` failed")]
pub struct StageFailure {
    /// The stage's name.
    pub stage: &'static str,
}

/// The stages of one policy, in order.
#[derive(Clone, Default)]
pub struct Pipeline {
    stages: Vec<Arc<dyn Stage>>,
}

impl Pipeline {
    /// A pipeline of these stages, run in this order.
    pub fn new(stages: Vec<Arc<dyn Stage>>) -> Self {
        Self { stages }
    }

    /// Shows a request's head to every stage, and what the person wrote in it to every inspector.
    pub fn request(&self, head: &RequestHead<'_>) -> Result<Report, StageFailure> {
        let mut report = Report::default();
        for stage in &self.stages {
            guarded(stage.name(), || stage.request(head, &mut report))?;
        }
        for written in std::mem::take(&mut report.written) {
            report.findings.append(&mut self.text(written.kind, &written.text)?);
            report.written.push(written);
        }
        Ok(report)
    }

    /// What all stages find in one whole text.
    pub fn text(&self, kind: TextKind, text: &str) -> Result<Vec<Finding>, StageFailure> {
        let mut scan = self.scan(kind)?;
        scan.text(text)?;
        scan.end()?;
        scan.findings()
    }

    /// Begins to scan a text of this kind that will arrive in pieces.
    pub fn scan(&self, kind: TextKind) -> Result<Scan, StageFailure> {
        let mut inspectors = Vec::with_capacity(self.stages.len());
        for stage in &self.stages {
            if let Some(inspector) = guarded(stage.name(), || stage.inspector(kind))? {
                inspectors.push((stage.name(), inspector));
            }
        }
        Ok(Scan { inspectors })
    }
}

/// One text on its way past the inspectors of all stages.
pub struct Scan {
    inspectors: Vec<(&'static str, Box<dyn Inspector>)>,
}

impl Scan {
    /// Whether no stage wants to see this text.
    pub fn is_idle(&self) -> bool {
        self.inspectors.is_empty()
    }

    /// Shows the next piece; returns whether the findings changed.
    pub fn text(&mut self, piece: &str) -> Result<bool, StageFailure> {
        self.each(|inspector| inspector.text(piece))
    }

    /// Says that the text has ended; returns whether the findings changed.
    pub fn end(&mut self) -> Result<bool, StageFailure> {
        self.each(|inspector| inspector.end())
    }

    /// What was found so far.
    pub fn findings(&self) -> Result<Vec<Finding>, StageFailure> {
        let mut findings = Vec::new();
        for (stage, inspector) in &self.inspectors {
            guarded(stage, || inspector.findings(&mut findings))?;
        }
        Ok(findings)
    }

    fn each(&mut self, mut job: impl FnMut(&mut dyn Inspector) -> bool) -> Result<bool, StageFailure> {
        let mut changed = false;
        for (stage, inspector) in &mut self.inspectors {
            changed |= guarded(stage, || job(inspector.as_mut()))?;
        }
        Ok(changed)
    }
}

/// Runs a stage's code; a panic becomes a [`StageFailure`]. What the stage left half done is not looked at again:
/// the failure ends the scan.
fn guarded<T>(stage: &'static str, job: impl FnOnce() -> T) -> Result<T, StageFailure> {
    catch_unwind(AssertUnwindSafe(job)).map_err(|_| {
        tracing::error!(stage, "a stage panicked; the exchange follows the group's on_error");
        StageFailure { stage }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Evidence, Target};

    /// Finds the category `long` once it has seen more than ten bytes; panics at `!`.
    struct Probe;
    struct Seen(u64);

    impl Stage for Probe {
        fn name(&self) -> &'static str {
            "probe"
        }
        fn request(&self, head: &RequestHead<'_>, report: &mut Report) {
            if let Some(query) = head.target.query() {
                report.written.push(crate::Written {
                    kind: TextKind::Search,
                    service: "probe",
                    text: query.into(),
                });
            }
        }
        fn inspector(&self, _kind: TextKind) -> Option<Box<dyn Inspector>> {
            Some(Box::new(Seen(0)))
        }
    }

    impl Inspector for Seen {
        fn text(&mut self, piece: &str) -> bool {
            assert!(!piece.contains('!'), "a probe's panic");
            self.0 += piece.len() as u64;
            true
        }
        fn end(&mut self) -> bool {
            false
        }
        fn findings(&self, into: &mut Vec<Finding>) {
            if self.0 > 10 {
                into.push(Finding {
                    stage: "probe",
                    category: "long".into(),
                    kind: TextKind::Search,
                    score: self.0 as f32,
                    evidence: Evidence::Phrases(Vec::new()),
                });
            }
        }
    }

    fn pipeline() -> Pipeline {
        Pipeline::new(vec![Arc::new(Probe)])
    }

    #[test]
    fn what_a_person_wrote_is_inspected() {
        let target = Target::parse("https://search.example/?a-long-search").unwrap();
        let head = RequestHead { method: "GET", target: &target, content_type: None };
        let report = pipeline().request(&head).unwrap();
        assert_eq!(report.findings.len(), 1);
        assert_eq!(&*report.written[0].text, "a-long-search");
    }

    #[test]
    fn a_panic_is_a_failure_of_that_stage() {
        assert_eq!(pipeline().text(TextKind::Page, "oh!"), Err(StageFailure { stage: "probe" }));
    }
}
