//! Every page of Wardgate's own: blocked, warned, failed. The one place where a refusal becomes an answer.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LANGUAGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, LOCATION,
    PROXY_AUTHENTICATE, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use wardgate_core::{Decision, Event, Fault, Outcome, TargetError, TlsProblem, Verdict, Wording};

use crate::body::Body;
use crate::framing::Violation;
use crate::upload::ClientFailure;
use crate::upstream::UpstreamError;

/// Names the decision to programs; people find it on the page.
const DECISION: HeaderName = HeaderName::from_static("wardgate-decision");
/// RFC 9209: says to programs what the proxy ran into.
const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// Why a request is answered by Wardgate in place of the origin.
pub(crate) enum Refusal {
    /// The request is not sound HTTP.
    Malformed(Violation),
    /// The target cannot be understood.
    Target(TargetError),
    /// The request came to a connection that was opened for another host.
    Misdirected,
    /// The request has passed through here before.
    Loop,
    /// Policy says no.
    Blocked(Box<Decision>),
    /// Policy says: only knowingly.
    Warned { decision: Box<Decision>, onward: Onward },
    /// The client has as many exchanges under way as it may have.
    TooMany,
    /// So many bodies are being read that there is no room for another, and nothing passes unread.
    NoRoom,
    /// The client must log in.
    Login { scheme: &'static str, reason: &'static str },
    /// The accounts cannot be read.
    AccountsUnavailable(&'static str),
    /// The journal cannot record.
    Unrecordable,
    /// Something went wrong between here and the origin.
    Upstream(UpstreamError),
    /// Nothing here at this address.
    NotFound,
    /// Not for this client.
    Forbidden(&'static str),
    /// A "continue" whose time is over or that was not ours.
    StaleToken,
    /// Wardgate's own fault.
    Internal(&'static str),
}

impl Refusal {
    /// What a page was stopped for may not be anything about the page.
    pub(crate) fn in_view_of(self, fault: Option<Fault>) -> Self {
        match (self, fault) {
            (Self::Blocked(_), Some(Fault::NoRoom)) => Self::NoRoom,
            (refusal, _) => refusal,
        }
    }
}

/// The warn page's form: where it goes, what it says, and where it leads.
#[derive(Serialize)]
pub(crate) struct Onward {
    pub(crate) form: String,
    pub(crate) token: String,
    pub(crate) host: String,
}

/// A title, a sentence, whose fault it is, and the word of RFC 9209 for it.
#[derive(Serialize)]
struct Words {
    #[serde(skip)]
    status: StatusCode,
    title: &'static str,
    message: Cow<'static, str>,
    fault: &'static str,
    #[serde(skip)]
    error: &'static str,
    #[serde(skip)]
    outcome: Outcome,
}

/// The rule that events about what could not be understood name.
pub(crate) const MALFORMED_RULE: &str = "<malformed>";
/// The rule that events about Wardgate's own pages name.
pub(crate) const OWN_RULE: &str = "<wardgate>";

/// Renders pages.
pub(crate) struct Pages {
    templates: Environment<'static>,
}

/// What a template sees.
#[derive(Serialize)]
struct View<'a> {
    wording: &'a Wording,
    facts: Vec<Fact<'a>>,
    words: Option<&'a Words>,
    onward: Option<&'a Onward>,
}

#[derive(Serialize)]
struct Fact<'a> {
    name: &'static str,
    value: Cow<'a, str>,
}

impl Pages {
    /// Loads the embedded templates.
    pub(crate) fn new() -> Result<Self, minijinja::Error> {
        let mut templates = Environment::new();
        for (name, source) in [
            ("base.html", include_str!("../pages/base.html")),
            ("block.html", include_str!("../pages/block.html")),
            ("warn.html", include_str!("../pages/warn.html")),
            ("error.html", include_str!("../pages/error.html")),
            ("home.html", include_str!("../pages/home.html")),
        ] {
            templates.add_template(name, source)?;
        }
        Ok(Self { templates })
    }

    /// Answers a refusal, and notes in the event how the exchange ended. `html` says whether the client would show a
    /// page; others get the same in a line of plain text.
    pub(crate) fn refuse(
        &self,
        refusal: &Refusal,
        wording: &Wording,
        event: &mut Event,
        html: bool,
    ) -> Response<Body> {
        let words = words(refusal, wording);
        event.status = Some(words.status.as_u16());
        event.ruled(built_in_rule(refusal), Verdict::Block);
        if words.outcome != Outcome::Completed {
            event.ended(words.outcome, Some(Cow::Owned(detail(refusal))));
        }
        let text = if html { self.html(refusal, &words, wording, event) } else { plain(&words, event) };
        event.mime = Some(if html { "text/html".into() } else { "text/plain".into() });
        let mut response = page(words.status, text, html);
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&event.id.to_string()) {
            headers.insert(DECISION, id);
        }
        let tls_problem = tls_problem(refusal);
        event.tls_problems.extend(tls_problem);
        // RFC 9209: `details` says more than the registered words can.
        let details = tls_problem.map_or(String::new(), |problem| format!("; details=\"{problem}\""));
        if let Ok(status) = HeaderValue::from_str(&format!("wardgate; error={}{details}", words.error)) {
            headers.insert(PROXY_STATUS, status);
        }
        match refusal {
            Refusal::Login { scheme, .. } => {
                headers.insert(PROXY_AUTHENTICATE, HeaderValue::from_static(scheme));
            }
            Refusal::Unrecordable | Refusal::AccountsUnavailable(_) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("10"));
            }
            Refusal::TooMany | Refusal::NoRoom => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        let unsound = matches!(refusal, Refusal::Malformed(_) | Refusal::Target(_) | Refusal::Loop)
            || matches!(refusal, Refusal::Upstream(UpstreamError::Client(_)));
        if unsound && event.protocol != "HTTP/2" {
            close(&mut response);
        }
        response
    }

    /// The page at `wardgate.internal`.
    pub(crate) fn home(&self, wording: &Wording) -> Response<Body> {
        let text = self.render("home.html", &View { wording, facts: Vec::new(), words: None, onward: None });
        page(StatusCode::OK, text, true)
    }

    fn html(&self, refusal: &Refusal, words: &Words, wording: &Wording, event: &Event) -> String {
        let (name, onward) = match refusal {
            Refusal::Blocked(_) => ("block.html", None),
            Refusal::Warned { onward, .. } => ("warn.html", Some(onward)),
            _ => ("error.html", None),
        };
        self.render(name, &View { wording, facts: facts(event), words: Some(words), onward })
    }

    fn render(&self, name: &str, view: &View<'_>) -> String {
        let rendered = self.templates.get_template(name).and_then(|template| template.render(Serde(view)));
        rendered.unwrap_or_else(|error| {
            tracing::error!(%error, page = name, "a page could not be rendered");
            "This page is not available here.".to_owned()
        })
    }
}

/// What the person can quote: the reference, the address, the time.
fn facts(event: &Event) -> Vec<Fact<'_>> {
    let mut facts = vec![Fact { name: "Reference", value: Cow::Owned(event.id.to_string()) }];
    if let Some(target) = &event.target {
        let address = target.as_str().split('?').next().unwrap_or_default();
        facts.push(Fact { name: "Address", value: Cow::Borrowed(address) });
    }
    facts
}

fn plain(words: &Words, event: &Event) -> String {
    format!("{}\n{} {}\nReference: {}\n", words.title, words.message, words.fault, event.id)
}

/// A page of ours: never stored, never framed into something else's meaning, no script at all.
fn page(status: StatusCode, text: String, html: bool) -> Response<Body> {
    const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'";
    let media_type = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static("en-GB"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A small answer of Wardgate's own that is no page.
pub(crate) fn document(media_type: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Sends the browser on, after a form.
pub(crate) fn see_other(location: &str) -> Option<Response<Body>> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).ok()?);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Has the connection closed behind an answer.
pub(crate) fn close(response: &mut Response<Body>) {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
}

/// The answer where nothing can be recorded: no event, and so nothing but this.
pub(crate) fn unrecordable(pages: &Pages, wording: &Wording, client: std::net::IpAddr) -> Response<Body> {
    let mut event = Event::new(client, Arc::from(""));
    let mut response = pages.refuse(&Refusal::Unrecordable, wording, &mut event, true);
    response.headers_mut().remove(DECISION);
    close(&mut response);
    response
}

/// The rule that the event names where policy was not asked.
fn built_in_rule(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed(_) | Refusal::Target(_) | Refusal::Misdirected | Refusal::Loop => MALFORMED_RULE,
        Refusal::TooMany | Refusal::NoRoom => "<limit>",
        Refusal::Login { .. } | Refusal::AccountsUnavailable(_) => "<login>",
        Refusal::NotFound | Refusal::Forbidden(_) | Refusal::StaleToken => OWN_RULE,
        Refusal::Blocked(_) | Refusal::Warned { .. } => "<policy>",
        Refusal::Unrecordable | Refusal::Upstream(_) | Refusal::Internal(_) => "<failed>",
    }
}

/// What is wrong with the origin's TLS, where that is why.
fn tls_problem(refusal: &Refusal) -> Option<TlsProblem> {
    match refusal {
        Refusal::Upstream(UpstreamError::Tls(failure)) => Some(failure.problem),
        _ => None,
    }
}

/// What a technician reads in the event.
fn detail(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Malformed(violation) => violation.reason.to_owned(),
        Refusal::Target(error) => error.to_string(),
        Refusal::Misdirected => "the request is for another host than the tunnel".to_owned(),
        Refusal::Loop => "the request has passed through this proxy before".to_owned(),
        Refusal::TooMany => "the client has too many exchanges under way".to_owned(),
        Refusal::NoRoom => {
            "the bodies that are being read hold as much as [proxy] scan_memory_mib or scan_memory_per_client_mib allows".to_owned()
        }
        Refusal::Upstream(error) => error.reason().into_owned(),
        Refusal::Login { reason, .. } | Refusal::AccountsUnavailable(reason) => (*reason).to_owned(),
        Refusal::Internal(reason) | Refusal::Forbidden(reason) => (*reason).to_owned(),
        Refusal::NotFound => "nothing here at this address".to_owned(),
        Refusal::StaleToken => "the permission to continue is not valid any more".to_owned(),
        Refusal::Unrecordable => "the access log cannot be written".to_owned(),
        Refusal::Blocked(_) | Refusal::Warned { .. } => String::new(),
    }
}

const CLIENT: &str = "The request that your browser or program sent is at fault.";
const ORIGIN: &str =
    "The site itself is at fault, not your device and not this network. Trying again later may help.";
const OURS: &str = "This is our fault, not yours. Please tell the IT team.";

fn words(refusal: &Refusal, wording: &Wording) -> Words {
    let client = |status: u16, message: Cow<'static, str>, error: &'static str| Words {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
        title: "The request could not be understood",
        message,
        fault: CLIENT,
        error,
        outcome: Outcome::Malformed,
    };
    match refusal {
        Refusal::Malformed(violation) => {
            let mut words = client(violation.status, sentence(violation.reason), "http_request_error");
            if violation.status == 408 {
                words.outcome = Outcome::TimedOut;
            }
            words
        }
        Refusal::Target(error) => client(400, sentence(&error.to_string()), "http_request_error"),
        Refusal::Misdirected => {
            client(421, Cow::Borrowed("This connection was opened for another site."), "http_request_error")
        }
        Refusal::Loop => {
            client(508, Cow::Borrowed("The request came back to this proxy."), "proxy_loop_detected")
        }
        Refusal::Blocked(_) | Refusal::Warned { .. } => Words {
            status: StatusCode::FORBIDDEN,
            title: "This page is not available here",
            message: blocked_message(wording),
            fault: "",
            error: "http_request_denied",
            outcome: Outcome::Completed,
        },
        Refusal::TooMany => Words {
            status: StatusCode::TOO_MANY_REQUESTS,
            title: "Too much at once",
            message: Cow::Borrowed("This device asks for more at a time than is allowed here."),
            fault: "Please wait a few seconds, then try again.",
            error: "connection_limit_reached",
            outcome: Outcome::Limited,
        },
        Refusal::NoRoom => Words {
            status: StatusCode::SERVICE_UNAVAILABLE,
            title: "Too busy just now",
            message: Cow::Borrowed("So many pages are being checked that there is no room for another."),
            fault: "Nothing is wrong with the page. Please wait a few seconds, then try again.",
            error: "proxy_internal_error",
            outcome: Outcome::Limited,
        },
        Refusal::Login { .. } => Words {
            status: StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            title: "Please log in",
            message: Cow::Borrowed("Use the user name and password that you were given for this network."),
            fault: "",
            error: "http_request_denied",
            outcome: Outcome::Unidentified,
        },
        Refusal::AccountsUnavailable(_) => {
            ours("Logging in is not possible just now.", Outcome::Unidentified)
        }
        Refusal::Unrecordable => ours(
            "Wardgate cannot write its records, so it lets nothing pass for the moment.",
            Outcome::Internal,
        ),
        Refusal::Internal(_) => ours("Wardgate ran into a problem of its own.", Outcome::Internal),
        Refusal::NotFound => Words {
            status: StatusCode::NOT_FOUND,
            title: "There is nothing here",
            message: Cow::Borrowed("Wardgate has no page at this address."),
            fault: "",
            error: "http_request_denied",
            outcome: Outcome::Completed,
        },
        Refusal::Forbidden(_) => Words {
            status: StatusCode::FORBIDDEN,
            title: "Not from here",
            message: Cow::Borrowed("This address is for the machine that Wardgate runs on."),
            fault: "",
            error: "http_request_denied",
            outcome: Outcome::Completed,
        },
        Refusal::StaleToken => Words {
            status: StatusCode::FORBIDDEN,
            title: "Please open the page again",
            message: Cow::Borrowed(
                "The time to continue from that page is over. Open the site again to continue.",
            ),
            fault: "",
            error: "http_request_denied",
            outcome: Outcome::Completed,
        },
        Refusal::Upstream(error) => upstream_words(error),
    }
}

fn ours(message: &'static str, outcome: Outcome) -> Words {
    Words {
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Something is wrong here",
        message: Cow::Borrowed(message),
        fault: OURS,
        error: "proxy_internal_error",
        outcome,
    }
}

fn blocked_message(wording: &Wording) -> Cow<'static, str> {
    match (&wording.category, &wording.reason) {
        (Some(category), Some(reason)) => Cow::Owned(format!("It is in the group {category}. {reason}")),
        (Some(category), None) => Cow::Owned(format!("It is in the group {category}.")),
        (None, Some(reason)) => Cow::Owned(reason.to_string()),
        (None, None) => Cow::Borrowed("It is not opened on this network."),
    }
}

fn upstream_words(error: &UpstreamError) -> Words {
    let (status, title, message, fault, word) = match error {
        UpstreamError::Unresolvable => (
            502,
            "No site of this name was found",
            "The name does not exist. Please check how it is spelled.",
            "Nothing is wrong with your device or this network.",
            "dns_error",
        ),
        UpstreamError::ResolverFailed => (
            502,
            "The name of the site could not be looked up",
            "The name servers do not answer.",
            "This network or its provider is at fault. Please tell the IT team if it lasts.",
            "dns_error",
        ),
        UpstreamError::Forbidden => (
            403,
            "This address is not served",
            "The site leads to an address that is never connected to from here.",
            "",
            "destination_ip_prohibited",
        ),
        UpstreamError::Loop => (
            508,
            "The request goes in circles",
            "The site leads back to this proxy.",
            "",
            "proxy_loop_detected",
        ),
        UpstreamError::Unreachable(std::io::ErrorKind::ConnectionRefused) => {
            (502, "The site does not answer", "It refused the connection.", ORIGIN, "connection_refused")
        }
        UpstreamError::Unreachable(_) => (
            502,
            "The site cannot be reached",
            "No way to it was found.",
            ORIGIN,
            "destination_ip_unroutable",
        ),
        UpstreamError::ConnectTimeout => {
            (504, "The site does not answer", "It took too long to connect.", ORIGIN, "connection_timeout")
        }
        UpstreamError::Tls(failure) if failure.problem.is_about_certificate() => (
            502,
            "The site cannot be trusted",
            failure.problem.sentence(),
            "Somebody may be listening in, so the page is not opened. The site's owner can mend this.",
            "tls_certificate_error",
        ),
        UpstreamError::Tls(failure) => (
            502,
            "The site cannot be opened securely",
            failure.problem.sentence(),
            ORIGIN,
            "tls_protocol_error",
        ),
        UpstreamError::Closed => (
            502,
            "The site broke off",
            "It closed the connection before it answered.",
            ORIGIN,
            "connection_terminated",
        ),
        UpstreamError::Malformed(_) => (
            502,
            "The site answered nonsense",
            "Its answer does not follow the rules of the web.",
            ORIGIN,
            "http_protocol_error",
        ),
        UpstreamError::ResponseTimeout => {
            (504, "The site takes too long", "It did not answer in time.", ORIGIN, "http_response_timeout")
        }
        UpstreamError::Client(failure) => (
            if matches!(failure, ClientFailure::Stalled | ClientFailure::Slow) { 408 } else { 400 },
            "The request broke off",
            "It did not arrive whole.",
            CLIENT,
            "http_request_error",
        ),
    };
    let outcome = match error {
        UpstreamError::ConnectTimeout | UpstreamError::ResponseTimeout => Outcome::TimedOut,
        UpstreamError::Client(ClientFailure::Broken) => Outcome::ClientClosed,
        UpstreamError::Client(ClientFailure::Malformed(_)) => Outcome::Malformed,
        UpstreamError::Client(ClientFailure::Stalled | ClientFailure::Slow) => Outcome::TimedOut,
        _ => Outcome::UpstreamFailed,
    };
    Words {
        status: StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY),
        title,
        message: Cow::Borrowed(message),
        fault,
        error: word,
        outcome,
    }
}

/// A reason as a sentence: capital letter, full stop.
fn sentence(reason: &str) -> Cow<'static, str> {
    let mut letters = reason.chars();
    match letters.next() {
        Some(first) => Cow::Owned(format!("{}{}.", first.to_uppercase(), letters.as_str())),
        None => Cow::Borrowed(""),
    }
}
