//! Passwords: what is accepted as one, how it is kept, whether it is the right one.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{self, PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};

/// Shortest password, in characters (NCSC and NIST SP 800-63B ask for length, not for kinds of characters).
pub const MIN_CHARACTERS: usize = 8;
/// Longest password, in bytes: more than anybody types.
pub const MAX_BYTES: usize = 256;

/// Argon2id with 19 MiB, two passes, one lane: the OWASP Password Storage Cheat Sheet's minimum.
const PARAMS: Params = match Params::new(19 * 1024, 2, 1, None) {
    Ok(params) => params,
    Err(_) => panic!("these are within the limits of Argon2: evaluated when compiling"),
};

/// The hash of a password that nobody knows: checked for a name that is unknown, so that the answer takes as long.
pub(crate) const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIG1l$8iUEHqOMQrQCXpCEgNnC0Ud35MpKZPWB0ugnXRzmpCc";

/// Why a password is not accepted, or cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`MIN_CHARACTERS`].
    #[error("the password is too short: at least {MIN_CHARACTERS} characters")]
    TooShort,
    /// More than [`MAX_BYTES`].
    #[error("the password is too long: at most {MAX_BYTES} bytes")]
    TooLong,
    /// A line break, a tab or the like: nobody can type it into a browser.
    #[error("the password has a control character in it")]
    Control,
    /// It is the user's name.
    #[error("the password is the user's name")]
    Name,
    /// The machine has no memory or no random numbers to spare.
    #[error("the password could not be hashed: {0}")]
    Hash(password_hash::Error),
}

/// Hashes a new password into a PHC string (`$argon2id$…`). Takes tens of milliseconds and 19 MiB.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    accept(password)?;
    let hash = argon2().hash_password(password.as_bytes()).map_err(PasswordError::Hash)?;
    Ok(hash.to_string())
}

/// Whether this is the password that was hashed; an error where the hash cannot be read. Takes as long as hashing.
pub(crate) fn verify(password: &str, hash: &str) -> Result<bool, password_hash::Error> {
    match argon2().verify_password(password.as_bytes(), &PasswordHash::new(hash)?) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

fn accept(password: &str) -> Result<(), PasswordError> {
    if password.len() > MAX_BYTES {
        return Err(PasswordError::TooLong);
    }
    if password.chars().count() < MIN_CHARACTERS {
        return Err(PasswordError::TooShort);
    }
    if password.chars().any(char::is_control) {
        return Err(PasswordError::Control);
    }
    Ok(())
}

fn argon2() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, PARAMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted() {
        for (name, password, expected) in [
            ("good", "correct horse", Ok(())),
            ("as short as may be", "12345678", Ok(())),
            ("characters, not bytes", "ÄÖÜäöüß", Err(PasswordError::TooShort)),
            ("empty", "", Err(PasswordError::TooShort)),
            ("as long as may be", &"a".repeat(MAX_BYTES), Ok(())),
            ("too long", &"a".repeat(MAX_BYTES + 1), Err(PasswordError::TooLong)),
            ("a line break at its end", "correct horse\n", Err(PasswordError::Control)),
        ] {
            assert_eq!(accept(password), expected, "{name}");
        }
    }

    #[test]
    fn hashed_and_verified() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, hash_password("correct horse").unwrap(), "salted");
        assert_eq!(verify("correct horse", &hash), Ok(true));
        assert_eq!(verify("correct horsf", &hash), Ok(false));
        assert!(verify("correct horse", "$argon2id$nonsense").is_err());
    }

    #[test]
    fn an_unknown_name_costs_as_much() {
        assert_eq!(verify("anything", NOBODYS_HASH), Ok(false));
        let parsed = PasswordHash::new(NOBODYS_HASH).unwrap();
        assert_eq!(Params::try_from(&parsed).unwrap().block_count(), PARAMS.block_count());
        assert_eq!(parsed.algorithm.as_str(), "argon2id");
    }
}
