//! The few bits of RFC 6455 that an echo needs, written out so that a mistake in a library cannot hide one of ours.

use std::io;

use base64::Engine as _;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The key that our client sends; any 16 bytes would do.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The first byte of a whole text message, and the code in that of a close frame; its highest bit says that the message
/// ends here.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 8;

/// What the server must answer to a client's key (RFC 6455, section 4.2.2).
pub(crate) fn accept_value(key: &str) -> String {
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    base64::engine::general_purpose::STANDARD.encode(digest)
}

/// Answers the handshake and echoes every text message until the client closes.
pub(crate) fn accept(mut request: Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, io::Error>> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    let Some(key) = request.headers().get("sec-websocket-key").and_then(|key| key.to_str().ok()) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accepted = HeaderValue::from_str(&accept_value(key)).unwrap();
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert("sec-websocket-accept", accepted);
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else { return };
        let mut stream = TokioIo::new(upgraded);
        // Frame by frame, so that a message in pieces comes back in the same pieces.
        while let Ok((first, payload)) = read_frame(&mut stream).await {
            if write_frame(&mut stream, first, &payload, None).await.is_err() || first & 0x0f == CLOSE {
                return;
            }
        }
    });
    response
}

/// Sends one text message as a client does, masked.
pub(crate) async fn send_text(stream: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    write_frame(stream, TEXT, text.as_bytes(), Some([1, 2, 3, 4])).await
}

/// Reads one message; an error where it is not text.
pub(crate) async fn read_text(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let (first, payload) = read_frame(stream).await?;
    if first != TEXT {
        return Err(io::Error::other(format!("a frame of {first:#x} where text was expected")));
    }
    String::from_utf8(payload).map_err(io::Error::other)
}

/// Reads one frame of at most 64 KiB and unmasks it; its first byte comes with it.
async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => stream.read_u16().await?.into(),
        127 => return Err(io::Error::other("a frame too long for this echo")),
        short => usize::from(short),
    };
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).await?;
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Ok((head[0], payload))
}

async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    first: u8,
    payload: &[u8],
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let length = u16::try_from(payload.len()).map_err(io::Error::other)?;
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    if length < 126 {
        frame.push(mask_bit | length as u8);
    } else {
        frame.push(mask_bit | 126);
        frame.extend(length.to_be_bytes());
    }
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or([0; 4]);
    frame.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]));
    stream.write_all(&frame).await?;
    stream.flush().await
}
