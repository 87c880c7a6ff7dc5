//! Says whether a password is right, at a bounded cost: answers are remembered, attempts take turns, and only so
//! many hashes are computed (or waited for) at once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use quick_cache::sync::Cache;
use sha2::Sha256;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::password;
use crate::throttle::Throttle;

/// How many answers are remembered.
const REMEMBERED: usize = 16_384;
/// How long a right password is known to be right.
const RIGHT_FOR: Duration = Duration::from_secs(10 * 60);
/// How long a wrong password is known to be wrong: a browser that keeps sending it costs nothing.
const WRONG_FOR: Duration = Duration::from_secs(10);
/// Hashes computed at once; each takes 19 MiB and a processor.
const HASHES_AT_ONCE: usize = 2;
/// Logins that may wait for theirs: the first minute of a lesson at a large school, some seconds of work.
const WAITING: usize = 512;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Right,
    Wrong,
    /// Too many attempts on this account from this address.
    Throttled,
    /// Too many logins at once, by everybody.
    Overloaded,
    /// The account's hash cannot be read, or hashing failed.
    Broken,
}

#[derive(Clone, Copy)]
struct Remembered {
    right: bool,
    until: Instant,
}

/// Name, password and hash under a key of this process: what is remembered is of no use to anybody.
type Fingerprint = [u8; 32];

/// Checks passwords; one for the process.
pub(crate) struct Verifier {
    key: [u8; 32],
    remembered: Cache<Fingerprint, Remembered>,
    throttle: Throttle,
    waiting: Semaphore,
    hashing: Arc<Semaphore>,
}

impl Verifier {
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            key,
            remembered: Cache::new(REMEMBERED),
            throttle: Throttle::new(),
            waiting: Semaphore::new(WAITING),
            hashing: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
        })
    }

    /// Whether `password` is what `hash` was made of. A browser opens many connections at once: the first of the
    /// same attempts is checked, the others wait for its answer. A new password has a new hash, so an answer about
    /// the old one is never found again.
    pub(crate) async fn check(&self, account: &str, password: &str, hash: &str, address: IpAddr) -> Answer {
        let fingerprint = self.fingerprint(account, password, hash);
        loop {
            let place = match self.remembered.get_value_or_guard_async(&fingerprint).await {
                Ok(known) if Instant::now() < known.until => return answer(known.right),
                Ok(stale) => {
                    self.remembered.remove_if(&fingerprint, |now| now.until == stale.until);
                    continue;
                }
                Err(place) => place,
            };
            let right = match self.check_anew(account, password, hash, address).await {
                Ok(right) => right,
                Err(answer) => return answer,
            };
            let until = Instant::now() + if right { RIGHT_FOR } else { WRONG_FOR };
            // Fails only where the place was taken from us meanwhile; then nothing is remembered.
            let _ = place.insert(Remembered { right, until });
            return answer(right);
        }
    }

    async fn check_anew(
        &self,
        account: &str,
        password: &str,
        hash: &str,
        address: IpAddr,
    ) -> Result<bool, Answer> {
        let wait = self.throttle.turn(account, address, Instant::now()).map_err(|_| Answer::Throttled)?;
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        let right = self.hash(password, hash).await?;
        if right {
            self.throttle.forget(account, address);
        }
        Ok(right)
    }

    async fn hash(&self, password: &str, hash: &str) -> Result<bool, Answer> {
        let _place = self.waiting.try_acquire().map_err(|_| Answer::Overloaded)?;
        let permit = Arc::clone(&self.hashing).acquire_owned().await.expect("this semaphore is never closed");
        let (password, hash) = (password.to_owned(), hash.to_owned());
        let verified = tokio::task::spawn_blocking(move || {
            // Held by the work itself: a client that hangs up does not make room before the work is done.
            let _permit = permit;
            password::verify(&password, &hash)
        });
        match verified.await {
            Ok(Ok(right)) => Ok(right),
            Ok(Err(error)) => {
                tracing::error!(%error, "an account's password hash cannot be used; set its password anew");
                Err(Answer::Broken)
            }
            Err(_) => Err(Answer::Broken),
        }
    }

    /// Lengths go first, so that no two attempts look alike.
    fn fingerprint(&self, account: &str, password: &str, hash: &str) -> Fingerprint {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in [account, password, hash] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

fn answer(right: bool) -> Answer {
    if right { Answer::Right } else { Answer::Wrong }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use argon2::password_hash::PasswordHasher;
    use argon2::{Argon2, Params};
    use futures_util::future::join_all;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A hash that costs next to nothing.
    fn cheap_hash(password: &str) -> String {
        let argon2 = Argon2::from(Params::new(8, 1, 1, None).unwrap());
        argon2.hash_password(password.as_bytes()).unwrap().to_string()
    }

    impl Verifier {
        /// From here on, whatever is not remembered is [`Answer::Overloaded`].
        fn compute_no_more(&self) {
            self.waiting.forget_permits(WAITING);
        }
    }

    #[tokio::test]
    async fn answers_are_remembered() {
        let (verifier, hash) = (Verifier::new().unwrap(), cheap_hash("right"));
        assert_eq!(verifier.check("jo", "right", &hash, HERE).await, Answer::Right);
        assert_eq!(verifier.check("jo", "wrong", &hash, HERE).await, Answer::Wrong);
        verifier.compute_no_more();
        for (name, account, password, hash, expected) in [
            ("right", "jo", "right", &hash, Answer::Right),
            ("wrong", "jo", "wrong", &hash, Answer::Wrong),
            ("another account", "al", "right", &hash, Answer::Overloaded),
            ("another password", "jo", "other", &hash, Answer::Overloaded),
            ("a changed password", "jo", "right", &cheap_hash("right"), Answer::Overloaded),
            ("parts that join to the same", "jor", "ight", &hash, Answer::Overloaded),
        ] {
            assert_eq!(verifier.check(account, password, hash, HERE).await, expected, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_forgotten_in_time() {
        let (verifier, hash) = (Verifier::new().unwrap(), cheap_hash("right"));
        for (password, answer, time) in
            [("right", Answer::Right, RIGHT_FOR), ("wrong", Answer::Wrong, WRONG_FOR)]
        {
            assert_eq!(verifier.check("jo", password, &hash, HERE).await, answer);
            tokio::time::advance(time).await;
        }
        verifier.compute_no_more();
        for password in ["right", "wrong"] {
            assert_eq!(verifier.check("jo", password, &hash, HERE).await, Answer::Overloaded, "{password}");
        }
    }

    #[tokio::test]
    async fn the_same_attempt_many_times_at_once_is_one_attempt() {
        let (verifier, hash) = (Verifier::new().unwrap(), cheap_hash("right"));
        let attempts = (0..50).map(|_| verifier.check("jo", "wrong", &hash, HERE));
        assert_eq!(join_all(attempts).await, [Answer::Wrong; 50], "none throttled");
    }

    #[tokio::test(start_paused = true)]
    async fn guesses_are_slowed_and_turned_away() {
        let (verifier, hash) = (Verifier::new().unwrap(), cheap_hash("right"));
        let guesses: Vec<_> = (0..20).map(|guess| format!("guess {guess}")).collect();
        let answers = join_all(guesses.iter().map(|guess| verifier.check("jo", guess, &hash, HERE))).await;
        let turned_away = answers.iter().filter(|answer| **answer == Answer::Throttled).count();
        assert_eq!(turned_away, 13);
        assert_eq!(answers.iter().filter(|answer| **answer == Answer::Wrong).count(), 7);
    }

    #[tokio::test]
    async fn who_hangs_up_leaves_the_place_to_others() {
        let (verifier, hash) = (Verifier::new().unwrap(), cheap_hash("right"));
        let busy = verifier.hashing.acquire_many(HASHES_AT_ONCE as u32).await.unwrap();
        let hung_up =
            tokio::time::timeout(Duration::from_millis(1), verifier.check("jo", "right", &hash, HERE)).await;
        assert!(hung_up.is_err());
        drop(busy);
        assert_eq!(verifier.check("jo", "right", &hash, HERE).await, Answer::Right);
    }

    #[tokio::test]
    async fn a_damaged_hash_is_nobodys_fault_who_logs_in() {
        let verifier = Verifier::new().unwrap();
        assert_eq!(verifier.check("jo", "right", "$argon2id$damaged", HERE).await, Answer::Broken);
    }
}
