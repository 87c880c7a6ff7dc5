//! Answers "who is this" for the proxy, from memory.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::MissedTickBehavior;
use wardgate_core::{Authenticate, BoxFuture, Credentials, Identified, IdentitySource, UserName, Who};
use wardgate_store::{Store, StoreError};

use crate::basic::{self, Login};
use crate::directory::{self, Directory, Entry};
use crate::password::NOBODYS_HASH;
use crate::verifier::{Answer, Verifier};

/// How often the store is asked whether an account changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a client is asked for (RFC 7617, section 2.1).
const CHALLENGE: &str = r#"Basic realm="Wardgate", charset="UTF-8""#;

/// Who is at an address, by the policy now in force; nobody where it does not say.
pub type AddressMap = dyn Fn(IpAddr) -> Option<UserName> + Send + Sync;

/// The accounts could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store cannot be read.
    #[error("the accounts cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[from] getrandom::Error),
}

/// Local accounts and the address map.
///
/// Credentials, where sent, decide alone: right ones name the user, wrong ones are answered with a challenge even
/// where no login is demanded. Without them the address map is asked; and then nobody.
pub struct Accounts {
    store: Store,
    directory: ArcSwap<Directory>,
    at_address: Box<AddressMap>,
    verifier: Verifier,
}

impl Accounts {
    /// Reads all accounts into memory.
    pub async fn open(store: Store, at_address: Box<AddressMap>) -> Result<Self, OpenError> {
        let directory = ArcSwap::from_pointee(read(&store).await?);
        Ok(Self { store, directory, at_address, verifier: Verifier::new()? })
    }

    /// Reads the accounts again if one of them changed.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        if self.store.accounts().revision().await? != self.directory.load().revision {
            self.directory.store(Arc::new(read(&self.store).await?));
        }
        Ok(())
    }

    /// Keeps the accounts fresh, looking once a second; never returns. While the store cannot be read, the accounts
    /// stay as they were last known.
    pub async fn follow(&self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut readable = true;
        loop {
            ticks.tick().await;
            match self.refresh().await {
                Ok(()) if readable => {}
                Ok(()) => tracing::info!("the accounts can be read again"),
                Err(error) if readable => {
                    tracing::error!(%error, "the accounts cannot be read; they stay as last known");
                    readable = false;
                    continue;
                }
                Err(_) => continue,
            }
            readable = true;
        }
    }

    fn by_address(&self, address: IpAddr, required: bool) -> Identified {
        let who = self.known_by_address(address);
        if required && who.user.is_none() {
            return challenge(who, "no credentials were sent");
        }
        Identified::As(who)
    }

    /// What the address alone says. A mapped user who has an account is in its groups.
    fn known_by_address(&self, address: IpAddr) -> Who {
        let Some(user) = (self.at_address)(address) else { return Who::unknown(address) };
        match self.directory.load().find(user.as_str()) {
            Some(entry) => known(entry, IdentitySource::IpMap, address),
            None => Who { user: Some(user), source: IdentitySource::IpMap, ..Who::unknown(address) },
        }
    }

    async fn by_login(&self, login: Login, address: IpAddr) -> Identified {
        let entry = self.directory.load().find(&login.name).cloned();
        let hash = entry.as_ref().map_or(NOBODYS_HASH, |entry| &entry.hash);
        let account = directory::key(&login.name);
        let answer = self.verifier.check(&account, &login.password, hash, address).await;
        count(answer);
        let known_so_far = || self.known_by_address(address);
        match (answer, entry) {
            (Answer::Right, Some(entry)) if !entry.disabled => {
                Identified::As(known(&entry, IdentitySource::Basic, address))
            }
            (Answer::Right, Some(_)) => challenge(known_so_far(), "the account is disabled"),
            (Answer::Right | Answer::Wrong, _) => challenge(known_so_far(), "wrong name or password"),
            (Answer::Throttled, _) => challenge(known_so_far(), "too many attempts on this account"),
            (Answer::Overloaded, _) => {
                Identified::Unavailable { who: known_so_far(), reason: "too many logins at once" }
            }
            (Answer::Broken, _) => {
                Identified::Unavailable { who: known_so_far(), reason: "the password cannot be checked" }
            }
        }
    }
}

impl Authenticate for Accounts {
    fn identify<'a>(&'a self, credentials: Credentials<'a>, required: bool) -> BoxFuture<'a, Identified> {
        let address = credentials.address;
        Box::pin(async move {
            match credentials.authorization.map(basic::parse) {
                Some(Some(login)) => self.by_login(login, address).await,
                Some(None) => {
                    challenge(self.known_by_address(address), "the credentials cannot be understood")
                }
                None => self.by_address(address, required),
            }
        })
    }
}

/// All accounts. The revision is read first: a change in between is then found at the next look.
async fn read(store: &Store) -> Result<Directory, StoreError> {
    let revision = store.accounts().revision().await?;
    Ok(Directory::new(revision, store.accounts().list().await?))
}

fn known(entry: &Entry, source: IdentitySource, address: IpAddr) -> Who {
    Who { user: Some(entry.name.clone()), source, address, directory_groups: Arc::clone(&entry.groups) }
}

fn challenge(who: Who, reason: &'static str) -> Identified {
    Identified::Challenge { who, scheme: CHALLENGE, reason }
}

fn count(answer: Answer) {
    let result = match answer {
        Answer::Right => return,
        Answer::Wrong => "wrong",
        Answer::Throttled => "throttled",
        Answer::Overloaded => "overloaded",
        Answer::Broken => "broken",
    };
    metrics::counter!("wardgate_logins_refused_total", "reason" => result).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basic::header;
    use crate::{add_user, set_password};

    const PASSWORD: &str = "correct horse";

    struct School {
        accounts: Accounts,
        store: Store,
        _dir: tempfile::TempDir,
    }

    /// Jo is a learner, Al's account is disabled; 10.0.0.1 is Jo's, 10.0.0.2 a printer's.
    async fn school() -> School {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/w.db", dir.path().display())).await.unwrap();
        add_user(&store, "Jo", PASSWORD, &["learners".to_owned()]).await.unwrap();
        add_user(&store, "Al", PASSWORD, &[]).await.unwrap();
        store.accounts().disable(&UserName::new("Al")).await.unwrap();
        let map = |address: IpAddr| match address.to_string().as_str() {
            "10.0.0.1" => Some(UserName::new("JO")),
            "10.0.0.2" => Some(UserName::new("printer")),
            _ => None,
        };
        let accounts = Accounts::open(store.clone(), Box::new(map)).await.unwrap();
        School { accounts, store, _dir: dir }
    }

    impl School {
        async fn identify(&self, authorization: Option<&str>, address: &str, required: bool) -> String {
            let authorization = authorization.map(str::as_bytes);
            let credentials = Credentials { authorization, address: address.parse().unwrap() };
            match self.accounts.identify(credentials, required).await {
                Identified::As(who) => described(&who),
                Identified::Challenge { who, scheme, reason } => {
                    assert_eq!(scheme, CHALLENGE);
                    format!("{} challenged: {reason}", described(&who))
                }
                Identified::Unavailable { who, reason } => {
                    format!("{} unavailable: {reason}", described(&who))
                }
            }
        }

        async fn log_in(&self, password: &str) -> String {
            self.identify(Some(&header("jo", password)), "10.0.0.9", false).await
        }
    }

    fn described(who: &Who) -> String {
        let user = who.user.as_ref().map_or("nobody", |user| user.as_str());
        format!("{user} by {} {:?}", who.source.as_str(), who.directory_groups)
    }

    #[tokio::test]
    async fn who_is_this() {
        let school = school().await;
        let sent = header;
        for (name, authorization, address, required, expected) in [
            ("nothing known", None, "10.0.0.9", false, "nobody by none []"),
            (
                "a login demanded",
                None,
                "10.0.0.9",
                true,
                "nobody by none [] challenged: no credentials were sent",
            ),
            ("a mapped account", None, "10.0.0.1", true, "Jo by ip-map [\"learners\"]"),
            ("a mapped device", None, "10.0.0.2", false, "printer by ip-map []"),
            ("a login", Some(sent("Jo", PASSWORD)), "10.0.0.9", true, "Jo by basic [\"learners\"]"),
            ("other capitals", Some(sent("jO", PASSWORD)), "10.0.0.9", true, "Jo by basic [\"learners\"]"),
            (
                "a login beats the map",
                Some(sent("jo", PASSWORD)),
                "10.0.0.2",
                false,
                "Jo by basic [\"learners\"]",
            ),
            (
                "a wrong password",
                Some(sent("jo", "wrong horse")),
                "10.0.0.9",
                false,
                "nobody by none [] challenged: wrong name or password",
            ),
            (
                "a wrong password at a mapped address",
                Some(sent("jo", "wrong horse")),
                "10.0.0.2",
                false,
                "printer by ip-map [] challenged: wrong name or password",
            ),
            (
                "an unknown name",
                Some(sent("eve", PASSWORD)),
                "10.0.0.9",
                false,
                "nobody by none [] challenged: wrong name or password",
            ),
            (
                "a disabled account",
                Some(sent("al", PASSWORD)),
                "10.0.0.9",
                false,
                "nobody by none [] challenged: the account is disabled",
            ),
            (
                "a disabled account and a wrong password",
                Some(sent("al", "wrong horse")),
                "10.0.0.9",
                false,
                "nobody by none [] challenged: wrong name or password",
            ),
            (
                "another scheme",
                Some("Bearer abc".to_owned()),
                "10.0.0.9",
                false,
                "nobody by none [] challenged: the credentials cannot be understood",
            ),
        ] {
            let identified = school.identify(authorization.as_deref(), address, required).await;
            assert_eq!(identified, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn changes_are_seen_after_a_refresh() {
        let school = school().await;
        let jo = UserName::new("jo");
        let known = "Jo by basic [\"learners\"]";
        let wrong = "nobody by none [] challenged: wrong name or password";
        assert_eq!(school.log_in(PASSWORD).await, known);

        set_password(&school.store, "jo", "another horse").await.unwrap();
        assert_eq!(school.log_in(PASSWORD).await, known, "not seen yet");
        school.accounts.refresh().await.unwrap();
        assert_eq!(school.log_in(PASSWORD).await, wrong);
        assert_eq!(school.log_in("another horse").await, known);

        school.store.accounts().disable(&jo).await.unwrap();
        school.accounts.refresh().await.unwrap();
        assert_eq!(
            school.log_in("another horse").await,
            "nobody by none [] challenged: the account is disabled"
        );

        school.store.accounts().enable(&jo).await.unwrap();
        school.store.accounts().set_groups(&jo, &["staff".to_owned()]).await.unwrap();
        school.accounts.refresh().await.unwrap();
        assert_eq!(school.log_in("another horse").await, "Jo by basic [\"staff\"]");

        school.store.accounts().remove(&jo).await.unwrap();
        school.accounts.refresh().await.unwrap();
        assert_eq!(school.log_in("another horse").await, wrong);
    }

    #[tokio::test]
    async fn the_accounts_stay_while_the_store_is_gone_and_follow_it_otherwise() {
        let school = school().await;
        let following = async {
            tokio::select! {
                () = school.accounts.follow() => unreachable!("follows for ever"),
                () = async {
                    add_user(&school.store, "Zoë", PASSWORD, &[]).await.unwrap();
                    while school.accounts.directory.load().find("ZOË").is_none() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                } => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(20), following).await.unwrap();
        school.store.close().await;
        assert!(school.accounts.refresh().await.is_err());
        assert_eq!(school.log_in(PASSWORD).await, "Jo by basic [\"learners\"]");
    }
}
