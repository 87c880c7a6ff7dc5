//! What the proxy itself answers: the PAC file, the CA certificate, health and metrics on its own port, and
//! `wardgate.internal`, which is reached through the proxy with the user already known.

use std::borrow::Cow;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{Method, Response, StatusCode};
use metrics::gauge;
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use wardgate_core::{CategoryName, Entrance, Host, Target, Who, Wording};

use crate::body::Body;
use crate::pages::{self, Refusal, document};
use crate::shared::Shared;

/// The name under which Wardgate is reached through itself.
pub(crate) const INTERNAL_HOST: &str = "wardgate.internal";
/// The most that a form posted to Wardgate may hold, in bytes.
pub(crate) const MAX_FORM: usize = 16 * 1024;
/// Grants remembered at a time.
const MAX_GRANTS: usize = 100_000;

/// A request to the proxy itself.
pub(crate) struct Own<'a> {
    pub(crate) method: &'a Method,
    pub(crate) path: &'a str,
    /// The authority under which the proxy was reached, for the PAC file.
    pub(crate) host: Option<&'a str>,
    pub(crate) client: IpAddr,
    /// The address at which the client reached the proxy.
    pub(crate) local: std::net::SocketAddr,
    pub(crate) entrance: Entrance,
}

/// Answers a request made to the proxy's own port.
pub(crate) fn answer(shared: &Shared, own: &Own<'_>) -> Result<Response<Body>, Refusal> {
    match *own.method {
        Method::GET | Method::HEAD => {}
        Method::OPTIONS => return Ok(options()),
        _ => return Err(Refusal::NotFound),
    }
    match own.path {
        "/proxy.pac" | "/wpad.dat" | "/wpad.da" => {
            Ok(document("application/x-ns-proxy-autoconfig", pac(&way(shared, own))))
        }
        "/ca.crt" => Ok(document("application/x-x509-ca-cert", shared.parts.minter.authorities().bundle())),
        "/healthz" => Ok(health(shared)),
        "/metrics" if may_read_metrics(shared, own.client) => {
            gauge!("wardgate_scan_memory_bytes").set(shared.scan_memory.taken() as f64);
            Ok(document("text/plain; version=0.0.4", shared.parts.metrics.render()))
        }
        "/metrics" => {
            Err(Refusal::Forbidden("metrics are for this machine, or whom [proxy] metrics_for names"))
        }
        _ => Err(Refusal::NotFound),
    }
}

/// Answers a request that may go no further in the place of the server that it was for (RFC 9110, sections 9.3.7 and
/// 9.3.8): an OPTIONS, or a TRACE, which is shown as it arrived but for what is nobody's business.
pub(crate) fn last_hop(request: &http::request::Parts) -> Response<Body> {
    if request.method != Method::TRACE {
        return options();
    }
    let mut text = format!("TRACE {} {:?}\r\n", request.uri, request.version).into_bytes();
    for (name, value) in &request.headers {
        if ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name) {
            text.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
    }
    text.extend_from_slice(b"\r\n");
    document("message/http", text)
}

/// There is nothing to tell about what could be asked.
fn options() -> Response<Body> {
    Response::new(Body::empty())
}

fn health(shared: &Shared) -> Response<Body> {
    if !shared.draining.is_cancelled() {
        return document("text/plain", "ok\n");
    }
    let mut response = document("text/plain", "stopping\n");
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}

fn may_read_metrics(shared: &Shared, client: IpAddr) -> bool {
    client.is_loopback() || shared.config.metrics_for.iter().any(|net| net.contains(&client))
}

/// What the PAC file tells browsers to use. Who came over TLS is sent back there; so is everybody where the plain port is
/// not made known by `public`. Never both: a browser that falls back to the plain one shows its password to the network.
fn way(shared: &Shared, own: &Own<'_>) -> String {
    let config = &shared.config;
    match (&shared.tls, &config.public) {
        (Some(tls), public) if own.entrance == Entrance::Tls || public.is_none() => {
            let public = public.as_ref().and_then(|public| Target::connect(public).ok());
            let host = public.map(|public| public.host().to_string()).unwrap_or_else(|| reached(own));
            let authority = config.tls_public.clone();
            format!("HTTPS {}", authority.unwrap_or_else(|| format!("{host}:{}", tls.listen.port())))
        }
        (_, Some(public)) => format!("PROXY {public}"),
        (_, None) => format!("PROXY {}:{}", reached(own), own.local.port()),
    }
}

/// The host under which the client reached the proxy.
fn reached(own: &Own<'_>) -> String {
    let named = own.host.and_then(|host| Target::new(wardgate_core::Scheme::Http, host, "/").ok());
    let named = named.filter(|target| target.host().as_name() != Some(INTERNAL_HOST));
    named.map_or_else(|| Host::Address(own.local.ip()).to_string(), |target| target.host().to_string())
}

/// Everything goes through the proxy but this machine itself; there is no way around it when the proxy is down.
fn pac(way: &str) -> String {
    format!(
        "function FindProxyForURL(url, host) {{\n\
         \x20 if (host === \"localhost\" || host === \"127.0.0.1\" || host === \"[::1]\" || host === \"::1\") {{\n\
         \x20   return \"DIRECT\";\n\
         \x20 }}\n\
         \x20 return \"{way}\";\n\
         }}\n"
    )
}

/// What a person may continue to: bound to who, what and until when, and sealed with the process's own key.
#[derive(Serialize, Deserialize)]
struct Token<'a> {
    who: Cow<'a, str>,
    category: Cow<'a, str>,
    host: Cow<'a, str>,
    url: Cow<'a, str>,
    until: u64,
}

/// Who may continue past which warning, and for how long. In memory: a restart asks once more.
pub(crate) struct Grants {
    key: Hmac<Sha256>,
    granted: Cache<(Box<str>, Box<str>), Instant>,
}

/// How long a warn page may lie open before its button is pressed.
const TOKEN_LIFE: Duration = Duration::from_secs(3600);

impl Grants {
    /// No grants, and a fresh key. Fails where the system gives no random bytes.
    pub(crate) fn new() -> Result<Self, rustls::Error> {
        let mut secret = [0u8; 32];
        let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        random.fill(&mut secret).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        let key = Hmac::new_from_slice(&secret).map_err(|_| rustls::Error::FailedToGetRandomBytes)?;
        Ok(Self { key, granted: Cache::new(MAX_GRANTS) })
    }

    /// Whether this person has chosen to continue: to the category, or to the host where no category was named.
    pub(crate) fn allows(&self, who: &Who, category: Option<&CategoryName>, target: &Target) -> bool {
        let key = (
            person(who),
            subject(category.map(CategoryName::as_str).unwrap_or_default(), target.authority()),
        );
        self.granted.get(&key).is_some_and(|until| Instant::now() < until)
    }

    /// A token for the warn page's form.
    pub(crate) fn token(&self, who: &Who, category: Option<&CategoryName>, target: &Target) -> String {
        let token = Token {
            who: Cow::Owned(person(who).into()),
            category: Cow::Borrowed(category.map(CategoryName::as_str).unwrap_or_default()),
            host: Cow::Borrowed(target.authority()),
            url: Cow::Borrowed(target.as_str()),
            until: now() + TOKEN_LIFE.as_secs(),
        };
        let payload = serde_json::to_vec(&token).unwrap_or_default();
        let seal = self.key.clone().chain_update(&payload).finalize().into_bytes();
        format!("{}.{}", BASE64URL_NOPAD.encode(&payload), BASE64URL_NOPAD.encode(&seal))
    }

    /// Takes a token back; the address to go to where it is good.
    pub(crate) fn redeem(&self, token: &str, who: &Who, good_for: Duration) -> Option<String> {
        let (payload, seal) = token.split_once('.')?;
        let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
        let seal = BASE64URL_NOPAD.decode(seal.as_bytes()).ok()?;
        self.key.clone().chain_update(&payload).verify_slice(&seal).ok()?;
        let token: Token<'_> = serde_json::from_slice(&payload).ok()?;
        if token.until < now() || token.who != *person(who) {
            return None;
        }
        self.granted.insert((person(who), subject(&token.category, &token.host)), Instant::now() + good_for);
        Some(token.url.into_owned())
    }
}

/// The person, or the address where nobody is known.
fn person(who: &Who) -> Box<str> {
    match &who.user {
        Some(user) => format!("user {}", user.as_str()).into(),
        None => format!("address {}", who.address).into(),
    }
}

fn subject(category: &str, host: &str) -> Box<str> {
    if category.is_empty() { format!("host {host}").into() } else { format!("category {category}").into() }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Answers a request to `wardgate.internal` that needs no form.
pub(crate) fn internal(shared: &Shared, own: &Own<'_>, wording: &Wording) -> Result<Response<Body>, Refusal> {
    match (own.method, own.path) {
        (&Method::GET | &Method::HEAD, "/") => Ok(shared.pages.home(wording)),
        (&Method::GET | &Method::HEAD, "/proxy.pac" | "/ca.crt") => answer(shared, own),
        _ => Err(Refusal::NotFound),
    }
}

/// Answers the warn page's form.
pub(crate) fn go_on(
    shared: &Shared,
    form: &[u8],
    who: &Who,
    good_for: Duration,
) -> Result<Response<Body>, Refusal> {
    let token = form_urlencoded::parse(form).find(|(name, _)| name == "token");
    let url = token.and_then(|(_, token)| shared.grants.redeem(&token, who, good_for));
    url.and_then(|url| pages::see_other(&url)).ok_or(Refusal::StaleToken)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_grant_is_for_one_person_and_one_category() {
        let grants = Grants::new().unwrap();
        let (one, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let (one, other) = (Who::unknown(one.into()), Who::unknown(other.into()));
        let target = Target::parse("https://games.example/a?b=c").unwrap();
        let (gaming, drugs) = (CategoryName::from("gaming"), CategoryName::from("drugs"));
        let token = grants.token(&one, Some(&gaming), &target);
        assert_eq!(grants.redeem(&token, &other, TOKEN_LIFE), None);
        assert!(!grants.allows(&one, Some(&gaming), &target));
        assert_eq!(grants.redeem(&token, &one, TOKEN_LIFE).as_deref(), Some("https://games.example/a?b=c"));
        assert!(grants.allows(&one, Some(&gaming), &target));
        assert!(!grants.allows(&one, Some(&drugs), &target));
        assert!(!grants.allows(&other, Some(&gaming), &target));
    }

    #[test]
    fn a_changed_token_is_worthless() {
        let grants = Grants::new().unwrap();
        let who = Who::unknown(Ipv4Addr::LOCALHOST.into());
        let target = Target::parse("https://games.example/").unwrap();
        let token = grants.token(&who, None, &target);
        let (payload, seal) = token.split_once('.').unwrap();
        let mut bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap();
        bytes[10] ^= 1;
        let changed = format!("{}.{seal}", BASE64URL_NOPAD.encode(&bytes));
        assert_eq!(grants.redeem(&changed, &who, TOKEN_LIFE), None);
        assert_eq!(grants.redeem("nonsense", &who, TOKEN_LIFE), None);
        assert_eq!(Grants::new().unwrap().redeem(&token, &who, TOKEN_LIFE), None);
    }

    #[test]
    fn the_pac_file_names_no_way_around() {
        let text = pac("PROXY proxy.example:3128");
        assert!(text.contains("return \"PROXY proxy.example:3128\";"));
        assert!(!text.contains("; DIRECT"));
    }
}
