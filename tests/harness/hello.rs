//! ClientHellos made by hand, and a TLS client that says one name and takes any certificate: what browsers never do.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Failure;

/// A TLS connection over this stream that names `sni` in its ClientHello, or nothing; any certificate will do.
pub(crate) async fn greet(
    stream: TcpStream,
    sni: Option<&str>,
    alpn: &[&str],
) -> Result<TlsStream<TcpStream>, Failure> {
    let mut config = config();
    config.enable_sni = sni.is_some();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(sni.unwrap_or("unsaid.example.test").to_owned()).unwrap();
    let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    connected.map_err(|error| Failure::Broken(error.to_string()))
}

/// Whether the certificate shown on this connection is for `host`.
pub(crate) fn is_for(stream: &TlsStream<TcpStream>, host: &str) -> bool {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].windows(host.len()).any(|bytes| bytes == host.as_bytes())
}

/// Whether the certificate shown on this connection was minted by the school's authority.
pub(crate) fn is_minted(stream: &TlsStream<TcpStream>) -> bool {
    let certificates = stream.get_ref().1.peer_certificates().unwrap();
    certificates[0].windows(8).any(|bytes| bytes == b"Wardgate") && !is_for(stream, "*.example.test")
}

/// What a client of ours sends first: X25519MLKEM768 among its key shares, more than a segment long.
pub(crate) fn hello(sni: &str) -> Vec<u8> {
    let name = ServerName::try_from(sni.to_owned()).unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config()), name).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    wire
}

/// The same ClientHello in records of at most `size` bytes.
pub(crate) fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let record = |piece: &[u8]| [&[22, 3, 1], &(piece.len() as u16).to_be_bytes()[..], piece].concat();
    hello[5..].chunks(size).flat_map(record).collect()
}

/// The same ClientHello with an extension more, at the end: GREASE, or what else a case wants.
pub(crate) fn with_extension(hello: &[u8], kind: u16, value: &[u8]) -> Vec<u8> {
    let extension = [&kind.to_be_bytes(), &(value.len() as u16).to_be_bytes(), value].concat();
    let mut longer = [hello, &extension].concat();
    let session = 5 + 4 + 34;
    let suites = session + 1 + usize::from(longer[session]);
    let compression = suites + 2 + usize::from(u16::from_be_bytes([longer[suites], longer[suites + 1]]));
    let extensions = compression + 1 + usize::from(longer[compression]);
    for at in [3, 7, extensions] {
        // The lengths of the record and of the extensions; that of the message has three bytes, of which two do.
        let length = u16::from_be_bytes([longer[at], longer[at + 1]]) + extension.len() as u16;
        longer[at..at + 2].copy_from_slice(&length.to_be_bytes());
    }
    longer
}

fn config() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth()
}

/// Takes every certificate, so that a test can look at the one that is shown.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
