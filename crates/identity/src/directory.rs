//! The accounts as they are kept in memory: the store is never asked while a client waits.

use std::collections::HashMap;
use std::sync::Arc;

use wardgate_core::UserName;
use wardgate_store::Account;

/// What a login needs of an account.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: UserName,
    pub(crate) groups: Arc<[Box<str>]>,
    pub(crate) hash: Arc<str>,
    pub(crate) disabled: bool,
}

/// All accounts at one revision of the store.
pub(crate) struct Directory {
    pub(crate) revision: i64,
    entries: HashMap<String, Entry>,
}

impl Directory {
    pub(crate) fn new(revision: i64, accounts: Vec<Account>) -> Self {
        let entries =
            accounts.into_iter().map(|account| (key(account.name.as_str()), account.into())).collect();
        Self { revision, entries }
    }

    /// The account of this name, capitals apart.
    pub(crate) fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.get(&key(name))
    }
}

impl From<Account> for Entry {
    fn from(account: Account) -> Self {
        Self {
            name: account.name,
            groups: account.groups.into_iter().map(String::into_boxed_str).collect(),
            hash: account.password_hash.into(),
            disabled: account.disabled,
        }
    }
}

/// The form in which names are compared, the same as in the store.
pub(crate) fn key(name: &str) -> String {
    name.to_lowercase()
}
