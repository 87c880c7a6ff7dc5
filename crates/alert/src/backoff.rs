//! When a delivery that failed is tried again: soon at first, then ever more rarely, for three days and
//! many attempts.

use jiff::{SignedDuration, Timestamp};
use wardgate_store::Delivery;

const FIRST: SignedDuration = SignedDuration::from_secs(1);
const LONGEST: SignedDuration = SignedDuration::from_mins(15);
/// How long a delivery is tried, at least, before it is given up.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(3 * 24);
/// How often a delivery is tried, at least, before it is given up: days for which the machine was off are no trying.
pub(crate) const FEWEST_ATTEMPTS: u32 = 200;

/// The time of the next attempt; nothing where the delivery is to be given up.
pub(crate) fn next_attempt(delivery: &Delivery, now: Timestamp) -> Option<Timestamp> {
    let tried_for = now.duration_since(delivery.created_at);
    if tried_for >= GIVE_UP_AFTER && delivery.attempts >= FEWEST_ATTEMPTS {
        return None;
    }
    Some(now + jittered(delay(delivery.attempts), &delivery.id.to_string(), delivery.attempts))
}

/// The delay after so many attempts: doubled each time.
pub(crate) fn delay(attempts: u32) -> SignedDuration {
    let doublings = attempts.saturating_sub(1).min(16);
    (FIRST * (1 << doublings)).min(LONGEST)
}

/// Takes off up to a quarter, so that what failed together is not tried together. The spread comes from the
/// delivery's id, half of which is random.
fn jittered(delay: SignedDuration, id: &str, attempts: u32) -> SignedDuration {
    let mixed = id
        .bytes()
        .fold(u64::from(attempts), |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let share = (mixed >> 32) as f64 / f64::from(u32::MAX);
    delay - delay.mul_f64(share / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{delivery, time};

    #[test]
    fn delays() {
        for (attempts, seconds) in
            [(0, 1), (1, 1), (2, 2), (3, 4), (5, 16), (10, 512), (11, 900), (12, 900), (u32::MAX, 900)]
        {
            assert_eq!(delay(attempts).as_secs(), seconds, "{attempts} attempts");
        }
    }

    #[test]
    fn up_to_a_quarter_sooner() {
        let mut seen = std::collections::BTreeSet::new();
        for attempts in 1..100 {
            let delivery = delivery(attempts);
            let full = delay(attempts);
            let next =
                next_attempt(&delivery, delivery.created_at).unwrap().duration_since(delivery.created_at);
            assert!(next <= full && next >= full.mul_f64(0.75), "{attempts}: {next:?} of {full:?}");
            seen.insert((next.as_secs_f64() / full.as_secs_f64() * 100.0) as u64);
        }
        assert!(seen.len() > 10, "spread: {seen:?}");
    }

    #[test]
    fn three_days_and_many_attempts() {
        for (name, attempts, seconds, tried) in [
            ("at once", 1, 0, true),
            ("just before", 288, 3 * 86_400 - 1, true),
            ("after three days", 200, 3 * 86_400, false),
            ("after a long time without power", 1, 30 * 86_400, true),
            ("one attempt is missing", 199, 30 * 86_400, true),
        ] {
            let delivery = delivery(attempts);
            let now = delivery.created_at + SignedDuration::from_secs(seconds);
            assert_eq!(next_attempt(&delivery, now).is_some(), tried, "{name}");
        }
        assert!(next_attempt(&delivery(200), time(-1)).is_some(), "a clock that went back");
    }
}
