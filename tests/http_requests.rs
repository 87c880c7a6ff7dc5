//! Requests on the wire, HTTP/1: what a proxy must refuse, because two readers could understand it in two ways, and
//! what it must pass on, byte for byte. Each case says what reached the origin, what the client got, what became of
//! its connection and what the access log says.

use crate::harness::listed::check;
use crate::harness::table::{self, Case, OK, OK_PASSED, Way};

/// A name, a source, a head (or more) with `{host}` for the origin's authority, a status and the reason in the log.
type Refused = (&'static str, &'static str, &'static str, u16, &'static str);

const CODING: &str = "the Transfer-Encoding is not understood";
const TWO_CODINGS: &str = "there is more than one Transfer-Encoding";
const BOTH: &str = "there is both a Transfer-Encoding and a Content-Length";
const LENGTH: &str = "the Content-Length is not a number that can be served";
const TWO_LENGTHS: &str = "there is more than one Content-Length";
const CONTROL: &str = "a header field's value holds a control character";
const LINE_END: &str = "a line of the head does not end in CR LF";
const FOLDED: &str = "a header field is folded over lines";
const NAME: &str = "a header field's name is malformed";
const NO_COLON: &str = "a header field has no colon";
const HOST: &str = "the Host is not a host";
const LINE: &str = "the request line is not a method, a target and a version";
const ENCODED: &str = "the target holds a character that must be encoded";
const TARGET: &str = "the target cannot be understood";
const VERSION: &str = "the HTTP version is malformed";
const SPOKEN: &str = "only HTTP/1.0 and HTTP/1.1 are spoken here";

/// Heads that are wrong by themselves, on the open port and inside a tunnel alike.
const HEADS: &[Refused] = &[
    // Two ways to say where the body ends.
    (
        "CL.TE",
        "RFC 9112, 6.3; Kettle 2019, HTTP Desync Attacks",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
        400,
        BOTH,
    ),
    (
        "TE.CL",
        "RFC 9112, 6.3; CVE-2005-2088",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n\
         5c\r\nGPOST /SMUGGLED HTTP/1.1\r\n\r\n0\r\n\r\n",
        400,
        BOTH,
    ),
    (
        "TE.TE: xchunked",
        "Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: chunked, then identity",
        "Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: identity, then chunked",
        "RFC 9112, 7",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: chunked, then chunked",
        "RFC 9112, 6.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: gzip, then chunked",
        "RFC 9112, 6.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: chunked, then gzip",
        "RFC 9112, 6.3",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: quoted",
        "Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: with a parameter",
        "RFC 9112, 7.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: with a comma behind it",
        "CVE-2022-32213",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: with a space in it",
        "Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chun ked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: with a letter that folds to k",
        "Kettle 2021, HTTP/2: The Sequel Is Always Worse",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chun\u{e2}\u{84}\u{aa}ed\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: two fields that agree",
        "CVE-2020-8287",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        TWO_CODINGS,
    ),
    (
        "TE.TE: two fields that differ",
        "Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: cow\r\n\r\n0\r\n\r\n",
        400,
        TWO_CODINGS,
    ),
    (
        "TE.TE: behind a vertical tab",
        "CVE-2019-18277",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: \x0bchunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
        400,
        CONTROL,
    ),
    (
        "TE.TE: a space before the colon",
        "RFC 9112, 5.1; Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
        NAME,
    ),
    (
        "TE.TE: behind a bare line feed in a value",
        "CVE-2022-32214; Kettle 2019",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX: x\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        LINE_END,
    ),
    (
        "TE.TE: behind a bare carriage return in a value",
        "CVE-2023-30589; Klein 2020, HTTP Request Smuggling in 2020",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX: x\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        CONTROL,
    ),
    (
        "TE.TE: folded",
        "RFC 9112, 5.2; CVE-2022-32215",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
        400,
        CODING,
    ),
    (
        "TE.TE: its line folded into another field",
        "CVE-2020-7238",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX: x\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        FOLDED,
    ),
    (
        "TE.TE: empty",
        "RFC 9112, 6.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\r\nContent-Length: 1\r\n\r\na",
        400,
        CODING,
    ),
    (
        "a coding that nobody serves",
        "RFC 9112, 6.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: gzip\r\n\r\nab",
        501,
        "the only Transfer-Encoding served is chunked",
    ),
    (
        "chunked in HTTP/1.0",
        "RFC 9112, 6.1",
        "POST http://{host}/ HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "HTTP/1.0 has no Transfer-Encoding",
    ),
    // Lengths.
    (
        "two lengths that differ",
        "RFC 9112, 6.3; Linhart et al. 2005, HTTP Request Smuggling",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n\
         GET /SMUGGLED HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TWO_LENGTHS,
    ),
    (
        "two lengths that agree",
        "RFC 9110, 8.6; CVE-2019-20445",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
        400,
        TWO_LENGTHS,
    ),
    (
        "a list of lengths",
        "RFC 9110, 8.6",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5, 5\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length with a plus",
        "CVE-2021-32715",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: +5\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a negative length",
        "RFC 9110, 8.6",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: -5\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length in hexadecimal",
        "RFC 9110, 8.6",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0x5\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length with an underscore",
        "Jabiyev et al. 2021, T-Reqs",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1_0\r\n\r\nhellohello",
        400,
        LENGTH,
    ),
    (
        "a length with a space in it",
        "CVE-2018-7159",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1 0\r\n\r\nhellohello",
        400,
        LENGTH,
    ),
    (
        "a length with a fraction",
        "Jabiyev et al. 2021",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5.0\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a quoted length",
        "Jabiyev et al. 2021",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: \"5\"\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length of other digits",
        "Jabiyev et al. 2021",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: \u{ef}\u{bc}\u{95}\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length behind a line feed",
        "CVE-2022-32214",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\n\r\n\r\nhello",
        400,
        LINE_END,
    ),
    (
        "an empty length",
        "RFC 9110, 8.6",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length:\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length of 2^64",
        "RFC 9112, 6.3",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length of 2^64 and 5",
        "RFC 9112, 6.3",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 18446744073709551621\r\n\r\nhello",
        400,
        LENGTH,
    ),
    (
        "a length before a space and a colon",
        "CVE-2019-16276; CVE-2021-22959",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length : 5\r\n\r\nhello",
        400,
        NAME,
    ),
    (
        "a length in the first line, indented",
        "CVE-2024-27982",
        "POST http://{host}/ HTTP/1.1\r\n Content-Length: 5\r\nHost: {host}\r\n\r\nhello",
        400,
        FOLDED,
    ),
    // Fields that are read in two ways.
    (
        "a tab before the colon",
        "RFC 9112, 5.1",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A\t: b\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a folded field",
        "RFC 9112, 5.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n c\r\n\r\n",
        400,
        FOLDED,
    ),
    (
        "a field folded with a tab",
        "RFC 9112, 5.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\n\tc\r\n\r\n",
        400,
        FOLDED,
    ),
    (
        "white space before the first field",
        "RFC 9112, 2.2",
        "GET http://{host}/ HTTP/1.1\r\n Host: {host}\r\n\r\n",
        400,
        FOLDED,
    ),
    (
        "a field without a colon",
        "RFC 9112, 5; CVE-2019-20444",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A\r\n\r\n",
        400,
        NO_COLON,
    ),
    (
        "a field without a name",
        "CVE-2023-25725",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n: b\r\nContent-Length: 1\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a NUL in a value",
        "RFC 9110, 5.5",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\0c\r\n\r\n",
        400,
        CONTROL,
    ),
    (
        "a NUL in a name",
        "RFC 9110, 5.6.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-\0A: b\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a carriage return in a name",
        "Klein 2020",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-\rLength: 1\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a space in a name",
        "Klein 2020",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent Length: 1\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a slash in a name",
        "RFC 9110, 5.6.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX/A: b\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a letter beyond ASCII in a name",
        "RFC 9110, 5.6.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-\u{e9}: b\r\n\r\n",
        400,
        NAME,
    ),
    (
        "a delete in a value",
        "RFC 9110, 5.5",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\x7fc\r\n\r\n",
        400,
        CONTROL,
    ),
    ("bare line feeds", "RFC 9112, 2.2", "GET http://{host}/ HTTP/1.1\nHost: {host}\n\n", 400, LINE_END),
    (
        "one bare line feed",
        "CVE-2022-35256",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\nX-A: b\r\n\r\n",
        400,
        LINE_END,
    ),
    (
        "a bare line feed for the empty line",
        "RFC 9112, 2.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\nGET /SMUGGLED HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        LINE_END,
    ),
    (
        "a carriage return before CR LF",
        "RFC 9112, 2.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: b\r\r\n\r\n",
        400,
        CONTROL,
    ),
    // The Host.
    ("no Host", "RFC 9112, 3.2", "GET http://{host}/ HTTP/1.1\r\n\r\n", 400, "the request has no Host"),
    (
        "two Hosts",
        "RFC 9112, 3.2; Chen et al. 2016, Host of Troubles",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nHost: other.example.test\r\n\r\n",
        400,
        "the request has more than one Host",
    ),
    (
        "two Hosts that agree",
        "RFC 9112, 3.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nHost: {host}\r\n\r\n",
        400,
        "the request has more than one Host",
    ),
    (
        "an indented second Host",
        "Chen et al. 2016",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n Host: other.example.test\r\n\r\n",
        400,
        FOLDED,
    ),
    ("an empty Host", "RFC 9110, 4.2.1", "GET http://{host}/ HTTP/1.1\r\nHost:\r\n\r\n", 400, HOST),
    (
        "a Host with a user name",
        "RFC 9110, 7.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: me@{host}\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a list of Hosts",
        "Chen et al. 2016",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}, other.example.test\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host with a space",
        "RFC 9112, 3.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {name} other.example.test\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host with a path",
        "RFC 9112, 3.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}/path\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host with a backslash",
        "WHATWG URL, 3.5",
        "GET http://{host}/ HTTP/1.1\r\nHost: {name}\\other.example.test\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host with a port that is no number",
        "RFC 9110, 7.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {name}:http\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host with two ports",
        "RFC 9110, 7.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}:80\r\n\r\n",
        400,
        HOST,
    ),
    (
        "a Host beyond ASCII",
        "RFC 9110, 7.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: b\u{c3}\u{bc}cher.example.test\r\n\r\n",
        400,
        HOST,
    ),
    // Request lines.
    ("HTTP/0.9", "RFC 9112, 3", "GET http://{host}/\r\n\r\n", 400, LINE),
    ("HTTP/1.2", "RFC 9110, 2.5", "GET http://{host}/ HTTP/1.2\r\nHost: {host}\r\n\r\n", 505, SPOKEN),
    (
        "HTTP/2.0 in a request line",
        "RFC 9110, 15.6.6",
        "GET http://{host}/ HTTP/2.0\r\nHost: {host}\r\n\r\n",
        505,
        SPOKEN,
    ),
    ("the preface of HTTP/2", "RFC 9113, 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, SPOKEN),
    (
        "a version without a dot",
        "RFC 9112, 2.3",
        "GET http://{host}/ HTTP/11\r\nHost: {host}\r\n\r\n",
        400,
        VERSION,
    ),
    (
        "a version in lower case",
        "RFC 9112, 2.3",
        "GET http://{host}/ http/1.1\r\nHost: {host}\r\n\r\n",
        400,
        VERSION,
    ),
    (
        "a version with a leading zero",
        "RFC 9112, 2.3",
        "GET http://{host}/ HTTP/01.1\r\nHost: {host}\r\n\r\n",
        400,
        VERSION,
    ),
    (
        "two spaces in the request line",
        "RFC 9112, 3",
        "GET  http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        LINE,
    ),
    (
        "a tab in the request line",
        "RFC 9112, 3",
        "GET\thttp://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        LINE,
    ),
    (
        "a space behind the version",
        "RFC 9112, 3",
        "GET http://{host}/ HTTP/1.1 \r\nHost: {host}\r\n\r\n",
        400,
        LINE,
    ),
    (
        "a space in the target",
        "RFC 9112, 3.2",
        "GET http://{host}/a b HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        LINE,
    ),
    (
        "a request split in its target",
        "CWE-113; Linhart et al. 2005",
        "GET http://{host}/ HTTP/1.1\r\r\nHost: {host}\r\n\r\n",
        400,
        VERSION,
    ),
    (
        "a carriage return in the target",
        "RFC 9112, 2.2",
        "GET http://{host}/\rX HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        ENCODED,
    ),
    (
        "a fragment in the target",
        "RFC 9110, 7.1",
        "GET http://{host}/a#b HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        ENCODED,
    ),
    (
        "a method that is no token",
        "RFC 9110, 9.1",
        "GE(T http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the method is not a token",
    ),
    (
        "a method with a NUL",
        "RFC 9110, 9.1",
        "GE\0T http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the method is not a token",
    ),
    (
        "an empty method",
        "RFC 9112, 3",
        " http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the method is not a token",
    ),
    (
        "TLS where HTTP is spoken",
        "RFC 9112, 2.2",
        "\x16\x03\x01\x02\0\x01\0\x01\u{7c}\x03\x03\r\n\r\n",
        400,
        LINE,
    ),
    ("SSH where HTTP is spoken", "RFC 9112, 2.2", "SSH-2.0-OpenSSH_9.9\r\n\r\n", 400, LINE),
    (
        "TRACE with a body",
        "RFC 9110, 9.3.8",
        "TRACE http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
        400,
        "TRACE has no body",
    ),
];

/// Targets that are refused on the open port.
const TARGETS: &[Refused] = &[
    (
        "an unknown scheme",
        "RFC 9110, 4.2",
        "GET ftp://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "only http and https addresses are served",
    ),
    (
        "a user name in the target",
        "RFC 9110, 4.2.4",
        "GET http://me@{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "an address with a user name in it is not served",
    ),
    (
        "an empty host in the target",
        "RFC 9110, 4.2.1",
        "GET http:///a HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "port zero",
        "RFC 9110, 4.2.1",
        "GET http://{name}:0/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the port is not a number from 1 to 65535",
    ),
    (
        "port 65536",
        "RFC 9110, 4.2.1",
        "GET http://{name}:65536/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the port is not a number from 1 to 65535",
    ),
    (
        "a port that is no number",
        "RFC 9110, 4.2.1",
        "GET http://{name}:http/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the port is not a number from 1 to 65535",
    ),
    (
        "an empty label in the host",
        "RFC 1035, 2.3.1",
        "GET http://a..example.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the host is not a valid name or address",
    ),
    (
        "a percent-encoded host",
        "WHATWG URL, 3.5",
        "GET http://blocked%2eexample.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "a host beyond ASCII",
        "RFC 3986, 3.2.2",
        "GET http://b\u{c3}\u{bc}cher.example.test/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "an IPv6 zone",
        "RFC 6874; WHATWG URL, 3.5",
        "GET http://[fe80::1%25lo]/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the host is not a valid name or address",
    ),
    (
        "half an IPv6 address",
        "RFC 3986, 3.2.2",
        "GET http://[::1/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "an IPv4 address with a part too large",
        "WHATWG URL, 3.5",
        "GET http://127.0.0.256/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the host is not a valid name or address",
    ),
    (
        "an asterisk for GET",
        "RFC 9112, 3.2.4",
        "GET * HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the path does not begin with a slash",
    ),
    (
        "CONNECT without a port",
        "RFC 9110, 9.3.6",
        "CONNECT {name} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "CONNECT needs a host and a port",
    ),
    (
        "CONNECT without a host",
        "RFC 9110, 9.3.6",
        "CONNECT :443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the host is not a valid name or address",
    ),
    (
        "CONNECT with port zero",
        "RFC 9110, 9.3.6",
        "CONNECT {name}:0 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the port is not a number from 1 to 65535",
    ),
    (
        "CONNECT with port 65536",
        "RFC 9110, 9.3.6",
        "CONNECT {name}:65536 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "the port is not a number from 1 to 65535",
    ),
    (
        "CONNECT with two ports",
        "RFC 9110, 9.3.6",
        "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "CONNECT with a URL",
        "RFC 9110, 9.3.6",
        "CONNECT http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "CONNECT needs a host and a port",
    ),
    (
        "CONNECT with a path",
        "RFC 9110, 9.3.6",
        "CONNECT {host}/path HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "CONNECT with a user",
        "RFC 9110, 9.3.6",
        "CONNECT me@{host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "an address with a user name in it is not served",
    ),
    (
        "CONNECT with half an address",
        "RFC 9110, 9.3.6",
        "CONNECT [::1:443 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        TARGET,
    ),
    (
        "CONNECT with an asterisk",
        "RFC 9110, 9.3.6",
        "CONNECT * HTTP/1.1\r\nHost: {host}\r\n\r\n",
        400,
        "CONNECT needs a host and a port",
    ),
    (
        "CONNECT with a length",
        "RFC 9110, 9.3.6",
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
        400,
        "CONNECT has no body",
    ),
    (
        "CONNECT with chunks",
        "RFC 9110, 9.3.6",
        "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "CONNECT has no body",
    ),
];

/// Chunked bodies that go wrong, and why. They are text, which is read before anything is sent on.
const BODIES: &[(&str, &str, &str, &str)] = &[
    ("a chunk size that is no number", "RFC 9112, 7.1", "zz\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size with a prefix", "CVE-2022-24801", "0x2\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size with a plus", "CVE-2022-24801", "+2\r\nab\r\n0\r\n\r\n", SIZE),
    ("a negative chunk size", "RFC 9112, 7.1", "-2\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size with an underscore", "Jabiyev et al. 2021", "1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n", SIZE),
    ("a chunk size of 17 digits", "CVE-2021-32714", "10000000000000002\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size that overflows", "CVE-2021-32714", "ffffffffffffffff\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size of many zeros", "RFC 9112, 7.1", "0000000000000000000002\r\nab\r\n0\r\n\r\n", SIZE),
    ("no chunk size", "RFC 9112, 7.1", "\r\nab\r\n0\r\n\r\n", SIZE),
    ("only an extension", "RFC 9112, 7.1", ";a=b\r\nab\r\n0\r\n\r\n", SIZE),
    ("a space before the chunk size", "RFC 9112, 7.1", " 2\r\nab\r\n0\r\n\r\n", SIZE),
    ("a space in the chunk size", "RFC 9112, 7.1", "2 2\r\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size ended by a line feed", "RFC 9112, 2.2", "2\nab\r\n0\r\n\r\n", SIZE),
    ("a chunk size ended by a carriage return", "Weikop 2025, Funky Chunks", "2\rab\r\n0\r\n\r\n", SIZE),
    ("a bare line feed in an extension", "Weikop 2025 (TERM.EXT)", "2;\nab\r\n0\r\n\r\n", EXTENSION),
    (
        "a bare line feed in a quoted extension",
        "Weikop 2025 (EXT.TERM)",
        "2;a=\"\n\"\r\nab\r\n0\r\n\r\n",
        EXTENSION,
    ),
    ("a bare carriage return in an extension", "Weikop 2025", "2;a\rb\r\nab\r\n0\r\n\r\n", SIZE),
    ("a NUL in an extension", "RFC 9112, 7.1.1", "2;a=\0\r\nab\r\n0\r\n\r\n", EXTENSION),
    ("a chunk longer than it says", "Weikop 2025 (SPILL)", "2\r\nabc\r\n0\r\n\r\n", SPILL),
    ("a chunk with two bytes too many", "Weikop 2025 (TWO.ONE)", "2\r\nabXX0\r\n\r\n", SPILL),
    ("a chunk ended by a line feed", "Weikop 2025 (ONE.TWO)", "2\r\nab\n0\r\n\r\n", SPILL),
    ("a chunk without its line end", "CVE-2023-46846", "2\r\nab0\r\n\r\n", SPILL),
    (
        "a smuggled request behind a short chunk",
        "Kettle 2019",
        "1\r\nZ\r\nQ\r\n\r\nGET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n",
        SIZE,
    ),
    ("the last line ended by a line feed", "RFC 9112, 7.1", "2\r\nab\r\n0\r\n\n", TRAILER),
    ("the last chunk without its line end", "RFC 9112, 7.1", "2\r\nab\r\n0\r\n\rX", TRAILER_END),
    ("a trailer without a colon", "RFC 9112, 7.1.2", "0\r\nX-A\r\n\r\n", TRAILER),
    ("a trailer with a NUL", "RFC 9110, 5.5", "0\r\nX-A: \0\r\n\r\n", TRAILER),
    ("a trailer without a name", "RFC 9112, 7.1.2", "0\r\n: x\r\n\r\n", TRAILER),
    ("a trailer with a space before the colon", "RFC 9112, 5.1", "0\r\nX-A : x\r\n\r\n", TRAILER),
    ("a folded trailer", "RFC 9112, 5.2", "0\r\nX-A: x\r\n y\r\n\r\n", TRAILER),
    ("a trailer ended by a line feed", "RFC 9112, 2.2", "0\r\nX-A: x\n\r\n", TRAILER),
];

const SIZE: &str = "the size of a chunk is malformed";
const EXTENSION: &str = "the extension of a chunk is malformed or too long";
const SPILL: &str = "a chunk does not end where its size says";
const TRAILER: &str = "a trailer field is malformed or too long";
const TRAILER_END: &str = "a line of the trailers does not end in CR LF";

fn refused(rows: &[Refused]) -> impl Iterator<Item = Case> {
    rows.iter().map(|(name, source, bytes, status, reason)| {
        Case::new(name, source).sends(*bytes).refused(*status, reason)
    })
}

fn broken_bodies() -> impl Iterator<Item = Case> {
    BODIES.iter().map(|(name, source, body, reason)| {
        let head = "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\n\
                    Transfer-Encoding: chunked\r\n\r\n";
        Case::new(name, source).sends(format!("{head}{body}")).refused(400, reason)
    })
}

#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused() {
    table::run(refused(HEADS).chain(refused(TARGETS)).chain(broken_bodies()).collect()).await;
}

/// The same heads in origin form, as they are written inside a tunnel.
#[tokio::test]
async fn requests_that_could_be_read_in_two_ways_are_refused_inside_a_tunnel() {
    let inside = |way| {
        move |(name, source, bytes, status, reason): &Refused| {
            let case = Case::new(name, source).way(way).sends(bytes.replace("http://{host}", ""));
            case.refused(*status, reason)
        }
    };
    table::run(HEADS.iter().map(inside(Way::Tls)).collect()).await;
}

/// A request that is passed on: a name, a source, what the client sends and what reaches the origin.
type Passed = (&'static str, &'static str, &'static str, &'static str);

const PASSED: &[Passed] = &[
    // Targets: the target decides, and what goes on names what was decided on.
    (
        "absolute form counts before the Host",
        "RFC 9112, 3.2.2",
        "GET http://{host}/a HTTP/1.1\r\nHost: blocked.example.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "a host in capitals",
        "RFC 9110, 4.2.3",
        "GET HTTP://{NAME}:{port}/A HTTP/1.1\r\nHOST: {host}\r\n\r\n",
        "GET /A HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "a trailing dot",
        "RFC 3986, 3.2.2",
        "GET http://{name}.:{port}/a HTTP/1.1\r\nHost: {name}.:{port}\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "an address as one number",
        "WHATWG URL, 3.5",
        "GET http://{number}:{port}/a HTTP/1.1\r\nHost: {number}:{port}\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {address}:{port}\r\n{ours}\r\n",
    ),
    (
        "an address in hexadecimal",
        "WHATWG URL, 3.5",
        "GET http://{hex}:{port}/a HTTP/1.1\r\nHost: {hex}:{port}\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {address}:{port}\r\n{ours}\r\n",
    ),
    (
        "an address in octal",
        "WHATWG URL, 3.5",
        "GET http://{octal}:{port}/a HTTP/1.1\r\nHost: {octal}:{port}\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {address}:{port}\r\n{ours}\r\n",
    ),
    (
        "an address in IPv6 clothing",
        "RFC 4291, 2.5.5.2",
        "GET http://[::ffff:{address}]:{port}/a HTTP/1.1\r\nHost: [::ffff:{address}]:{port}\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: {address}:{port}\r\n{ours}\r\n",
    ),
    (
        "an empty path",
        "RFC 9112, 3.2.1",
        "GET http://{host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "an empty path with a query",
        "RFC 9112, 3.2.1",
        "GET http://{host}?a=b HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET /?a=b HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "dot segments go on as they came",
        "RFC 9110, 7.7",
        "GET http://{host}/a/./b/../c HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET /a/./b/../c HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "escapes go on as they came",
        "RFC 9110, 7.7",
        "GET http://{host}/%2e%2E/%41%2f%5c?q=%41 HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET /%2e%2E/%41%2f%5c?q=%41 HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "slashes and backslashes go on as they came",
        "RFC 9110, 7.7",
        "GET http://{host}//a\\b//c HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET //a\\b//c HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "an OPTIONS about a whole server",
        "RFC 9112, 3.2.4",
        "OPTIONS http://{host} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "an OPTIONS about a page",
        "RFC 9112, 3.2.4",
        "OPTIONS http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    // Methods.
    (
        "a method in lower case is another method",
        "RFC 9110, 9.1",
        "get http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "get / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "an unknown method",
        "RFC 9110, 9.1",
        "BREW http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "BREW / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "PROPFIND with a body",
        "RFC 4918, 9.1",
        "PROPFIND http://{host}/ HTTP/1.1\r\nHost: {host}\r\nDepth: 1\r\nContent-Length: 5\r\n\r\nhello",
        "PROPFIND / HTTP/1.1\r\nhost: {host}\r\ndepth: 1\r\ncontent-length: 5\r\n{ours}\r\nhello",
    ),
    // Fields of one hop.
    (
        "the fields of one hop stay behind",
        "RFC 9110, 7.6.1",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-First: 1\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\
         Proxy-Connection: keep-alive\r\nTE: gzip\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nx-first: 1\r\n{ours}\r\n",
    ),
    (
        "fields that Connection names stay behind",
        "RFC 9110, 7.6.1",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-One: 1\r\nX-Two: 2\r\nConnection: X-One\r\n\
         Connection: ,, x-three ,X-ONE\r\nX-Three: 3\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nx-two: 2\r\n{ours}\r\n",
    ),
    (
        "fields that Connection names beside rubbish stay behind",
        "RFC 9110, 7.6.1",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: \u{ff}, x-one\r\nX-One: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    (
        "what a message is cannot be named away",
        "RFC 9110, 7.6.1; Davison 2019, Abusing HTTP Hop-by-hop Request Headers",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: text/plain\r\nAuthorization: Basic YTpi\r\nCookie: a=1\r\n\
         Connection: keep-alive, Host, Content-Length, Content-Type, Authorization, Cookie\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\nauthorization: Basic YTpi\r\ncookie: a=1\r\n\
         content-length: 5\r\n{ours}\r\nhello",
    ),
    (
        "TE: trailers goes on, and is said to be of this hop",
        "RFC 9110, 10.1.4",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nte: trailers\r\n{ours}connection: te\r\n\r\n",
    ),
    (
        "Via grows",
        "RFC 9110, 7.6.3",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nVia: 1.0 fred, 1.1 p.example.net\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 1.0 fred, 1.1 p.example.net\r\nvia: 1.1 wardgate\r\n\
         accept-encoding: identity\r\n\r\n",
    ),
    // Max-Forwards.
    (
        "Max-Forwards goes down",
        "RFC 9110, 7.6.2",
        "OPTIONS http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 10\r\n\r\n",
        "OPTIONS / HTTP/1.1\r\nhost: {host}\r\nmax-forwards: 9\r\n{ours}\r\n",
    ),
    (
        "Max-Forwards of a TRACE goes down",
        "RFC 9110, 7.6.2",
        "TRACE http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 1\r\n\r\n",
        "TRACE / HTTP/1.1\r\nhost: {host}\r\nmax-forwards: 0\r\n{ours}\r\n",
    ),
    (
        "Max-Forwards of a GET means nothing",
        "RFC 9110, 7.6.2",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nmax-forwards: 0\r\n{ours}\r\n",
    ),
    // Bodies.
    (
        "GET with a body",
        "RFC 9110, 9.3.1; Kettle 2022, Browser-Powered Desync Attacks (CL.0)",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello",
        "GET / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n{ours}\r\nhello",
    ),
    (
        "GET with a chunked body",
        "RFC 9112, 6.3",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a GET that says its body is empty",
        "RFC 9110, 8.6",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{ours}\r\n",
    ),
    (
        "chunked in capitals behind a tab",
        "RFC 9112, 5.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding:\tCHUNKED \t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: {host}\r\n{ours}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "a length with spaces around it",
        "RFC 9112, 5.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length:   5  \r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n{ours}\r\nhello",
    ),
    (
        "a length with leading zeros",
        "RFC 9110, 8.6",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0005\r\n\r\nhello",
        "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0005\r\n{ours}\r\nhello",
    ),
    (
        "chunk extensions are dropped",
        "RFC 9112, 7.1.1; CVE-2021-22960",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n\
         5;name=value;quoted=\"a;b\" ; x\r\nhello\r\n0;last\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: {host}\r\n{ours}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        "chunk sizes are written anew",
        "RFC 9112, 7.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n00000A  \r\n0123456789\r\n000\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: {host}\r\n{ours}transfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n",
    ),
    (
        "trailers that are announced go on, but none that belong in the head",
        "RFC 9110, 6.5.1",
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum, Content-Length, Transfer-Encoding, Host, Authorization, Cookie\r\n\r\n\
         5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\nHost: other\r\n\
         Authorization: Basic YTpi\r\nCookie: a=1\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: {host}\r\n\
         trailer: X-Sum, Content-Length, Transfer-Encoding, Host, Authorization, Cookie\r\n{ours}\
         transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    ),
    (
        "an expectation without a body",
        "RFC 9110, 10.1.1; Kettle 2025, HTTP/1.1 Must Die",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nExpect: 100-continue\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
    // Values.
    (
        "bytes beyond ASCII in a value",
        "RFC 9110, 5.5",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: \u{e9}t\u{e9}\u{ff}\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nx-a: \u{e9}t\u{e9}\u{ff}\r\n{ours}\r\n",
    ),
    (
        "fields of one name stay in order",
        "RFC 9110, 5.3",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nX-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nx-a: 1\r\nx-a: 3\r\nx-a: \r\nx-b: 2\r\n{ours}\r\n",
    ),
    (
        "conditions and ranges",
        "RFC 9110, 13 and 14",
        "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nIf-None-Match: \"a\", W/\"b\"\r\nRange: bytes=0-1,-5\r\nIf-Range: \"a\"\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\nif-none-match: \"a\", W/\"b\"\r\nrange: bytes=0-1,-5\r\nif-range: \"a\"\r\n{ours}\r\n",
    ),
    (
        "an empty line before the request",
        "RFC 9112, 2.2",
        "\r\n\r\nGET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n",
    ),
];

fn passed() -> impl Iterator<Item = Case> {
    PASSED.iter().map(|(name, source, sent, reached)| Case::new(name, source).sends(*sent).passes(reached))
}

#[tokio::test]
async fn requests_that_are_sound_pass() {
    table::run(passed().collect()).await;
}

#[tokio::test]
async fn no_spelling_leads_around_a_list() {
    table::run(listed().collect()).await;
}

/// Spellings of what is on a list: the list decides on one form of them all, and nothing goes on.
const LISTED: &[(&str, &str, &str)] = &[
    ("a listed path", "RFC 3986, 6.2.2", "http://{host}/gambling-room"),
    ("a listed path with an escaped letter", "RFC 3986, 6.2.2.2", "http://{host}/%67ambling-room"),
    ("a listed path behind dots", "RFC 3986, 5.2.4", "http://{host}/x/../gambling-room"),
    ("a listed path behind escaped dots", "RFC 3986, 5.2.4", "http://{host}/x/%2E%2e/gambling-room"),
    ("a listed path behind a single dot", "RFC 3986, 5.2.4", "http://{host}/./gambling-room/%2e/more?a=b"),
    ("a listed path behind two slashes", "CWE-41", "http://{host}//gambling-room"),
    ("a listed path behind an escaped slash", "CWE-177", "http://{host}/%2Fgambling-room"),
    ("a listed path behind escaped dots and slashes", "CWE-177", "http://{host}/x%2f%2e%2e%2fgambling-room"),
    ("a listed path behind backslashes", "WHATWG URL, 4.4", "http://{host}/x\\..\\gambling-room"),
    ("a listed path behind escaped backslashes", "CWE-177", "http://{host}/x%5C..%5Cgambling-room"),
    ("a listed host", "RFC 9110, 4.2.3", "http://blocked.example.test/"),
    ("a listed host in capitals", "RFC 9110, 4.2.3", "http://Blocked.EXAMPLE.test/"),
    ("a listed host with a trailing dot", "RFC 3986, 3.2.2", "http://blocked.example.test./"),
    ("a listed host with its port", "RFC 9110, 4.2.3", "http://blocked.example.test:80/"),
    ("a listed host on another port", "RFC 9110, 4.2.3", "http://blocked.example.test:{port}/"),
    ("a name below a listed host", "RFC 1034, 3.1", "http://www.blocked.example.test/"),
];

fn listed() -> impl Iterator<Item = Case> {
    let ask = |url: &str| format!("GET {url} HTTP/1.1\r\nHost: allowed.example.test\r\n\r\n");
    LISTED.iter().map(move |(name, source, url)| {
        Case::new(name, source).sends(ask(url)).gets_page(403).kept().event(403, "completed")
    })
}

/// What needs more than one sentence: interplay, order and time.
fn told() -> Vec<Case> {
    const GET: &str = "GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n";
    const REACHED: &str = "GET / HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n";
    const UPLOAD: &str =
        "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n";
    const UPLOADED: &str = "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/octet-stream\r\n";
    vec![
        // HTTP/1.0.
        Case::new("HTTP/1.0 without a Host", "RFC 9112, 3.2")
            .sends("GET http://{host}/ HTTP/1.0\r\n\r\n")
            .origin_answers(OK)
            .reaches("GET / HTTP/1.1\r\nvia: 1.0 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok")
            .closed()
            .event(200, "completed"),
        Case::new("HTTP/1.0 with keep-alive", "RFC 9112, 9.3")
            .sends("GET http://{host}/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .origin_answers(OK)
            .reaches("GET / HTTP/1.1\r\nvia: 1.0 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\nconnection: keep-alive\r\n\r\nok")
            .kept()
            .event(200, "completed"),
        Case::new("chunks for an HTTP/1.0 client", "RFC 9112, 7.1")
            .sends("GET http://{host}/ HTTP/1.0\r\n\r\n")
            .origin_answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
            .reaches("GET / HTTP/1.1\r\nvia: 1.0 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\n")
            .gets("HTTP/1.0 200 OK\r\nvia: 1.1 wardgate\r\n\r\nok")
            .closed()
            .event(200, "completed"),
        Case::new("an expectation of an HTTP/1.0 client", "RFC 9110, 10.1.1")
            .sends("POST http://{host}/ HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
            .origin_waits_for("hello")
            .origin_sends(OK)
            .reaches(
                "POST / HTTP/1.1\r\ncontent-length: 5\r\nvia: 1.0 wardgate\r\naccept-encoding: identity\r\nhost: {host}\r\n\r\nhello",
            )
            .gets("HTTP/1.0 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nok")
            .closed()
            .event(200, "completed"),
        Case::new("HEAD with a body", "RFC 9110, 9.3.2")
            .sends("HEAD http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\n\r\nhello")
            .origin_waits_for("hello")
            .origin_sends("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            .reaches("HEAD / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\n{ours}\r\nhello")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\n")
            .kept()
            .event(200, "completed"),
        // The end of a connection.
        Case::new("a client that wants to close", "RFC 9112, 9.6")
            .sends(format!("{GET}Connection: close, X-A\r\nX-A: 1\r\n\r\n"))
            .origin_answers(OK)
            .reaches(REACHED)
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\nconnection: close\r\n\r\nok")
            .closed()
            .event(200, "completed"),
        Case::new("nothing is read behind a request that closes", "RFC 9112, 9.6")
            .sends(format!("{GET}Connection: close\r\n\r\n{GET}\r\n"))
            .origin_answers(OK)
            .reaches(REACHED)
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\nconnection: close\r\n\r\nok")
            .closed()
            .event(200, "completed"),
        // Pipelining.
        Case::new("pipelined requests are answered in order", "RFC 9112, 9.3.2")
            .sends(format!("{GET}X-A: 1\r\n\r\n{GET}X-A: 2\r\n\r\n"))
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")
            .origin_answers("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntwo")
            .reaches(
                "GET / HTTP/1.1\r\nhost: {host}\r\nx-a: 1\r\n{ours}\r\n\
                 GET / HTTP/1.1\r\nhost: {host}\r\nx-a: 2\r\n{ours}\r\n",
            )
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nvia: 1.1 wardgate\r\n\r\none")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 3\r\nvia: 1.1 wardgate\r\n\r\ntwo")
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("a sound request, then one that is not", "RFC 9112, 9.3.2")
            .sends(format!("{GET}\r\n{GET}Content-Length: 1, 1\r\n\r\n"))
            .origin_answers(OK)
            .reaches(REACHED)
            .gets(OK_PASSED)
            .event(200, "completed")
            .refused(400, LENGTH),
        Case::new("a refused request takes what follows along", "RFC 9112, 9.3.2; Linhart et al. 2005")
            .sends(format!("{GET}Content-Length: 2, 2\r\n\r\nabGET http://{{host}}/SMUGGLED HTTP/1.1\r\nHost: {{host}}\r\n\r\n"))
            .refused(400, LENGTH),
        Case::new("a request behind a body", "RFC 9112, 6.3; Kettle 2022 (CL.0)")
            .sends(format!(
                "POST http://{{host}}/ HTTP/1.1\r\nHost: {{host}}\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello{GET}\r\n"
            ))
            .origin_waits_for("hello")
            .origin_sends(OK)
            .origin_answers(OK)
            .reaches(format!(
                "POST / HTTP/1.1\r\nhost: {{host}}\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n{{ours}}\r\nhello{REACHED}"
            ))
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("bytes behind a length of zero are another request", "Kettle 2022 (CL.0)")
            .sends(
                "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n\
                 GET /SMUGGLED HTTP/1.1\r\nX: ",
            )
            .waits_for("ok")
            .sends("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
            .origin_answers(OK)
            .reaches("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\n{ours}\r\n")
            .gets(OK_PASSED)
            .gets_page(404)
            .kept()
            .event(200, "completed")
            .event(404, "completed"),
        // 100 Continue.
        Case::new("100 Continue comes from the origin", "RFC 9110, 10.1.1")
            .sends(format!("{UPLOAD}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"))
            .waits_for("HTTP/1.1 100 Continue\r\n\r\n")
            .sends("hello")
            .origin_answers("HTTP/1.1 100 Continue\r\n\r\n")
            .origin_waits_for("hello")
            .origin_sends(OK)
            .reaches(format!("{UPLOADED}content-length: 5\r\nexpect: 100-continue\r\n{{ours}}\r\nhello"))
            .gets("HTTP/1.1 100 Continue\r\n\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed"),
        Case::new("an origin that is silent gets the body after a while", "RFC 9110, 10.1.1")
            .sends(format!("{UPLOAD}Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n"))
            .waits_for("HTTP/1.1 100 Continue\r\n\r\n")
            .sends("hello")
            .origin_waits_for("hello")
            .origin_sends(OK)
            .reaches(format!("{UPLOADED}content-length: 5\r\nexpect: 100-Continue\r\n{{ours}}\r\nhello"))
            .gets("HTTP/1.1 100 Continue\r\n\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed"),
        Case::new("an origin that does not want the body never gets it", "RFC 9110, 10.1.1; Kettle 2025 (0.CL)")
            .sends(format!("{UPLOAD}Content-Length: 34\r\nExpect: 100-continue\r\n\r\n"))
            .waits_for("HTTP/1.1 417 ")
            .sends("GET /SMUGGLED HTTP/1.1\r\nHost: a\r\n\r\n")
            .origin_answers("HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno")
            .reaches(format!("{UPLOADED}content-length: 34\r\nexpect: 100-continue\r\n{{ours}}\r\n"))
            .gets("HTTP/1.1 417 No\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\n\r\nno")
            .closed()
            .event(417, "completed"),
        Case::new("an expectation that is not understood", "RFC 9110, 10.1.1")
            .sends(format!("{UPLOAD}Content-Length: 5\r\nExpect: y 100-continue\r\n\r\nhello"))
            .refused(417, EXPECTATION),
        Case::new("an expectation in disguise", "Kettle 2025, HTTP/1.1 Must Die")
            .sends(format!("{UPLOAD}Content-Length: 5\r\nExpect: 100-continue, 100-continue\r\n\r\nhello"))
            .refused(417, EXPECTATION),
        Case::new("two expectations", "Kettle 2025, HTTP/1.1 Must Die")
            .sends(format!("{UPLOAD}Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nhello"))
            .refused(417, EXPECTATION),
        // Early answers and broken uploads.
        Case::new("an answer to an upload under way is delivered", "RFC 9110, 10.1.1; Kettle 2025 (early response)")
            .sends(format!("{UPLOAD}Content-Length: 10\r\n\r\nhello"))
            .waits_for("too much")
            .origin_waits_for("hello")
            .origin_sends("HTTP/1.1 413 Content Too Large\r\nContent-Length: 8\r\nConnection: close\r\n\r\ntoo much")
            .origin_closes()
            .reaches(format!("{UPLOADED}content-length: 10\r\n{{ours}}\r\nhello"))
            .gets("HTTP/1.1 413 Content Too Large\r\ncontent-length: 8\r\nvia: 1.1 wardgate\r\nconnection: close\r\n\r\ntoo much")
            .closed()
            .event(413, "completed"),
        Case::new("an origin that answered early gets no other request", "RFC 9112, 9.3; Kettle 2025 (0.CL)")
            .sends(format!("{UPLOAD}Content-Length: 10\r\n\r\nhello"))
            .waits_for("ok")
            .sends("world")
            .sends(format!("{GET}\r\n"))
            .origin_waits_for("hello")
            .origin_sends(OK)
            .origin_next_connection()
            .origin_answers(OK)
            .reaches(format!("{UPLOADED}content-length: 10\r\n{{ours}}\r\nhelloworld"))
            .reaches(REACHED)
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
        Case::new("a body that breaks off never ends well", "RFC 9112, 8")
            .sends(format!("{UPLOAD}Content-Length: 10\r\n\r\nhello"))
            .waits_for_origin()
            .closes()
            .origin_waits_for("hello")
            .origin_tells()
            .reaches(format!("{UPLOADED}content-length: 10\r\n{{ours}}\r\nhello"))
            .gets_page(400)
            .closed()
            .event_saying(400, "client-closed", "the client broke off its request"),
        Case::new("chunks that break off never end well", "RFC 9112, 8")
            .sends(format!("{UPLOAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
            .waits_for_origin()
            .closes()
            .origin_waits_for("hello")
            .origin_tells()
            .reaches(format!("{UPLOADED}{{ours}}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"))
            .gets_page(400)
            .closed()
            .event_saying(400, "client-closed", "the client broke off its request"),
        Case::new("chunks that go wrong under way never end well", "RFC 9112, 7.1")
            .sends(format!("{UPLOAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"))
            .waits_for_origin()
            .sends("x\r\n0\r\n\r\n")
            .origin_waits_for("hello")
            .origin_tells()
            .reaches(format!("{UPLOADED}{{ours}}transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"))
            .refused(400, SIZE),
        // CONNECT.
        Case::new("CONNECT, then plain HTTP", "RFC 9110, 9.3.6")
            .sends("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            .waits_for("\r\n\r\n")
            .sends("GET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .origin_answers(OK)
            .reaches("GET /a HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n")
            .gets("HTTP/1.1 200 OK\r\n\r\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\nconnection: close\r\n\r\nok")
            .closed()
            .event_saying(200, "completed", "plain HTTP in the tunnel")
            .event(200, "completed"),
        Case::new("CONNECT with its tunnel's bytes at once", "RFC 9110, 9.3.6")
            .sends("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\nGET /a HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
            .origin_answers(OK)
            .reaches("GET /a HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n")
            .gets("HTTP/1.1 200 OK\r\n\r\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nvia: 1.1 wardgate\r\nconnection: close\r\n\r\nok")
            .closed()
            .event_saying(200, "completed", "plain HTTP in the tunnel")
            .event(200, "completed"),
        Case::new("CONNECT inside a tunnel", "RFC 9110, 9.3.6")
            .way(Way::Plain)
            .sends("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n")
            .gets_page(421)
            .closed()
            .event_saying(421, "malformed", "the request is for another host than the tunnel"),
        Case::new("CONNECT to a port where nobody listens", "RFC 9110, 9.3.6")
            .sends("CONNECT {name}:1 HTTP/1.1\r\nHost: {host}\r\n\r\nGET / HTTP/1.1\r\nHost: {name}:1\r\nConnection: close\r\n\r\n")
            .gets("HTTP/1.1 200 OK\r\n\r\n")
            .gets_page(502)
            .closed()
            .event(200, "completed")
            .event_saying(502, "upstream-failed", "the origin refused the connection"),
        Case::new("a tunnel leads only where CONNECT said", "RFC 9110, 7.4")
            .way(Way::Tls)
            .sends("GET / HTTP/1.1\r\nHost: blocked.example.test\r\n\r\n")
            .gets_page(421)
            .kept()
            .event_saying(421, "malformed", "the request is for another host than the tunnel"),
        Case::new("a tunnel leads only to the port that CONNECT said", "RFC 9110, 7.4")
            .way(Way::Tls)
            .sends("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")
            .gets_page(421)
            .kept()
            .event_saying(421, "malformed", "the request is for another host than the tunnel"),
        Case::new("absolute form inside a tunnel", "RFC 9112, 3.2.2")
            .way(Way::Tls)
            .sends("GET https://{host}/a HTTP/1.1\r\nHost: blocked.example.test\r\n\r\n")
            .origin_answers(OK)
            .reaches("GET /a HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed"),
        Case::new("another scheme than the tunnel's", "RFC 9110, 7.4")
            .way(Way::Tls)
            .sends("GET http://{host}/a HTTP/1.1\r\nHost: {host}\r\n\r\n")
            .refused(400, "only http and https addresses are served"),
        Case::new("an asterisk inside a tunnel", "RFC 9112, 3.2.4")
            .way(Way::Tls)
            .sends("OPTIONS * HTTP/1.1\r\nHost: {host}\r\n\r\n")
            .origin_answers(OK)
            .reaches("OPTIONS * HTTP/1.1\r\nhost: {host}\r\n{ours}\r\n")
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed"),
        // The last hop.
        Case::new("OPTIONS that may go no further", "RFC 9110, 7.6.2")
            .sends("OPTIONS http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 0\r\n\r\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .kept()
            .event(200, "completed"),
        Case::new("TRACE that may go no further", "RFC 9110, 9.3.8")
            .sends(
                "TRACE http://{host}/a?b HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 0\r\nX-A: 1\r\nCookie: a=1\r\n\
                 Authorization: Basic YTpi\r\n\r\n",
            )
            .gets(
                "HTTP/1.1 200 OK\r\ncontent-type: message/http\r\ncontent-length: {length}\r\n\r\n\
                 TRACE http://{host}/a?b HTTP/1.1\r\nhost: {host}\r\nmax-forwards: 0\r\nx-a: 1\r\n\r\n",
            )
            .kept()
            .event(200, "completed"),
        Case::new("a Max-Forwards that is no number", "RFC 9110, 7.6.2")
            .sends("TRACE http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 1x\r\n\r\n")
            .refused(400, "the Max-Forwards is not a number"),
        Case::new("two Max-Forwards", "RFC 9110, 7.6.2")
            .sends("OPTIONS http://{host}/ HTTP/1.1\r\nHost: {host}\r\nMax-Forwards: 1\r\nMax-Forwards: 0\r\n\r\n")
            .refused(400, "the Max-Forwards is not a number"),
        Case::new("OPTIONS to the proxy itself", "RFC 9112, 3.2.4")
            .sends("OPTIONS * HTTP/1.1\r\nHost: proxy\r\n\r\n")
            .gets("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .kept()
            .event(200, "completed"),
        // Upgrades.
        Case::new("h2c is not asked for", "RFC 9113, 3.1; Emil Lerner 2020, h2c Smuggling")
            .sends(format!(
                "{GET}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
            ))
            .passes(REACHED),
        Case::new("an upgrade of a request with a body is not asked for", "RFC 9110, 7.8")
            .sends(
                "POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
            )
            .passes("POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n{ours}\r\nhello"),
        Case::new("Upgrade without Connection stays behind", "RFC 9110, 7.8")
            .sends(format!("{GET}Upgrade: websocket\r\n\r\n"))
            .passes(REACHED),
        Case::new("an upgrade that the origin takes up", "RFC 9110, 7.8; RFC 6455, 4.1")
            .sends(format!("{GET}Connection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"))
            .waits_for("\r\n\r\n")
            .sends("\x01ping")
            .waits_for("pong")
            .closes()
            .origin_answers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .origin_waits_for("ping")
            .origin_sends("\x02pong")
            .origin_closes()
            .reaches(
                "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 1.1 wardgate\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n\x01ping",
            )
            .gets(
                "HTTP/1.1 101 Switching Protocols\r\nvia: 1.1 wardgate\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n\x02pong",
            )
            .closed()
            .event(101, "completed"),
        Case::new("an upgrade to another protocol than was asked for", "RFC 9110, 7.8")
            .sends(format!("{GET}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
            .origin_answers("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            .reaches(
                "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 1.1 wardgate\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            )
            .gets_page(502)
            .closed()
            .event_saying(502, "upstream-failed", "a switch to another protocol than the client asked for"),
        Case::new("an upgrade to no protocol at all", "RFC 9110, 7.8")
            .sends(format!("{GET}Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"))
            .origin_answers("HTTP/1.1 101 Switching Protocols\r\n\r\n")
            .reaches(
                "GET / HTTP/1.1\r\nhost: {host}\r\nvia: 1.1 wardgate\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            )
            .gets_page(502)
            .closed()
            .event_saying(502, "upstream-failed", "a switch to another protocol than the client asked for"),
        // Size.
        Case::new("a target of 8,000 bytes", "RFC 9110, 4.1")
            .sends(format!("GET http://{{host}}/{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "a".repeat(8_000)))
            .passes(&format!("GET /{} HTTP/1.1\r\nhost: {{host}}\r\n{{ours}}\r\n", "a".repeat(8_000))),
        Case::new("a target that is too long", "RFC 9110, 4.1; RFC 6585, 5")
            .sends(format!("GET http://{{host}}/{} HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "a".repeat(128 * 1024)))
            .refused(431, "the head is too large"),
        Case::new("a field that is too long", "RFC 6585, 5")
            .sends(format!("{GET}X-A: {}\r\n\r\n", "a".repeat(128 * 1024)))
            .refused(431, "the head is too large"),
        Case::new("a name that is too long", "CVE-2021-40346")
            .sends(format!("{GET}Content-Length0{}:\r\nContent-Length: 5\r\n\r\nhello", "a".repeat(255)))
            .passes(&format!(
                "GET / HTTP/1.1\r\nhost: {{host}}\r\ncontent-length0{}: \r\ncontent-length: 5\r\n{{ours}}\r\nhello",
                "a".repeat(255)
            )),
        Case::new("fields that are too many", "RFC 6585, 5")
            .sends(format!("{GET}{}\r\n", "X-A: b\r\n".repeat(100)))
            .refused(431, "there are too many header fields"),
        Case::new("as many fields as may be", "RFC 6585, 5")
            .sends(format!("{GET}{}\r\n", "X-A: b\r\n".repeat(99)))
            .passes(&format!("GET / HTTP/1.1\r\nhost: {{host}}\r\n{}{{ours}}\r\n", "x-a: b\r\n".repeat(99))),
        Case::new("a method that is long", "RFC 9110, 9.1")
            .sends(format!("{} http://{{host}}/ HTTP/1.1\r\nHost: {{host}}\r\n\r\n", "M".repeat(300)))
            .passes(&format!("{} / HTTP/1.1\r\nhost: {{host}}\r\n{{ours}}\r\n", "M".repeat(300))),
        Case::new("an extension of a chunk that is too long", "RFC 9112, 7.1.1")
            .sends(format!(
                "POST http://{{host}}/ HTTP/1.1\r\nHost: {{host}}\r\nTransfer-Encoding: chunked\r\n\r\n2;{}\r\nab\r\n0\r\n\r\n",
                "a".repeat(300)
            ))
            .refused(400, EXTENSION),
        Case::new("trailers that are too long", "RFC 9112, 7.1.2")
            .sends(format!(
                "POST http://{{host}}/ HTTP/1.1\r\nHost: {{host}}\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX: {}\r\n\r\n",
                "a".repeat(5_000)
            ))
            .refused(400, TRAILER),
        // In pieces.
        Case::new("a head in single bytes", "RFC 9112, 2.2")
            .sends("GET http://{host}/ HTTP/1.1\r")
            .pauses()
            .sends("\nHo")
            .pauses()
            .sends("st: {host}\r\n\r")
            .pauses()
            .sends("\n")
            .passes(REACHED),
        Case::new("a carriage return, then later no line feed", "RFC 9112, 2.2")
            .sends("GET http://{host}/ HTTP/1.1\r")
            .pauses()
            .sends("Host: {host}\r\n\r\n")
            .refused(400, LINE),
        Case::new("a pause in the midst of a body", "Kettle 2022 (pause-based)")
            .sends(format!("{UPLOAD}Content-Length: 10\r\n\r\nhello"))
            .pauses()
            .sends(format!("world{GET}\r\n"))
            .origin_waits_for("world")
            .origin_sends(OK)
            .origin_answers(OK)
            .reaches(format!("{UPLOADED}content-length: 10\r\n{{ours}}\r\nhelloworld{REACHED}"))
            .gets(OK_PASSED)
            .gets(OK_PASSED)
            .kept()
            .event(200, "completed")
            .event(200, "completed"),
    ]
}

const EXPECTATION: &str = "the only expectation that is met is 100-continue";

#[tokio::test]
async fn requests_in_all_their_interplay() {
    table::run(told()).await;
}

#[test]
fn request_cases_are_listed() {
    let cases = refused(HEADS)
        .chain(refused(TARGETS))
        .chain(broken_bodies())
        .chain(passed())
        .chain(listed())
        .chain(told());
    check("requests", cases.map(|case| (case.name, case.source)));
}
