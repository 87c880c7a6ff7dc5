//! Whole bodies through the public way in: codings, chunk borders, and what hostile senders try.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use wardgate_text::{Extractor, Limits, Memory, TextError};

const PAGE: &str = "<!DOCTYPE html><meta charset=utf-8><title>T&eacute;st</title><p>One <b>t</b>wo &amp; thr\u{e9}e\
    <script>var hidden;</script><td>four<td>f\u{fc}nf<!-- not this --><img alt='six'>";
const PAGE_TEXT: &str = "T\u{e9}st\nOne two & thr\u{e9}e\nfour\nf\u{fc}nf\nsix\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn raw_deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn brotli(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    brotli::BrotliCompress(&mut &*bytes, &mut encoded, &parameters).unwrap();
    encoded
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(bytes, 3).unwrap()
}

/// What was read, and how it ended.
fn read<'a>(
    content_type: Option<&str>,
    coding: Option<&str>,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (String, Result<(), TextError>) {
    let mut text = String::new();
    let mut extractor = match Extractor::new(content_type, coding, Limits::default()) {
        Ok(extractor) => extractor.expect("a textual type"),
        Err(error) => return (text, Err(error)),
    };
    for chunk in chunks {
        if let Err(error) = extractor.push(chunk, &mut text) {
            return (text, Err(error));
        }
    }
    let result = extractor.finish(&mut text);
    (text, result)
}

/// A small generator, so that a failure can be repeated (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn cut<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at(1 + self.below(bytes.len().min(100)));
            chunks.push(chunk);
            bytes = rest;
        }
        chunks
    }
}

#[test]
fn chunk_borders_mean_nothing() {
    let page = PAGE.as_bytes();
    let utf16 = PAGE.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let members = [gzip(&page[..100]), gzip(&page[100..])].concat();
    let mut broken_member = members.clone();
    let checksum = broken_member.len() - 8;
    broken_member[checksum] ^= 1;
    let with_garbage = [gzip(page), b"\0\0garbage".to_vec()].concat();
    let stacked = zstd(&brotli(&gzip(page)));
    let html = Some("text/html");
    let form = "--b\r\nContent-Disposition: form-data; name=x\r\n\r\none\r\n--b--";
    let mut random = Random(0x5EED);
    for (name, kind, coding, body, expected) in [
        ("plain", html, None, page.to_vec(), PAGE_TEXT),
        ("no type", None, None, page.to_vec(), PAGE_TEXT),
        ("UTF-16", Some("text/html; charset=utf-16le"), None, utf16, PAGE_TEXT),
        ("gzip", html, Some("gzip"), gzip(page), PAGE_TEXT),
        ("gzip of two members", html, Some("x-gzip"), members, PAGE_TEXT),
        ("gzip whose second member is broken at its end", html, Some("gzip"), broken_member, PAGE_TEXT),
        ("gzip and garbage", html, Some("gzip"), with_garbage, PAGE_TEXT),
        ("zlib", html, Some("deflate"), zlib(page), PAGE_TEXT),
        ("raw deflate", html, Some("deflate"), raw_deflate(page), PAGE_TEXT),
        ("brotli", html, Some("br"), brotli(page), PAGE_TEXT),
        ("zstd", html, Some("zstd"), zstd(page), PAGE_TEXT),
        ("three codings", html, Some("gzip, br, zstd"), stacked, PAGE_TEXT),
        ("nothing", html, Some("gzip"), Vec::new(), ""),
        ("JSON", Some("application/json"), Some("br"), brotli(br#"{"a":"b\u00e9"}"#), "b\u{e9}\n"),
        ("multipart", Some("multipart/form-data; boundary=b"), None, form.into(), "\none\r"),
        (
            "invalid UTF-8",
            Some("text/plain; charset=utf-8"),
            None,
            b"a\xF0\x9Fb\xFF".to_vec(),
            "a\u{fffd}b\u{fffd}",
        ),
    ] {
        let whole = read(kind, coding, [&body[..]]);
        assert_eq!(whole, (expected.to_owned(), Ok(())), "{name}");
        assert_eq!(read(kind, coding, body.chunks(1)), whole, "{name}, byte by byte");
        for round in 0..20 {
            assert_eq!(read(kind, coding, random.cut(&body)), whole, "{name}, random cuts {round}");
        }
    }
}

#[test]
fn a_body_cut_short_is_an_error_after_its_text() {
    let text = "many words ".repeat(10_000);
    for (coding, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("deflate", zlib(text.as_bytes())),
        ("br", brotli(text.as_bytes())),
        ("zstd", zstd(text.as_bytes())),
    ] {
        let (read, result) = read(Some("text/plain"), Some(coding), [&body[..body.len() - 5]]);
        assert!(matches!(result, Err(TextError::Undecodable { .. })), "{coding}: {result:?}");
        assert!(text.starts_with(&read), "{coding}");
    }
}

#[test]
fn codings_that_cannot_be_read() {
    for (name, coding, body) in [
        ("unknown", "sdch", &b"x"[..]),
        ("too many", "gzip, gzip, gzip, gzip", b"x"),
        ("not gzip", "gzip", b"plain words"),
        ("not brotli", "br", b"plain words, and more of them"),
        ("not zstd", "zstd", b"plain words"),
        ("not deflate", "deflate", b"\xFFplain words"),
        // The "large window" extension, 30 bits of window.
        ("brotli with a window of 1 GiB", "br", &[0x11, 0x1E, 0x00, 0x00, 0x00]),
        // A frame header with a window of 2^41 bytes.
        ("zstd with a huge window", "zstd", &[0x28, 0xB5, 0x2F, 0xFD, 0x00, 0xF8, 0x01, 0x00, 0x00]),
    ] {
        let (_, result) = read(Some("text/html"), Some(coding), [body]);
        assert!(matches!(result, Err(TextError::Undecodable { .. })), "{name}: {result:?}");
    }
}

#[test]
fn bombs_are_found_and_cost_little() {
    let zeros = vec![b' '; 64 * 1024 * 1024];
    for (name, coding, body) in [
        ("gzip", "gzip", gzip(&zeros)),
        ("brotli", "br", brotli(&zeros)),
        ("zstd", "zstd", zstd(&zeros)),
        ("gzip in gzip", "gzip, gzip", gzip(&gzip(&zeros))),
    ] {
        for chunk_size in [body.len(), 1000] {
            let (text, result) = read(Some("text/plain"), Some(coding), body.chunks(chunk_size));
            assert!(matches!(result, Err(TextError::Bomb { .. })), "{name}: {result:?}");
            assert!(text.len() <= 17 * 1024 * 1024, "{name}: {} bytes of text", text.len());
        }
    }
}

#[test]
fn a_bomb_behind_honest_bytes_is_found() {
    // A megabyte that does not compress earns credit; the burst limit keeps it from being spent at once.
    let mut random = Random(7);
    let honest: Vec<u8> = (0..1_000_000).map(|_| b'!' + random.below(90) as u8).collect();
    let body = gzip(&[honest, vec![b' '; 128 * 1024 * 1024]].concat());
    let (text, result) = read(Some("text/plain"), Some("gzip"), [&body[..]]);
    assert!(matches!(result, Err(TextError::Bomb { .. })), "{result:?}");
    assert!(text.len() <= 17 * 1024 * 1024);
}

#[test]
fn the_total_is_limited() {
    let limits = Limits { decoded_bytes: 100_000, ..Limits::default() };
    let mut random = Random(3);
    let words: Vec<u8> = (0..200_000).map(|_| b'a' + random.below(26) as u8).collect();
    let mut extractor = Extractor::new(Some("text/plain"), Some("gzip"), limits).unwrap().unwrap();
    let result = extractor.push(&gzip(&words), &mut String::new());
    assert!(matches!(result, Err(TextError::Bomb { .. })), "{result:?}");
}

#[test]
fn decoders_hold_no_more_than_there_is_room_for() {
    const ROOM: usize = 2 * 1024 * 1024;
    let mut random = Random(5);
    let words: Vec<u8> = (0..3 * ROOM).map(|_| b'a' + random.below(26) as u8).collect();
    for (name, coding, body, fits) in [
        ("gzip", "gzip", gzip(&words), true),
        ("gzip in gzip", "gzip, gzip", gzip(&gzip(&words)), true),
        ("brotli", "br", brotli(&words), false),
        ("zstd", "zstd", zstd(&words), false),
        ("brotli in gzip", "br, gzip", gzip(&brotli(&words)), false),
        ("a small page in brotli", "br", brotli(&words[..10_000]), true),
        ("a small page in zstd", "zstd", zstd(&words[..10_000]), true),
    ] {
        let memory = Memory::new(ROOM);
        let mut extractor =
            Extractor::new(Some("text/plain"), Some(coding), Limits::default()).unwrap().unwrap();
        extractor.hold_in(memory.begin(0).unwrap());
        let mut text = String::new();
        let result = body.chunks(1000).try_for_each(|chunk| {
            text.clear();
            extractor.push(chunk, &mut text)
        });
        assert_eq!(result, if fits { Ok(()) } else { Err(TextError::NoRoom) }, "{name}");
        assert!(memory.taken() <= ROOM && (memory.taken() > 0 || !fits), "{name}");
        drop(extractor);
        assert_eq!(memory.taken(), 0, "{name}: it is given back");
    }
}

#[test]
fn hostile_pages_are_read_in_time() {
    let many = 1_000_000;
    for (name, kind, body) in [
        ("unclosed comment", "text/html", format!("word<!--{}", "-".repeat(many))),
        ("one long attribute", "text/html", format!("word<a b='{}'>", "c".repeat(many))),
        ("many attributes", "text/html", format!("word<a {}>", "b ".repeat(many))),
        ("deep tags", "text/html", format!("word{}", "<div>".repeat(many))),
        ("end tags only", "text/html", format!("word{}", "</div>".repeat(many))),
        ("open brackets", "text/html", format!("word{}", "<".repeat(many))),
        ("comments that begin", "text/html", format!("word{}", "<!--".repeat(many / 4))),
        ("comments that almost end", "text/html", format!("word<!--{}", "--x>".repeat(many / 4))),
        ("comments full of brackets", "text/html", format!("word<!--{}", ">".repeat(many))),
        ("declarations", "text/html", format!("word{}", "<!".repeat(many / 2))),
        ("line feeds", "text/html", format!("word{}", "\n".repeat(many))),
        ("quotes", "text/html", format!("word<a {}", "\"'".repeat(many / 2))),
        ("equals signs", "text/html", format!("word<a {}", "=".repeat(many))),
        ("titles", "text/html", format!("word<a {}>", "title='x' ".repeat(many / 10))),
        ("values without end", "text/html", format!("word{}", "<a title='".repeat(many / 10))),
        ("scripts that almost end", "text/html", format!("word<script>{}", "</scrip".repeat(many / 7))),
        (
            "scripts in scripts",
            "text/html",
            format!("word<script><!--{}", "<script></script>".repeat(many / 17)),
        ),
        ("hyphens in scripts", "text/html", format!("word<script><!--{}", "-".repeat(many))),
        ("drawings", "text/html", format!("word{}", "<svg><desc>".repeat(many / 11))),
        ("data sections", "text/html", format!("word<svg>{}", "<![CDATA[]]]>".repeat(many / 13))),
        ("square brackets", "text/html", format!("word<svg><![CDATA[{}", "]".repeat(many))),
        ("ampersands", "text/html", format!("word{}", "&".repeat(many))),
        ("references", "text/html", format!("word{}", "&amp".repeat(many / 4))),
        ("long reference", "text/html", format!("word&#{}65;", "0".repeat(many))),
        ("deep JSON", "application/json", format!("[\"word\",{}", "[".repeat(many))),
        ("deep objects", "application/json", format!("[\"word\",{}", "{\"a\":".repeat(many))),
        ("escapes", "application/json", format!("[\"word{}\"]", "\\ud83d".repeat(many / 6))),
        ("data lines", "text/event-stream", format!("data: word\n{}", "data:\n".repeat(many / 6))),
        ("carriage returns", "text/event-stream", format!("data: word\n{}", "\r".repeat(many))),
        ("percent signs", "application/x-www-form-urlencoded", format!("a=word{}", "%".repeat(many))),
        (
            "boundaries",
            "multipart/form-data; boundary=b",
            format!("--b\n\nword{}", "\n--b\n\n".repeat(many / 6)),
        ),
        ("hyphens", "multipart/form-data; boundary=b", format!("--b\n\nword{}", "\n-".repeat(many / 2))),
        ("XML brackets", "application/xml", format!("word{}", "<a><![CDATA[".repeat(many / 12))),
    ] {
        let began = Instant::now();
        for chunk_size in [body.len(), 1500] {
            let (text, result) = read(Some(kind), None, body.as_bytes().chunks(chunk_size));
            assert!(text.contains("word") && result.is_ok(), "{name}");
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{name}: {:?}", began.elapsed());
    }
}

#[test]
fn what_is_not_text_is_left_alone() {
    for kind in ["image/png", "application/octet-stream", "video/mp4", "application/grpc-web-text"] {
        assert!(Extractor::new(Some(kind), Some("sdch"), Limits::default()).unwrap().is_none(), "{kind}");
    }
    let (text, result) = read(None, None, [&b"\x89PNG\r\n\x1A\n\0\0\0\rIHDR words"[..]]);
    assert_eq!((text.as_str(), result), ("", Ok(())));
}

#[test]
fn an_extractor_may_change_threads() {
    fn is_send<T: Send>() {}
    is_send::<Extractor>();
}
