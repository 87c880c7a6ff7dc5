//! Certificates for the test origins: one root that Wardgate is told to trust, one that it is not, and a leaf for
//! each way of being wrong. The origin picks the leaf by the name that the client asks for.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

/// Serves a certificate that is long past its end.
pub(crate) const EXPIRED: &str = "expired.example.test";
/// Serves a certificate that signed itself.
pub(crate) const SELF_SIGNED: &str = "self-signed.example.test";
/// Serves a good certificate for another name.
pub(crate) const WRONG_HOST: &str = "wrong-host.example.test";
/// Serves a certificate of a root that nobody trusts.
pub(crate) const UNTRUSTED: &str = "untrusted.example.test";

/// The test authority and everything that it issued.
pub(crate) struct Pki {
    /// The root to put into `[upstream] extra_roots`, in PEM.
    pub(crate) root_pem: String,
    leaves: Arc<Leaves>,
}

#[derive(Debug)]
struct Leaves {
    good: Arc<CertifiedKey>,
    expired: Arc<CertifiedKey>,
    self_signed: Arc<CertifiedKey>,
    wrong_host: Arc<CertifiedKey>,
    untrusted: Arc<CertifiedKey>,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Draws new keys and issues every certificate.
    pub(crate) fn new() -> Self {
        let trusted = Authority::new("Wardgate test root");
        let unknown = Authority::new("A root that nobody trusts");
        let leaves = Leaves {
            good: trusted.issue(leaf_for(&["*.example.test", "example.test"])),
            expired: trusted.issue(expired()),
            self_signed: self_signed(),
            wrong_host: trusted.issue(leaf_for(&["another.example.test"])),
            untrusted: unknown.issue(leaf_for(&["*.example.test"])),
        };
        Self { root_pem: trusted.pem, leaves: Arc::new(leaves) }
    }

    /// The origin's side of TLS, offering these protocols.
    pub(crate) fn server(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.leaves) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

impl ResolvesServerCert for Leaves {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let leaf = match hello.server_name() {
            Some(EXPIRED) => &self.expired,
            Some(SELF_SIGNED) => &self.self_signed,
            Some(WRONG_HOST) => &self.wrong_host,
            Some(UNTRUSTED) => &self.untrusted,
            _ => &self.good,
        };
        Some(Arc::clone(leaf))
    }
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, params: CertificateParams) -> Arc<CertifiedKey> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        certified(&certificate, &key)
    }
}

fn leaf_for(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    for address in ["127.0.0.1", "::1"] {
        params.subject_alt_names.push(SanType::IpAddress(address.parse().unwrap()));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

fn expired() -> CertificateParams {
    let mut params = leaf_for(&["*.example.test"]);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 1, 1);
    params
}

fn self_signed() -> Arc<CertifiedKey> {
    let key = KeyPair::generate().unwrap();
    certified(&leaf_for(&[SELF_SIGNED]).self_signed(&key).unwrap(), &key)
}

fn certified(certificate: &rcgen::Certificate, key: &KeyPair) -> Arc<CertifiedKey> {
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let chain = vec![certificate.der().clone()];
    Arc::new(CertifiedKey::from_der(chain, private, &aws_lc_rs::default_provider()).unwrap())
}

/// The client's side of TLS: trusts the roots of this PEM text and nothing else.
pub(crate) fn client(roots_pem: &str, alpn: &[&str]) -> Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = RootCertStore::empty();
    for root in rustls::pki_types::CertificateDer::pem_slice_iter(roots_pem.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}
