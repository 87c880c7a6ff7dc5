//! `wardgate ca`: look at the certificate authority, hand it out, and follow it by another one.

use std::io::{self, Write};

use serde::Serialize;
use wardgate_tls::{Authorities, AuthorityCertificate, AuthorityError, mobileconfig};

use super::{print, print_json};
use crate::cli::{Ca, Export, Rotate, Which};
use crate::config::Config;
use crate::exit::Failure;

/// Answers one of the commands; those that look at the CA make it where there is none yet.
pub(crate) fn ca(config: &Config, command: &Ca) -> Result<(), Failure> {
    match command {
        Ca::Show { json } => show(config, *json),
        Ca::Export(what) => export(config, what),
        Ca::Mobileconfig => print(&mobileconfig(open(config)?.certificates())),
        Ca::Rotate(step) => rotate(config, step),
        Ca::EncryptKey => encrypt(config),
    }
}

fn open(config: &Config) -> Result<Authorities, Failure> {
    Authorities::open_or_create(&config.certs.settings()).map_err(Failure::system)
}

/// What is told of a certificate.
#[derive(Serialize)]
struct Told<'a> {
    /// `signing`, `next` or `former`.
    role: &'static str,
    path: String,
    subject: &'a str,
    serial: &'a str,
    fingerprint: String,
    not_before: String,
    not_after: String,
    path_length: Option<u32>,
    permitted: Vec<String>,
    excluded: Vec<String>,
    /// Of the signing one alone: the keys of the others are not opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_encrypted: Option<bool>,
}

fn show(config: &Config, json: bool) -> Result<(), Failure> {
    let authorities = open(config)?;
    let mut told = vec![tell("signing", authorities.signing.certificate())];
    told[0].key_encrypted = Some(authorities.signing.is_encrypted());
    told.extend(authorities.next.as_ref().map(|next| tell("next", next)));
    told.extend(authorities.former.as_ref().map(|former| tell("former", former)));
    if json { print_json(&told) } else { print(&told.iter().map(in_words).collect::<Vec<_>>().join("\n")) }
}

fn tell<'a>(role: &'static str, certificate: &'a AuthorityCertificate) -> Told<'a> {
    let trees = |list: &[wardgate_tls::Subtree]| list.iter().map(ToString::to_string).collect();
    Told {
        role,
        path: certificate.path.display().to_string(),
        subject: &certificate.subject,
        serial: &certificate.serial,
        fingerprint: certificate.fingerprint().to_string(),
        not_before: certificate.not_before.date().to_string(),
        not_after: certificate.not_after.date().to_string(),
        path_length: certificate.path_length,
        permitted: trees(&certificate.constraints.permitted),
        excluded: trees(&certificate.constraints.excluded),
        key_encrypted: None,
    }
}

fn in_words(told: &Told<'_>) -> String {
    let role = match told.role {
        "signing" => "signs",
        "next" => "will sign next: bring it to the devices",
        _ => "signed before: devices may need it still",
    };
    let mut text = format!(
        "{}: {role}\n  subject      {}\n  fingerprint  {}\n  serial       {}\n  valid        {} to {}\n",
        told.path, told.subject, told.fingerprint, told.serial, told.not_before, told.not_after
    );
    for (name, trees) in [("permitted", &told.permitted), ("excluded", &told.excluded)] {
        if !trees.is_empty() {
            text += &format!("  {name:<11}  {}\n", trees.join(", "));
        }
    }
    if let Some(encrypted) = told.key_encrypted {
        text += &format!("  key          {}\n", if encrypted { "encrypted" } else { "not encrypted" });
    }
    text
}

/// The bundle that devices install, or one certificate of it.
fn export(config: &Config, what: &Export) -> Result<(), Failure> {
    let authorities = open(config)?;
    let one = match (what.only, what.der) {
        (None, false) => return print(&authorities.bundle()),
        (None, true) | (Some(Which::Signing), _) => Some(authorities.signing.certificate()),
        (Some(Which::Next), _) => authorities.next.as_ref(),
        (Some(Which::Former), _) => authorities.former.as_ref(),
    };
    let one =
        one.ok_or_else(|| Failure::No("there is no such authority; see `wardgate ca show`".to_owned()))?;
    if what.der {
        let mut out = io::stdout().lock();
        return out.write_all(&one.der).and_then(|()| out.flush()).map_err(Failure::system);
    }
    print(&one.pem)
}

fn rotate(config: &Config, step: &Rotate) -> Result<(), Failure> {
    let settings = config.certs.settings();
    let (done, said) = if step.activate {
        (
            settings.activate_next(),
            "signs from the next reload on (kill -HUP); the former one is kept beside it",
        )
    } else if step.undo {
        (settings.undo_activation(), "signs again from the next reload on (kill -HUP)")
    } else if step.finish {
        (settings.finish_rotation(), "was removed, with its key")
    } else {
        let said = "was made. Nothing is signed with it yet: bring it to all devices (/ca.crt and `wardgate ca export` hold \
                    both from the next reload on), then run `wardgate ca rotate --activate`";
        (settings.prepare_next(), said)
    };
    let certificate = done.map_err(|error| match error {
        AuthorityError::OutOfTurn(said) => Failure::No(said),
        other => Failure::system(other),
    })?;
    print(&format!("{}\n{}\n{said}\n", certificate.subject, certificate.fingerprint()))
}

fn encrypt(config: &Config) -> Result<(), Failure> {
    let encrypted = config.certs.settings().encrypt_keys().map_err(|error| match error {
        AuthorityError::OutOfTurn(said) => Failure::No(said),
        other => Failure::system(other),
    })?;
    let lines: String = encrypted.iter().map(|path| format!("{}: encrypted\n", path.display())).collect();
    print(if lines.is_empty() { "nothing to do: every key is encrypted\n" } else { &lines })
}
