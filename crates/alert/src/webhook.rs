//! Deliveries to another system: a signed POST with JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use sha2::Sha256;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::Url;
use wardgate_store::DeliveryId;

use crate::courier::SendError;
use crate::letter::Letter;
use crate::{AlertError, Secret, WebhookConfig, tls};

/// How long connecting, the handshake and the answer may take together.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The webhook.
pub(crate) struct Webhook {
    url: Url,
    secret: Secret,
    tls: Arc<ClientConfig>,
}

impl Webhook {
    pub(crate) fn new(config: WebhookConfig) -> Result<Self, AlertError> {
        Ok(Self { url: config.url, secret: config.secret, tls: tls::client(config.ca.as_deref())? })
    }

    /// Posts a letter; returns once the receiver has answered that it has it.
    pub(crate) async fn send(&self, id: DeliveryId, letter: &Letter) -> Result<(), SendError> {
        let body = letter.json(&id.to_string()).map_err(|error| SendError::Refused(error.to_string()))?;
        let request = self.request(id, body, Timestamp::now())?;
        let status = match tokio::time::timeout(TIMEOUT, self.exchange(request)).await {
            Ok(answer) => answer?,
            Err(_) => return Err(SendError::Unreachable("the webhook took too long".to_owned())),
        };
        if status.is_success() {
            return Ok(());
        }
        Err(SendError::Refused(format!("the webhook answered {}", status.as_u16())))
    }

    fn request(
        &self,
        id: DeliveryId,
        body: Vec<u8>,
        now: Timestamp,
    ) -> Result<Request<Full<Bytes>>, SendError> {
        let target = &self.url[url::Position::BeforePath..url::Position::AfterQuery];
        Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(HOST, &self.url[url::Position::BeforeHost..url::Position::AfterPort])
            .header(USER_AGENT, concat!("wardgate/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("wardgate-delivery", id.to_string())
            .header("wardgate-signature", signature(&self.secret, now.as_second(), &body))
            .body(Full::from(body))
            .map_err(|error| SendError::Refused(error.to_string()))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError> {
        let host = self.url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.url.port_or_known_default().unwrap_or(443);
        let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
        if self.url.scheme() != "https" {
            return post(TokioIo::new(stream), request).await;
        }
        let name = ServerName::try_from(host.to_owned()).map_err(unreachable)?;
        let connector = TlsConnector::from(Arc::clone(&self.tls));
        let stream = connector.connect(name, stream).await.map_err(unreachable)?;
        post(TokioIo::new(stream), request).await
    }
}

/// Sends the request over a connection of its own and reads the answer's head; its body is of no interest.
async fn post<IO>(io: IO, request: Request<Full<Bytes>>) -> Result<StatusCode, SendError>
where
    IO: Read + Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(io).await.map_err(unreachable)?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(unreachable)?;
    Ok(response.status())
}

fn unreachable(error: impl std::fmt::Display) -> SendError {
    SendError::Unreachable(format!("the webhook cannot be reached: {error}"))
}

/// `t=<Unix time>,v1=<hex>`: proves that whoever sent the body knows the secret, and when it was sent.
fn signature(secret: &Secret, seconds: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .expect("HMAC takes keys of every length (RFC 2104)");
    mac.update(format!("{seconds}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::testing::{self, alert_letter};

    fn webhook(table: &str) -> Webhook {
        Webhook::new(toml::from_str(&format!("secret = 'swordfish'\n{table}")).unwrap()).unwrap()
    }

    /// Reads one request and answers it; returns what was read.
    async fn answer(
        mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        status: &str,
    ) -> String {
        let mut request = Vec::new();
        loop {
            let read = stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request);
            let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                length.is_some_and(|length| body.len() >= length.parse().unwrap())
            });
            if whole || read == 0 {
                break;
            }
        }
        stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        String::from_utf8(request).unwrap()
    }

    #[tokio::test]
    async fn a_signed_post() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server =
            tokio::spawn(async move { answer(listener.accept().await.unwrap().0, "204 No Content").await });
        let id = DeliveryId::new();
        let webhook = webhook(&format!("url = 'http://127.0.0.1:{port}/hook?a=b'"));
        webhook.send(id, &alert_letter()).await.unwrap();

        let request = server.await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{head}");
        assert!(head.contains(&format!("wardgate-delivery: {id}")), "{head}");
        let signed = head.lines().find_map(|line| line.strip_prefix("wardgate-signature: ")).unwrap();
        let seconds = signed.strip_prefix("t=").unwrap().split(',').next().unwrap().parse().unwrap();
        assert_eq!(signed, signature(&webhook.secret, seconds, body.as_bytes()));
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&json["type"], &json["delivery"]), (&"alert".into(), &id.to_string().into()));
        assert_eq!((&json["alert"]["user"], &json["alert"]["theme"]), (&"alice".into(), &"self-harm".into()));
    }

    #[tokio::test]
    async fn answers() {
        for (status, expected) in [
            ("200 OK", "ok"),
            ("202 Accepted", "ok"),
            ("302 Found", "refused: the webhook answered 302"),
            ("410 Gone", "refused: the webhook answered 410"),
            ("500 Oops", "refused: the webhook answered 500"),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("url = 'http://{}/'", listener.local_addr().unwrap());
            let server =
                tokio::spawn(async move { answer(listener.accept().await.unwrap().0, status).await });
            let said = match webhook(&url).send(DeliveryId::new(), &alert_letter()).await {
                Ok(()) => "ok".to_owned(),
                Err(SendError::Refused(why)) => format!("refused: {why}"),
                Err(SendError::Unreachable(why)) => format!("unreachable: {why}"),
            };
            assert_eq!(said, expected, "{status}");
            server.await.unwrap();
        }
    }

    #[tokio::test]
    async fn nobody_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("url = 'http://{}/'", listener.local_addr().unwrap());
        drop(listener);
        let result = webhook(&url).send(DeliveryId::new(), &alert_letter()).await;
        assert!(matches!(result, Err(SendError::Unreachable(_))), "{result:?}");
    }

    #[tokio::test]
    async fn over_tls_only_to_whom_is_trusted() {
        let certificate = testing::Certificate::new();
        for (name, ca, trusted) in [
            ("our own root", format!("ca = '{}'\n", certificate.path().display()), true),
            ("unknown root", String::new(), false),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = listener.local_addr().unwrap().port();
            let acceptor = TlsAcceptor::from(certificate.server());
            let server = tokio::spawn(async move {
                match acceptor.accept(listener.accept().await.unwrap().0).await {
                    Ok(stream) => answer(stream, "200 OK").await.starts_with("POST / "),
                    Err(_) => false,
                }
            });
            let webhook = webhook(&format!("{ca}url = 'https://localhost:{port}'"));
            let result = webhook.send(DeliveryId::new(), &alert_letter()).await;
            assert_eq!((result.is_ok(), server.await.unwrap()), (trusted, trusted), "{name}: {result:?}");
        }
    }

    #[test]
    fn signatures() {
        // printf '1763719200.{"a":1}' | openssl dgst -sha256 -hmac swordfish
        let secret = webhook("url = 'http://localhost/'").secret;
        assert_eq!(signature(&secret, 1_763_719_200, b"{\"a\":1}"), SIGNED);
    }

    const SIGNED: &str = "t=1763719200,v1=e4695c8098ebb1577a39ee244ebd97903ad72721f176fd9658ea3436d5a22c68";
}
