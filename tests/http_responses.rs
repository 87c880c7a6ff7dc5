//! Answers on the wire, HTTP/1: what an origin sends is as hostile as any request. What could be read in two ways
//! becomes a page of ours; what is sound arrives byte for byte; and nothing that comes behind an answer is ever given
//! to another request.

use crate::harness::listed;
use crate::harness::table::{self, Case, OK, OK_PASSED, Way};

/// A name, a source, an answer and the reason in the log.
type Refused = (&'static str, &'static str, &'static str, &'static str);

const GET: &str = "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n";
const REACHED: &str = "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n";

const BOTH: &str = "there is both a Transfer-Encoding and a Content-Length";
const CODING: &str = "the Transfer-Encoding is not understood";
const CONTROL: &str = "a header field's value holds a control character";
const DIFFER: &str = "there are two Content-Lengths that differ";
const FOLDED: &str = "a header field is folded over lines";
const LENGTH: &str = "the Content-Length is not a number that can be served";
const LINE_END: &str = "a line of the head does not end in CR LF";
const NAME: &str = "a header field's name is malformed";
const NO_COLON: &str = "a header field has no colon";
const SIZE: &str = "the size of a chunk is malformed";
const SPILL: &str = "a chunk does not end where its size says";
const STATUS: &str = "the answer does not begin with a status line";
const SWITCH: &str = "a switch of protocols that nobody asked for";
const TRAILER: &str = "a trailer field is malformed or too long";

const REFUSED: &[Refused] = &[
    // Two ways to say where the body ends.
    (
        "an answer with a length and chunks",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        BOTH,
    ),
    (
        "an answer with chunks and a length",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        BOTH,
    ),
    (
        "an answer with a coding in disguise",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "an answer in gzip and chunks",
        "RFC 9112, 6.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "an answer in chunks and gzip",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        CODING,
    ),
    (
        "an answer in gzip until it closes",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n\u{1f}\u{8b}",
        CODING,
    ),
    (
        "an answer with the coding identity",
        "RFC 9112, 7",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
        CODING,
    ),
    (
        "an answer with an empty coding",
        "RFC 9112, 6.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding:\r\nContent-Length: 5\r\n\r\nhello",
        CODING,
    ),
    (
        "an answer with two codings that agree",
        "RFC 9112, 6.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "there is more than one Transfer-Encoding",
    ),
    (
        "an answer in HTTP/1.0 with chunks",
        "RFC 9112, 6.1",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 has no Transfer-Encoding",
    ),
    // Lengths.
    (
        "an answer with two lengths that differ",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\nhello",
        DIFFER,
    ),
    (
        "an answer with a list of lengths that differ",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 2\r\n\r\nhello",
        DIFFER,
    ),
    (
        "an answer with a signed length",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with a negative length",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with a length in hexadecimal",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with an empty length",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with half a list of lengths",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: 5,\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with a space in its length",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: 0 5\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with a length in words",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello",
        LENGTH,
    ),
    (
        "an answer with a length of 2^64",
        "RFC 9112, 6.3",
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        LENGTH,
    ),
    // Fields that are read in two ways.
    ("an answer with bare line feeds", "RFC 9112, 2.2", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", LINE_END),
    (
        "an answer with one bare line feed",
        "RFC 9112, 2.2; CWE-113",
        "HTTP/1.1 200 OK\r\nX-A: b\nSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok",
        LINE_END,
    ),
    (
        "an answer with a bare carriage return",
        "RFC 9112, 2.2; CWE-113",
        "HTTP/1.1 200 OK\r\nX-A: b\rSet-Cookie: a=1\r\nContent-Length: 2\r\n\r\nok",
        CONTROL,
    ),
    (
        "an answer with a bare carriage return before its body",
        "RFC 9112, 2.2",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\r\nok\r\n\r\n",
        NO_COLON,
    ),
    (
        "an answer with a NUL",
        "RFC 9110, 5.5",
        "HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 2\r\n\r\nok",
        CONTROL,
    ),
    (
        "an answer with a folded field",
        "RFC 9112, 5.2",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n c\r\nContent-Length: 2\r\n\r\nok",
        FOLDED,
    ),
    (
        "an answer with a folded coding",
        "RFC 9112, 5.2",
        "HTTP/1.1 200 OK\r\nX-A: b\r\n\tTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        FOLDED,
    ),
    (
        "an answer with a space before a colon",
        "RFC 9112, 5.1",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        NAME,
    ),
    (
        "an answer with a field without a colon",
        "RFC 9112, 5",
        "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nok",
        NO_COLON,
    ),
    (
        "an answer with a field without a name",
        "RFC 9112, 5",
        "HTTP/1.1 200 OK\r\n: b\r\nContent-Length: 2\r\n\r\nok",
        NAME,
    ),
    (
        "an answer with a name that is no token",
        "RFC 9110, 5.1",
        "HTTP/1.1 200 OK\r\nX A: b\r\nContent-Length: 2\r\n\r\nok",
        NAME,
    ),
    (
        "an answer with two status lines",
        "RFC 9112, 4; CWE-113",
        "HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        NO_COLON,
    ),
    // Status lines.
    ("no HTTP at all", "RFC 9112, 4", "SSH-2.0-OpenSSH_9.9\r\n\r\n", STATUS),
    ("an answer of HTTP/0.9", "RFC 9112, 4", "<html>hello</html>\r\n\r\n", STATUS),
    (
        "an answer of a streaming server of old",
        "RFC 9112, 4",
        "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
        STATUS,
    ),
    ("an answer of HTTP/2", "RFC 9112, 2.3", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    ("an answer in lower case", "RFC 9112, 2.3", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    ("a status of two digits", "RFC 9112, 4", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    ("a status of four digits", "RFC 9112, 4", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    ("a status below 100", "RFC 9110, 15", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    ("a status with a sign", "RFC 9112, 4", "HTTP/1.1 +20 OK\r\nContent-Length: 2\r\n\r\nok", STATUS),
    (
        "two spaces before the status",
        "RFC 9112, 4",
        "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok",
        STATUS,
    ),
    (
        "a reason with a carriage return",
        "RFC 9112, 4",
        "HTTP/1.1 200 O\rK\r\nContent-Length: 2\r\n\r\nok",
        "the reason of the status holds a control character",
    ),
    (
        "an empty line before the answer",
        "RFC 9112, 2.2",
        "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "the first line is empty",
    ),
    // Interim answers.
    (
        "a switch to HTTP/2 that nobody asked for",
        "RFC 9110, 7.8",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        SWITCH,
    ),
    (
        "a switch to WebSocket that nobody asked for",
        "RFC 9110, 15.2.2",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nanything",
        SWITCH,
    ),
    (
        "a switch behind an interim answer",
        "RFC 9110, 15.2.2",
        "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        SWITCH,
    ),
    (
        "an interim answer with a length",
        "RFC 9110, 8.6",
        "HTTP/1.1 100 Continue\r\nContent-Length: 38\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        "an interim answer says that it has a body",
    ),
    (
        "an interim answer with chunks",
        "RFC 9112, 6.1",
        "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "an interim answer says that it has a body",
    ),
    // Chunks.
    (
        "an answer with a chunk size that is no number",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        SIZE,
    ),
    (
        "an answer with a chunk size with a prefix",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n",
        SIZE,
    ),
    (
        "an answer with a chunk size beyond 64 bits",
        "CVE-2021-32714",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
        SIZE,
    ),
    (
        "an answer with a chunk size ended by a line feed",
        "RFC 9112, 2.2",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n",
        SIZE,
    ),
    (
        "an answer with a line feed in an extension",
        "Weikop 2025, Funky Chunks",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;\nab\r\n0\r\n\r\n",
        "the extension of a chunk is malformed or too long",
    ),
    (
        "an answer with a chunk longer than it says",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        SPILL,
    ),
    (
        "an answer with a chunk without its line end",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab0\r\n\r\n",
        SPILL,
    ),
    (
        "an answer with a trailer without a colon",
        "RFC 9112, 7.1.2",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX\r\n\r\n",
        TRAILER,
    ),
    (
        "an answer whose last line ends in a line feed",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\n",
        TRAILER,
    ),
];

fn refused() -> impl Iterator<Item = Case> {
    let row = |(name, source, answer, reason): &Refused| {
        let case = Case::new(name, source).sends(GET).origin_answers(*answer).reaches(REACHED);
        case.gets_page(502).kept().event_saying(502, "upstream-failed", reason)
    };
    REFUSED.iter().map(row)
}

/// Answers that are too large, or come to no end.
fn unfinished() -> Vec<Case> {
    let refused = |name, source, answer: String, reason| {
        let case = Case::new(name, source).sends(GET).origin_answers(answer).reaches(REACHED);
        case.gets_page(502).kept().event_saying(502, "upstream-failed", reason)
    };
    let closed = |name, source, answer: &str| {
        let case = Case::new(name, source).sends(GET).origin_answers(answer).origin_closes().reaches(REACHED);
        let reason = "the origin closed the connection before it answered";
        case.gets_page(502).kept().event_saying(502, "upstream-failed", reason)
    };
    vec![
        refused(
            "a head that does not end",
            "RFC 9110, 5.4",
            format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "a".repeat(300 * 1024)),
            "the head is too large",
        ),
        refused(
            "fields without end",
            "RFC 9110, 5.4",
            format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(300)),
            "there are too many header fields",
        ),
        refused(
            "interim answers without end",
            "RFC 9110, 15.2",
            "HTTP/1.1 102 Processing\r\n\r\n".repeat(100),
            "there are too many interim answers",
        ),
        closed("nothing at all", "RFC 9112, 8", ""),
        closed("half a head", "RFC 9112, 8", "HTTP/1.1 200 OK\r\nContent-"),
        closed("an interim answer and no other", "RFC 9112, 8", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ]
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_become_a_page() {
    table::run(refused().chain(unfinished()).collect()).await;
}

#[tokio::test]
async fn answers_that_could_be_read_in_two_ways_become_a_page_inside_a_tunnel() {
    let row = |(name, source, answer, reason): &Refused| {
        let case = Case::new(name, source).way(Way::Tls).sends("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let case = case.origin_answers(*answer).reaches(REACHED);
        case.gets_page(502).kept().event_saying(502, "upstream-failed", reason)
    };
    table::run(REFUSED.iter().map(row).collect()).await;
}

/// An answer that arrives: a name, a source, what the origin sends and what the client gets.
type Passed = (&'static str, &'static str, &'static str, &'static str);

const PASSED: &[Passed] = &[
    // Framing.
    (
        "an answer with its length",
        "RFC 9112, 6.2",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nvia: 1.1 wardgate\r\n\r\nhello",
    ),
    (
        "lengths that agree become one",
        "RFC 9110, 8.6",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nvia: 1.1 wardgate\r\n\r\nhello",
    ),
    (
        "an answer in chunks",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ),
    (
        "extensions and padding of chunks go no further",
        "RFC 9112, 7.1.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0006  \r\n world\r\n0;x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    ),
    (
        "an empty answer in chunks",
        "RFC 9112, 7.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nvia: 1.1 wardgate\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "trailers for a client that did not ask go no further",
        "RFC 9110, 6.5.1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntrailer: X-Sum\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    // Status lines.
    (
        "a status without a reason",
        "RFC 9112, 4",
        "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 \r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    (
        "a reason of its own",
        "RFC 9112, 4",
        "HTTP/1.1 404 Nicht da\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 404 Nicht da\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nno",
    ),
    (
        "a status that nobody knows",
        "RFC 9110, 15",
        "HTTP/1.1 999 Request denied\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 999 Request denied\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nno",
    ),
    (
        "an answer of HTTP/1.0 that keeps the connection",
        "RFC 9112, 9.3",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.0 wardgate\r\n\r\nok",
    ),
    // Interim answers.
    (
        "interim answers go no further",
        "RFC 9110, 15.2",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\n\
         Link: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK_PASSED,
    ),
    (
        "Alt-Svc in an interim answer goes no further",
        "RFC 7838, 2.4",
        "HTTP/1.1 103 Early Hints\r\nAlt-Svc: h3=\":443\"\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        OK_PASSED,
    ),
    // No body.
    (
        "204 with a length",
        "RFC 9110, 8.6",
        "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nx-a: 1\r\nvia: 1.1 wardgate\r\n\r\n",
    ),
    (
        "304 with a length",
        "RFC 9110, 15.4.5",
        "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\nvia: 1.1 wardgate\r\n\r\n",
    ),
    (
        "205 without a body",
        "RFC 9110, 15.3.6",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nvia: 1.1 wardgate\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "205 with a body",
        "RFC 9112, 6.3",
        "HTTP/1.1 205 Reset Content\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\nvia: 1.1 wardgate\r\n\r\nhello",
    ),
    // Fields.
    (
        "an answer's fields of one hop stay behind",
        "RFC 9110, 7.6.1",
        "HTTP/1.1 200 OK\r\nX-A: 1\r\nConnection: X-Named, keep-alive\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    (
        "an answer cannot name away its length or its cookies",
        "RFC 9110, 7.6.1",
        "HTTP/1.1 200 OK\r\nConnection: Content-Length, Content-Type, Set-Cookie, Cache-Control\r\nSet-Cookie: a=1\r\n\
         Content-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nset-cookie: a=1\r\ncontent-type: text/plain\r\ncache-control: no-store\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    (
        "an origin cannot ask for the proxy's password",
        "RFC 9110, 11.7.1",
        "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"a\"\r\n\
         Proxy-Authentication-Info: a=b\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nno",
    ),
    (
        "an answer's Via grows",
        "RFC 9110, 7.6.3",
        "HTTP/1.1 200 OK\r\nVia: 1.0 fred\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nvia: 1.0 fred\r\nvia: 1.1 wardgate\r\ncontent-length: 2\r\n\r\nok",
    ),
    (
        "Alt-Svc goes no further",
        "RFC 7838, 2.4",
        "HTTP/1.1 200 OK\r\nAlt-Svc: h3=\":443\"\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nvia: 1.1 wardgate\r\ncontent-length: 2\r\n\r\nok",
    ),
    (
        "cookies stay apart and in order",
        "RFC 6265, 3; RFC 9110, 5.3",
        "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nX-A: 1\r\nset-cookie: b=2, c\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nset-cookie: a=1; Path=/\r\nset-cookie: b=2, c\r\nx-a: 1\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    (
        "an answer's bytes beyond ASCII and empty values",
        "RFC 9110, 5.5",
        "HTTP/1.1 200 OK\r\nX-A: \u{e9}t\u{e9}\u{ff}\r\nX-B:\r\nX-C:\t d \t\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nx-a: \u{e9}t\u{e9}\u{ff}\r\nx-b: \r\nx-c: d\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    (
        "dates and warnings are the origin's own",
        "RFC 9110, 6.6.1",
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nWarning: 199 - \"x\"\r\nAge: 5\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nwarning: 199 - \"x\"\r\nage: 5\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok",
    ),
    // Content.
    (
        "content in gzip is not touched",
        "RFC 9110, 7.7",
        "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\u{1f}\u{8b}\0\u{ff}",
        "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\nvia: 1.1 wardgate\r\n\r\n\u{1f}\u{8b}\0\u{ff}",
    ),
    (
        "ranges in parts",
        "RFC 9110, 14.6",
        "HTTP/1.1 206 Partial Content\r\nContent-Type: multipart/byteranges; boundary=x\r\nContent-Length: 68\r\n\r\n\
         --x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x\r\nContent-Range: bytes\r\n\r\nb",
        "HTTP/1.1 206 Partial Content\r\ncontent-type: multipart/byteranges; boundary=x\r\ncontent-length: 68\r\nvia: 1.1 wardgate\r\n\r\n\
         --x\r\nContent-Range: bytes 0-0/9\r\n\r\na\r\n--x\r\nContent-Range: bytes\r\n\r\nb",
    ),
    (
        "a redirect is the browser's business",
        "RFC 9110, 15.4",
        "HTTP/1.1 302 Found\r\nLocation: http://blocked.example.test/\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: http://blocked.example.test/\r\nvia: 1.1 wardgate\r\ncontent-length: 0\r\n\r\n",
    ),
];

fn passed() -> impl Iterator<Item = Case> {
    PASSED.iter().map(|(name, source, sent, got)| {
        let status = sent.rsplit("HTTP/1.").find_map(|rest| rest.get(2..5)?.parse().ok()).unwrap();
        let case = Case::new(name, source).sends(GET).origin_answers(*sent).reaches(REACHED);
        case.gets(got).kept().event(status, "completed")
    })
}

/// What needs more than one sentence: interplay, order and time.
fn told() -> Vec<Case> {
    const HEAD: &str = "HEAD http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n";
    const HEAD_REACHED: &str = "HEAD / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n";
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let twice = |name, source, first: &str, got: &str| {
        // The first answer is followed at once by bytes that nobody asked for.
        Case::new(name, source)
            .sends(GET)
            .waits_for_origin()
            .sends(GET)
            .origin_answers(first)
            .origin_is_left()
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(REACHED)
            .reaches(REACHED)
            .gets(got)
            .gets(OK_PASSED)
            .kept()
    };
    vec![
        // Nothing behind an answer is given to anybody.
        twice("a second answer behind the first", "RFC 9112, 6.3 and 11.1; CWE-113", &format!("{OK}{EVIL}"), OK_PASSED)
            .event(200, "completed")
            .event(200, "completed"),
        twice("an empty line behind an answer", "RFC 9112, 6.3", &format!("{OK}\r\n"), OK_PASSED)
            .event(200, "completed")
            .event(200, "completed"),
        twice(
            "a body behind a 204",
            "RFC 9112, 6.3",
            &format!("HTTP/1.1 204 No Content\r\nContent-Length: 44\r\n\r\n{EVIL}"),
            "HTTP/1.1 204 No Content\r\nvia: 1.1 wardgate\r\n\r\n",
        )
        .event(204, "completed")
        .event(200, "completed"),
        twice(
            "a body behind a 304",
            "RFC 9112, 6.3",
            &format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 44\r\n\r\n{EVIL}"),
            "HTTP/1.1 304 Not Modified\r\nvia: 1.1 wardgate\r\n\r\n",
        )
        .event(304, "completed")
        .event(200, "completed"),
        twice(
            "chunks behind a 204",
            "RFC 9112, 6.1",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nvia: 1.1 wardgate\r\n\r\n",
        )
        .event(204, "completed")
        .event(200, "completed"),
        Case::new("a body behind the answer to a HEAD", "RFC 9112, 6.3; Kettle 2021 (tunnelling with HEAD)")
            .sends(HEAD)
            .waits_for_origin()
            .sends(GET)
            .origin_answers(format!("HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{EVIL}"))
            .origin_is_left()
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(HEAD_REACHED)
            .reaches(REACHED)
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 44\r\nvia: 1.1 wardgate\r\n\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("an answer on an idle connection", "RFC 9112, 9.2 and 11.1")
            .sends(GET)
            .waits_for("ok")
            .waits_for_origin()
            .sends(GET)
            .origin_answers(OK)
            .origin_pauses()
            .origin_sends(EVIL)
            .origin_tells()
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(REACHED)
            .reaches(REACHED)
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("a time-out told on an idle connection", "RFC 9110, 15.5.9")
            .sends(GET)
            .waits_for("ok")
            .waits_for_origin()
            .sends(GET)
            .origin_answers(OK)
            .origin_pauses()
            .origin_sends("HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .origin_closes()
            .origin_tells()
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(REACHED)
            .reaches(REACHED)
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("sound answers share a connection", "RFC 9112, 9.3")
            .sends(GET)
            .waits_for("ok")
            .sends(HEAD)
            .waits_for("\r\n\r\n")
            .sends(GET)
            .origin_answers(OK)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            .origin_answers(OK)
            .reaches(format!("{REACHED}{HEAD_REACHED}{REACHED}"))
            .gets(OK_PASSED)
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("an origin that closes behind its answer", "RFC 9112, 9.6")
            .sends(GET)
            .waits_for("ok")
            .waits_for_origin()
            .sends(GET)
            .origin_answers("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .origin_is_left()
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(REACHED)
            .reaches(REACHED)
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        // HEAD.
        Case::new("the answer to a HEAD keeps its length", "RFC 9110, 9.3.2")
            .sends(HEAD)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
            .reaches(HEAD_REACHED)
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\nvia: 1.1 wardgate\r\n\r\n")
            .kept()
            .event(200, "completed"),
        Case::new("the answer to a HEAD in chunks", "RFC 9110, 9.3.2")
            .sends(HEAD)
            .origin_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            .reaches(HEAD_REACHED)
            .gets("HTTP/1.1 200 OK\r\nvia: 1.1 wardgate\r\n\r\n")
            .kept()
            .event(200, "completed"),
        // Until it closes.
        Case::new("an answer until it closes", "RFC 9112, 6.3")
            .sends(GET)
            .origin_answers("HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhello\r\n\r\nHTTP/1.1 200 OK\r\n")
            .origin_closes()
            .reaches(REACHED)
            .gets(
                "HTTP/1.1 200 OK\r\nx-a: 1\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n\
                 1A\r\nhello\r\n\r\nHTTP/1.1 200 OK\r\n\r\n0\r\n\r\n",
            )
            .kept()
            .event(200, "completed"),
        Case::new("an answer of HTTP/1.0 until it closes", "RFC 9112, 6.3")
            .sends(GET)
            .origin_answers("HTTP/1.0 200 OK\r\n\r\nhello")
            .origin_closes()
            .reaches(REACHED)
            .gets("HTTP/1.1 200 OK\r\nvia: 1.0 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .kept()
            .event(200, "completed"),
        Case::new("an answer until it closes for an HTTP/1.0 client", "RFC 9112, 6.3")
            .sends("GET http://{host}/ HTTP/1.0\r\nHost: {host}\r\n\r\n")
            .origin_answers("HTTP/1.1 200 OK\r\n\r\nhello")
            .origin_closes()
            .reaches("GET / HTTP/1.1\r\nhost: {host}\r\nvia: 1.0 wardgate\r\naccept-encoding: identity\r\n\r\n")
            .gets("HTTP/1.0 200 OK\r\nvia: 1.1 wardgate\r\n\r\nhello")
            .closed()
            .event(200, "completed"),
        // Trailers.
        Case::new("trailers for a client that asked", "RFC 9110, 6.5")
            .sends("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\n\r\n")
            .origin_answers(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
            )
            .reaches("GET / HTTP/1.1\r\nhost: {host}\r\nte: trailers\r\n{ours}connection: te\r\n\r\n")
            .gets(
                "HTTP/1.1 200 OK\r\ntrailer: X-Sum\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .kept()
            .event(200, "completed"),
        Case::new("trailers lose what belongs in a head", "RFC 9110, 6.5.1 and 6.5.2")
            .sends("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTE: trailers\r\n\r\n")
            .origin_answers(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Set-Cookie, Location, Content-Length\r\n\r\n\
                 5\r\nhello\r\n0\r\nSet-Cookie: a=1\r\nX-Sum: 1\r\nLocation: /\r\nContent-Length: 9\r\n\r\n",
            )
            .reaches("GET / HTTP/1.1\r\nhost: {host}\r\nte: trailers\r\n{ours}connection: te\r\n\r\n")
            .gets(
                "HTTP/1.1 200 OK\r\ntrailer: X-Sum, Set-Cookie, Location, Content-Length\r\nvia: 1.1 wardgate\r\n\
                 transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
            )
            .kept()
            .event(200, "completed"),
        // What breaks off under way is broken off here too.
        Case::new("an answer shorter than its length", "RFC 9112, 8")
            .sends(GET)
            .waits_for("hello")
            .tells_origin()
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\nhello")
            .origin_waits_for_client()
            .origin_closes()
            .reaches(REACHED)
            .gets("HTTP/1.1 200 OK\r\ncontent-type: image/png\r\ncontent-length: 10\r\nvia: 1.1 wardgate\r\n\r\nhello")
            .closed()
            .event(200, "upstream-failed"),
        Case::new("chunks without an end", "RFC 9112, 8")
            .sends(GET)
            .waits_for("hello")
            .tells_origin()
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .origin_waits_for_client()
            .origin_closes()
            .reaches(REACHED)
            .gets(
                "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            )
            .closed()
            .event(200, "upstream-failed"),
        Case::new("chunks that go wrong under way", "RFC 9112, 7.1")
            .sends(GET)
            .waits_for("hello")
            .tells_origin()
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .origin_waits_for_client()
            .origin_sends("+5\r\nworld\r\n0\r\n\r\n")
            .reaches(REACHED)
            .gets(
                "HTTP/1.1 200 OK\r\ncontent-type: image/png\r\nvia: 1.1 wardgate\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            )
            .closed()
            .event_saying(200, "upstream-failed", SIZE),
        Case::new("text whose chunks go wrong becomes a page", "RFC 9112, 7.1")
            .sends(GET)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            .origin_pauses()
            .origin_sends("+5\r\nworld\r\n0\r\n\r\n")
            .reaches(REACHED)
            .gets_page(502)
            .kept()
            .event_saying(502, "upstream-failed", SIZE),
        // In pieces.
        Case::new("an answer in pieces", "RFC 9112, 2.2")
            .sends(GET)
            .origin_answers("HTTP/1.1 200 O")
            .origin_pauses()
            .origin_sends("K\r\nContent-Length: 2\r")
            .origin_pauses()
            .origin_sends("\n\r\n")
            .origin_pauses()
            .origin_sends("ok")
            .reaches(REACHED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed"),
        Case::new("a bad answer in pieces", "RFC 9112, 2.2")
            .sends(GET)
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-")
            .origin_pauses()
            .origin_sends("Length: 3\r")
            .origin_pauses()
            .origin_sends("\n\r\nabc")
            .reaches(REACHED)
            .gets_page(502)
            .kept()
            .event_saying(502, "upstream-failed", DIFFER),
    ]
}

#[tokio::test]
async fn answers_that_are_sound_arrive() {
    table::run(passed().collect()).await;
}

#[tokio::test]
async fn answers_in_all_their_interplay() {
    table::run(told()).await;
}

#[test]
fn response_cases_are_listed() {
    let cases = refused().chain(unfinished()).chain(passed()).chain(told());
    listed::check("responses", cases.map(|case| (case.name, case.source)));
}
