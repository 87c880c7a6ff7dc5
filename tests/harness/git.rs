//! Git over HTTP as its own `git http-backend` speaks it, run as a CGI program (RFC 3875) for each request.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{self, HeaderName};
use hyper::{Request, Response, StatusCode};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::origin::{Body, full, plain, with};
use super::tools;

/// Answers a request whose path begins with `/git/`, out of the repositories in the folder `git` of `root`.
pub(crate) async fn answer(root: &Path, request: Request<Incoming>) -> Response<Body> {
    let accepts_gzip = said(&request, header::ACCEPT_ENCODING).contains("gzip");
    let mut backend = backend(root, &request);
    let Ok(body) = request.into_body().collect().await else {
        return plain(StatusCode::BAD_REQUEST, "the body broke off");
    };
    let body = body.to_bytes();
    let mut child = backend.env("CONTENT_LENGTH", body.len().to_string()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // Written while it already answers: each side's pipe holds only so much.
    let written = tokio::spawn(async move { input.write_all(&body).await });
    let output = child.wait_with_output().await.unwrap();
    let _ = written.await;
    assert!(output.status.success(), "git http-backend: {}", String::from_utf8_lossy(&output.stderr));
    let response = parse(&output.stdout, accepts_gzip);
    with(response, header::SET_COOKIE, "git=1; Path=/git/; Expires=Wed, 21 Oct 2037 07:28:00 GMT")
}

fn backend(root: &Path, request: &Request<Incoming>) -> Command {
    let mut command = Command::new(tools::find("git"));
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", root.join("git"))
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("HOME", root)
        .env("REQUEST_METHOD", request.method().as_str())
        .env("PATH_INFO", request.uri().path().trim_start_matches("/git"))
        .env("QUERY_STRING", request.uri().query().unwrap_or(""))
        .env("CONTENT_TYPE", said(request, header::CONTENT_TYPE))
        .env("HTTP_CONTENT_ENCODING", said(request, header::CONTENT_ENCODING))
        .env("GIT_PROTOCOL", said(request, HeaderName::from_static("git-protocol")))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

fn said(request: &Request<Incoming>, name: HeaderName) -> &str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// Turns what the program printed into an answer, compressed for those who take it.
fn parse(printed: &[u8], accepts_gzip: bool) -> Response<Body> {
    let end =
        printed.windows(4).position(|window| window == b"\r\n\r\n").expect("a head from git http-backend");
    let (head, content) = (std::str::from_utf8(&printed[..end]).unwrap(), &printed[end + 4..]);
    let content = if accepts_gzip { gzip(content) } else { Bytes::copy_from_slice(content) };
    let mut response = Response::new(full(content));
    for line in head.lines() {
        let (name, value) = line.split_once(':').unwrap();
        if name.eq_ignore_ascii_case("status") {
            *response.status_mut() = value.trim()[..3].parse().unwrap();
        } else {
            response = with(response, name.parse().unwrap(), value.trim());
        }
    }
    if accepts_gzip { with(response, header::CONTENT_ENCODING, "gzip") } else { response }
}

fn gzip(content: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap().into()
}
