//! TLS on both sides of an intercepted connection: the school's certificate authority and the leaf certificates it
//! signs for browsers, the look at a ClientHello before anything is answered, and the strict verification of origins.

mod authority;
mod hello;
mod mint;
mod origin;
mod own;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use authority::{
    Authorities, Authority, AuthorityCertificate, AuthorityError, AuthoritySettings, CERTIFICATE_FILE,
    Constraints, KEY_FILE, NoSubtree, Subtree, mobileconfig,
};
pub use hello::{Hello, MAX_HELLO, Peek, Peeker, peek};
pub use mint::{MintError, Minter};
pub use origin::{
    Handshake, Offer, OriginSettings, OriginTls, RevocationSource, RootsError, SourceError, SourceKind,
    TlsFailure, revocation_sources,
};
pub use own::{OwnCertificate, OwnCertificateError};

/// The cryptography used everywhere: aws-lc-rs with the post-quantum hybrid X25519MLKEM768 offered first.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
