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
pub use mint::{MintError, Minter, in_client_order};
pub use origin::{
    Handshake, Offer, OriginSettings, OriginTls, RevocationSource, RootsError, SourceError, SourceKind,
    TlsFailure, revocation_sources,
};
pub use own::{OwnCertificate, OwnCertificateError};

/// The cryptography used everywhere: aws-lc-rs with the post-quantum hybrid X25519MLKEM768 offered first, and suites in
/// the order in which browsers offer them. AES-128 with SHA-256 comes first: processors have instructions for both, so
/// that a handshake costs a quarter less than with SHA-384.
pub fn provider() -> Arc<CryptoProvider> {
    use rustls::crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}
