//! `certificates.toml`: hosts whose certificate is not as it should be and which must work all the same, for a while.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use toml::Spanned;
use toml::value::Datetime;
use wardgate_core::{CertificateException, Excusable, Fingerprint, Host, TlsProblem};

use super::values::{Breadth, host};
use super::{Resolver, rule_ref};
use crate::policy::CERTIFICATE_EXCEPTION;
use crate::raw;
use crate::source::{Entry, Source, suggesting};

/// The longest time for which an exception can be written: whoever needs it longer looks at it again every year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Exceptions by their host; its subdomains are not meant.
pub(crate) type CertificateExceptions = HashMap<Host, Arc<CertificateException>>;

impl<'a> Resolver<'a> {
    pub(super) fn certificates(&mut self) -> CertificateExceptions {
        let Some(document) = self.optional("certificates.toml") else { return HashMap::new() };
        let source = document.source;
        let entries: Vec<Entry<raw::CertificateException>> = self.only_tables(document, "exception");
        let mut exceptions = HashMap::new();
        for entry in entries {
            let span = entry.value.host.span();
            let Some((host, exception)) = self.exception(source, entry) else { continue };
            if exceptions.insert(host.clone(), Arc::new(exception)).is_some() {
                let message = format!("`{host}` has two exceptions");
                self.problems.push(source.error(span, message).help("write one that accepts both"));
            }
        }
        exceptions
    }

    /// One exception; nothing where it is wrong or over.
    fn exception(
        &mut self,
        source: Source<'_>,
        entry: Entry<raw::CertificateException>,
    ) -> Option<(Host, CertificateException)> {
        let Entry { span, value, sound } = entry;
        let before = self.problems.len();
        let host = host(source, &value.host, Breadth::Exact, &mut self.problems);
        let fingerprint = value.fingerprint.as_ref().and_then(|text| self.fingerprint(source, text));
        let accept = self.accepted(source, &value);
        let reason = self.said(source, "reason", &value.reason);
        let until = self.until(source, &value.until);
        if !sound || self.problems.len() > before {
            return None; // a mistake stops the policy; an exception that is over is left out with its warning
        }
        let host = host?;
        let exception = CertificateException {
            host: host.to_string().into(),
            accept,
            fingerprint,
            reason,
            until: until?,
            rule: rule_ref(source, CERTIFICATE_EXCEPTION, span),
        };
        Some((host, exception))
    }

    fn accepted(&mut self, source: Source<'_>, value: &raw::CertificateException) -> Vec<TlsProblem> {
        if value.accept.get_ref().is_empty() {
            self.problems.push(source.error(value.accept.span(), "`accept` is empty"));
        }
        let mut accept = Vec::new();
        for name in value.accept.get_ref() {
            let span = name.span();
            let Some(problem) = TlsProblem::named(name.get_ref()) else {
                let message = format!("unknown problem `{}`", name.get_ref());
                let known = TlsProblem::ALL.iter().map(|problem| problem.as_str());
                self.problems.push(suggesting(source.error(span, message), name.get_ref(), known));
                continue;
            };
            match problem.excusable() {
                Excusable::Yes => accept.push(problem),
                Excusable::Pinned if value.fingerprint.is_some() => accept.push(problem),
                Excusable::Pinned => {
                    let message = format!("`{problem}` needs the `fingerprint` of the certificate");
                    let help = "without it anybody who answers in the site's place would be believed; \
                                `wardgate.detail` in the access log names what the site presents";
                    self.problems.push(source.error(span, message).help(help));
                }
                Excusable::Never => {
                    let message = format!("`{problem}` is never accepted");
                    let help = "have the site mended; for a site that must be reached as it is, see \
                                never-intercept.toml: its users then meet the browser's own warning";
                    self.problems.push(source.error(span, message).help(help));
                }
            }
        }
        accept.sort();
        accept.dedup();
        accept
    }

    fn fingerprint(&mut self, source: Source<'_>, text: &raw::Text) -> Option<Fingerprint> {
        let parsed = fingerprint(text.get_ref());
        if parsed.is_none() {
            let message = format!("`{}` is not a fingerprint", text.get_ref());
            let help = "write `sha256:` and 64 hexadecimal digits, as `openssl x509 -fingerprint -sha256` prints \
                        them, with colons or without";
            self.problems.push(source.error(text.span(), message).help(help));
        }
        parsed
    }

    /// The end of the day that is named.
    fn until(&mut self, source: Source<'_>, date: &Spanned<Datetime>) -> Option<SystemTime> {
        let Some(end) = end_of_day(date.get_ref()) else {
            let message = "`until` is a date, without a time";
            self.problems.push(source.error(date.span(), message).help("write it like `2027-07-31`"));
            return None;
        };
        let now = SystemTime::now();
        if end > now + LONGEST {
            let message = "an exception is good for a year at most";
            let help = "write a nearer date, and look at it again when it comes";
            self.problems.push(source.error(date.span(), message).help(help));
        }
        if end <= now {
            let message = "the exception is over; it is not applied";
            let help = "take it out, or see whether the reason still holds and write a later date";
            self.problems.push(source.warning(date.span(), message).help(help));
        }
        Some(end)
    }
}

/// Midnight at the end of a day, by UTC.
fn end_of_day(date: &Datetime) -> Option<SystemTime> {
    let Datetime { date: Some(date), time: None, offset: None } = date else { return None };
    let day = Date::new(date.year.try_into().ok()?, date.month.try_into().ok()?, date.day.try_into().ok()?);
    let end = day.ok()?.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?;
    Some(end.timestamp().into())
}

fn fingerprint(text: &str) -> Option<Fingerprint> {
    let hex: Vec<u8> = text.strip_prefix("sha256:")?.bytes().filter(|byte| *byte != b':').collect();
    if hex.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(hex.chunks(2)) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(digits[0])? * 16 + digit(digits[1])?) as u8;
    }
    Some(Fingerprint(bytes))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use wardgate_core::Decide as _;

    use super::*;
    use crate::fixture::compile;

    fn day(from_now: i64) -> String {
        let today = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date();
        today.checked_add(jiff::Span::new().days(from_now)).unwrap().to_string()
    }

    fn said(text: &str) -> String {
        let problems = match compile(&[("certificates.toml", text)]) {
            Ok(loaded) => loaded.warnings,
            Err(problems) => problems,
        };
        problems.iter().fold(String::new(), |mut all, problem| {
            writeln!(all, "{problem}").unwrap();
            all
        })
    }

    fn exception(accept: &str, more: &str, until: &str) -> String {
        format!(
            "[[exception]]\nhost = \"old.example\"\naccept = [{accept}]\nreason = \"R\"\nuntil = {until}\n{more}\n"
        )
    }

    const PIN: &str =
        "fingerprint = \"sha256:AB:cd000000000000000000000000000000000000000000000000000000000000\"";

    #[test]
    fn an_exception_is_for_its_host_and_its_time() {
        let text = exception("\"self-signed\", \"expired\", \"expired\"", PIN, &day(30));
        let policy = compile(&[("certificates.toml", &text)]).map_err(|_| said(&text)).unwrap().policy;
        let of = |name: &str, at| policy.certificate_exception(&Host::parse(name).unwrap(), at).cloned();
        let now = SystemTime::now();
        let found = of("old.example", now).unwrap();
        assert_eq!(found.accept, [TlsProblem::Expired, TlsProblem::SelfSigned]);
        assert_eq!(found.fingerprint.unwrap().0[..3], [0xab, 0xcd, 0]);
        assert_eq!((&*found.rule.file, found.rule.line, &*found.reason), ("certificates.toml", 1, "R"));
        assert!(of("www.old.example", now).is_none() && of("example", now).is_none());
        assert!(of("old.example", found.until - Duration::from_secs(1)).is_some());
        assert!(of("old.example", found.until).is_none());
    }

    #[test]
    fn mistakes() {
        for (name, text, expected) in [
            (
                "a slip",
                exception("\"expried\"", "", &day(1)),
                "certificates.toml:3:11: error: unknown problem `expried`\n  help: did you mean `expired`?",
            ),
            (
                "never",
                exception("\"revoked\"", "", &day(1)),
                "certificates.toml:3:11: error: `revoked` is never accepted",
            ),
            (
                "no fingerprint",
                exception("\"untrusted-root\"", "", &day(1)),
                "certificates.toml:3:11: error: `untrusted-root` needs the `fingerprint` of the certificate",
            ),
            ("nothing", exception("", "", &day(1)), "certificates.toml:3:10: error: `accept` is empty"),
            (
                "a short fingerprint",
                exception("\"expired\"", "fingerprint = \"sha256:abcd\"", &day(1)),
                "certificates.toml:6:15: error: `sha256:abcd` is not a fingerprint",
            ),
            (
                "for ever",
                exception("\"expired\"", "", &day(400)),
                "certificates.toml:5:9: error: an exception is good for a year at most",
            ),
            (
                "a time",
                exception("\"expired\"", "", "2026-01-01T10:00:00"),
                "certificates.toml:5:9: error: `until` is a date, without a time",
            ),
            (
                "no date",
                exception("\"expired\"", "", "\"soon\""),
                "certificates.toml:5:9: error: invalid type: string \"soon\", expected a TOML datetime",
            ),
            (
                "over",
                exception("\"expired\"", "", &day(-1)),
                "certificates.toml:5:9: warning: the exception is over; it is not applied",
            ),
            (
                "no reason",
                exception("\"expired\"", "", &day(1)).replace("\"R\"", "\" \""),
                "certificates.toml:4:10: error: `reason` says nothing",
            ),
            (
                "no end",
                exception("\"expired\"", "", &day(1)).replace("until", "untl"),
                "certificates.toml:1:1: error: the key `until` is missing\n\
                 certificates.toml:5:1: error: unknown key `untl`\n  help: did you mean `until`?",
            ),
            (
                "a wildcard",
                exception("\"expired\"", "", &day(1)).replace("old.example", "*.example"),
                "certificates.toml:2:8: error: `*.example` is not a host\n  help: write each host by itself",
            ),
            (
                "twice",
                exception("\"expired\"", "", &day(1)).repeat(2),
                "certificates.toml:8:8: error: `old.example` has two exceptions",
            ),
        ] {
            let said = said(&text);
            assert!(said.starts_with(expected), "{name}: {said}");
        }
    }

    #[test]
    fn what_is_over_is_not_applied() {
        let text = exception("\"expired\"", "", &day(-1));
        let loaded = compile(&[("certificates.toml", &text)]).map_err(|_| said(&text)).unwrap();
        assert_eq!(loaded.policy.certificate_exceptions().count(), 0);
    }
}
