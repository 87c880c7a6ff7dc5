//! What the command line does to accounts, as far as it takes more than the store: names and passwords are checked
//! here, passwords hashed. Listing, groups, disabling and removing are `wardgate_store`'s own.

use wardgate_core::UserName;
use wardgate_store::{Account, Store, StoreError};

use crate::password::{PasswordError, hash_password};

/// Longest user name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// Why an account could not be made or changed.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The name cannot be sent by a browser, or is too long.
    #[error(
        "not a user name: it needs 1 to {MAX_NAME_BYTES} bytes, no colon, no control characters, and no space at either end"
    )]
    Name,
    /// The password is not accepted.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The store says no.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Adds an account that may log in at once.
pub async fn add_user(
    store: &Store,
    name: &str,
    password: &str,
    groups: &[String],
) -> Result<Account, UserError> {
    if !is_name(name) {
        return Err(UserError::Name);
    }
    let hash = new_hash(name, password).await?;
    Ok(store.accounts().add(&UserName::new(name), &hash, groups).await?)
}

/// Replaces an account's password. The old one is of no use within about a second.
pub async fn set_password(store: &Store, name: &str, password: &str) -> Result<(), UserError> {
    let hash = new_hash(name, password).await?;
    Ok(store.accounts().set_password(&UserName::new(name), &hash).await?)
}

/// Whether this can be a user's name: a colon would end it (RFC 7617, section 2).
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.trim() == name
        && !name.chars().any(|character| character == ':' || character.is_control())
}

async fn new_hash(name: &str, password: &str) -> Result<String, PasswordError> {
    if password.to_lowercase() == name.to_lowercase() {
        return Err(PasswordError::Name);
    }
    let password = password.to_owned();
    match tokio::task::spawn_blocking(move || hash_password(&password)).await {
        Ok(hashed) => hashed,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, given, expected) in [
            ("plain", "jo.bloggs", true),
            ("e-mail address", "jo@college.example", true),
            ("domain", "COLLEGE\\jo", true),
            ("letters of all kinds", "Zoë Łukasz 李", true),
            ("as long as may be", &"n".repeat(128), true),
            ("too long", &"n".repeat(129), false),
            ("empty", "", false),
            ("colon", "a:b", false),
            ("line break", "a\nb", false),
            ("control character", "a\u{85}b", false),
            ("space at the end", "a ", false),
        ] {
            assert_eq!(is_name(given), expected, "{name}");
        }
    }

    #[tokio::test]
    async fn accounts_that_are_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite://{}/w.db", dir.path().display())).await.unwrap();
        for (name, user, password, expected) in [
            ("a bad name", "a:b", "correct horse", "not a user name"),
            ("a short password", "jo", "short", "too short"),
            ("the name as password", "Jo.Bloggs", "jo.bloggs", "the user's name"),
        ] {
            let error = add_user(&store, user, password, &[]).await.unwrap_err();
            assert!(error.to_string().contains(expected), "{name}: {error}");
        }
        assert!(store.accounts().list().await.unwrap().is_empty());
        assert!(matches!(
            set_password(&store, "nobody", "correct horse").await,
            Err(UserError::Store(StoreError::NoSuchAccount))
        ));
    }
}
