//! Who guesses waits: attempts on one account from one address are spread out, each failure further than the last.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quick_cache::unsync::Cache;
use tokio::time::Instant;

/// How many pairs of account and address are remembered.
const REMEMBERED: usize = 16_384;
/// Attempts that cost nothing: people mistype.
const FREE_ATTEMPTS: u32 = 3;
/// The wait after the first attempt that is not free; doubles from there.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between two attempts, and the longest that anybody is made to wait for theirs.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Attempts are forgotten when there was none for so long.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);

/// So many have taken their turn to wait that this one is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

#[derive(Clone, Copy)]
struct Attempts {
    count: u32,
    next: Instant,
}

/// The turns of all who try.
pub(crate) struct Throttle {
    attempts: Mutex<Cache<(String, IpAddr), Attempts>>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { attempts: Mutex::new(Cache::new(REMEMBERED)) }
    }

    /// Takes the next turn for an attempt on this account; says how long to wait for it.
    pub(crate) fn turn(&self, account: &str, address: IpAddr, now: Instant) -> Result<Duration, TooMany> {
        let mut all = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (account.to_owned(), address);
        let known = all.get(&key).copied().filter(|known| now < known.next + FORGET_AFTER);
        let Attempts { count, next } = known.unwrap_or(Attempts { count: 0, next: now });
        let wait = next.saturating_duration_since(now);
        if wait > LONGEST_WAIT {
            return Err(TooMany);
        }
        let count = count.saturating_add(1);
        all.insert(key, Attempts { count, next: now + wait + pause_after(count) });
        Ok(wait)
    }

    /// The attempt succeeded: all is forgiven.
    pub(crate) fn forget(&self, account: &str, address: IpAddr) {
        let key = (account.to_owned(), address);
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
    }
}

fn pause_after(count: u32) -> Duration {
    match count.checked_sub(FREE_ATTEMPTS) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_WAIT.saturating_mul(1 << doublings.min(10)).min(LONGEST_WAIT),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::BROADCAST);

    fn milliseconds(turn: Result<Duration, TooMany>) -> Option<u128> {
        turn.ok().map(|wait| wait.as_millis())
    }

    #[test]
    fn waits_grow_to_a_limit() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        for (attempt, expected) in [0, 0, 0, 500, 1000, 2000, 4000, 8000, 8000].into_iter().enumerate() {
            let wait = throttle.turn("jo", HERE, now).unwrap();
            assert_eq!(wait.as_millis(), expected, "attempt {attempt}");
            now += wait;
        }
        assert_eq!(milliseconds(throttle.turn("jo", HERE, now + LONGEST_WAIT)), Some(0), "waited elsewhere");
    }

    #[test]
    fn attempts_at_once_stand_in_line_and_then_are_turned_away() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let turns: Vec<_> = (0..8).map(|_| milliseconds(throttle.turn("jo", HERE, now))).collect();
        assert_eq!(turns, [Some(0), Some(0), Some(0), Some(500), Some(1500), Some(3500), Some(7500), None]);
        assert_eq!(milliseconds(throttle.turn("jo", THERE, now)), Some(0), "another address");
        assert_eq!(milliseconds(throttle.turn("al", HERE, now)), Some(0), "another account");
    }

    #[test]
    fn forgotten_after_success_and_with_time() {
        let throttle = Throttle::new();
        let now = Instant::now();
        for _ in 0..5 {
            throttle.turn("jo", HERE, now).unwrap();
            throttle.turn("al", HERE, now).unwrap();
        }
        throttle.forget("jo", HERE);
        assert_eq!(milliseconds(throttle.turn("jo", HERE, now)), Some(0));
        assert_eq!(milliseconds(throttle.turn("al", HERE, now)), Some(3500));
        let later = now + Duration::from_secs(3600);
        for attempt in 0..3 {
            assert_eq!(milliseconds(throttle.turn("al", HERE, later)), Some(0), "attempt {attempt}");
        }
    }
}
