//! A page that says it is something else is still looked at as a browser would show it, and what one person logged in
//! to is nobody else's.

use std::io::Write as _;

use hyper::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::harness::raw::{self, RawOrigin, Then};
use crate::harness::{GAMBLING_WORDS, World, request};

fn page() -> String {
    format!("<!doctype html><title>Offers</title><p>The best {GAMBLING_WORDS} of all.</p>")
}

#[tokio::test]
async fn a_page_under_an_odd_media_type_is_scanned() {
    let (_world, wardgate) = World::running().await;
    for (name, fields) in [
        ("anything", "Content-Type: */*\r\n"),
        ("unknown", "Content-Type: unknown/unknown\r\n"),
        ("application/unknown", "Content-Type: application/unknown\r\n"),
        ("no type at all", ""),
        ("no slash", "Content-Type: html\r\n"),
        ("two fields", "Content-Type: image/png\r\nContent-Type: text/html\r\n"),
        ("two in one field", "Content-Type: image/png, text/html\r\n"),
    ] {
        let page = page();
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: {}\r\n\r\n{page}", page.len());
        let origin = RawOrigin::start(Then::Answer(answer)).await;
        let reply = wardgate.client().get(&format!("http://{}/", origin.address)).await;
        assert_eq!(reply.status, 403, "{name}: {}", reply.text());
    }
}

#[tokio::test]
async fn codings_in_several_fields_are_all_taken_off() {
    let (_world, wardgate) = World::running().await;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(page().as_bytes()).unwrap();
    let body = gzip.finish().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        raw::read_head(&mut stream).await;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let _ = stream.read(&mut [0; 1]).await;
    });
    let reply = wardgate.client().get(&format!("http://{address}/")).await;
    assert_eq!(reply.status, 403, "{}", reply.text());
}

/// An origin in the manner of NTLM: says on which connection each request came.
async fn counting_origin() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                while !raw::read_head(&mut stream).await.is_empty() {
                    let body = format!("connection {number}");
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_connection_that_is_logged_in_serves_one_client() {
    let (_world, wardgate) = World::running().await;
    let url = format!("http://{}/", counting_origin().await);
    let login = || {
        let mut request = request(Method::GET, &url, "");
        request.headers_mut().insert("authorization", "NTLM TlRMTVNTUAAB".parse().unwrap());
        request
    };
    let uri = url.parse().unwrap();
    let mut one = wardgate.client().session(&uri).await.unwrap();
    let first = one.send(login()).await.unwrap().text();
    assert_eq!(one.send(login()).await.unwrap().text(), first, "the handshake stays on its connection");
    assert_eq!(
        one.send(request(Method::GET, &url, "")).await.unwrap().text(),
        first,
        "and so does what follows"
    );
    let mut other = wardgate.client().session(&uri).await.unwrap();
    assert_ne!(other.send(request(Method::GET, &url, "")).await.unwrap().text(), first, "another client's");
}

#[tokio::test]
async fn a_body_of_unknown_length_arrives_with_any_method() {
    let (_world, wardgate) = World::running().await;
    let origin = RawOrigin::polite().await;
    let head = format!("GET http://{0}/search HTTP/1.1\r\nHost: {0}\r\n", origin.address);
    let chunked = "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n7\r\n{\"q\":1}\r\n0\r\n\r\n";
    let talk = raw::talk(wardgate.proxy, format!("{head}{chunked}").as_bytes()).await;
    assert_eq!(talk.status(), Some(200), "{}", talk.received);
    assert!(origin.received().contains("{\"q\":1}"), "{}", origin.received());
}
