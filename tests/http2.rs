//! HTTP/2 from the client, HTTP/1.1 to the origin: what one version allows and the other does not is where requests
//! are smuggled. Whatever HTTP/2 forbids is reset or refused, and nothing of it reaches the origin; what is sound
//! becomes one request of HTTP/1.1.

use crate::harness::listed;
use crate::harness::table::{self, Case, OK, Way};

type Field = (&'static str, &'static str);

const METHOD: Field = (":method", "GET");
const POST: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "https");
const AUTHORITY: Field = (":authority", "{host}");
const PATH: Field = (":path", "/");
/// The pseudo-header fields of a request that is sound.
const SOUND: [Field; 4] = [METHOD, SCHEME, AUTHORITY, PATH];

const BROKEN_RULES: &str = "the rules of HTTP/2 are broken";
const FLOOD: &str = "a request breaks the rules of HTTP/2 and was reset, and 24 more";
const UNREAD: &str = "a request's header fields are too large, or its client left before it was read";
const RESET: &str = "a request breaks the rules of HTTP/2 and was reset";

/// What the library of HTTP/2 refuses: a name, a source and the whole header block.
const RESETS: &[(&str, &str, &[Field])] = &[
    // Fields of one hop.
    (
        "Connection over HTTP/2",
        "RFC 9113, 8.2.2; Kettle 2021, HTTP/2: The Sequel Is Always Worse",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "close")],
    ),
    (
        "Transfer-Encoding over HTTP/2 (H2.TE)",
        "RFC 9113, 8.2.2; Kettle 2021",
        &[POST, SCHEME, AUTHORITY, PATH, ("transfer-encoding", "chunked")],
    ),
    (
        "Keep-Alive over HTTP/2",
        "RFC 9113, 8.2.2",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("keep-alive", "timeout=5")],
    ),
    (
        "Proxy-Connection over HTTP/2",
        "RFC 9113, 8.2.2",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("proxy-connection", "keep-alive")],
    ),
    ("Upgrade over HTTP/2", "RFC 9113, 8.2.2", &[METHOD, SCHEME, AUTHORITY, PATH, ("upgrade", "h2c")]),
    ("TE with a coding over HTTP/2", "RFC 9113, 8.2.2", &[METHOD, SCHEME, AUTHORITY, PATH, ("te", "gzip")]),
    // Pseudo-header fields.
    ("no method", "RFC 9113, 8.3.1", &[SCHEME, AUTHORITY, PATH]),
    ("no scheme", "RFC 9113, 8.3.1", &[METHOD, AUTHORITY, PATH]),
    ("no path", "RFC 9113, 8.3.1", &[METHOD, SCHEME, AUTHORITY]),
    ("a path without a slash", "RFC 9113, 8.3.1; Kettle 2021", &[METHOD, SCHEME, AUTHORITY, (":path", "a")]),
    (
        "a whole URL for a path",
        "RFC 9113, 8.3.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, (":path", "http://blocked.example.test/")],
    ),
    ("an empty path over HTTP/2", "RFC 9113, 8.3.1", &[METHOD, SCHEME, AUTHORITY, (":path", "")]),
    ("two methods", "RFC 9113, 8.3", &[METHOD, POST, SCHEME, AUTHORITY, PATH]),
    ("two paths", "RFC 9113, 8.3; Kettle 2021", &[METHOD, SCHEME, AUTHORITY, PATH, (":path", "/SMUGGLED")]),
    (
        "two authorities",
        "RFC 9113, 8.3; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, (":authority", "blocked.example.test"), PATH],
    ),
    ("two schemes", "RFC 9113, 8.3", &[METHOD, SCHEME, (":scheme", "http"), AUTHORITY, PATH]),
    (
        "a pseudo-header field behind a field",
        "RFC 9113, 8.3",
        &[METHOD, SCHEME, AUTHORITY, ("x-a", "1"), PATH],
    ),
    ("a status in a request", "RFC 9113, 8.3", &[METHOD, SCHEME, AUTHORITY, PATH, (":status", "200")]),
    (
        "a protocol without CONNECT",
        "RFC 8441, 4",
        &[METHOD, SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
    ),
    (
        "an extended CONNECT that was not offered",
        "RFC 8441, 4",
        &[(":method", "CONNECT"), SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
    ),
    ("CONNECT with a path over HTTP/2", "RFC 9113, 8.5", &[(":method", "CONNECT"), AUTHORITY, PATH]),
    ("CONNECT with a scheme over HTTP/2", "RFC 9113, 8.5", &[(":method", "CONNECT"), SCHEME, AUTHORITY]),
    (
        "a scheme that is none",
        "RFC 9113, 8.3.1; Kettle 2021",
        &[METHOD, (":scheme", "https://blocked.example.test/?"), AUTHORITY, PATH],
    ),
    (
        "a space in the path",
        "RFC 9113, 8.3.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/ HTTP/1.1")],
    ),
    (
        "a line end in the path",
        "RFC 9113, 8.2.1; Kettle 2021 (request splitting)",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/ HTTP/1.1\r\nHost: a\r\n\r\nGET /SMUGGLED")],
    ),
    (
        "a space in the authority",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, (":authority", "{host} blocked.example.test"), PATH],
    ),
    (
        "a line end in the authority",
        "RFC 9113, 8.2.1; Kettle 2021",
        &[METHOD, SCHEME, (":authority", "{host}\r\nX-A: b"), PATH],
    ),
    ("a slash in the authority", "RFC 9113, 8.3.1", &[METHOD, SCHEME, (":authority", "{host}/path"), PATH]),
    ("an empty authority", "RFC 9113, 8.3.1", &[METHOD, SCHEME, (":authority", ""), PATH]),
    // Lengths.
    (
        "a length without a body (H2.CL)",
        "RFC 9113, 8.1.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "5")],
    ),
    (
        "a length that is no number over HTTP/2",
        "RFC 9113, 8.1.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "five")],
    ),
    (
        "a signed length over HTTP/2",
        "RFC 9110, 8.6",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "+0")],
    ),
    (
        "a list of lengths over HTTP/2",
        "RFC 9110, 8.6",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "0, 0")],
    ),
    (
        "two lengths that differ over HTTP/2",
        "RFC 9110, 8.6",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "0"), ("content-length", "5")],
    ),
];

/// What cannot even be read as a header block: the whole connection ends.
const BROKEN: &[(&str, &str, &[Field])] = &[
    ("a name in capitals", "RFC 9113, 8.2.1", &[METHOD, SCHEME, AUTHORITY, PATH, ("X-A", "1")]),
    ("a name with a space", "RFC 9113, 8.2.1", &[METHOD, SCHEME, AUTHORITY, PATH, ("x a", "1")]),
    (
        "a name with a colon (header injection)",
        "RFC 9113, 8.2.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("transfer-encoding: chunked", "1")],
    ),
    (
        "a name with a line end (header injection)",
        "RFC 9113, 8.2.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a: b\r\ntransfer-encoding", "chunked")],
    ),
    ("a name with a NUL over HTTP/2", "RFC 9113, 8.2.1", &[METHOD, SCHEME, AUTHORITY, PATH, ("x\0a", "1")]),
    ("an empty name over HTTP/2", "RFC 9113, 8.2.1", &[METHOD, SCHEME, AUTHORITY, PATH, ("", "1")]),
    (
        "a value with a line end (header injection)",
        "RFC 9113, 8.2.1; Kettle 2021 (H2.TE by injection)",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\r\nTransfer-Encoding: chunked")],
    ),
    (
        "a value with a whole request (request splitting)",
        "RFC 9113, 8.2.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a")],
    ),
    (
        "a value with a line feed over HTTP/2",
        "RFC 9113, 8.2.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\nc")],
    ),
    (
        "a value with a carriage return over HTTP/2",
        "RFC 9113, 8.2.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\rc")],
    ),
    (
        "a value with a NUL over HTTP/2",
        "RFC 9113, 8.2.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "b\0c")],
    ),
    ("an unknown pseudo-header field", "RFC 9113, 8.3", &[METHOD, SCHEME, AUTHORITY, PATH, (":evil", "1")]),
    (
        "a method with a whole request",
        "RFC 9113, 8.2.1; Kettle 2021 (request line injection)",
        &[(":method", "GET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\nGET"), SCHEME, AUTHORITY, PATH],
    ),
    (
        "a method with a space",
        "RFC 9110, 9.1; Kettle 2021",
        &[(":method", "GET /SMUGGLED HTTP/1.1"), SCHEME, AUTHORITY, PATH],
    ),
    ("an empty method over HTTP/2", "RFC 9113, 8.3.1", &[(":method", ""), SCHEME, AUTHORITY, PATH]),
];

/// What the library lets pass and the proxy does not: a page, a status and the reason in the log.
const PAGES: &[(&str, &str, &[Field], u16, &str)] = &[
    (
        "a value behind a space over HTTP/2",
        "RFC 9113, 8.2.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", " 1")],
        400,
        "a header field's value has white space around it",
    ),
    (
        "a value before a tab over HTTP/2",
        "RFC 9113, 8.2.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", "1\t")],
        400,
        "a header field's value has white space around it",
    ),
    (
        "an asterisk for GET over HTTP/2",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, AUTHORITY, (":path", "*")],
        400,
        "the path does not begin with a slash",
    ),
    (
        "a user name in the authority",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, (":authority", "me@{host}"), PATH],
        400,
        "an address with a user name in it is not served",
    ),
    (
        "neither authority nor Host",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, PATH],
        400,
        "the host is not a valid name or address",
    ),
    (
        "a Host that is not the authority",
        "RFC 9113, 8.3.1; Kettle 2021",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "blocked.example.test")],
        400,
        "the Host is not the :authority",
    ),
    (
        "two Hosts over HTTP/2",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "{host}"), ("host", "{host}")],
        400,
        "the Host is not the :authority",
    ),
    (
        "plain http inside TLS",
        "RFC 9113, 8.3.1; Kettle 2021",
        &[METHOD, (":scheme", "http"), AUTHORITY, PATH],
        400,
        "only http and https addresses are served",
    ),
    (
        "another scheme",
        "RFC 9113, 8.3.1",
        &[METHOD, (":scheme", "ftp"), AUTHORITY, PATH],
        400,
        "only http and https addresses are served",
    ),
    (
        "another host than the tunnel's",
        "RFC 9113, 9.1.2",
        &[METHOD, SCHEME, (":authority", "blocked.example.test:{port}"), PATH],
        421,
        "the request is for another host than the tunnel",
    ),
    (
        "another port than the tunnel's",
        "RFC 9113, 9.1.2",
        &[METHOD, SCHEME, (":authority", "{name}"), PATH],
        421,
        "the request is for another host than the tunnel",
    ),
    (
        "CONNECT over HTTP/2",
        "RFC 9113, 8.5",
        &[(":method", "CONNECT"), AUTHORITY],
        421,
        "the request is for another host than the tunnel",
    ),
    (
        "an expectation in disguise over HTTP/2",
        "RFC 9110, 10.1.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("expect", "y 100-continue")],
        417,
        "the only expectation that is met is 100-continue",
    ),
];

/// What passes: a name, a source, the header block, a body, and what reaches the origin.
type Passed = (&'static str, &'static str, &'static [Field], Option<&'static str>, &'static str);

const PASSED: &[Passed] = &[
    (
        "a GET over HTTP/2",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a?b"), ("x-a", "1")],
        None,
        "GET /a?b HTTP/1.1\r\nx-a: 1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
    ),
    (
        "a Host without an authority",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, PATH, ("host", "{host}")],
        None,
        "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\n\r\n",
    ),
    (
        "a Host that agrees with the authority",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("host", "{NAME}:{port}")],
        None,
        "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\n\r\n",
    ),
    (
        "crumbs of cookies become one field",
        "RFC 9113, 8.2.3",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
        None,
        "GET / HTTP/1.1\r\ncookie: a=1; b=2; c=3\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
    ),
    (
        "TE: trailers over HTTP/2",
        "RFC 9113, 8.2.2",
        &[METHOD, SCHEME, AUTHORITY, PATH, ("te", "trailers")],
        None,
        "GET / HTTP/1.1\r\nte: trailers\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nconnection: te\r\nhost: {host}\r\n\r\n",
    ),
    (
        "an asterisk over HTTP/2",
        "RFC 9113, 8.3.1",
        &[(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")],
        None,
        "OPTIONS * HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
    ),
    (
        "a fragment goes no further",
        "RFC 9113, 8.3.1",
        &[METHOD, SCHEME, AUTHORITY, (":path", "/a#b")],
        None,
        "GET /a HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
    ),
    (
        "a path goes on as it came",
        "RFC 9110, 7.7",
        &[METHOD, SCHEME, AUTHORITY, (":path", "//a/./%2e%2E/\\%5c?%41")],
        None,
        "GET //a/./%2e%2E/\\%5c?%41 HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
    ),
    (
        "a body with its length",
        "RFC 9113, 8.1",
        &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "5")],
        Some("hello"),
        "POST / HTTP/1.1\r\ncontent-length: 5\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\nhello",
    ),
    (
        "lengths that agree become one over HTTP/2",
        "RFC 9110, 8.6",
        &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "5"), ("content-length", "5")],
        Some("hello"),
        "POST / HTTP/1.1\r\ncontent-length: 5\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\nhello",
    ),
    (
        "a body without a length becomes chunks",
        "RFC 9113, 8.1",
        &[POST, SCHEME, AUTHORITY, PATH],
        Some("hello"),
        "POST / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\ntransfer-encoding: chunked\r\nhost: {host}\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a body that looks like the end of chunks",
        "Kettle 2021 (H2.TE)",
        &[POST, SCHEME, AUTHORITY, PATH],
        Some("0\r\n\r\nGET /"),
        "POST / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\ntransfer-encoding: chunked\r\nhost: {host}\r\n\r\n\
         A\r\n0\r\n\r\nGET /\r\n0\r\n\r\n",
    ),
    (
        "a GET with a body over HTTP/2",
        "RFC 9110, 9.3.1",
        &[METHOD, SCHEME, AUTHORITY, PATH],
        Some("hello"),
        "GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\ntransfer-encoding: chunked\r\nhost: {host}\r\n\r\n\
         5\r\nhello\r\n0\r\n\r\n",
    ),
];

fn case(name: &'static str, source: &'static str) -> Case {
    Case::new(name, source).way(Way::Http2)
}

fn resets() -> impl Iterator<Item = Case> {
    RESETS.iter().map(|(name, source, fields)| {
        let case = case(name, source).asks(1, fields, true).gets("1 RESET PROTOCOL_ERROR\n");
        case.kept().event_without_answer("malformed", Some(RESET))
    })
}

fn broken() -> impl Iterator<Item = Case> {
    BROKEN.iter().map(|(name, source, fields)| {
        let case = case(name, source).asks(1, fields, true).gets("GOAWAY PROTOCOL_ERROR\n");
        case.closed().event_without_answer("malformed", Some(RESET))
    })
}

fn pages() -> impl Iterator<Item = Case> {
    PAGES.iter().map(|(name, source, fields, status, reason)| {
        let case = case(name, source).asks(1, fields, true).gets_page(*status);
        case.kept().event_saying(*status, "malformed", reason)
    })
}

fn passed() -> impl Iterator<Item = Case> {
    PASSED.iter().map(|(name, source, fields, body, reached)| {
        let case = case(name, source).asks(1, fields, body.is_none());
        let case = body.map_or(case.clone(), |body| case.sends_data(1, body, true));
        let case = case.origin_waits_for(*reached).origin_sends(OK).reaches(*reached);
        case.gets("1 HEADERS 200\n1 DATA \"ok\" END\n").kept().event(200, "completed")
    })
}

/// What needs more than one sentence.
fn told() -> Vec<Case> {
    const HEAD: &str = "POST / HTTP/1.1\r\ncontent-type: image/png\r\ncontent-length: 5\r\nvia: 2 wardgate\r\n\
                        accept-encoding: identity\r\nhost: {host}\r\n\r\n";
    const IMAGE: Field = ("content-type", "image/png");
    const TEXT: Field = ("content-type", "text/plain");
    const LENGTH: Field = ("content-length", "5");
    vec![
        case("more data than the length says (H2.CL)", "RFC 9113, 8.1.1; Kettle 2021")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, TEXT, LENGTH], false)
            .sends_data(1, "helloGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n", true)
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("data with a length of zero (H2.CL)", "RFC 9113, 8.1.1; Kettle 2021")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, ("content-length", "0")], false)
            .sends_data(1, "GET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n", true)
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("less data than the length says", "RFC 9113, 8.1.1")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, TEXT, LENGTH], false)
            .sends_data(1, "hel", true)
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("less data than the length says, told late", "RFC 9113, 8.1.1")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, IMAGE, LENGTH], false)
            .sends_data(1, "hel", false)
            .waits_for_origin()
            .sends_data(1, "", true)
            .origin_waits_for("hel")
            .origin_tells()
            .reaches(format!("{HEAD}hel"))
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("trailers over HTTP/2, but none that belong in the head", "RFC 9113, 8.1; RFC 9110, 6.5.1")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, TEXT, ("trailer", "x-sum, host")], false)
            .sends_data(1, "hello", false)
            .asks(1, &[("x-sum", "1"), ("host", "a"), ("content-length", "9")], true)
            .origin_waits_for("0\r\n")
            .origin_sends(OK)
            .reaches(
                "POST / HTTP/1.1\r\ncontent-type: text/plain\r\ntrailer: x-sum, host\r\nvia: 2 wardgate\r\n\
                 accept-encoding: identity\r\ntransfer-encoding: chunked\r\nhost: {host}\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .gets("1 HEADERS 200\n1 DATA \"ok\" END\n")
            .kept()
            .event(200, "completed"),
        case("a pseudo-header field in trailers", "RFC 9113, 8.1")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, TEXT], false)
            .sends_data(1, "hello", false)
            .asks(1, &[("x-sum", "1"), (":path", "/SMUGGLED")], true)
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("trailers that do not end the stream", "RFC 9113, 8.1")
            .asks(1, &[POST, SCHEME, AUTHORITY, PATH, TEXT], false)
            .sends_data(1, "hello", false)
            .asks(1, &[("x-sum", "1")], false)
            .gets("1 RESET PROTOCOL_ERROR\n")
            .kept()
            .event_of_reset_stream(400, BROKEN_RULES),
        case("a header list that is too long", "RFC 9113, 10.5.1; RFC 6585, 5")
            .asks(1, &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", &"a".repeat(70_000))], true)
            .gets_page(431)
            .kept()
            .event_saying(431, "malformed", "the request's head is too large"),
        case("a header list that is far too long", "RFC 9113, 10.5.1; RFC 6585, 5")
            .asks(1, &[METHOD, SCHEME, AUTHORITY, PATH, ("x-a", &"a".repeat(140_000))], true)
            .gets("1 HEADERS 431 END\n")
            .kept()
            .event_without_answer("limited", Some(UNREAD)),
        case("one bad stream among good ones", "RFC 9113, 5.4.2")
            .asks(1, &SOUND, true)
            .waits_for("1 DATA")
            .asks(3, &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "close")], true)
            .waits_for("3 RESET")
            .asks(5, &SOUND, true)
            .origin_answers(OK)
            .origin_answers(OK)
            .reaches(
                "GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n\
                 GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n",
            )
            .gets("1 HEADERS 200\n1 DATA \"ok\" END\n3 RESET PROTOCOL_ERROR\n5 HEADERS 200\n5 DATA \"ok\" END\n")
            .kept()
            .event(200, "completed")
            .event(200, "completed")
            .event_without_answer("malformed", Some(RESET)),
        case("a flood of bad streams", "RFC 9113, 10.5")
            .asks_often(1..=40, &[METHOD, SCHEME, AUTHORITY, PATH, ("connection", "close")])
            .gets((1..=40).map(|number| format!("{} RESET PROTOCOL_ERROR\n", number * 2 - 1)).collect::<String>())
            .kept()
            .events_without_answer(15, "malformed", RESET)
            .event_without_answer("malformed", Some(FLOOD)),
        case("HEAD over HTTP/2", "RFC 9110, 9.3.2")
            .asks(1, &[(":method", "HEAD"), SCHEME, AUTHORITY, PATH], true)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .reaches("HEAD / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("1 HEADERS 200 END\n")
            .kept()
            .event(200, "completed"),
        case("204 over HTTP/2", "RFC 9110, 15.3.5")
            .asks(1, &SOUND, true)
            .origin_answers("HTTP/1.1 204 No Content\r\n\r\n")
            .reaches("GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("1 HEADERS 204 END\n")
            .kept()
            .event(204, "completed"),
        case("trailers of an answer over HTTP/2", "RFC 9113, 8.1; RFC 9110, 6.5.1")
            .asks(1, &[METHOD, SCHEME, AUTHORITY, PATH, ("te", "trailers")], true)
            .origin_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")
            .reaches("GET / HTTP/1.1\r\nte: trailers\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nconnection: te\r\nhost: {host}\r\n\r\n")
            .gets("1 HEADERS 200\n1 DATA \"hello\"\n1 FIELDS END\n")
            .kept()
            .event(200, "completed"),
        case("an answer that breaks off is reset", "RFC 9113, 8.1.1")
            .asks(1, &SOUND, true)
            .waits_for("hello")
            .tells_origin()
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\nhello")
            .origin_waits_for_client()
            .origin_closes()
            .reaches("GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("1 HEADERS 200\n1 DATA \"hello\"\n1 RESET INTERNAL_ERROR\n")
            .kept()
            .event(200, "upstream-failed"),
        case("an answer that is malformed becomes a page over HTTP/2", "RFC 9112, 6.3")
            .asks(1, &SOUND, true)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
            .reaches("GET / HTTP/1.1\r\nvia: 2 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets_page(502)
            .kept()
            .event_saying(502, "upstream-failed", "there is both a Transfer-Encoding and a Content-Length"),
    ]
}

/// An ALTSVC frame (RFC 7838, section 4) on the first stream, as text.
fn alternative(value: &str) -> String {
    const ALTSVC: u8 = 10;
    let payload = [&[0, 0], value.as_bytes()].concat(); // no origin of its own: the stream's
    String::from_utf8(crate::harness::http2::frame(ALTSVC, 0, 1, &payload)).unwrap()
}

/// What an origin of HTTP/2 answers a client of HTTP/1.1.
fn origins() -> Vec<Case> {
    const ASKED: &str = "GET / HTTP/1.1\r\nHost: {host}\r\n\r\n";
    const STATUS: Field = (":status", "200");
    let asked = |name, source| {
        let case = Case::new(name, source).way(Way::Tls).origin_speaks_http2();
        case.sends(ASKED).origin_waits_for("1 FIELDS END\n")
    };
    let refused = |name, source, fields: &[Field]| {
        let case = asked(name, source).origin_sends_fields(fields, true);
        let case = case.reaches("1 FIELDS END\n1 RESET PROTOCOL_ERROR\n").gets_page(502);
        case.kept().event_saying(502, "upstream-failed", BROKEN_RULES)
    };
    let unread = |name, source, fields: &[Field]| {
        // The stream is over already: there is nothing to reset.
        let case = asked(name, source).origin_sends_fields(fields, true).reaches("1 FIELDS END\n");
        case.gets_page(502).kept().event_saying(502, "upstream-failed", BROKEN_RULES)
    };
    let broken = |name, source, fields: &[Field]| {
        let case = asked(name, source).origin_sends_fields(fields, true);
        let case = case.reaches("1 FIELDS END\nGOAWAY PROTOCOL_ERROR\n").gets_page(502);
        case.kept().event_saying(502, "upstream-failed", BROKEN_RULES)
    };
    vec![
        asked("an answer over HTTP/2", "RFC 9113, 8.3.2")
            .origin_sends_fields(&[STATUS, ("content-length", "2"), ("x-a", "1")], false)
            .origin_sends_data("ok", true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: 1\r\nvia: 2 wardgate\r\n\r\nok")
            .kept()
            .event(200, "completed"),
        asked("an answer without a length over HTTP/2 becomes chunks", "RFC 9113, 8.1")
            .origin_sends_fields(&[STATUS], false)
            .origin_sends_data("0\r\n\r\n", true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\nvia: 2 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n")
            .kept()
            .event(200, "completed"),
        asked("an interim answer over HTTP/2", "RFC 9113, 8.1")
            .origin_sends_fields(&[(":status", "103"), ("link", "</a>")], false)
            .origin_sends_fields(&[(":status", "204")], true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 204 No Content\r\nvia: 2 wardgate\r\n\r\n")
            .kept()
            .event(204, "completed"),
        asked("an ALTSVC frame and the field go no further", "RFC 7838, 2.4 and 4")
            .origin_sends(alternative("h3=\":443\"; ma=86400"))
            .origin_sends_fields(&[STATUS, ("alt-svc", "h3=\":443\""), ("content-length", "2")], false)
            .origin_sends_data("ok", true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\nvia: 2 wardgate\r\ncontent-length: 2\r\n\r\nok")
            .kept()
            .event(200, "completed"),
        asked("lengths that agree in an answer over HTTP/2", "RFC 9110, 8.6")
            .origin_sends_fields(&[STATUS, ("content-length", "2"), ("content-length", "2")], false)
            .origin_sends_data("ok", true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 2 wardgate\r\n\r\nok")
            .kept()
            .event(200, "completed"),
        refused("Connection in an answer over HTTP/2", "RFC 9113, 8.2.2", &[STATUS, ("connection", "close")]),
        refused(
            "Transfer-Encoding in an answer over HTTP/2",
            "RFC 9113, 8.2.2",
            &[STATUS, ("transfer-encoding", "chunked")],
        ),
        unread("an answer without a status", "RFC 9113, 8.3.2", &[("x-a", "1")]),
        refused("a status behind a field", "RFC 9113, 8.3", &[("x-a", "1"), STATUS]),
        refused("two statuses", "RFC 9113, 8.3", &[STATUS, (":status", "204")]),
        asked("a path in an answer goes no further", "RFC 9113, 8.3.2")
            .origin_sends_fields(&[STATUS, (":path", "/")], true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\nvia: 2 wardgate\r\ncontent-length: 0\r\n\r\n")
            .kept()
            .event(200, "completed"),
        unread("a length without content in an answer", "RFC 9113, 8.1.1", &[STATUS, ("content-length", "5")]),
        unread("a switch over HTTP/2", "RFC 9113, 8.6", &[(":status", "101")]),
        broken("a name in capitals in an answer", "RFC 9113, 8.2.1", &[STATUS, ("X-A", "1")]),
        broken(
            "a line end in an answer's value",
            "RFC 9113, 8.2.1",
            &[STATUS, ("x-a", "b\r\nset-cookie: a=1")],
        ),
        broken("a status that is no number", "RFC 9113, 8.3.2", &[(":status", "abc")]),
        asked("an answer over HTTP/2 shorter than its length", "RFC 9113, 8.1.1")
            .origin_sends_fields(&[STATUS, ("content-type", "text/plain"), ("content-length", "5")], false)
            .origin_sends_data("hel", true)
            .reaches("1 FIELDS END\n1 RESET PROTOCOL_ERROR\n")
            .gets_page(502)
            .kept()
            .event_saying(502, "upstream-failed", BROKEN_RULES),
        asked("an answer over HTTP/2 longer than its length", "RFC 9113, 8.1.1")
            .origin_sends_fields(&[STATUS, ("content-type", "text/plain"), ("content-length", "2")], false)
            .origin_sends_data("okSMUGGLED", true)
            .reaches("1 FIELDS END\n1 RESET PROTOCOL_ERROR\n")
            .gets_page(502)
            .kept()
            .event_saying(502, "upstream-failed", BROKEN_RULES),
        asked("trailers of an answer over HTTP/2, for a client of HTTP/1.1", "RFC 9110, 6.5.1")
            .origin_sends_fields(&[STATUS], false)
            .origin_sends_data("ok", false)
            .origin_sends_fields(&[("x-sum", "1")], true)
            .reaches("1 FIELDS END\n")
            .gets("HTTP/1.1 200 OK\r\nvia: 2 wardgate\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .kept()
            .event(200, "completed"),
    ]
}

#[tokio::test]
async fn answers_over_http2() {
    table::run(origins()).await;
}

#[tokio::test]
async fn requests_that_http2_forbids_are_reset() {
    table::run(resets().chain(broken()).collect()).await;
}

#[tokio::test]
async fn requests_that_only_a_downgrade_would_change_are_refused() {
    table::run(pages().collect()).await;
}

#[tokio::test]
async fn requests_over_http2_pass() {
    table::run(passed().chain(told()).collect()).await;
}

#[test]
fn http2_cases_are_listed() {
    let cases = resets().chain(broken()).chain(pages()).chain(passed()).chain(told()).chain(origins());
    listed::check("http2", cases.map(|case| (case.name, case.source)));
}
