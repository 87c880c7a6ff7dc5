//! Certificate chains of every kind, and an origin that shows the one that belongs to the name asked for.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationList, CertificateRevocationListParams,
    CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::tools;

/// What every page of a [`ChainOrigin`] says.
pub(crate) const SECRET: &str = "nothing of this may ever be shown";

/// A certificate authority of a test.
pub(crate) struct Authority {
    /// Its certificate.
    pub(crate) certificate: CertificateDer<'static>,
    /// The same in PEM.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// Certificates as a server sends them, and its key.
#[derive(Clone)]
pub(crate) struct Chain {
    /// The server's own first.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    /// PKCS #8 in DER.
    pub(crate) key: Vec<u8>,
    /// What is stapled to it.
    pub(crate) ocsp: Option<Vec<u8>>,
}

impl Authority {
    /// A root.
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, |_| {})
    }

    /// A root that differs from an honest one.
    pub(crate) fn root_with(name: &str, amend: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (authority(name, amend), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Takes over an authority whose files lie somewhere.
    pub(crate) fn load(certificate_pem: &str, key_pem: &str) -> Self {
        let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
        let key = KeyPair::from_pem(key_pem).unwrap();
        let issuer = Issuer::from_ca_cert_der(&certificate, key).unwrap();
        Self { certificate, pem: certificate_pem.to_owned(), issuer }
    }

    /// An authority below this one.
    pub(crate) fn under(&self, name: &str, amend: impl FnOnce(&mut CertificateParams)) -> Self {
        let (params, key) = (authority(name, amend), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A server's certificate for this host; `between` are the authorities that are sent with it.
    pub(crate) fn leaf(
        &self,
        host: &str,
        between: &[&Self],
        amend: impl FnOnce(&mut CertificateParams),
    ) -> Chain {
        let (params, key) = (server(host, amend), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Chain::of(certificate.der(), between, &key)
    }

    /// Signs, with its name and key.
    pub(crate) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }

    /// A list of what it has revoked, made on one day of these from now and to be replaced on the other.
    pub(crate) fn revoked(
        &self,
        serials: &[Vec<u8>],
        days: std::ops::Range<i64>,
    ) -> CertificateRevocationList {
        let at = |days: i64| time::OffsetDateTime::now_utc() + time::Duration::days(days);
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: at(days.start),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(days.start),
            next_update: at(days.end),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }
}

impl Chain {
    fn of(own: &CertificateDer<'static>, between: &[&Authority], key: &KeyPair) -> Self {
        let sent = between.iter().map(|authority| authority.certificate.clone());
        let certificates = std::iter::once(own.clone()).chain(sent).collect();
        Self { certificates, key: key.serialize_der(), ocsp: None }
    }

    /// A certificate that signed itself.
    pub(crate) fn self_signed(host: &str, amend: impl FnOnce(&mut CertificateParams)) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = server(host, amend).self_signed(&key).unwrap();
        Self::of(certificate.der(), &[], &key)
    }

    /// Reads what a program wrote: a PEM file with certificates, the server's own first, and one with the key.
    pub(crate) fn read(certificates: &Path, key: &Path) -> Self {
        let certificates = CertificateDer::pem_file_iter(certificates).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap().secret_der().to_vec();
        Self { certificates, key, ocsp: None }
    }

    /// The same certificates, with more behind them.
    pub(crate) fn and(mut self, more: &CertificateDer<'static>) -> Self {
        self.certificates.push(more.clone());
        self
    }

    /// The fingerprint of the server's own certificate, as policy files write it.
    pub(crate) fn fingerprint(&self) -> String {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(&self.certificates[0]);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("sha256:{hex}")
    }

    /// The serial number of the server's own certificate.
    pub(crate) fn serial(&self) -> Vec<u8> {
        serial(&self.certificates[0])
    }

    fn certified(self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key).unwrap();
        // Not `from_der`, which looks whether the certificate makes sense.
        let mut certified =
            CertifiedKey::new(self.certificates, aws_lc_rs::sign::any_supported_type(&key).unwrap());
        certified.ocsp = self.ocsp;
        certified
    }
}

/// The serial number of a certificate, as it is written.
pub(crate) fn serial(certificate: &CertificateDer<'_>) -> Vec<u8> {
    use x509_parser::prelude::FromDer as _;
    let (_, parsed) = x509_parser::certificate::X509Certificate::from_der(certificate).unwrap();
    parsed.raw_serial().to_vec()
}

fn authority(name: &str, amend: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    amend(&mut params);
    params
}

fn server(host: &str, amend: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    amend(&mut params);
    params
}

/// An extension that says where the issuer's certificate lies (RFC 5280, section 4.2.2.1).
pub(crate) fn issuer_lies_at(url: &str) -> CustomExtension {
    let uri = der(0x86, url.as_bytes());
    let method = [0x06, 8, 0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let description = der(0x30, &[&method[..], &uri].concat());
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &description))
}

/// One DER value.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut der = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    der.extend_from_slice(content);
    der
}

/// A directory in which `openssl` makes what no library would.
pub(crate) struct OpenSsl(pub(crate) tempfile::TempDir);

impl OpenSsl {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A file in it.
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command, whose words are separated by blanks.
    pub(crate) async fn run(&self, arguments: &str) -> String {
        let mut command = Command::new(tools::find("openssl"));
        command.args(arguments.split_whitespace()).current_dir(self.0.path());
        tools::run(&mut command, "").await.succeeded().stdout
    }

    /// Makes a root `NAME.pem` with `NAME.key`; `kind` are arguments such as `-newkey rsa:2048 -sha256`.
    pub(crate) async fn root(&self, name: &str, kind: &str) {
        self.run(&format!(
            "req -x509 -nodes {kind} -keyout {name}.key -out {name}.pem -subj /CN={name} -days 30 \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
        ))
        .await;
    }

    /// Makes `NAME.pem` with `NAME.key`, signed by `by`; `kind` is of its key, `how` of the signature, `extensions` one a
    /// line.
    pub(crate) async fn issue(&self, name: &str, kind: &str, by: &str, how: &str, extensions: &str) {
        self.run(&format!(
            "req -nodes -new -newkey {kind} -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ))
        .await;
        std::fs::write(self.path("extensions"), extensions).unwrap();
        let extended = if extensions.is_empty() { "" } else { "-extfile extensions" };
        self.run(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -days 20 {how} {extended} -out {name}.pem"
        ))
        .await;
    }
}

/// An origin that shows each name its chain, and notes who got as far as a request.
pub(crate) struct ChainOrigin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    chains: Arc<Chains>,
    asked: Arc<Mutex<Vec<String>>>,
    resumed: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Chains(Mutex<HashMap<String, Arc<CertifiedKey>>>);

impl ResolvesServerCert for Chains {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // Clients that go to an address send no name.
        self.0.lock().unwrap().get(hello.server_name().unwrap_or("127.0.0.1")).cloned()
    }
}

impl ChainOrigin {
    /// Listens on 127.0.0.1.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (chains, asked) = (Arc::new(Chains::default()), Arc::new(Mutex::default()));
        let resumed = Arc::new(AtomicU64::new(0));
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&chains) as _);
        config.ticketer = aws_lc_rs::Ticketer::new().unwrap();
        let mut tasks = JoinSet::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tasks.spawn(accept(listener, acceptor, Arc::clone(&asked), Arc::clone(&resumed)));
        Self { address, chains, asked, resumed, _tasks: tasks }
    }

    /// Shows this chain from now on to who asks for the host.
    pub(crate) fn show(&self, host: &str, chain: Chain) {
        self.chains.0.lock().unwrap().insert(host.to_owned(), Arc::new(chain.certified()));
    }

    /// A URL of the host.
    pub(crate) fn url(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.address.port())
    }

    /// How many handshakes resumed a session.
    pub(crate) fn resumed(&self) -> u64 {
        self.resumed.load(Ordering::SeqCst)
    }

    /// The heads of the requests that arrived, of all hosts.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    asked: Arc<Mutex<Vec<String>>>,
    resumed: Arc<AtomicU64>,
) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(answer(stream, acceptor.clone(), Arc::clone(&asked), Arc::clone(&resumed)));
        while connections.try_join_next().is_some() {}
    }
}

async fn answer(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    asked: Arc<Mutex<Vec<String>>>,
    resumed: Arc<AtomicU64>,
) {
    let Ok(mut stream) = acceptor.accept(stream).await else { return };
    if stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
        resumed.fetch_add(1, Ordering::SeqCst);
    }
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
            head.clear();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{SECRET}", SECRET.len());
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            let _ = stream.flush().await;
        }
    }
    if !head.is_empty() {
        asked.lock().unwrap().push(String::from_utf8_lossy(&head).into_owned());
    }
}

/// `openssl s_server`, for what no library would offer. Ends when dropped.
pub(crate) struct SServer {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    _child: Child,
}

impl SServer {
    /// Starts it in the directory with these arguments, which are separated by blanks. It answers every request with a
    /// page about the connection.
    pub(crate) async fn start(openssl: &OpenSsl, arguments: &str) -> Self {
        let mut command = Command::new(tools::find("openssl"));
        command.args(["s_server", "-accept", "127.0.0.1:0", "-www"]).args(arguments.split_whitespace());
        let mut child = command
            .current_dir(openssl.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                let mut said = String::new();
                let _ = child.stderr.take().unwrap().read_to_string(&mut said).await;
                panic!("s_server {arguments} ended: {said}");
            };
            if let Some(address) = line.strip_prefix("ACCEPT ") {
                break address.rsplit(':').next().unwrap().trim().parse().unwrap();
            }
        };
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { port, _child: child }
    }
}
