//! An origin's answer: its head made fit for the client, its text scanned, the first part of it before anything is
//! passed on.

use std::sync::Arc;

use http::header::{ALT_SVC, CONTENT_LENGTH};
use http::{Response, StatusCode, Version};
use hyper::body::Body as _;
use wardgate_core::{Finding, TextKind};

use crate::body::{Body, BodyError, Held, Relay, hold};
use crate::framing::Violation;
use crate::headers::{add_via, codings, join_lengths, media_type, remove_hop_by_hop};
use crate::pages::Refusal;
use crate::request::Known;
use crate::scan::Watch;
use crate::upstream::{Source, UpstreamError};

/// Turns an origin's answer into the client's, or into a refusal where its first text says so.
pub(crate) async fn relay(
    known: &mut Known,
    answer: Response<Source>,
    findings: &Arc<[Finding]>,
) -> Result<Response<Body>, Refusal> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Refusal::Upstream(UpstreamError::Malformed(UNASKED_SWITCH)));
    }
    let (mut head, mut body) = answer.into_parts();
    if head.status == StatusCode::NO_CONTENT {
        head.headers.remove(CONTENT_LENGTH); // RFC 9110, section 8.6; many servers say 0
    }
    join_lengths(&mut head.headers);
    remove_hop_by_hop(&mut head.headers);
    add_via(&mut head.headers, head.version);
    head.headers.remove(ALT_SVC); // it would lead the browser to QUIC, past this proxy
    head.version = Version::HTTP_11;
    let media_type = media_type(&head.headers);
    known.exchange.event.mime = media_type.map(essence);
    let live = wardgate_text::is_live(media_type);
    let upstream = &known.exchange.conn.shared.upstream;
    let idle = if live { upstream.live_idle_timeout } else { upstream.idle_timeout };
    let coding = codings(&head.headers);
    let watch = if !body.is_end_stream() && known.is_scanned() && is_read_by_people(media_type) {
        Watch::begin(&known.context, TextKind::Page, media_type, coding.as_deref(), findings)
    } else {
        None
    };
    let Some(mut watch) = watch else {
        return Ok(Response::from_parts(head, Body::relay(Relay::new(Held::default(), body, None, idle))));
    };
    watch.enter(known.exchange.conn.ends.place.share.scan_memory()).await;
    let limit = if live { 0 } else { known.hold_limit() };
    let held = if limit == 0 && watch.fault().is_none() {
        Held::default()
    } else {
        hold(&mut body, &mut watch, limit).await.map_err(|error| refusal(&error))?
    };
    if let Some(decision) = held.decision.clone() {
        known.exchange.event.decided(&decision);
        if let Err(refusal) = known.enforce(decision) {
            known.exchange.event.findings.append(&mut watch.take_findings());
            known.exchange.event.fault = watch.fault();
            return Err(refusal.in_view_of(watch.fault()));
        }
    }
    Ok(Response::from_parts(head, Body::relay(Relay::new(held, body, Some(watch), idle))))
}

/// Over HTTP/1.1 the framing check has seen it first.
const UNASKED_SWITCH: &str = "a switch of protocols that nobody asked for";

/// An answer that broke off before any of it was passed on can still be replaced by a page.
fn refusal(error: &BodyError) -> Refusal {
    Refusal::Upstream(match error {
        BodyError::Stalled => UpstreamError::ResponseTimeout,
        BodyError::Broken(error) => match Violation::behind(error) {
            Some(violation) => UpstreamError::Malformed(violation.reason),
            None => UpstreamError::Closed,
        },
        _ => UpstreamError::Closed,
    })
}

/// Style sheets and scripts hold words that nobody reads.
fn is_read_by_people(media_type: Option<&str>) -> bool {
    let Some(media_type) = media_type.map(essence) else { return true };
    !(&*media_type == "text/css" || media_type.ends_with("javascript") || media_type.ends_with("ecmascript"))
}

/// A media type without its parameters, in lower case.
fn essence(media_type: &str) -> Box<str> {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().into()
}
