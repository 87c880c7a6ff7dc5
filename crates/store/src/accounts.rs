//! Local accounts: who may log in with a name and a password. Passwords are hashed by `identity`; the store sees
//! hashes only.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{FromRow, Row};
use wardgate_core::UserName;

use crate::column::{self, now};
use crate::{Store, StoreError};

/// A person who may log in. Serialises without the password hash.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Account {
    /// The name, in the spelling it was added with.
    pub name: UserName,
    /// The hash as a PHC string (`$argon2id$…`).
    #[serde(skip)]
    pub password_hash: String,
    /// What the account says about groups; policy maps them to its own.
    pub groups: Vec<String>,
    /// When the account was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether it may not log in just now.
    pub disabled: bool,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("groups", &self.groups)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// The accounts of a store. Names are compared without regard to capitals.
#[derive(Clone, Copy)]
pub struct Accounts<'a> {
    store: &'a Store,
}

impl<'a> Accounts<'a> {
    pub(crate) fn of(store: &'a Store) -> Self {
        Self { store }
    }

    /// Adds an account that may log in at once; fails with [`StoreError::AccountExists`] where the name is taken.
    pub async fn add(
        self,
        name: &UserName,
        password_hash: &str,
        groups: &[String],
    ) -> Result<Account, StoreError> {
        let now = now();
        let mut transaction = self.store.begin().await?;
        sqlx::query(
            "INSERT INTO account (name_key, name, password_hash, group_names, created_at, updated_at, disabled)
             VALUES ($1, $2, $3, $4, $5, $5, 0)",
        )
        .bind(key(name))
        .bind(name.as_str())
        .bind(password_hash)
        .bind(column::json(groups)?)
        .bind(now.as_millisecond())
        .execute(&mut *transaction)
        .await
        .map_err(taken)?;
        moved(&mut transaction).await?;
        transaction.commit().await?;
        Ok(Account {
            name: name.clone(),
            password_hash: password_hash.to_owned(),
            groups: groups.to_vec(),
            created_at: now,
            updated_at: now,
            disabled: false,
        })
    }

    /// Replaces the password's hash.
    pub async fn set_password(self, name: &UserName, password_hash: &str) -> Result<(), StoreError> {
        self.update(
            name,
            "UPDATE account SET updated_at = $2, password_hash = $3 WHERE name_key = $1",
            password_hash,
        )
        .await
    }

    /// Replaces the groups.
    pub async fn set_groups(self, name: &UserName, groups: &[String]) -> Result<(), StoreError> {
        let groups = column::json(groups)?;
        self.update(name, "UPDATE account SET updated_at = $2, group_names = $3 WHERE name_key = $1", &groups)
            .await
    }

    /// Keeps the account from logging in; it stays in the records.
    pub async fn disable(self, name: &UserName) -> Result<(), StoreError> {
        self.update(name, "UPDATE account SET updated_at = $2, disabled = $3 WHERE name_key = $1", 1).await
    }

    /// Lets the account log in again.
    pub async fn enable(self, name: &UserName) -> Result<(), StoreError> {
        self.update(name, "UPDATE account SET updated_at = $2, disabled = $3 WHERE name_key = $1", 0).await
    }

    /// Removes the account for good.
    pub async fn remove(self, name: &UserName) -> Result<(), StoreError> {
        let mut transaction = self.store.begin().await?;
        let removed = sqlx::query("DELETE FROM account WHERE name_key = $1")
            .bind(key(name))
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if removed == 0 {
            return Err(StoreError::NoSuchAccount);
        }
        moved(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// All accounts, by name.
    pub async fn list(self) -> Result<Vec<Account>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM account ORDER BY name_key").fetch_all(&self.store.pool).await?)
    }

    /// The account of this name, if there is one.
    pub async fn find(self, name: &UserName) -> Result<Option<Account>, StoreError> {
        Ok(sqlx::query_as("SELECT * FROM account WHERE name_key = $1")
            .bind(key(name))
            .fetch_optional(&self.store.pool)
            .await?)
    }

    /// A number that grows with each change of any account, whichever process made it: cheap to ask, for those
    /// who keep copies.
    pub async fn revision(self) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar("SELECT number FROM revision WHERE topic = 'accounts'")
            .fetch_one(&self.store.pool)
            .await?)
    }

    /// Runs one of the updates above: `$1` is the account, `$2` the time, `$3` the new value.
    async fn update<'q, V>(self, name: &UserName, statement: &'static str, value: V) -> Result<(), StoreError>
    where
        V: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'q,
    {
        let mut transaction = self.store.begin().await?;
        let updated = sqlx::query(statement)
            .bind(key(name))
            .bind(now().as_millisecond())
            .bind(value)
            .execute(&mut *transaction)
            .await?
            .rows_affected();
        if updated == 0 {
            return Err(StoreError::NoSuchAccount);
        }
        moved(&mut transaction).await?;
        Ok(transaction.commit().await?)
    }
}

impl FromRow<'_, SqliteRow> for Account {
    fn from_row(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            name: UserName::new(row.try_get::<String, _>("name")?),
            password_hash: row.try_get("password_hash")?,
            groups: column::list(row, "group_names")?,
            created_at: column::time(row, "created_at")?,
            updated_at: column::time(row, "updated_at")?,
            disabled: row.try_get::<i64, _>("disabled")? != 0,
        })
    }
}

/// The form in which names are compared.
fn key(name: &UserName) -> String {
    name.as_str().to_lowercase()
}

fn taken(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(database) if database.is_unique_violation() => StoreError::AccountExists,
        _ => error.into(),
    }
}

async fn moved(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("UPDATE revision SET number = number + 1 WHERE topic = 'accounts'")
        .execute(connection)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA";

    fn name(name: &str) -> UserName {
        UserName::new(name)
    }

    #[tokio::test]
    async fn an_account_from_beginning_to_end() {
        let (_directory, store) = store().await;
        let accounts = store.accounts();
        let groups = ["learners".to_owned(), "year 12".to_owned()];
        let added = accounts.add(&name("Alice"), HASH, &groups).await.unwrap();
        assert_eq!(accounts.find(&name("aLiCe")).await.unwrap(), Some(added));

        accounts.set_password(&name("alice"), "$other").await.unwrap();
        accounts.set_groups(&name("alice"), &[]).await.unwrap();
        accounts.disable(&name("alice")).await.unwrap();
        let changed = accounts.find(&name("alice")).await.unwrap().unwrap();
        assert_eq!(changed.name.as_str(), "Alice");
        assert_eq!(
            (changed.password_hash.as_str(), changed.groups.len(), changed.disabled),
            ("$other", 0, true)
        );

        accounts.enable(&name("alice")).await.unwrap();
        assert!(!accounts.find(&name("alice")).await.unwrap().unwrap().disabled);
        accounts.remove(&name("ALICE")).await.unwrap();
        assert_eq!(accounts.list().await.unwrap(), []);
    }

    #[tokio::test]
    async fn names_differ_in_more_than_capitals() {
        let (_directory, store) = store().await;
        let accounts = store.accounts();
        for (given, fits) in [("Zoë", true), ("ZOË", false), ("Zoe", true), ("", true)] {
            let added = accounts.add(&name(given), HASH, &[]).await;
            assert_eq!(added.is_ok(), fits, "{given}");
            if let Err(error) = added {
                assert!(matches!(error, StoreError::AccountExists), "{given}: {error}");
            }
        }
        let listed = accounts.list().await.unwrap();
        assert_eq!(
            listed.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(),
            ["", "Zoe", "Zoë"]
        );
    }

    #[tokio::test]
    async fn changes_of_nobody_fail() {
        let (_directory, store) = store().await;
        let accounts = store.accounts();
        let nobody = name("nobody");
        for (what, result) in [
            ("password", accounts.set_password(&nobody, HASH).await),
            ("groups", accounts.set_groups(&nobody, &[]).await),
            ("disable", accounts.disable(&nobody).await),
            ("enable", accounts.enable(&nobody).await),
            ("remove", accounts.remove(&nobody).await),
        ] {
            assert!(matches!(result, Err(StoreError::NoSuchAccount)), "{what}: {result:?}");
        }
        assert_eq!(accounts.revision().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn each_change_moves_the_revision() {
        let (_directory, store) = store().await;
        let accounts = store.accounts();
        let alice = name("alice");
        assert_eq!(accounts.revision().await.unwrap(), 0);
        accounts.add(&alice, HASH, &[]).await.unwrap();
        assert_eq!(accounts.revision().await.unwrap(), 1);
        accounts.add(&alice, HASH, &[]).await.unwrap_err();
        assert_eq!(accounts.revision().await.unwrap(), 1);
        accounts.disable(&alice).await.unwrap();
        accounts.enable(&alice).await.unwrap();
        accounts.set_groups(&alice, &[]).await.unwrap();
        accounts.set_password(&alice, HASH).await.unwrap();
        accounts.remove(&alice).await.unwrap();
        assert_eq!(accounts.revision().await.unwrap(), 6);
    }

    #[test]
    fn debug_hides_the_person_and_the_hash() {
        let account = Account {
            name: name("alice"),
            password_hash: HASH.to_owned(),
            groups: Vec::new(),
            created_at: now(),
            updated_at: now(),
            disabled: false,
        };
        let shown = format!("{account:?}");
        assert!(!shown.contains("alice") && !shown.contains("argon2"), "{shown}");
        assert!(!serde_json::to_string(&account).unwrap().contains("argon2"));
    }
}
