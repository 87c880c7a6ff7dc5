//! CONNECT: policy chooses between tunnel, intercept and refuse; this enforces the choice.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use wardgate_core::{Outcome, Phase, RequestHead, Route, Verdict};

use crate::body::Body;
use crate::config::seconds;
use crate::connection::Tunnel;
use crate::intercept;
use crate::local::INTERNAL_HOST;
use crate::pages::{OWN_RULE, Refusal};
use crate::request::Known;
use crate::tunnel;

/// Answers a CONNECT.
pub(crate) async fn answer(mut known: Known, request: Request<Incoming>) -> Response<Body> {
    match route(&mut known) {
        Ok(Route::Tunnel) => open_tunnel(known, request).await,
        Ok(Route::Intercept) => open_intercept(known, request),
        Ok(Route::Refuse) => known.refuse(Refusal::Internal("policy refused without a reason")),
        Err(refusal) => known.refuse(refusal),
    }
}

fn route(known: &mut Known) -> Result<Route, Refusal> {
    let context = Arc::clone(&known.context);
    if context.target.host().as_name() == Some(INTERNAL_HOST) {
        known.exchange.event.route = Some(Route::Intercept);
        known.exchange.event.ruled(OWN_RULE, Verdict::Allow);
        return Ok(Route::Intercept);
    }
    let head = RequestHead { method: context.method.as_str(), target: &context.target, content_type: None };
    let (findings, fault) = known.look(&head);
    let decision = context.decide(Phase::Connect, &findings, fault);
    known.exchange.event.decided(&decision);
    match decision.route {
        Some(Route::Refuse) | None => Err(Refusal::Blocked(Box::new(decision))),
        Some(route) => Ok(route),
    }
}

/// Connects first, so that a failure can still be told, then relays bytes.
async fn open_tunnel(known: Known, mut request: Request<Incoming>) -> Response<Body> {
    let shared = Arc::clone(&known.exchange.conn.shared);
    let origin = match shared.upstream.dial(&known.context.target).await {
        Ok(origin) => origin,
        Err(error) => return known.refuse(Refusal::Upstream(error)),
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut event = known.exchange.event;
    event.status = Some(200);
    let place = Arc::clone(&known.exchange.conn.ends.place);
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let _place = place;
        match upgrade.await {
            Ok(client) => {
                let idle = seconds(shared.config.tunnel_idle_timeout_secs);
                tunnel::relay(TokioIo::new(client), origin, event, idle, &shared.ending).await;
            }
            Err(_) => event.ended(Outcome::ClientClosed, None),
        }
    });
    Response::new(Body::empty())
}

fn open_intercept(known: Known, mut request: Request<Incoming>) -> Response<Body> {
    let upgrade = hyper::upgrade::on(&mut request);
    let conn = &known.exchange.conn;
    let (shared, ends) = (Arc::clone(&conn.shared), conn.ends.clone());
    let tunnel = Tunnel {
        scheme: known.context.target.scheme(),
        target: known.context.target.clone(),
        who: known.context.who.clone(),
    };
    let mut event = known.exchange.event;
    event.status = Some(200);
    let tasks = shared.tasks.clone();
    tasks.spawn(intercept::run(shared, ends, upgrade, tunnel, event));
    Response::new(Body::empty())
}
