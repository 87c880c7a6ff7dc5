//! From one CA to the next without a day on which a device trusts the wrong one: the next is prepared and rolled out while
//! the present one signs; then they change places; then the former goes.

use std::fs;
use std::path::Path;

use super::{
    Authority, AuthorityCertificate, AuthorityError, AuthoritySettings, FORMER, NEXT, WRITABLE, create, file,
};

/// The name of the CA that signs.
const PRESENT: &str = "ca";

impl AuthoritySettings {
    /// Makes the next CA beside the present one. It is offered to devices from now on, and signs nothing yet.
    pub fn prepare_next(&self) -> Result<AuthorityCertificate, AuthorityError> {
        self.must_sign()?;
        if self.any_of(NEXT) {
            return Err(AuthorityError::OutOfTurn(format!(
                "the next CA is prepared already: {}; bring it to the devices, then run `wardgate ca rotate --activate`",
                self.certificate(NEXT).display()
            )));
        }
        if self.any_of(FORMER) {
            return Err(AuthorityError::OutOfTurn(format!(
                "the last rotation is not finished: {} is there still; run `wardgate ca rotate --finish` first",
                self.certificate(FORMER).display()
            )));
        }
        create(self, NEXT)?;
        AuthorityCertificate::load(self.certificate(NEXT))
    }

    /// Lets the next CA sign from now on; the present one becomes the former. Can be run again where it was
    /// interrupted: each step is taken only where it was not.
    pub fn activate_next(&self) -> Result<AuthorityCertificate, AuthorityError> {
        if !self.any_of(NEXT) {
            return Err(AuthorityError::OutOfTurn(
                "there is no next CA: run `wardgate ca rotate` first, and bring it to the devices".to_owned(),
            ));
        }
        self.must_have_room(FORMER)?;
        // Only what can be used takes over; half of it may have moved already.
        if self.all_of(NEXT) {
            Authority::load(self, NEXT)?;
        }
        self.step(PRESENT, FORMER)?;
        self.step(NEXT, PRESENT)?;
        AuthorityCertificate::load(self.certificate(PRESENT))
    }

    /// Takes an activation back: the former CA signs again, and the present one is the next.
    pub fn undo_activation(&self) -> Result<AuthorityCertificate, AuthorityError> {
        if !self.any_of(FORMER) {
            return Err(AuthorityError::OutOfTurn(
                "there is no former CA to return to: nothing was activated".to_owned(),
            ));
        }
        self.must_have_room(NEXT)?;
        if self.all_of(FORMER) {
            Authority::load(self, FORMER)?;
        }
        self.step(PRESENT, NEXT)?;
        self.step(FORMER, PRESENT)?;
        AuthorityCertificate::load(self.certificate(PRESENT))
    }

    /// Removes the former CA with its key, once all devices know the present one.
    pub fn finish_rotation(&self) -> Result<AuthorityCertificate, AuthorityError> {
        self.must_sign()?;
        if !self.any_of(FORMER) {
            let said = if self.any_of(NEXT) {
                "the next CA does not sign yet: run `wardgate ca rotate --activate` first"
            } else {
                "there is nothing to finish: no rotation was begun"
            };
            return Err(AuthorityError::OutOfTurn(said.to_owned()));
        }
        let former = AuthorityCertificate::load(self.certificate(FORMER))?;
        for path in [self.key(FORMER), self.certificate(FORMER)] {
            if path.exists() {
                fs::remove_file(&path).map_err(|error| file("write", &path, WRITABLE, error))?;
            }
        }
        Ok(former)
    }

    /// Encrypts the keys that lie in the directory unencrypted, with the passphrase that is set.
    pub fn encrypt_keys(&self) -> Result<Vec<std::path::PathBuf>, AuthorityError> {
        if self.passphrase_file.is_none() {
            return Err(AuthorityError::OutOfTurn(
                "set [certs] key_passphrase_file to a file that holds the passphrase first".to_owned(),
            ));
        }
        let mut encrypted = Vec::new();
        for path in [PRESENT, NEXT, FORMER].map(|name| self.key(name)) {
            if !path.exists() {
                continue;
            }
            let key = self.keys().read(&path)?;
            if !key.encrypted {
                self.keys().replace(&path, &key.pair)?;
                encrypted.push(path);
            }
        }
        Ok(encrypted)
    }

    /// Three whole authorities were never made by a rotation: nothing would have a place to go to.
    fn must_have_room(&self, name: &str) -> Result<(), AuthorityError> {
        if [PRESENT, NEXT, FORMER].iter().all(|name| self.all_of(name)) {
            let path = self.certificate(name);
            return Err(AuthorityError::OutOfTurn(format!(
                "{} is in the way: move it elsewhere",
                path.display()
            )));
        }
        Ok(())
    }

    fn any_of(&self, name: &str) -> bool {
        self.certificate(name).exists() || self.key(name).exists()
    }

    fn all_of(&self, name: &str) -> bool {
        self.certificate(name).exists() && self.key(name).exists()
    }

    fn must_sign(&self) -> Result<(), AuthorityError> {
        let (certificate, key) = (self.certificate(PRESENT), self.key(PRESENT));
        match (certificate.exists(), key.exists()) {
            (true, true) => Ok(()),
            (true, false) => Err(AuthorityError::Incomplete { present: certificate, missing: key }),
            (false, true) => Err(AuthorityError::Incomplete { present: key, missing: certificate }),
            (false, false) => Err(AuthorityError::OutOfTurn(
                "there is no CA yet: `wardgate serve` and `wardgate ca export` make one".to_owned(),
            )),
        }
    }

    /// Moves both files of a CA to another name, the certificate first, where that name is free.
    fn step(&self, from: &str, to: &str) -> Result<(), AuthorityError> {
        rename(&self.certificate(from), &self.certificate(to))?;
        rename(&self.key(from), &self.key(to))
    }
}

/// Renames unless it was done before.
fn rename(from: &Path, to: &Path) -> Result<(), AuthorityError> {
    if to.exists() || !from.exists() {
        return Ok(());
    }
    fs::rename(from, to).map_err(|error| file("write", to, WRITABLE, error))
}

#[cfg(test)]
mod tests {
    use super::super::Authorities;
    use super::*;

    fn site() -> (tempfile::TempDir, AuthoritySettings) {
        let dir = tempfile::tempdir().unwrap();
        let settings = AuthoritySettings { dir: dir.path().to_owned(), ..AuthoritySettings::default() };
        Authorities::open_or_create(&settings).unwrap();
        (dir, settings)
    }

    fn signing(settings: &AuthoritySettings) -> String {
        Authorities::open_or_create(settings).unwrap().signing.certificate.pem.clone()
    }

    #[test]
    fn a_rotation_overlaps_from_beginning_to_end() {
        let (_dir, settings) = site();
        let old = signing(&settings);
        let next = settings.prepare_next().unwrap().pem;
        assert_ne!(old, next);
        assert_eq!(signing(&settings), old, "prepared, not active");
        let bundle = Authorities::open_or_create(&settings).unwrap().bundle();
        assert!(bundle.contains(&old) && bundle.contains(&next));

        settings.activate_next().unwrap();
        assert_eq!(signing(&settings), next);
        let bundle = Authorities::open_or_create(&settings).unwrap().bundle();
        assert!(bundle.starts_with(&next) && bundle.contains(&old));

        settings.undo_activation().unwrap();
        assert_eq!(signing(&settings), old);
        settings.activate_next().unwrap();
        assert_eq!(settings.finish_rotation().unwrap().pem, old);
        assert_eq!(Authorities::open_or_create(&settings).unwrap().bundle(), next);
        assert_eq!(fs::read_dir(&settings.dir).unwrap().count(), 2);
    }

    #[test]
    fn steps_out_of_turn_say_what_comes_first() {
        let (_dir, settings) = site();
        let said = |result: Result<AuthorityCertificate, AuthorityError>| match result {
            Err(AuthorityError::OutOfTurn(said)) => said,
            other => panic!("{other:?}"),
        };
        assert!(said(settings.activate_next()).contains("run `wardgate ca rotate` first"));
        assert!(said(settings.finish_rotation()).contains("nothing to finish"));
        assert!(said(settings.undo_activation()).contains("nothing was activated"));
        settings.prepare_next().unwrap();
        assert!(said(settings.prepare_next()).contains("prepared already"));
        assert!(said(settings.finish_rotation()).contains("--activate` first"));
        settings.activate_next().unwrap();
        assert!(said(settings.prepare_next()).contains("--finish` first"));
    }

    #[test]
    fn an_interrupted_activation_is_carried_on() {
        for moved in 0..4 {
            let (_dir, settings) = site();
            let next = settings.prepare_next().unwrap().pem;
            let steps = [
                (settings.certificate("ca"), settings.certificate(FORMER)),
                (settings.key("ca"), settings.key(FORMER)),
                (settings.certificate(NEXT), settings.certificate("ca")),
            ];
            for (from, to) in steps.iter().take(moved) {
                fs::rename(from, to).unwrap();
            }
            settings.activate_next().unwrap();
            assert_eq!(signing(&settings), next, "after {moved} steps");
        }
    }

    #[test]
    fn the_next_signs_by_itself_from_its_date_on() {
        use time::{Duration, OffsetDateTime};
        let (_dir, settings) = site();
        let (old, next) = (signing(&settings), settings.prepare_next().unwrap().pem);
        let from = |days: i64| AuthoritySettings {
            next_from: Some(OffsetDateTime::now_utc() + Duration::days(days)),
            ..settings.clone()
        };
        assert_eq!(signing(&from(1)), old);
        assert_eq!(signing(&from(-1)), old, "a date of before it was made was meant for another");
        let now = from(0);
        assert_eq!(signing(&now), next);
        let bundle = Authorities::open_or_create(&now).unwrap().bundle();
        assert!(bundle.starts_with(&next) && bundle.contains(&old));
    }

    #[test]
    fn keys_are_encrypted_where_they_lie() {
        let (dir, settings) = site();
        let old = signing(&settings);
        let passphrase = dir.path().join("passphrase");
        super::super::write_new(&passphrase, b"secret", 0o600).unwrap();
        let settings = AuthoritySettings { passphrase_file: Some(passphrase), ..settings };
        assert_eq!(settings.encrypt_keys().unwrap(), [settings.key("ca")]);
        assert_eq!(settings.encrypt_keys().unwrap(), Vec::<std::path::PathBuf>::new());
        let loaded = Authorities::open_or_create(&settings).unwrap();
        assert!(loaded.signing.encrypted && loaded.signing.certificate.pem == old);
    }
}
