//! One request: understood, identified, looked at, decided on, and sent on its way or answered here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, EXPECT, HOST, MAX_FORWARDS, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body as _, Incoming};
use hyper_util::rt::TokioIo;
use wardgate_core::{
    Decision, Entrance, EventGuard, Fault, Finding, GroupSettings, Host, Outcome, Phase, Purpose, Ruleset,
    Scheme, Target, TargetError, TextKind, Verdict, Who, WrittenText,
};

use crate::body::{Body, Held, Length, Pace, Relay, hold};
use crate::config::seconds;
use crate::connect;
use crate::connection::{Conn, Leg, Tunnel};
use crate::framing::Violation;
use crate::headers::{
    self, Hops, add_via, came_from_here, codings, join_cookies, join_lengths, media_type, remove_hop_by_hop,
};
use crate::identify::{self, identify};
use crate::local::{self, INTERNAL_HOST, MAX_FORM, Own};
use crate::pages::{self, Onward, Refusal};
use crate::response;
use crate::scan::{Context, Watch, stops};
use crate::tunnel;
use crate::upload::{ClientFailure, Upload, UploadProgress};
use crate::upstream::{Overlooked, Source, UpstreamError, Way};

/// How long a request waits for room in the journal before it is turned away.
const JOURNAL_PATIENCE: Duration = Duration::from_secs(10);
/// The most of what a person wrote that is recorded, in bytes.
const MAX_WRITTEN: usize = 2048;

/// An exchange of which nothing is known but that it has begun.
pub(crate) struct Exchange {
    pub(crate) conn: Arc<Conn>,
    pub(crate) rules: Arc<Ruleset>,
    pub(crate) event: EventGuard,
    upload: Option<Arc<UploadProgress>>,
    /// Whether the client would show a page.
    html: bool,
    /// Whether nothing behind this request is checked on the wire: unless it becomes a tunnel, it is the last.
    opaque: bool,
    /// Whether this asks about a whole server: what goes on is an asterisk.
    server_wide: bool,
}

/// An exchange whose target and user are known.
pub(crate) struct Known {
    pub(crate) exchange: Exchange,
    pub(crate) context: Arc<Context>,
    /// What text in the request's body is, once the head was looked at.
    body_kind: TextKind,
}

/// Answers one request. Whatever happens in here, there is one event.
pub(crate) async fn handle(conn: Arc<Conn>, request: Request<Incoming>) -> Response<Body> {
    let rules = conn.shared.parts.rules.load_full();
    let turn = conn.next_turn(&request);
    let taken_up = conn.ends.place.is_taken_up();
    let address = conn.ends.peer.ip();
    let begin = EventGuard::begin(&conn.ends.place.journal, address, Arc::clone(rules.policy.hash()));
    let Ok(Ok(mut event)) = tokio::time::timeout(JOURNAL_PATIENCE, begin).await else {
        let mut response = pages::unrecordable(&conn.shared.pages, &rules.policy.wording(None), address);
        response.body_mut().carry_answered(Arc::clone(&conn.framing));
        return response;
    };
    if let Leg::Inside(tunnel) = &conn.leg {
        identify::note(&mut event, &tunnel.who);
    }
    let html = shows_pages(request.headers());
    let (opaque, server_wide) = (turn.opaque, turn.server_wide);
    let exchange = Exchange { conn, rules, event, upload: None, html, opaque, server_wide };
    match turn.violation {
        Some(violation) => exchange.refuse(Refusal::Malformed(violation)),
        None if taken_up => exchange.refuse(Refusal::TooMany),
        None => exchange.serve(request).await,
    }
}

impl Exchange {
    async fn serve(mut self, mut request: Request<Incoming>) -> Response<Body> {
        let is_connect = request.method() == Method::CONNECT;
        self.event.method = method_name(request.method());
        self.event.protocol = protocol(request.version());
        self.event.purpose = purpose(request.headers());
        match self.understand(&mut request).await {
            Ok(None) => self.answer_own(&request),
            Ok(Some((who, target))) => {
                let known = self.known(who, request.method().clone(), target);
                // What is rare is boxed, here and below: its room would be part of every exchange's, which is
                // moved as a whole and kept for as long as the connection lives.
                if is_connect {
                    Box::pin(connect::answer(known, request)).await
                } else {
                    known.serve(request).await
                }
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// What is asked for, and by whom; nothing where the proxy itself is asked.
    async fn understand(
        &mut self,
        request: &mut Request<Incoming>,
    ) -> Result<Option<(Who, Target)>, Refusal> {
        let Some(target) = target(&self.conn, request)? else { return Ok(None) };
        self.event.target = Some(target.clone());
        let belongs = belongs_here(&self.conn.leg, &target);
        if let Leg::Inside(tunnel) = &self.conn.leg
            && (tunnel.beside.is_some() || !belongs)
        {
            self.event.fronting = Some(tunnel.fronting(target.host()));
        }
        if !belongs {
            return Err(Refusal::Misdirected);
        }
        check(request, &target).map_err(Refusal::Malformed)?;
        let who = identify(&self.conn, &self.rules, request.headers_mut(), &mut self.event).await?;
        if came_from_here(request.headers()) {
            return Err(Refusal::Loop);
        }
        Ok(Some((who, target)))
    }

    fn answer_own(mut self, request: &Request<Incoming>) -> Response<Body> {
        let own = own(&self.conn, request);
        self.event.target = own_target(&own);
        let answered = local::answer(&self.conn.shared, &own);
        self.deliver_own(answered)
    }

    fn deliver_own(mut self, answered: Result<Response<Body>, Refusal>) -> Response<Body> {
        match answered {
            Ok(response) => {
                self.event.ruled(pages::OWN_RULE, Verdict::Allow);
                self.deliver(response)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn known(mut self, who: Who, method: Method, target: Target) -> Known {
        let membership = self.rules.policy.membership(&who);
        self.event.group = Some(self.rules.policy.settings(&membership).name.clone());
        let (rules, purpose) = (Arc::clone(&self.rules), self.event.purpose);
        let beside = beside(&self.conn.leg, &target);
        let context = Arc::new(Context { rules, who, membership, method, target, beside, purpose });
        Known { exchange: self, context, body_kind: TextKind::Post }
    }

    /// Answers with a page of Wardgate's own.
    pub(crate) fn refuse(mut self, refusal: Refusal) -> Response<Body> {
        let decision = match &refusal {
            Refusal::Blocked(decision) | Refusal::Warned { decision, .. } => Some(&**decision),
            _ => None,
        };
        let wording = self.rules.policy.wording(decision);
        let response = self.conn.shared.pages.refuse(&refusal, &wording, &mut self.event, self.html);
        self.deliver(response)
    }

    /// Hands an answer to the client, with the event on board.
    fn deliver(mut self, mut response: Response<Body>) -> Response<Body> {
        self.event.status = Some(response.status().as_u16());
        if self.opaque {
            pages::close(&mut response);
        }
        let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = match text_of(response.headers(), CONTENT_LENGTH).map(str::parse) {
            _ if bodiless || self.event.method == "HEAD" => Length::Nothing,
            Some(Ok(length)) => Length::Exactly(length),
            _ => Length::Open,
        };
        let patience = seconds(self.conn.shared.config.stall_timeout_secs);
        response.body_mut().carry(self.event, length, self.upload, Arc::clone(&self.conn.framing), patience);
        response
    }
}

impl Known {
    /// Answers with a page of Wardgate's own.
    pub(crate) fn refuse(self, refusal: Refusal) -> Response<Body> {
        self.exchange.refuse(refusal)
    }

    fn settings(&self) -> &GroupSettings {
        self.context.rules.policy.settings(&self.context.membership)
    }

    async fn serve(mut self, request: Request<Incoming>) -> Response<Body> {
        if self.context.target.host().as_name() == Some(INTERNAL_HOST) {
            return Box::pin(self.answer_internal(request)).await;
        }
        if self.exchange.opaque {
            return Box::pin(self.upgrade(request)).await;
        }
        match self.forward(request).await {
            Ok(response) => self.exchange.deliver(response),
            Err(refusal) => self.refuse(refusal),
        }
    }

    /// Shows the request's head to the stages, and notes what they say.
    pub(crate) fn look(&mut self, content_type: Option<&str>) -> (Vec<Finding>, Option<Fault>) {
        let event = &mut self.exchange.event;
        match self.context.look(content_type) {
            Ok(report) => {
                self.body_kind = report.body_kind.unwrap_or(TextKind::Post);
                event.findings.clone_from(&report.findings);
                event.written = report
                    .written
                    .into_iter()
                    .map(|written| WrittenText {
                        kind: written.kind,
                        service: written.service,
                        text: bounded(&written.text, MAX_WRITTEN).into(),
                    })
                    .collect();
                (report.findings, None)
            }
            Err(fault) => {
                event.fault = Some(fault);
                (Vec::new(), event.fault)
            }
        }
    }

    /// Looks at the head and asks policy; what was found where the request may go on.
    fn pass(&mut self, content_type: Option<&str>) -> Result<Arc<[Finding]>, Refusal> {
        let context = Arc::clone(&self.context);
        let (findings, fault) = self.look(content_type);
        let decision = context.decide(Phase::Request, &findings, fault);
        self.exchange.event.decided(&decision);
        self.enforce(decision)?;
        Ok(findings.into())
    }

    /// Turns a verdict into a page, unless it lets pass.
    pub(crate) fn enforce(&mut self, decision: Decision) -> Result<(), Refusal> {
        match decision.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Block => Err(Refusal::Blocked(Box::new(decision))),
            Verdict::Warn => {
                let context = &self.context;
                let grants = &self.exchange.conn.shared.grants;
                if grants.allows(&context.who, decision.category.as_ref(), &context.target) {
                    self.exchange.event.continued = true;
                    return Ok(());
                }
                let onward = Onward {
                    form: format!("{}://{INTERNAL_HOST}/continue", context.target.scheme().as_str()),
                    token: grants.token(&context.who, decision.category.as_ref(), &context.target),
                    host: context.target.host().to_string(),
                };
                Err(Refusal::Warned { decision: Box::new(decision), onward })
            }
        }
    }

    async fn forward(&mut self, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
        let (mut parts, body) = request.into_parts();
        let findings = self.pass(media_type(&parts.headers))?;
        match Hops::of(&parts.method, &parts.headers).map_err(Refusal::Malformed)? {
            Hops::Any => {}
            Hops::Left(hops) => drop(parts.headers.insert(MAX_FORWARDS, hops.into())),
            Hops::None => return Ok(local::last_hop(&parts)),
        }
        let scanned = self.settings().scan;
        let mut onward = Request::new(());
        *onward.method_mut() = parts.method;
        *onward.uri_mut() = if self.exchange.server_wide { Uri::from_static("*") } else { parts.uri };
        *onward.headers_mut() = parts.headers;
        if parts.version == Version::HTTP_10 {
            onward.headers_mut().remove(EXPECT); // RFC 9110, section 10.1.1: it means nothing there
        }
        let (upload, progress) = self.upload(&mut onward, body, &findings).await?;
        self.exchange.upload = Some(Arc::clone(&progress));
        prepare(onward.headers_mut(), parts.version, scanned);
        let shared = Arc::clone(&self.exchange.conn.shared);
        let context = Arc::clone(&self.context);
        let answer = {
            let own = &self.exchange.conn.own_origins;
            shared.upstream.send(way(&context), onward.map(|()| upload), &progress, own).await
        };
        match answer {
            Ok(answer) => {
                note_overlooked(&answer, &mut self.exchange.event);
                progress.take_notes().record(&mut self.exchange.event);
                response::relay(self, answer, &findings).await
            }
            Err(error) => {
                let notes = progress.take_notes();
                let cut = notes.stop().cloned();
                notes.record(&mut self.exchange.event);
                let cut = cut.map(|decision| Refusal::Blocked(Box::new(decision)));
                Err(cut.unwrap_or(Refusal::Upstream(error)).in_view_of(self.exchange.event.fault))
            }
        }
    }

    /// Makes the request's body ready to be sent: text is scanned, the first part of it before anything is sent.
    async fn upload(
        &mut self,
        onward: &mut Request<()>,
        body: Incoming,
        findings: &Arc<[Finding]>,
    ) -> Result<(Upload, Arc<UploadProgress>), Refusal> {
        let headers = onward.headers_mut();
        if body.is_end_stream() {
            headers.remove(EXPECT); // nothing to ask for
            return Ok(Upload::empty());
        }
        let mut body = Source::from(body);
        let coding = codings(headers);
        let watch = if self.settings().scan {
            Watch::begin(&self.context, self.body_kind, media_type(headers), coding.as_deref(), findings)
        } else {
            None
        };
        let idle = seconds(self.exchange.conn.shared.config.stall_timeout_secs);
        // Where both sides talk at length, as in gRPC, silence is no sign of anything.
        let least = self.exchange.conn.shared.config.min_upload_bytes_per_sec;
        let pace = Pace::new(least, idle).filter(|_| !wardgate_text::is_live(media_type(headers)));
        let expects_continue = headers.contains_key(EXPECT);
        let Some(mut watch) = watch else {
            return Ok(Upload::new(
                Relay::new(Held::default(), body, None, idle).at_pace(pace),
                expects_continue,
            ));
        };
        headers.remove(EXPECT); // the beginning of the body is read here, so the client is told to go on
        watch.enter(self.exchange.conn.ends.place.share.scan_memory()).await;
        let limit = self.hold_limit();
        let held = if limit == 0 && watch.fault().is_none() {
            Held::default()
        } else {
            hold(&mut body, &mut watch, limit)
                .await
                .map_err(|error| Refusal::Upstream(UpstreamError::Client(ClientFailure::of(&error))))?
        };
        if let Some(decision) = &held.decision {
            self.exchange.event.decided(decision);
            if stops(decision) {
                self.exchange.event.findings.append(&mut watch.take_findings());
                self.exchange.event.fault = watch.fault();
                return Err(Refusal::Blocked(Box::new(decision.clone())).in_view_of(watch.fault()));
            }
        }
        Ok(Upload::new(Relay::new(held, body, Some(watch), idle).at_pace(pace), false))
    }

    /// How much text is held until scanned; nothing for a group that is only monitored.
    pub(crate) fn hold_limit(&self) -> usize {
        let settings = self.settings();
        if settings.monitor_only { 0 } else { settings.hold }
    }

    /// Whether text of this exchange is scanned at all.
    pub(crate) fn is_scanned(&self) -> bool {
        self.settings().scan
    }

    /// Relays an upgrade such as WebSocket: the handshake over a connection of its own, then bytes.
    async fn upgrade(mut self, mut request: Request<Incoming>) -> Response<Body> {
        let findings = match self.pass(None) {
            Ok(findings) => findings,
            Err(refusal) => return self.refuse(refusal),
        };
        let client = hyper::upgrade::on(&mut request);
        let protocol = request.headers().get(UPGRADE).cloned();
        let (parts, _) = request.into_parts();
        let (upload, progress) = Upload::empty();
        let mut onward = Request::new(upload);
        *onward.uri_mut() = parts.uri;
        *onward.headers_mut() = parts.headers;
        prepare(onward.headers_mut(), parts.version, false);
        onward.headers_mut().remove(EXPECT);
        ask_for_upgrade(onward.headers_mut(), protocol.clone());
        let shared = Arc::clone(&self.exchange.conn.shared);
        let context = Arc::clone(&self.context);
        let mut answer = match shared.upstream.open_upgrade(way(&context), onward, &progress).await {
            Ok(answer) => answer,
            Err(error) => return self.refuse(Refusal::Upstream(error)),
        };
        note_overlooked(&answer, &mut self.exchange.event);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            let relayed = response::relay(&mut self, answer.map(Source::from), &findings).await;
            return match relayed {
                Ok(response) => self.exchange.deliver(response),
                Err(refusal) => self.refuse(refusal),
            };
        }
        if !is_same_protocol(protocol.as_ref(), answer.headers().get(UPGRADE)) {
            return self.refuse(Refusal::Upstream(UpstreamError::Malformed(OTHER_PROTOCOL)));
        }
        let origin = hyper::upgrade::on(&mut answer);
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        remove_hop_by_hop(response.headers_mut());
        add_via(response.headers_mut(), answer.version());
        ask_for_upgrade(response.headers_mut(), protocol);
        let mut event = self.exchange.event;
        event.status = Some(101);
        let place = Arc::clone(&self.exchange.conn.ends.place);
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let _place = place;
            match tokio::try_join!(client, origin) {
                Ok((client, origin)) => {
                    let idle = seconds(shared.config.tunnel_idle_timeout_secs);
                    let (client, origin) = (TokioIo::new(client), TokioIo::new(origin));
                    tunnel::relay(client, Bytes::new(), origin, event, idle, &shared.ending).await;
                }
                Err(_) => event.ended(Outcome::ClientClosed, None),
            }
        });
        response
    }

    async fn answer_internal(self, request: Request<Incoming>) -> Response<Body> {
        let answered = if (request.method(), request.uri().path()) == (&Method::POST, "/continue") {
            let form = Limited::new(request.into_body(), MAX_FORM).collect();
            let time = seconds(self.exchange.conn.shared.config.stall_timeout_secs);
            match tokio::time::timeout(time, form).await {
                Ok(Ok(form)) => {
                    let (shared, good_for) = (&self.exchange.conn.shared, self.settings().warn_for);
                    local::go_on(shared, &form.to_bytes(), &self.context.who, good_for)
                }
                _ => Err(Refusal::Malformed(BROKEN_BODY)),
            }
        } else {
            let wording = self.context.rules.policy.wording(None);
            let conn = &self.exchange.conn;
            local::internal(&conn.shared, &own(conn, &request), &wording)
        };
        self.exchange.deliver_own(answered)
    }
}

const OTHER_PROTOCOL: &str = "a switch to another protocol than the client asked for";

/// RFC 9110, section 7.8: a server switches to a protocol that it was asked for, or not at all.
fn is_same_protocol(asked: Option<&HeaderValue>, chosen: Option<&HeaderValue>) -> bool {
    let (Some(asked), Some(chosen)) = (asked, chosen) else { return false };
    asked.as_bytes().eq_ignore_ascii_case(chosen.as_bytes())
}

/// What the wire cannot tell of a request, or HTTP/2 does not: whether its parts agree.
fn check(request: &Request<Incoming>, target: &Target) -> Result<(), Violation> {
    let headers = request.headers();
    headers::expects_continue(headers)?;
    if request.method() == Method::TRACE && !request.body().is_end_stream() {
        return Err(Violation { status: 400, reason: "TRACE has no body" });
    }
    if request.version() != Version::HTTP_2 {
        return Ok(());
    }
    headers::check_http2(headers)?;
    let mut hosts = headers.get_all(HOST).iter();
    let agrees = |host: &HeaderValue| {
        let host = host.to_str().ok().and_then(|host| Target::new(target.scheme(), host, "/").ok());
        host.is_some_and(|host| host.authority() == target.authority())
    };
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(()),
        (Some(host), None) if agrees(host) => Ok(()), // RFC 9113, section 8.3.1
        _ => Err(Violation { status: 400, reason: "the Host is not the :authority" }),
    }
}

/// The way to the origin, under the exception that policy makes for it.
fn way(context: &Context) -> Way<'_> {
    Way { target: &context.target, exception: context.certificate_exception() }
}

/// Notes what was overlooked of the origin's certificate.
fn note_overlooked<B>(answer: &Response<B>, event: &mut EventGuard) {
    if let Some(overlooked) = answer.extensions().get::<Overlooked>() {
        overlooked.note(event);
    }
}

const BROKEN_BODY: Violation =
    Violation { status: 400, reason: "the request's body is malformed or broke off" };

/// The request's canonical target; nothing where the proxy itself is asked.
fn target(conn: &Conn, request: &Request<Incoming>) -> Result<Option<Target>, Refusal> {
    let uri = request.uri();
    let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
        "*" if request.method() == Method::OPTIONS && matches!(conn.leg, Leg::Inside(_)) => "/",
        path => path,
    };
    match &conn.leg {
        Leg::Open if request.method() == Method::CONNECT => {
            // Authority-form only (RFC 9110, section 9.3.6): a whole URL after CONNECT is somebody's confusion.
            let authority = uri.authority().filter(|_| uri.scheme().is_none());
            let authority = authority.ok_or(Refusal::Target(TargetError::Authority))?;
            Target::connect(authority.as_str()).map(Some).map_err(Refusal::Target)
        }
        Leg::Open => {
            let Some(authority) = uri.authority() else {
                let sound = path.starts_with('/') || request.method() == Method::OPTIONS;
                return if sound { Ok(None) } else { Err(Refusal::Target(TargetError::Path)) };
            };
            let scheme = match uri.scheme_str() {
                Some("http") => Scheme::Http,
                Some("https") => Scheme::Https,
                _ => return Err(Refusal::Target(TargetError::Scheme)),
            };
            let target = Target::new(scheme, authority.as_str(), path).map_err(Refusal::Target)?;
            Ok(Some(target).filter(|target| !is_own(conn, target)))
        }
        Leg::Inside(tunnel) => {
            if uri.scheme_str().is_some_and(|scheme| scheme != tunnel.scheme.as_str()) {
                return Err(Refusal::Target(TargetError::Scheme));
            }
            let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
            let authority = uri.authority().map(|authority| authority.as_str()).or(host);
            let authority = authority.ok_or(Refusal::Target(TargetError::Host))?;
            let target = Target::new(tunnel.scheme, authority, path).map_err(Refusal::Target)?;
            if request.method() == Method::CONNECT { Err(Refusal::Misdirected) } else { Ok(Some(target)) }
        }
    }
}

/// Whether a request may come this way: inside a tunnel, only to the host that the tunnel was opened to.
fn belongs_here(leg: &Leg, target: &Target) -> bool {
    match leg {
        Leg::Open => true,
        Leg::Inside(tunnel) => target.host() == tunnel.target.host() && target.port() == tunnel.target.port(),
    }
}

/// The same request at the other host that its tunnel is said to be for.
fn beside(leg: &Leg, target: &Target) -> Option<Target> {
    let Leg::Inside(Tunnel { beside: Some(other), .. }) = leg else { return None };
    let path = &target.as_str()[target.scheme().as_str().len() + 3 + target.authority().len()..];
    Target::new(target.scheme(), other.authority(), path).ok()
}

/// Whether a target is the proxy's own port, under the address at which this client reached it.
fn is_own(conn: &Conn, target: &Target) -> bool {
    let (scheme, port) = match (conn.ends.entrance, &conn.shared.tls) {
        (Entrance::Tls, Some(tls)) => (Scheme::Https, tls.listen.port()),
        _ => (Scheme::Http, conn.shared.listen.port()),
    };
    let here = match target.host() {
        Host::Address(address) => *address == conn.ends.local.ip() || address.is_loopback(),
        Host::Name(name) => &**name == "localhost" || is_public(conn, name),
    };
    here && target.scheme() == scheme && target.port() == port
}

/// Whether the configuration gives this name to clients of the TLS listener: in HTTP/2 all that they ask for has a name,
/// the proxy's own pages too.
fn is_public(conn: &Conn, name: &str) -> bool {
    let config = &conn.shared.config;
    let public = config.tls_public.as_ref().or(config.public.as_ref());
    let public = public.filter(|_| conn.ends.entrance == Entrance::Tls);
    public
        .and_then(|public| Target::connect(public).ok())
        .is_some_and(|public| public.host().as_name() == Some(name))
}

/// What the event of a request to the proxy itself names: the address under which it was reached.
fn own_target(own: &Own<'_>) -> Option<Target> {
    let local = own.local.to_string();
    Target::new(Scheme::Http, own.host.unwrap_or(&local), own.path).ok()
}

fn own<'a>(conn: &Conn, request: &'a Request<Incoming>) -> Own<'a> {
    Own {
        method: request.method(),
        path: request.uri().path(),
        host: text_of(request.headers(), HOST).or(request.uri().authority().map(|host| host.as_str())),
        client: conn.ends.peer.ip(),
        local: conn.ends.local,
        entrance: conn.ends.entrance,
    }
}

/// Makes a request's fields fit for the next hop.
fn prepare(headers: &mut HeaderMap, received: Version, scanned: bool) {
    remove_hop_by_hop(headers);
    join_cookies(headers);
    join_lengths(headers);
    add_via(headers, received);
    if !scanned {
        return;
    }
    let narrowed = wardgate_text::narrow_accept_encoding(text_of(headers, ACCEPT_ENCODING));
    if let Ok(codings) = HeaderValue::from_str(&narrowed) {
        headers.insert(ACCEPT_ENCODING, codings);
    }
}

fn ask_for_upgrade(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// A field's value where it is there and is text.
pub(crate) fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A method's name, without a copy for those that everybody uses.
fn method_name(method: &Method) -> Cow<'static, str> {
    const COMMON: [&str; 7] = ["GET", "POST", "CONNECT", "HEAD", "OPTIONS", "PUT", "DELETE"];
    let name = method.as_str();
    let common = COMMON.into_iter().find(|common| *common == name);
    common.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");

/// Whether a person opened this, or a page fetched it (Fetch Metadata). What is fetched ahead of need was not opened.
fn purpose(headers: &HeaderMap) -> Purpose {
    let own_site = || matches!(text_of(headers, SEC_FETCH_SITE), Some("same-origin" | "same-site"));
    match text_of(headers, SEC_FETCH_DEST) {
        _ if headers.contains_key(SEC_PURPOSE) => Purpose::Subresource,
        None | Some("document") => Purpose::Navigation,
        Some("empty") if own_site() => Purpose::Data,
        Some(_) => Purpose::Subresource,
    }
}

/// Whether the client would show a page to a person.
fn shows_pages(headers: &HeaderMap) -> bool {
    let framed = match text_of(headers, SEC_FETCH_DEST) {
        None => true,
        Some(destination) => matches!(destination, "document" | "iframe" | "frame" | "embed" | "object"),
    };
    let accepts =
        text_of(headers, ACCEPT).is_none_or(|accept| accept.contains("text/html") || accept.contains("*/*"));
    framed && accepts
}

/// At most `limit` bytes of a text, cut between characters.
fn bounded(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn purposes() {
        let (dest, site) = ("sec-fetch-dest", "sec-fetch-site");
        for (name, fields, expected) in [
            ("a client that does not say", &[][..], Purpose::Navigation),
            ("a page", &[(dest, "document")], Purpose::Navigation),
            (
                "a page fetched ahead",
                &[(dest, "document"), ("sec-purpose", "prefetch")],
                Purpose::Subresource,
            ),
            ("a frame", &[(dest, "iframe")], Purpose::Subresource),
            ("an image", &[(dest, "image"), (site, "same-origin")], Purpose::Subresource),
            ("an application's data", &[(dest, "empty"), (site, "same-origin")], Purpose::Data),
            ("data of a sister site", &[(dest, "empty"), (site, "same-site")], Purpose::Data),
            ("data from elsewhere", &[(dest, "empty"), (site, "cross-site")], Purpose::Subresource),
        ] {
            assert_eq!(purpose(&map(fields)), expected, "{name}");
        }
    }

    #[test]
    fn pages_are_for_those_who_show_them() {
        for (name, fields, expected) in [
            ("a client that does not say", &[][..], true),
            ("curl", &[("accept", "*/*")], true),
            ("a browser's page", &[("accept", "text/html,*/*;q=0.8"), ("sec-fetch-dest", "document")], true),
            ("a browser's script", &[("accept", "*/*"), ("sec-fetch-dest", "script")], false),
            ("a program", &[("accept", "application/json")], false),
        ] {
            assert_eq!(shows_pages(&map(fields)), expected, "{name}");
        }
    }
}
