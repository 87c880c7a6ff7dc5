//! Certificates for intercepted hosts: minted once for each host, all with one key.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) struct Minter {
    issuer: Issuer<'static, KeyPair>,
    leaf_key: KeyPair,
    minted: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Minter {
    pub(crate) fn open(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let read =
            |path: &Path| fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()));
        let key = KeyPair::from_pem(&read(key)?)?;
        let issuer = Issuer::from_ca_cert_pem(&read(certificate)?, key)?;
        Ok(Self { issuer, leaf_key: KeyPair::generate()?, minted: Mutex::default() })
    }

    /// The TLS configuration that presents a certificate for this host.
    pub(crate) fn server_config(&self, host: &str) -> anyhow::Result<Arc<ServerConfig>> {
        if let Some(known) = self.minted.lock().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Ok(Arc::clone(known));
        }
        let leaf = CertificateParams::new([host.to_owned()])?.signed_by(&self.leaf_key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let mut minted = self.minted.lock().unwrap_or_else(PoisonError::into_inner);
        minted.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }
}
