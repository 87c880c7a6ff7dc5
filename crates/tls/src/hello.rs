//! A look at the first bytes of a tunnel without consuming them: is this TLS, and for whom?
//!
//! The bytes go on unread to whoever they are for, so this reads a ClientHello and nothing else, and is stricter than
//! servers are: what could be understood in two ways is [`Peek::Broken`]. References are to RFC 8446.

use std::borrow::Cow;

/// The most that a ClientHello may take, in bytes, with its record headers. Post-quantum key shares make hellos of
/// some 2 KiB; 16 KiB is the largest record.
pub const MAX_HELLO: usize = 16 * 1024 + 256;

/// The content type of a handshake record, and the type of a ClientHello in it (sections 5.1 and 4).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The largest record that may stand in the clear (section 5.1).
const MAX_FRAGMENT: usize = 1 << 14;
/// Lengths of the headers of a record and of a handshake message.
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// The extensions looked at (RFC 6066, section 3, and RFC 7301, section 3.1).
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
/// The longest name that DNS can carry, with a trailing dot.
const MAX_NAME: usize = 254;

/// What a ClientHello says before any of it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The server name (SNI), lower case; clients that go to an address send none. With ECH the outer name.
    pub server_name: Option<Box<str>>,
    /// Whether the client offers HTTP/2.
    pub offers_h2: bool,
    /// Whether the client would rather use ChaCha20 than AES: its processor has no instructions for the latter.
    pub prefers_chacha20: bool,
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
    Broken(&'static str),
}

/// Looks at the bytes received so far. They are not consumed: feed the same bytes on, to the TLS server or to the
/// origin. Where more will come, a [`Peeker`] remembers how far it has looked.
pub fn peek(bytes: &[u8]) -> Peek {
    Peeker::default().look(bytes)
}

/// Looks at bytes as they come. However they are cut, each is looked at a bounded number of times.
#[derive(Debug, Default)]
pub struct Peeker {
    /// Where the first record stands that has not been taken.
    at: usize,
    /// What the records taken so far hold, where one alone did not hold the whole message.
    taken: Vec<u8>,
}

impl Peeker {
    /// Looks at all bytes received so far: those of the last call, and more.
    pub fn look(&mut self, bytes: &[u8]) -> Peek {
        match self.message(bytes) {
            Ok(Some(message)) => match hello(&message) {
                Ok(hello) => Peek::Hello(hello),
                Err(reason) => Peek::Broken(reason),
            },
            Ok(None) if bytes.len() > MAX_HELLO => Peek::Broken("the ClientHello is too large"),
            Ok(None) => Peek::Partial,
            Err(_) if self.at == 0 && !is_tls(bytes) => Peek::NotTls,
            Err(reason) => Peek::Broken(reason),
        }
    }

    /// The body of the ClientHello, once the records hold all of it.
    fn message<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<Cow<'b, [u8]>>, &'static str> {
        while let Some(fragment) = record(bytes.get(self.at..).unwrap_or_default())? {
            self.at += RECORD_HEADER + fragment.len();
            if self.taken.is_empty()
                && let Some(body) = whole(fragment)?
            {
                return Ok(Some(Cow::Borrowed(body)));
            }
            self.taken.extend_from_slice(fragment);
            if let Some(body) = whole(&self.taken)? {
                return Ok(Some(Cow::Owned(body.to_vec())));
            }
        }
        Ok(None)
    }
}

/// Whether bytes begin as a handshake record of any version does.
fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [] | [HANDSHAKE] | [HANDSHAKE, 3, ..])
}

/// What the first record holds, once all of it is there.
fn record(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if !is_tls(bytes) {
        return Err("something else stands between the records of the ClientHello");
    }
    let [_, _, _, high, low, rest @ ..] = bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    match length {
        0 => Err("a record of the ClientHello is empty"),
        _ if length > MAX_FRAGMENT => Err("a record of the ClientHello is too large"),
        _ => Ok(rest.get(..length)),
    }
}

/// The body of the message that these bytes begin, once all of it is there. A client sends nothing in the same record
/// behind its ClientHello.
fn whole(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    if bytes.first().is_some_and(|kind| *kind != CLIENT_HELLO) {
        return Err("the first message is not a ClientHello");
    }
    let [_, high, middle, low, body @ ..] = bytes else { return Ok(None) };
    let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
    if length > MAX_HELLO - RECORD_HEADER - MESSAGE_HEADER {
        return Err("the ClientHello is too large");
    }
    if body.len() > length {
        return Err("something follows the ClientHello in its record");
    }
    Ok((body.len() == length).then_some(body))
}

/// What a ClientHello's body says (section 4.1.2).
fn hello(body: &[u8]) -> Result<Hello, &'static str> {
    const CUT: &str = "the ClientHello is cut short";
    let mut reader = Reader(body);
    let legacy_version_and_random = 2 + 32;
    reader.take(legacy_version_and_random).ok_or(CUT)?;
    let session_id = reader.short().ok_or(CUT)?;
    let cipher_suites = reader.long().ok_or(CUT)?;
    let compression = reader.short().ok_or(CUT)?;
    if session_id.len() > 32
        || cipher_suites.is_empty()
        || cipher_suites.len() % 2 == 1
        || compression.is_empty()
    {
        return Err("the ClientHello is malformed");
    }
    let mut hello =
        Hello { server_name: None, offers_h2: false, prefers_chacha20: prefers_chacha20(cipher_suites) };
    if reader.0.is_empty() {
        return Ok(hello); // before TLS 1.3 a client may have no extensions at all
    }
    let mut extensions = Reader(reader.long().ok_or(CUT)?);
    if !reader.0.is_empty() {
        return Err("something follows the extensions of the ClientHello");
    }
    let (mut names, mut protocols) = (false, false);
    while !extensions.0.is_empty() {
        let kind = extensions.number().ok_or(CUT)?;
        let value = extensions.long().ok_or(CUT)?;
        match kind {
            SERVER_NAME if std::mem::replace(&mut names, true) => {
                return Err("the server name stands there twice");
            }
            SERVER_NAME => hello.server_name = Some(server_name(value)?),
            ALPN if std::mem::replace(&mut protocols, true) => return Err("the protocols stand there twice"),
            ALPN => hello.offers_h2 = offers(value, b"h2")?,
            _ => {}
        }
    }
    Ok(hello)
}

/// Whether ChaCha20 comes before AES-GCM, the values of GREASE (RFC 8701) and others aside.
fn prefers_chacha20(cipher_suites: &[u8]) -> bool {
    // RFC 8446, appendix B.4, and RFC 7905, section 2; RFC 8446 and RFC 5289, section 3.2.
    const CHACHA20: [u16; 3] = [0x1303, 0xcca8, 0xcca9];
    const AES_GCM: [u16; 6] = [0x1301, 0x1302, 0xc02b, 0xc02c, 0xc02f, 0xc030];
    let (suites, _) = cipher_suites.as_chunks::<2>();
    let mut known = suites.iter().map(|suite| u16::from_be_bytes(*suite));
    known
        .find(|suite| CHACHA20.contains(suite) || AES_GCM.contains(suite))
        .is_some_and(|suite| CHACHA20.contains(&suite))
}

/// The only name of a list of one (RFC 6066, section 3). That it is a host's is for the caller to see.
fn server_name(value: &[u8]) -> Result<Box<str>, &'static str> {
    const MALFORMED: &str = "the server name is malformed";
    let mut value = Reader(value);
    let mut list = Reader(value.long().ok_or(MALFORMED)?);
    let kind = list.take(1).ok_or(MALFORMED)?;
    let name = list.long().ok_or(MALFORMED)?;
    let sound =
        kind == [0] && value.0.is_empty() && list.0.is_empty() && (1..=MAX_NAME).contains(&name.len());
    match std::str::from_utf8(name) {
        Ok(name) if sound && name.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Ok(name.to_ascii_lowercase().into())
        }
        _ => Err(MALFORMED),
    }
}

/// Whether a list of protocols (RFC 7301, section 3.1) holds this one.
fn offers(value: &[u8], protocol: &[u8]) -> Result<bool, &'static str> {
    const MALFORMED: &str = "the list of protocols is malformed";
    let mut value = Reader(value);
    let mut list = Reader(value.long().filter(|_| value.0.is_empty()).ok_or(MALFORMED)?);
    let mut found = false;
    while !list.0.is_empty() {
        let offered = list.short().filter(|offered| !offered.is_empty()).ok_or(MALFORMED)?;
        found |= offered == protocol;
    }
    Ok(found)
}

/// Takes values from the front of bytes; nothing where they end too soon.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Bytes behind their length in one byte.
    fn short(&mut self) -> Option<&'b [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    /// Bytes behind their length in two bytes.
    fn long(&mut self) -> Option<&'b [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::ServerName;
    use rustls::server::Acceptor;

    use super::*;

    /// What rustls sends: X25519MLKEM768 among it, so more than one segment of a network holds.
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

    fn named(name: &str) -> Peek {
        Peek::Hello(Hello { server_name: Some(name.into()), offers_h2: false, prefers_chacha20: false })
    }

    fn unnamed() -> Peek {
        Peek::Hello(Hello { server_name: None, offers_h2: false, prefers_chacha20: false })
    }

    /// What Teams and Skype send in front of TURN over TCP ([MS-TURN], section 2.1, "Pseudo-TLS over TCP").
    const MS_TURN: [u8; 50] = [
        0x16, 0x03, 0x01, 0x00, 0x2d, 0x01, 0x00, 0x00, 0x29, 0x03, 0x01, 0xc1, 0xfc, 0xd5, 0xa3, 0x6d, 0x93,
        0xdd, 0x7e, 0x0b, 0x45, 0x67, 0x3f, 0xec, 0x79, 0x85, 0xfb, 0xbc, 0x3f, 0xd6, 0x60, 0xc2, 0xce, 0x84,
        0x85, 0x08, 0x1b, 0x81, 0x21, 0xbc, 0xaa, 0x10, 0xfb, 0x00, 0x00, 0x02, 0x00, 0x18, 0x01, 0x00,
    ];

    /// Bytes behind their length in two bytes.
    fn long(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
    }

    fn extension(kind: u16, value: &[u8]) -> Vec<u8> {
        [kind.to_be_bytes().to_vec(), long(value)].concat()
    }

    fn sni(name: &[u8]) -> Vec<u8> {
        extension(SERVER_NAME, &long(&[&[0], &long(name)[..]].concat()))
    }

    /// A hello's handshake message with these extensions; `None`: with no list of them at all.
    fn message(extensions: Option<&[u8]>) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 4, 0x0a, 0x0a, 0x13, 0x01, 1, 0]); // no session; GREASE and a suite; no compression
        body.extend(extensions.map(long).unwrap_or_default());
        let length = (body.len() as u32).to_be_bytes();
        [&[CLIENT_HELLO], &length[1..], &body].concat()
    }

    /// A message cut into records of at most `size` bytes.
    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|piece| [&[HANDSHAKE, 3, 1], &long(piece)[..]].concat()).collect()
    }

    fn hello_with(extensions: &[&[u8]]) -> Vec<u8> {
        records(&message(Some(&extensions.concat())), MAX_FRAGMENT)
    }

    #[test]
    fn every_prefix_of_a_hello_is_partial() {
        let bytes = hello_bytes("example.com");
        let hello =
            Hello { server_name: Some("example.com".into()), offers_h2: true, prefers_chacha20: false };
        let mut peeker = Peeker::default();
        for end in 0..bytes.len() {
            assert_eq!(peek(&bytes[..end]), Peek::Partial, "{end} bytes");
            assert_eq!(peeker.look(&bytes[..end]), Peek::Partial, "{end} bytes, one after the other");
        }
        assert_eq!(peek(&bytes), Peek::Hello(hello.clone()));
        assert_eq!(peeker.look(&bytes), Peek::Hello(hello));
    }

    #[test]
    fn borders_of_records_make_no_difference() {
        let bytes = hello_bytes("example.com");
        let whole = peek(&bytes);
        for size in [1, 2, 3, 4, 5, 63, 517, 1400] {
            let split = records(&bytes[RECORD_HEADER..], size);
            assert_eq!(peek(&split), whole, "records of {size}");
            let mut peeker = Peeker::default();
            let first = (1..=split.len()).find(|end| peeker.look(&split[..*end]) != Peek::Partial);
            assert_eq!(first, Some(split.len()), "records of {size}, byte by byte");
        }
    }

    #[test]
    fn what_clients_send() {
        let grease = extension(0x0a0a, &[]);
        let grease_ech = extension(0xfe0d, &[0, 0, 1, 0, 1, 9, 0, 1, 5, 0, 1, 6]);
        let key_share = extension(51, &long(&[&[0x11, 0xec], &long(&[1; 1216])[..]].concat()));
        let early_data =
            [hello_with(&[&sni(b"a.example")]), vec![20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 1, 0]].concat();
        for (name, bytes, expected) in [
            ("a name", hello_with(&[&sni(b"a.example")]), named("a.example")),
            ("capitals", hello_with(&[&sni(b"A.Example")]), named("a.example")),
            ("GREASE on both sides", hello_with(&[&grease, &sni(b"a.example"), &grease]), named("a.example")),
            ("GREASE ECH", hello_with(&[&grease_ech, &sni(b"outer.example")]), named("outer.example")),
            ("a post-quantum key share", hello_with(&[&key_share, &sni(b"a.example")]), named("a.example")),
            ("no name", hello_with(&[&grease]), unnamed()),
            ("a meeting's sound, dressed as TLS", MS_TURN.to_vec(), unnamed()),
            ("no extension", records(&message(Some(&[])), 900), unnamed()),
            ("no list of extensions", records(&message(None), 900), unnamed()),
            ("an address as a name", hello_with(&[&sni(b"192.0.2.1")]), named("192.0.2.1")),
            ("an underscore", hello_with(&[&sni(b"a_b.example")]), named("a_b.example")),
            ("early data behind it", early_data, named("a.example")),
        ] {
            assert_eq!(peek(&bytes), expected, "{name}");
        }
    }

    #[test]
    fn what_could_be_understood_in_two_ways() {
        let name = sni(b"a.example");
        let two_names = [&[0], &long(b"a.example")[..], &[0], &long(b"b.example")[..]].concat();
        let hello = hello_with(&[&name]);
        let whole = message(Some(&name));
        let interrupted =
            [records(&whole[..20], 900), vec![20, 3, 3, 0, 1, 1], records(&whole[20..], 900)].concat();
        let empty_record =
            [records(&whole[..20], 900), vec![22, 3, 1, 0, 0], records(&whole[20..], 900)].concat();
        let mut too_long_extension = hello.clone();
        let at = too_long_extension.len() - name.len() + 3;
        too_long_extension[at] += 1;
        for (case, bytes, reason) in [
            (
                "two extensions",
                hello_with(&[&name, &sni(b"b.example")]),
                "the server name stands there twice",
            ),
            ("two names", hello_with(&[&extension(0, &long(&two_names))]), "the server name is malformed"),
            ("no name in the list", hello_with(&[&extension(0, &long(&[]))]), "the server name is malformed"),
            ("an empty name", hello_with(&[&sni(b"")]), "the server name is malformed"),
            ("a zero in the name", hello_with(&[&sni(b"a.example\0.b")]), "the server name is malformed"),
            ("a space in the name", hello_with(&[&sni(b"a b")]), "the server name is malformed"),
            (
                "a name that is not ASCII",
                hello_with(&[&sni("ä.example".as_bytes())]),
                "the server name is malformed",
            ),
            ("a name that is too long", hello_with(&[&sni(&[b'a'; 255])]), "the server name is malformed"),
            (
                "bytes behind the list",
                hello_with(&[&extension(0, &[0, 0, 9])]),
                "the server name is malformed",
            ),
            ("an extension longer than there is", too_long_extension, "the ClientHello is cut short"),
            (
                "another record in between",
                interrupted,
                "something else stands between the records of the ClientHello",
            ),
            ("an empty record", empty_record, "a record of the ClientHello is empty"),
            (
                "a second message in the record",
                records(&[&whole[..], &whole[..]].concat(), MAX_FRAGMENT),
                "something follows the ClientHello in its record",
            ),
            ("another message", vec![22, 3, 1, 0, 4, 2, 0, 0, 0], "the first message is not a ClientHello"),
            ("a huge message", vec![22, 3, 1, 0, 4, 1, 0xff, 0, 0], "the ClientHello is too large"),
            ("a huge record", vec![22, 3, 1, 0xff, 0xff], "a record of the ClientHello is too large"),
            ("an empty message", vec![22, 3, 1, 0, 4, 1, 0, 0, 0], "the ClientHello is cut short"),
        ] {
            assert_eq!(peek(&bytes), Peek::Broken(reason), "{case}");
        }
    }

    #[test]
    fn a_hello_that_never_ends_is_too_large() {
        let endless = records(&[&[CLIENT_HELLO, 0, 0x3f, 0][..], &[0; 16_000]].concat(), 1);
        let mut peeker = Peeker::default();
        let end = (1..endless.len()).find(|end| peeker.look(&endless[..*end]) != Peek::Partial);
        assert_eq!(end, Some(MAX_HELLO + 1));
    }

    #[test]
    fn an_address_has_no_server_name() {
        let Peek::Hello(hello) = peek(&hello_bytes("127.0.0.1")) else { panic!("a hello") };
        assert_eq!(hello.server_name, None);
    }

    #[test]
    fn other_protocols() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"SSH-2.0-x\r\n", &[22, 9, 9], &[0x80, 0x2e, 1, 3, 1]] {
            assert_eq!(peek(bytes), Peek::NotTls, "{bytes:?}");
        }
    }

    #[test]
    fn clients_that_would_rather_use_chacha20() {
        for (name, suites, expected) in [
            ("Chromium", &[0x3a3a_u16, 0x1301, 0x1302, 0x1303, 0xc02b][..], false),
            ("Chromium without AES", &[0x3a3a, 0x1303, 0x1301, 0x1302, 0xcca9], true),
            ("OpenSSL", &[0x1302, 0x1303, 0x1301, 0xc02c], false),
            ("TLS 1.2 without AES", &[0xcca8, 0xc02f], true),
            ("neither", &[0x0035, 0x00ff], false),
        ] {
            let bytes: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
            assert_eq!(prefers_chacha20(&bytes), expected, "{name}");
        }
    }

    /// A server must not see another name than we did.
    #[test]
    fn rustls_reads_the_same_names() {
        for name in ["example.com", "a.b.c.example", "xn--bcher-kva.example", "a_b.example"] {
            for bytes in [hello_bytes(name), records(&hello_bytes(name)[RECORD_HEADER..], 700)] {
                let Peek::Hello(hello) = peek(&bytes) else { panic!("{name}") };
                let mut acceptor = Acceptor::default();
                let mut rest = &bytes[..];
                let accepted = loop {
                    acceptor.read_tls(&mut rest).unwrap();
                    if let Some(accepted) = acceptor.accept().map_err(|(error, _)| error).unwrap() {
                        break accepted;
                    }
                };
                assert_eq!(accepted.client_hello().server_name(), hello.server_name.as_deref());
                assert!(hello.offers_h2);
            }
        }
    }
}
