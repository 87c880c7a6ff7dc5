//! What a line of the access log says about a person: one [`Concerned`] for each theme.

use jiff::{SignedDuration, Timestamp};
use wardgate_core::{AlertLevel, CategoryName, GroupName, ThemeName, UserName};
use wardgate_journal::Record;
use wardgate_journal::record::{RecordedConcern, RecordedFinding};
use wardgate_store::{AlertEvent, Found, FoundPhrase, Person, WrittenWords};

/// Most findings that are kept with an exchange.
const MAX_FOUND: usize = 8;
/// Most phrases that are kept with a finding.
const MAX_PHRASES: usize = 8;
/// Most texts of the person that are kept with an exchange.
const MAX_WRITTEN: usize = 4;

/// One exchange of a person that touches one theme.
#[derive(Clone, Debug)]
pub(crate) struct Concerned {
    pub(crate) person: Person,
    pub(crate) group: Option<GroupName>,
    pub(crate) theme: ThemeName,
    /// When the exchange ended and was recorded: grows along the log, which the beginning does not.
    pub(crate) noticed_at: Timestamp,
    pub(crate) event: AlertEvent,
}

/// The concerns of a line; none for most.
pub(crate) fn concerns(record: &Record<'_>) -> Vec<Concerned> {
    let at = Timestamp::try_from(record.at).unwrap_or(Timestamp::UNIX_EPOCH);
    let duration = SignedDuration::from_nanos(i64::try_from(record.duration).unwrap_or(i64::MAX));
    let noticed_at = at.checked_add(duration).unwrap_or(at);
    record
        .concerns
        .iter()
        .filter(|concern| concern.level > AlertLevel::None)
        .map(|concern| Concerned {
            person: Person { user: record.user.as_deref().map(UserName::new), client: record.client },
            group: record.group.as_deref().map(GroupName::new),
            theme: ThemeName::new(&*concern.theme),
            noticed_at,
            event: event(record, concern, at),
        })
        .collect()
}

fn event(record: &Record<'_>, concern: &RecordedConcern<'_>, at: Timestamp) -> AlertEvent {
    let about = record.findings.iter().filter(|finding| finding.category == concern.category);
    AlertEvent {
        event_id: record.id.to_string(),
        at,
        url: record.url.as_deref().map(str::to_owned),
        verdict: record.decision,
        spared: record.spared,
        category: CategoryName::new(&*concern.category),
        level: concern.level,
        evidence: about.take(MAX_FOUND).map(found).collect(),
        written: record
            .written
            .iter()
            .take(MAX_WRITTEN)
            .map(|text| WrittenWords {
                kind: text.kind,
                service: text.service.to_string(),
                text: text.text.to_string(),
            })
            .collect(),
    }
}

fn found(finding: &RecordedFinding<'_>) -> Found {
    Found {
        kind: finding.kind,
        list: finding.list.as_deref().map(str::to_owned),
        entry: finding.entry.as_deref().map(str::to_owned),
        phrases: finding
            .phrases
            .iter()
            .filter(|phrase| phrase.weight > 0.0)
            .take(MAX_PHRASES)
            .map(|phrase| FoundPhrase {
                phrase: phrase.phrase.to_string(),
                snippet: phrase.snippet.to_string(),
                count: phrase.count,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, Seen};

    #[test]
    fn one_for_each_theme_that_matters() {
        let seen = Seen {
            themes: &[("self-harm", AlertLevel::Immediate), ("gaming", AlertLevel::None)],
            ..Seen::default()
        };
        let event = seen.event();
        let record = Record::from(&event);
        let [concerned] = &concerns(&record)[..] else { panic!("one concern") };
        assert_eq!(concerned.theme.as_str(), "self-harm");
        assert_eq!(concerned.event.event_id, event.id.to_string());
        assert_eq!(concerned.noticed_at, testing::time(seen.at) + SignedDuration::from_secs(2), "its end");
        assert_eq!(concerned.event.at, testing::time(seen.at), "its beginning");
        assert_eq!(concerned.event.evidence[0].phrases[0].phrase, "hurt myself");
        assert_eq!(concerned.event.written[0].text, "how to hurt myself");
    }

    #[test]
    fn a_quiet_line_has_none() {
        let event = Seen { themes: &[], ..Seen::default() }.event();
        assert!(concerns(&Record::from(&event)).is_empty());
    }
}
