//! Digests: what was noticed in a day or a week, by theme and person, gravest first. The daily one holds what is
//! immediate or daily; the weekly one holds everything.

use std::collections::BTreeMap;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span as Step, Timestamp, ToSpan};
use serde::Serialize;
use wardgate_core::{AlertLevel, GroupName, ThemeName};
use wardgate_store::alerts::MAX_ALERTS_READ;
use wardgate_store::{Alert, Person, Receiver, Span, Store};

use crate::{AlertError, letter};

/// A day, or a week from Monday, in a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    span: Span,
    first_day: Date,
    time_zone: TimeZone,
}

impl Period {
    /// The day, or the week around it.
    pub fn around(span: Span, day: Date, time_zone: &TimeZone) -> Self {
        let first_day = match span {
            Span::Day => day,
            Span::Week => {
                let since_monday = day.weekday().since(Weekday::Monday);
                day.saturating_sub(i64::from(since_monday).days())
            }
        };
        Self { span, first_day, time_zone: time_zone.clone() }
    }

    /// The day or week that a time falls into.
    pub fn containing(span: Span, time: Timestamp, time_zone: &TimeZone) -> Self {
        Self::around(span, time.to_zoned(time_zone.clone()).date(), time_zone)
    }

    /// The latest day or week that is over.
    pub fn last_before(span: Span, now: Timestamp, time_zone: &TimeZone) -> Self {
        let current = Self::containing(span, now, time_zone);
        Self { first_day: current.first_day.saturating_sub(length(span)), ..current }
    }

    /// Day or week.
    pub fn span(&self) -> Span {
        self.span
    }

    /// The first (or only) day.
    pub fn first_day(&self) -> Date {
        self.first_day
    }

    /// The beginning.
    pub fn from(&self) -> Timestamp {
        self.moment(self.first_day, Time::midnight())
    }

    /// The end: the first moment after it.
    pub fn to(&self) -> Timestamp {
        self.moment(self.day_after(), Time::midnight())
    }

    /// When its digest is made, if that is done at this time of day.
    fn due(&self, at: Time) -> Timestamp {
        self.moment(self.day_after(), at)
    }

    fn day_after(&self) -> Date {
        self.first_day.saturating_add(length(self.span))
    }

    /// A local time as a moment; one that the clocks skip counts as the hour after.
    fn moment(&self, day: Date, time: Time) -> Timestamp {
        let moment = self.time_zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible();
        moment.unwrap_or(if day.year() > 0 { Timestamp::MAX } else { Timestamp::MIN })
    }

    /// Whether a digest of this span tells of alerts of this level.
    fn tells_of(&self, level: AlertLevel) -> bool {
        match self.span {
            Span::Day => level >= AlertLevel::Daily,
            Span::Week => level > AlertLevel::None,
        }
    }
}

fn length(span: Span) -> Step {
    match span {
        Span::Day => 1.day(),
        Span::Week => 7.days(),
    }
}

/// What was noticed in a period. Serialises as the JSON of `wardgate report digest --json` and of the webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Digest {
    /// Day or week.
    pub span: Span,
    /// The first (or only) day.
    pub first_day: Date,
    /// The beginning.
    pub from: Timestamp,
    /// The end: the first moment after it.
    pub to: Timestamp,
    /// Everything together.
    pub totals: Totals,
    /// Whether there were more alerts than are summed up here ([`MAX_ALERTS_READ`]).
    pub truncated: bool,
    /// By theme, gravest first.
    pub themes: Vec<ThemeSummary>,
    #[serde(skip)]
    time_zone: TimeZone,
}

/// How much was noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Alerts of every level.
    pub alerts: u32,
    /// Exchanges that they count.
    pub exchanges: u32,
    /// Alerts that were immediate.
    pub immediate: u32,
    /// Alerts for the daily digest.
    pub daily: u32,
    /// Alerts for the weekly digest.
    pub weekly: u32,
}

impl Totals {
    fn add(&mut self, alert: &Alert) {
        self.alerts += 1;
        self.exchanges = self.exchanges.saturating_add(alert.exchanges);
        match alert.level {
            AlertLevel::Immediate => self.immediate += 1,
            AlertLevel::Daily => self.daily += 1,
            AlertLevel::Weekly => self.weekly += 1,
            AlertLevel::None => {}
        }
    }
}

/// What was noticed about a theme.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThemeSummary {
    /// The theme.
    pub theme: ThemeName,
    /// The gravest level.
    pub level: AlertLevel,
    /// Everything about it.
    pub totals: Totals,
    /// By person: gravest first, then most exchanges first.
    pub people: Vec<PersonSummary>,
}

/// What was noticed about a person and a theme.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PersonSummary {
    /// Who.
    #[serde(flatten)]
    pub person: Person,
    /// The person's group.
    pub group: Option<GroupName>,
    /// The gravest level.
    pub level: AlertLevel,
    /// Everything about the person and the theme.
    pub totals: Totals,
    /// When the first exchange was noticed.
    pub first_at: Timestamp,
    /// When the last exchange was noticed.
    pub last_at: Timestamp,
}

impl PersonSummary {
    fn new(alert: &Alert) -> Self {
        Self {
            person: alert.person.clone(),
            group: alert.group.clone(),
            level: alert.level,
            totals: Totals::default(),
            first_at: alert.first_at,
            last_at: alert.last_at,
        }
    }

    fn add(&mut self, alert: &Alert) {
        self.totals.add(alert);
        self.level = self.level.max(alert.level);
        self.first_at = self.first_at.min(alert.first_at);
        self.last_at = self.last_at.max(alert.last_at);
    }
}

/// Sums up a period from the alerts in the store.
pub async fn digest(store: &Store, period: &Period) -> Result<Digest, AlertError> {
    let alerts = store.alerts().between(period.from(), period.to()).await?;
    Ok(Digest::of(&alerts, period))
}

impl Digest {
    fn of(alerts: &[Alert], period: &Period) -> Self {
        let mut totals = Totals::default();
        let mut themes: BTreeMap<&ThemeName, BTreeMap<String, PersonSummary>> = BTreeMap::new();
        for alert in alerts.iter().filter(|alert| period.tells_of(alert.level)) {
            totals.add(alert);
            let people = themes.entry(&alert.theme).or_default();
            people.entry(alert.person.key()).or_insert_with(|| PersonSummary::new(alert)).add(alert);
        }
        let mut themes: Vec<_> = themes.into_iter().map(|(theme, people)| summary(theme, people)).collect();
        themes.sort_by_key(|theme| std::cmp::Reverse((theme.level, theme.totals.alerts)));
        Self {
            span: period.span,
            first_day: period.first_day,
            from: period.from(),
            to: period.to(),
            totals,
            truncated: alerts.len() >= MAX_ALERTS_READ as usize,
            themes,
            time_zone: period.time_zone.clone(),
        }
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.themes.is_empty()
    }

    /// The digest as plain text.
    pub fn text(&self) -> Result<String, AlertError> {
        letter::digest_text(self)
    }

    /// The digest as a page that needs nothing else.
    pub fn html(&self) -> Result<String, AlertError> {
        letter::digest_html(self)
    }

    /// The digest as JSON.
    pub fn json(&self) -> Result<String, AlertError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub(crate) fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }
}

/// Sums up a theme. `people` is in the order of their keys, which the sort keeps among equals.
fn summary(theme: &ThemeName, people: BTreeMap<String, PersonSummary>) -> ThemeSummary {
    let mut people: Vec<_> = people.into_values().collect();
    people.sort_by_key(|person| std::cmp::Reverse((person.level, person.totals.exchanges)));
    let mut totals = Totals::default();
    for each in people.iter().map(|person| person.totals) {
        totals.alerts += each.alerts;
        totals.exchanges = totals.exchanges.saturating_add(each.exchanges);
        totals.immediate += each.immediate;
        totals.daily += each.daily;
        totals.weekly += each.weekly;
    }
    let level = people.iter().map(|person| person.level).max().unwrap_or(AlertLevel::None);
    ThemeSummary { theme: theme.clone(), level, totals, people }
}

/// Makes the digests that are due at `now` and were not made yet, those missed while Wardgate was not running among
/// them; returns whether something was queued. A period in which nothing was noticed gets no message.
pub(crate) async fn make_due(
    store: &Store,
    receivers: &[Receiver],
    at: Time,
    time_zone: &TimeZone,
    now: Timestamp,
) -> Result<bool, AlertError> {
    let mut queued = false;
    for span in [Span::Day, Span::Week] {
        while let Some(period) = next_period(store, span, time_zone, now).await? {
            if period.due(at) > now {
                break;
            }
            let nothing = digest(store, &period).await?.is_empty();
            let receivers = if nothing { &[] } else { receivers };
            store.digests().make(span, period.first_day, receivers).await?;
            queued |= !receivers.is_empty();
        }
    }
    Ok(queued)
}

/// The first period with alerts after the latest one that has its digest. Where none has, it begins with the latest
/// that is over: a new database may have read months of the log.
async fn next_period(
    store: &Store,
    span: Span,
    time_zone: &TimeZone,
    now: Timestamp,
) -> Result<Option<Period>, AlertError> {
    let today = now.to_zoned(time_zone.clone()).date();
    let since = match store.digests().latest(span, today).await? {
        Some(first_day) => Period::around(span, first_day, time_zone).to(),
        None => Period::last_before(span, now, time_zone).from(),
    };
    let first = store.alerts().first_since(since).await?;
    Ok(first.map(|first| Period::containing(span, first, time_zone)))
}

/// When digests are next made after `now`.
pub(crate) fn next_making(at: Time, time_zone: &TimeZone, now: Timestamp) -> Timestamp {
    let yesterday = Period::last_before(Span::Day, now, time_zone);
    let today = Period::containing(Span::Day, now, time_zone);
    [yesterday.due(at), today.due(at)].into_iter().find(|due| *due > now).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use wardgate_core::AlertLevel::{Daily, Immediate, Weekly};

    use super::*;
    use crate::testing::{alert, golden, keep, london, store, webhook};

    fn period(span: Span, day: Date) -> Period {
        Period::around(span, day, &london())
    }

    const AT: Time = Time::constant(8, 0, 0, 0);

    #[test]
    fn periods() {
        for (name, span, day, from, to, due) in [
            (
                "a day in winter",
                Span::Day,
                "2026-11-20",
                "2026-11-20T00:00Z",
                "2026-11-21T00:00Z",
                "2026-11-21T08:00Z",
            ),
            (
                "a day in summer",
                Span::Day,
                "2026-07-01",
                "2026-06-30T23:00Z",
                "2026-07-01T23:00Z",
                "2026-07-02T07:00Z",
            ),
            (
                "clocks go back",
                Span::Day,
                "2026-10-25",
                "2026-10-24T23:00Z",
                "2026-10-26T00:00Z",
                "2026-10-26T08:00Z",
            ),
            (
                "a Monday",
                Span::Week,
                "2026-11-16",
                "2026-11-16T00:00Z",
                "2026-11-23T00:00Z",
                "2026-11-23T08:00Z",
            ),
            (
                "a Sunday",
                Span::Week,
                "2026-11-22",
                "2026-11-16T00:00Z",
                "2026-11-23T00:00Z",
                "2026-11-23T08:00Z",
            ),
        ] {
            let period = period(span, day.parse().unwrap());
            let shown = [period.from(), period.to(), period.due(AT)];
            assert_eq!(shown, [from, to, due].map(|time| time.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn the_next_making() {
        for (now, expected) in [
            ("2026-11-21T07:59:59Z", "2026-11-21T08:00Z"),
            ("2026-11-21T08:00Z", "2026-11-22T08:00Z"),
            ("2026-11-21T23:30Z", "2026-11-22T08:00Z"),
        ] {
            let next = next_making(AT, &london(), now.parse().unwrap());
            assert_eq!(next, expected.parse().unwrap(), "{now}");
        }
    }

    #[test]
    fn gravest_first() {
        let alerts = [
            alert("alice", "gaming", Weekly, "2026-11-20T09:00Z", 50),
            alert("alice", "bullying", Daily, "2026-11-20T09:00Z", 2),
            alert("bob", "bullying", Daily, "2026-11-20T09:00Z", 9),
            alert("carol", "self-harm", Immediate, "2026-11-20T09:00Z", 1),
            alert("carol", "self-harm", Daily, "2026-11-20T10:00Z", 4),
        ];
        let day = Digest::of(&alerts, &period(Span::Day, Date::constant(2026, 11, 20)));
        let order: Vec<_> = day
            .themes
            .iter()
            .map(|theme| (theme.theme.as_str(), theme.people.iter().map(|p| p.totals.exchanges).collect()))
            .collect();
        assert_eq!(order, [("self-harm", vec![5]), ("bullying", vec![9, 2])]);
        assert_eq!(day.totals, Totals { alerts: 4, exchanges: 16, immediate: 1, daily: 3, weekly: 0 });

        let week = Digest::of(&alerts, &period(Span::Week, Date::constant(2026, 11, 20)));
        assert_eq!((week.themes.len(), week.totals.weekly), (3, 1));
    }

    #[tokio::test]
    async fn each_due_digest_is_made_once() {
        let (_directory, store) = store().await;
        keep(&store, &alert("alice", "self-harm", Daily, "2026-11-17T12:00Z", 1)).await;
        keep(&store, &alert("alice", "gaming", Weekly, "2026-11-19T12:00Z", 1)).await;
        keep(&store, &alert("alice", "self-harm", Daily, "2026-11-20T12:00Z", 1)).await;
        let receivers = [webhook()];
        let mut made = Vec::new();
        for now in [
            "2026-11-18T07:59Z",
            "2026-11-18T08:00Z",
            "2026-11-18T08:01Z",
            "2026-11-22T09:00Z",
            "2026-11-23T08:00Z",
            "2026-11-30T08:00Z",
        ] {
            let queued = make_due(&store, &receivers, AT, &london(), now.parse().unwrap()).await.unwrap();
            made.push((now, queued));
        }
        assert_eq!(
            made,
            [
                ("2026-11-18T07:59Z", false),
                ("2026-11-18T08:00Z", true),
                ("2026-11-18T08:01Z", false),
                // The days that were missed; the 19th has only what the week tells of.
                ("2026-11-22T09:00Z", true),
                ("2026-11-23T08:00Z", true),
                ("2026-11-30T08:00Z", false),
            ]
        );
        let expected = [(Span::Day, "2026-11-17"), (Span::Day, "2026-11-20"), (Span::Week, "2026-11-16")];
        assert_eq!(told(&store).await, expected.map(|(span, day)| (span, day.to_owned())));
    }

    /// The digests that are queued for the webhook.
    async fn told(store: &Store) -> Vec<(Span, String)> {
        let mut told = Vec::new();
        while let Some(delivery) = store.deliveries().take(webhook().channel, Timestamp::MAX).await.unwrap() {
            let wardgate_store::Subject::Digest(id) = delivery.subject else { panic!("a digest") };
            let record = store.digests().find(id).await.unwrap().unwrap();
            told.push((record.span, record.first_day.to_string()));
        }
        told
    }

    #[tokio::test]
    async fn a_new_store_tells_of_the_latest_periods_only() {
        let (_directory, store) = store().await;
        for day in ["2026-09-01", "2026-11-10", "2026-11-19", "2026-11-20", "2026-11-21"] {
            keep(&store, &alert("alice", "self-harm", Daily, &format!("{day}T08:30Z"), 1)).await;
        }
        for (now, expected) in [
            ("2026-11-21T09:00Z", &[(Span::Day, "2026-11-20"), (Span::Week, "2026-11-09")][..]),
            ("2026-11-23T09:00Z", &[(Span::Day, "2026-11-21"), (Span::Week, "2026-11-16")]),
        ] {
            make_due(&store, &[webhook()], AT, &london(), now.parse().unwrap()).await.unwrap();
            let expected: Vec<_> = expected.iter().map(|(span, day)| (*span, (*day).to_owned())).collect();
            assert_eq!(told(&store).await, expected, "{now}");
        }
    }

    #[tokio::test]
    async fn a_digest_as_text_page_and_json() {
        let (_directory, store) = store().await;
        keep(&store, &alert("alice", "self-harm", Immediate, "2026-11-20T10:02Z", 3)).await;
        keep(&store, &alert("bob <b>", "bullying", Daily, "2026-11-20T11:00Z", 12)).await;
        keep(&store, &alert("", "bullying", Daily, "2026-11-20T15:30Z", 1)).await;
        let digest = digest(&store, &period(Span::Day, Date::constant(2026, 11, 20))).await.unwrap();
        golden("digest.txt", &digest.text().unwrap());
        let html = digest.html().unwrap();
        assert!(!html.contains("<b>"), "names are escaped");
        golden("digest.html", &html);
        golden("digest.json", &(digest.json().unwrap() + "\n"));
    }

    #[tokio::test]
    async fn a_quiet_day_says_so() {
        let (_directory, store) = store().await;
        let digest = digest(&store, &period(Span::Day, Date::constant(2026, 11, 20))).await.unwrap();
        assert!(digest.is_empty());
        assert!(digest.text().unwrap().contains("Nothing was noticed"));
        assert!(digest.html().unwrap().contains("Nothing was noticed"));
    }
}
