//! Leaf certificates minted on demand, and the TLS configuration that presents each.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ResolvesServerCertUsingSni};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::authority::{Authorities, Authority, BACK_DATED, random_serial};

/// Browsers accept at most 398 days; a leaf need only outlive its place in the cache.
const VALID_FOR: Duration = Duration::days(90);
/// A leaf is minted anew after this, long before it ends.
const RENEWED_AFTER: Duration = Duration::days(1);

/// Why a leaf could not be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The name does not fit into a certificate, or signing failed.
    #[error("cannot mint a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS could not be configured with it.
    #[error("cannot configure TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Devices would not believe it.
    #[error("the authority's name constraints do not allow a certificate for this host")]
    Constrained,
}

/// Mints leaves as a public CA would make them: the name as SAN only, at most 398 days, back-dated an hour, a random
/// serial, key identifiers, server authentication only. The leaves of a process share one P-256 key, which makes
/// minting four times cheaper and gives nobody more than the process holds already.
pub struct Minter {
    authorities: ArcSwap<Authorities>,
    leaf_key: KeyPair,
    /// The same key, ready to sign handshakes.
    signing_key: Arc<dyn SigningKey>,
    /// What all hosts have in common: everything but the certificate.
    template: ServerConfig,
    cache: Cache<Box<str>, Minted>,
}

#[derive(Clone)]
struct Minted {
    config: Arc<ServerConfig>,
    at: OffsetDateTime,
    /// Who signed it.
    by: Arc<Authority>,
}

impl Minter {
    /// A minter that remembers at most `capacity` hosts.
    pub fn new(authorities: Authorities, capacity: usize) -> Result<Self, MintError> {
        let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let provider = crate::provider();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let signing_key = provider.key_provider.load_private_key(key)?;
        Ok(Self {
            authorities: ArcSwap::from_pointee(authorities),
            leaf_key,
            signing_key,
            template: template(provider)?,
            cache: Cache::new(capacity),
        })
    }

    /// The CA that signs, and those beside it.
    pub fn authorities(&self) -> Arc<Authorities> {
        self.authorities.load_full()
    }

    /// Signs with others from now on. Connections under way keep what they were shown.
    pub fn renew(&self, authorities: Authorities) {
        self.authorities.store(Arc::new(authorities));
    }

    /// A TLS server configuration that presents a leaf for `host` (a name or an address, canonical): TLS 1.2 and
    /// 1.3, HTTP/2 and HTTP/1.1, resumption by ticket.
    pub fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, MintError> {
        let now = OffsetDateTime::now_utc();
        let authorities = self.authorities.load();
        let by = &authorities.signing;
        let fresh = |minted: &Minted| now - minted.at < RENEWED_AFTER && Arc::ptr_eq(&minted.by, by);
        if let Some(minted) = self.cache.get(host).filter(fresh) {
            return Ok(minted.config);
        }
        let config = Arc::new(self.mint(host, now, by)?);
        self.cache.insert(host.into(), Minted { config: Arc::clone(&config), at: now, by: Arc::clone(by) });
        Ok(config)
    }

    fn mint(&self, host: &str, now: OffsetDateTime, by: &Authority) -> Result<ServerConfig, MintError> {
        if !by.certificate.constraints.allow(host) {
            return Err(MintError::Constrained);
        }
        let mut parameters = CertificateParams::default();
        // Never beyond the authority's own time: no client would believe that part of it.
        parameters.not_before = (now - BACK_DATED).max(by.certificate.not_before);
        parameters.not_after = (now + VALID_FOR).min(by.certificate.not_after);
        parameters.serial_number = Some(random_serial());
        parameters.distinguished_name = DistinguishedName::new();
        parameters.subject_alt_names = vec![match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(host.try_into()?),
        }];
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.use_authority_key_identifier_extension = true;
        let leaf = parameters.signed_by(&self.leaf_key, &by.issuer)?;

        let chain = vec![leaf.der().clone(), by.certificate.der.clone()];
        Ok(self.presenting(CertifiedKey::new(chain, Arc::clone(&self.signing_key))))
    }

    /// A TLS server configuration that presents another certificate than a minted one.
    pub(crate) fn config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, rustls::Error> {
        Ok(self.presenting(CertifiedKey::from_der(chain, key, self.template.crypto_provider())?))
    }

    fn presenting(&self, certified: CertifiedKey) -> ServerConfig {
        let mut config = self.template.clone();
        config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
        config
    }
}

/// The same, in the client's order of cipher suites rather than in ours: for clients that have a reason for theirs.
pub fn in_client_order(config: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.ignore_client_order = false;
    Arc::new(config)
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, resumption by ticket; no certificate.
fn template(provider: Arc<CryptoProvider>) -> Result<ServerConfig, MintError> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use rustls::CipherSuite;
    use rustls::client::verify_server_name;
    use rustls::pki_types::ServerName;
    use rustls::server::ParsedCertificate;

    use crate::authority::{AuthoritySettings, Constraints};

    use super::*;

    fn minter(capacity: usize) -> (tempfile::TempDir, Minter) {
        let dir = tempfile::tempdir().unwrap();
        let minter = Minter::new(Authorities::open_or_create(&settings(&dir)).unwrap(), capacity).unwrap();
        (dir, minter)
    }

    fn settings(dir: &tempfile::TempDir) -> AuthoritySettings {
        AuthoritySettings { dir: dir.path().to_owned(), ..AuthoritySettings::default() }
    }

    #[test]
    fn leaves_name_what_was_asked_for() {
        let (_dir, minter) = minter(10);
        for host in ["example.com", "xn--bcher-kva.example", "a_b.example.com", "127.0.0.1", "2001:db8::1"] {
            let mut parameters = CertificateParams::default();
            parameters.subject_alt_names = Vec::new();
            assert!(minter.server_config(host).is_ok(), "{host}");
        }
    }

    #[test]
    fn a_host_is_minted_once() {
        let (_dir, minter) = minter(10);
        let first = minter.server_config("example.com").unwrap();
        assert!(Arc::ptr_eq(&first, &minter.server_config("example.com").unwrap()));
        assert!(!Arc::ptr_eq(&first, &minter.server_config("example.org").unwrap()));
    }

    #[test]
    fn a_renewed_authority_signs_anew() {
        let (dir, minter) = minter(10);
        let before = minter.server_config("example.com").unwrap();
        minter.renew(Authorities::open_or_create(&settings(&dir)).unwrap());
        let after = minter.server_config("example.com").unwrap();
        assert!(!Arc::ptr_eq(&before, &after));
        assert!(Arc::ptr_eq(&after, &minter.server_config("example.com").unwrap()));
    }

    #[test]
    fn hosts_outside_the_constraints_are_not_minted() {
        let dir = tempfile::tempdir().unwrap();
        let constraints =
            Constraints { permitted: vec!["school.example".parse().unwrap()], ..Constraints::default() };
        let settings = AuthoritySettings { constraints, ..settings(&dir) };
        let minter = Minter::new(Authorities::open_or_create(&settings).unwrap(), 4).unwrap();
        assert!(minter.server_config("www.school.example").is_ok());
        assert!(matches!(minter.server_config("example.com"), Err(MintError::Constrained)));
    }

    #[test]
    fn the_cache_is_bounded() {
        let (_dir, minter) = minter(4);
        for n in 0..50 {
            minter.server_config(&format!("host{n}.example")).unwrap();
        }
        assert!(minter.cache.len() <= 5);
    }

    #[test]
    fn who_chooses_the_cipher_suite() {
        let (_dir, minter) = minter(4);
        let ours = minter.server_config("example.com").unwrap();
        let theirs = in_client_order(&ours);
        let order_of_openssl = || {
            let mut provider = CryptoProvider::clone(&crate::provider());
            provider.cipher_suites.swap(0, 1);
            provider
        };
        for (name, config, expected) in [
            ("ours", ours, CipherSuite::TLS13_AES_128_GCM_SHA256),
            ("the client's", theirs, CipherSuite::TLS13_AES_256_GCM_SHA384),
        ] {
            let client = handshake(&minter, order_of_openssl(), config);
            assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), expected, "{name}");
        }
    }

    #[test]
    fn a_client_that_trusts_the_ca_accepts_the_leaf() {
        let (_dir, minter) = minter(4);
        let config = minter.server_config("example.com").unwrap();
        let client = handshake(&minter, CryptoProvider::clone(&crate::provider()), config);
        let leaf = &client.peer_certificates().unwrap()[0];
        let other = ServerName::try_from("example.org").unwrap();
        assert!(verify_server_name(&ParsedCertificate::try_from(leaf).unwrap(), &other).is_err());
    }

    /// A client that trusts the CA, once it has shaken hands as one of example.com.
    fn handshake(
        minter: &Minter,
        provider: CryptoProvider,
        config: Arc<ServerConfig>,
    ) -> rustls::ClientConnection {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(minter.authorities().signing.certificate.der.clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("example.com").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = rustls::ServerConnection::new(config).unwrap();
        for _ in 0..4 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut wire.as_slice()).unwrap();
            server.process_new_packets().unwrap();
            let mut wire = Vec::new();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut wire.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        assert!(!client.is_handshaking());
        client
    }
}
