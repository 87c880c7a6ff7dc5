//! Leaf certificates minted on demand, and the TLS configuration that presents each.

use std::net::IpAddr;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::{Duration, OffsetDateTime};

use crate::authority::{Authority, random_serial};

/// Browsers accept at most 398 days; a leaf need only outlive its place in the cache.
const VALID_FOR: Duration = Duration::days(90);
/// Clocks of devices are slow at times.
const BACK_DATED: Duration = Duration::hours(1);
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
}

/// Mints leaves as a public CA would make them: the name as SAN only, at most 398 days, back-dated an hour, a random
/// serial, key identifiers, server authentication only. The leaves of a process share one P-256 key, which makes
/// minting four times cheaper and gives nobody more than the process holds already.
pub struct Minter {
    authority: Arc<Authority>,
    leaf_key: KeyPair,
    provider: Arc<CryptoProvider>,
    ticketer: Arc<dyn ProducesTickets>,
    cache: Cache<Box<str>, Minted>,
}

#[derive(Clone)]
struct Minted {
    config: Arc<ServerConfig>,
    at: OffsetDateTime,
}

impl Minter {
    /// A minter that remembers at most `capacity` hosts.
    pub fn new(authority: Arc<Authority>, capacity: usize) -> Result<Self, MintError> {
        Ok(Self {
            authority,
            leaf_key: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            provider: crate::provider(),
            ticketer: rustls::crypto::aws_lc_rs::Ticketer::new()?,
            cache: Cache::new(capacity),
        })
    }

    /// The CA that signs.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A TLS server configuration that presents a leaf for `host` (a name or an address, canonical): TLS 1.2 and
    /// 1.3, HTTP/2 and HTTP/1.1, resumption by ticket.
    pub fn server_config(&self, host: &str) -> Result<Arc<ServerConfig>, MintError> {
        let now = OffsetDateTime::now_utc();
        if let Some(minted) = self.cache.get(host).filter(|minted| now - minted.at < RENEWED_AFTER) {
            return Ok(minted.config);
        }
        let config = Arc::new(self.mint(host, now)?);
        self.cache.insert(host.into(), Minted { config: Arc::clone(&config), at: now });
        Ok(config)
    }

    fn mint(&self, host: &str, now: OffsetDateTime) -> Result<ServerConfig, MintError> {
        let mut parameters = CertificateParams::default();
        parameters.not_before = now - BACK_DATED;
        parameters.not_after = now + VALID_FOR;
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
        let leaf = parameters.signed_by(&self.leaf_key, &self.authority.issuer)?;

        let chain = vec![leaf.der().clone(), self.authority.certificate.clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        Ok(self.config(chain, key)?)
    }

    /// A TLS server configuration that presents this certificate.
    pub(crate) fn config(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<ServerConfig, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Arc::clone(&self.ticketer);
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::verify_server_name;
    use rustls::pki_types::ServerName;
    use rustls::server::ParsedCertificate;

    use super::*;

    fn minter(capacity: usize) -> (tempfile::TempDir, Minter) {
        let dir = tempfile::tempdir().unwrap();
        let authority = Arc::new(Authority::open_or_create(dir.path()).unwrap());
        (dir, Minter::new(authority, capacity).unwrap())
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
    fn the_cache_is_bounded() {
        let (_dir, minter) = minter(4);
        for n in 0..50 {
            minter.server_config(&format!("host{n}.example")).unwrap();
        }
        assert!(minter.cache.len() <= 5);
    }

    #[test]
    fn a_client_that_trusts_the_ca_accepts_the_leaf() {
        let (_dir, minter) = minter(4);
        let config = minter.server_config("example.com").unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(minter.authority().certificate.clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(crate::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("example.com").unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(client), name.clone()).unwrap();
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
        let leaf = &client.peer_certificates().unwrap()[0];
        let other = ServerName::try_from("example.org").unwrap();
        assert!(verify_server_name(&ParsedCertificate::try_from(leaf).unwrap(), &other).is_err());
    }
}
