//! WebSockets pass in both directions, plain and intercepted, and are recorded once.

use hyper::Uri;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use crate::harness::{ALLOWED, BLOCKED, World, raw, websocket};

/// Shakes hands and has two messages echoed.
async fn converse(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), target: &str, host: &str) {
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        websocket::KEY
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = raw::read_head(stream).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains(&websocket::accept_value(websocket::KEY)), "{answer}");
    for text in ["hello", &"a longer message ".repeat(500)] {
        websocket::send_text(stream, text).await.unwrap();
        assert_eq!(websocket::read_text(stream).await.unwrap(), text);
    }
}

#[tokio::test]
async fn a_websocket_in_the_clear() {
    let (world, wardgate) = World::running().await;
    let host = format!("{ALLOWED}:{}", world.origin.http.port());
    let mut stream = tokio::net::TcpStream::connect(wardgate.proxy).await.unwrap();
    converse(&mut stream, &format!("http://{host}/ws"), &host).await;
    drop(stream);
    let line = wardgate.line_about("/ws").await;
    assert_eq!(line["http.response.status_code"], 101, "{line:#}");
}

#[tokio::test]
async fn a_websocket_inside_an_intercepted_tunnel() {
    let (world, wardgate) = World::running().await;
    let url: Uri = world.https(ALLOWED, "/ws").parse().unwrap();
    let mut stream = wardgate.client().http1().tls(&url).await.unwrap();
    converse(&mut stream, "/ws", url.authority().unwrap().as_str()).await;
    drop(stream);
    assert_eq!(wardgate.line_about("/ws").await["http.response.status_code"], 101);
}

#[tokio::test]
async fn a_websocket_in_the_clear_inside_a_tunnel_as_browsers_do() {
    let (world, wardgate) = World::running().await;
    let host = format!("{ALLOWED}:{}", world.origin.http.port());
    let mut stream = wardgate.client().connect(&host).await.unwrap();
    converse(&mut stream, "/ws", &host).await;
}

#[tokio::test]
async fn a_websocket_to_a_blocked_host_is_refused() {
    let (world, wardgate) = World::running().await;
    let host = format!("{BLOCKED}:{}", world.origin.http.port());
    let head = format!(
        "GET http://{host}/ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        websocket::KEY
    );
    let mut stream = tokio::net::TcpStream::connect(wardgate.proxy).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(raw::status_of(&raw::read_head(&mut stream).await), Some(403));
    assert!(world.origin.seen("/ws").is_empty());
}
