//! Which alert a concern belongs to: a person who looks at twenty pages in five minutes is one alert and one message.

use jiff::SignedDuration;
use wardgate_core::AlertLevel;
use wardgate_store::{Alert, AlertId};

use crate::concern::Concerned;

/// How long after its first exchange an alert takes in more, and how long its receivers get no second message.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long before its window a concern still belongs to an alert: exchanges that end together are recorded in any
/// order. No longer, as the window of an alert from a clock that ran ahead lies in the future.
const EARLY: SignedDuration = SignedDuration::from_secs(10);
/// Longest time from a concern to the end of the window of its alert.
pub(crate) const LONGEST_LEFT: SignedDuration = SignedDuration::from_secs(WINDOW.as_secs() + EARLY.as_secs());

/// An alert after a concern was added.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Grouped {
    /// The alert as it is now.
    pub(crate) alert: Alert,
    /// Whether the concern began a new alert.
    pub(crate) opened: bool,
    /// Whether somebody must be told at once: the alert has just become immediate.
    pub(crate) urgent: bool,
}

/// Adds a concern to the latest alert about the same person and theme, or begins a new one. An alert that becomes
/// immediate half way begins its window anew, as its message is sent only now.
pub(crate) fn group(latest: Option<Alert>, concerned: &Concerned) -> Grouped {
    let level = concerned.event.level;
    let Some(mut alert) = latest.filter(|alert| takes_in(alert, concerned)) else {
        return Grouped { alert: open(concerned), opened: true, urgent: level == AlertLevel::Immediate };
    };
    let urgent = level == AlertLevel::Immediate && alert.level < level;
    if urgent {
        alert.window_ends_at = concerned.noticed_at + WINDOW;
    }
    alert.level = alert.level.max(level);
    alert.first_at = alert.first_at.min(concerned.noticed_at);
    alert.last_at = alert.last_at.max(concerned.noticed_at);
    alert.exchanges = alert.exchanges.saturating_add(1);
    Grouped { alert, opened: false, urgent }
}

fn takes_in(alert: &Alert, concerned: &Concerned) -> bool {
    let left = alert.window_ends_at.duration_since(concerned.noticed_at);
    left.is_positive() && left <= LONGEST_LEFT
}

fn open(concerned: &Concerned) -> Alert {
    Alert {
        id: AlertId::new(),
        person: concerned.person.clone(),
        group: concerned.group.clone(),
        theme: concerned.theme.clone(),
        level: concerned.event.level,
        first_at: concerned.noticed_at,
        last_at: concerned.noticed_at,
        window_ends_at: concerned.noticed_at + WINDOW,
        exchanges: 1,
    }
}

#[cfg(test)]
mod tests {
    use wardgate_core::AlertLevel::{Daily, Immediate, Weekly};

    use super::*;
    use crate::testing::concerned;

    /// What became of each concern: the number of its alert, and whether it was urgent.
    fn run(concerns: &[(i64, AlertLevel)]) -> Vec<(usize, bool)> {
        let mut latest: Option<Alert> = None;
        let mut alerts = 0;
        concerns
            .iter()
            .map(|(second, level)| {
                let grouped = group(latest.take(), &concerned(*second, *level));
                alerts += usize::from(grouped.opened);
                latest = Some(grouped.alert);
                (alerts, grouped.urgent)
            })
            .collect()
    }

    #[test]
    fn windows() {
        for (name, concerns, expected) in [
            ("the first of an immediate alert is told", &[(0, Immediate)][..], &[(1, true)][..]),
            ("the first of a daily one is not", &[(0, Daily)], &[(1, false)]),
            (
                "later ones grow it",
                &[(0, Immediate), (1, Immediate), (599, Daily)],
                &[(1, true), (1, false), (1, false)],
            ),
            ("the window ends", &[(0, Immediate), (600, Immediate)], &[(1, true), (2, true)]),
            (
                "it does not slide",
                &[(0, Daily), (500, Daily), (700, Daily)],
                &[(1, false), (1, false), (2, false)],
            ),
            (
                "raised half way",
                &[(0, Weekly), (60, Immediate), (61, Immediate)],
                &[(1, false), (1, true), (1, false)],
            ),
            (
                "raised twice",
                &[(0, Weekly), (60, Daily), (61, Immediate)],
                &[(1, false), (1, false), (1, true)],
            ),
            (
                "raising begins the window anew",
                &[(0, Weekly), (590, Immediate), (700, Immediate), (1190, Immediate)],
                &[(1, false), (1, true), (1, false), (2, true)],
            ),
            ("recorded in another order", &[(10, Immediate), (0, Immediate)], &[(1, true), (1, false)]),
            ("a clock that went back", &[(11, Immediate), (0, Immediate)], &[(1, true), (2, true)]),
            ("a clock that ran ahead", &[(86_400, Immediate), (0, Immediate)], &[(1, true), (2, true)]),
        ] {
            assert_eq!(run(concerns), expected, "{name}");
        }
    }

    #[test]
    fn an_alert_grows() {
        let opened = group(None, &concerned(10, Daily)).alert;
        let grown = group(Some(opened.clone()), &concerned(5, Weekly)).alert;
        let grown = group(Some(grown), &concerned(20, Immediate)).alert;
        assert_eq!((grown.id, grown.exchanges, grown.level), (opened.id, 3, Immediate));
        assert_eq!((grown.last_at - grown.first_at).get_seconds(), 15);
    }
}
