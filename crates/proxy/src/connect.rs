//! CONNECT: policy chooses between tunnel, intercept and refuse; this enforces the choice. What the tunnel's first
//! bytes say may change it ([`opening`](crate::opening)).

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use wardgate_core::{Finding, Phase, Route, Verdict};

use crate::body::Body;
use crate::framing::Busy;
use crate::local::INTERNAL_HOST;
use crate::opening::Opened;
use crate::pages::{OWN_RULE, Refusal};
use crate::request::Known;

/// Answers a CONNECT. A tunnel connects first, so that a failure can still be told.
pub(crate) async fn answer(mut known: Known, mut request: Request<Incoming>) -> Response<Body> {
    let conn = Arc::clone(&known.exchange.conn);
    let mut ends = conn.ends.clone();
    if conn.http2 {
        let Some(place) = ends.place.another(&conn.shared.journal) else {
            return known.refuse(Refusal::TooMany);
        };
        ends.place = Arc::new(place);
    }
    let (route, findings) = match route(&mut known) {
        Ok(decided) => decided,
        Err(refusal) => return known.refuse(refusal),
    };
    let shared = Arc::clone(&conn.shared);
    let origin = match route {
        Route::Tunnel => match Box::pin(shared.upstream.dial(&known.context.target)).await {
            Ok(origin) => Some(origin),
            Err(error) => return known.refuse(Refusal::Upstream(error)),
        },
        Route::Intercept | Route::Refuse => None,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let mut event = known.exchange.event;
    event.status = Some(200);
    let tasks = shared.tasks.clone();
    let busy = Busy::with(&conn.framing);
    let opened = Opened { shared, ends, _busy: busy, context: known.context, findings, event, route, origin };
    tasks.spawn(opened.run(upgrade));
    Response::new(Body::empty())
}

fn route(known: &mut Known) -> Result<(Route, Vec<Finding>), Refusal> {
    let context = Arc::clone(&known.context);
    if context.target.host().as_name() == Some(INTERNAL_HOST) {
        known.exchange.event.route = Some(Route::Intercept);
        known.exchange.event.ruled(OWN_RULE, Verdict::Allow);
        return Ok((Route::Intercept, Vec::new()));
    }
    let (findings, fault) = known.look(None);
    let decision = context.decide(Phase::Connect, &findings, fault);
    known.exchange.event.decided(&decision);
    match decision.route {
        Some(Route::Refuse) => Err(Refusal::Blocked(Box::new(decision))),
        None => Err(Refusal::Internal("policy gave no route")),
        Some(route) => Ok((route, findings)),
    }
}
