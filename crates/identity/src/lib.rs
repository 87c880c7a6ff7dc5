//! Who is this: an account that showed its name and password, an address that policy maps to somebody, or nobody
//! we know.
//!
//! [`Accounts`] answers for the proxy. Read `basic` (what a client sent), `directory` (the accounts in memory),
//! `verifier` (whether a password is right, at bounded cost) and `throttle` (who guesses waits); [`password`] and
//! [`users`] are also for the command line.

mod accounts;
mod basic;
mod directory;
pub mod password;
mod throttle;
pub mod users;
mod verifier;

pub use accounts::{Accounts, AddressMap, OpenError};
pub use password::{PasswordError, hash_password};
pub use users::{UserError, add_user, set_password};
