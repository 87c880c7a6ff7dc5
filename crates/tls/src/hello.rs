//! A look at the first bytes of a tunnel without consuming them: is this TLS, and for whom?

use rustls::server::Acceptor;

/// The most that a ClientHello may take, in bytes, with its record headers. Post-quantum key shares make hellos of
/// some 2 KiB; 16 KiB is the largest record.
pub const MAX_HELLO: usize = 16 * 1024 + 256;

/// What a ClientHello says before any of it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The server name (SNI), lower case; clients that go to an address send none.
    pub server_name: Option<Box<str>>,
    /// Whether the client offers HTTP/2.
    pub offers_h2: bool,
}

/// What the bytes seen so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peek {
    /// The beginning of a ClientHello: more is needed.
    Partial,
    /// A whole ClientHello.
    Hello(Hello),
    /// Not TLS.
    NotTls,
    /// TLS, but a ClientHello that cannot be understood, with the reason.
    Broken(String),
}

/// Looks at the bytes received so far. They are not consumed: feed the same bytes on, to the TLS server or to the
/// origin.
pub fn peek(bytes: &[u8]) -> Peek {
    const HANDSHAKE_RECORD: u8 = 22;
    match bytes {
        [] => return Peek::Partial,
        [HANDSHAKE_RECORD] | [HANDSHAKE_RECORD, 3, ..] => {}
        _ => return Peek::NotTls,
    }
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if acceptor.read_tls(&mut rest).is_err() {
            return Peek::Broken("the first TLS record is too large".to_owned());
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Peek::Hello(Hello {
                    server_name: hello.server_name().map(|name| name.to_ascii_lowercase().into()),
                    offers_h2: hello.alpn().is_some_and(|mut offers| offers.any(|offer| offer == b"h2")),
                });
            }
            Ok(None) => {}
            Err((error, _)) => return Peek::Broken(error.to_string()),
        }
    }
    if bytes.len() > MAX_HELLO {
        Peek::Broken("the ClientHello is too large".to_owned())
    } else {
        Peek::Partial
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;

    use super::*;

    fn hello_bytes(name: &'static str) -> Vec<u8> {
        let mut config = rustls::ClientConfig::builder_with_provider(crate::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(name).unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        wire
    }

    #[test]
    fn every_prefix_of_a_hello_is_partial() {
        let bytes = hello_bytes("example.com");
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Peek::Partial, "{end} bytes");
        }
        let hello = Hello { server_name: Some("example.com".into()), offers_h2: true };
        assert_eq!(peek(&bytes), Peek::Hello(hello));
    }

    #[test]
    fn an_address_has_no_server_name() {
        let Peek::Hello(hello) = peek(&hello_bytes("127.0.0.1")) else { panic!("a hello") };
        assert_eq!(hello.server_name, None);
    }

    #[test]
    fn other_protocols() {
        assert_eq!(peek(b"GET / HTTP/1.1\r\n"), Peek::NotTls);
        assert_eq!(peek(b"SSH-2.0-x\r\n"), Peek::NotTls);
        assert_eq!(peek(&[22, 9, 9]), Peek::NotTls);
        assert!(matches!(peek(&[22, 3, 1, 0, 4, 9, 0, 0, 0]), Peek::Broken(_)));
    }
}
