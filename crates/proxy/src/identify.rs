//! Learns who is there: from credentials sent with the request, or from the tunnel that it came through.

use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use wardgate_core::{Credentials, Event, Identified, Login, Ruleset, Who};

use crate::connection::{Conn, Leg};
use crate::pages::Refusal;

/// Identifies the client of a request, takes its credentials out of the head, and notes in the event who it is:
/// also where the answer is a refusal.
pub(crate) async fn identify(
    conn: &Conn,
    rules: &Ruleset,
    headers: &mut HeaderMap,
    event: &mut Event,
) -> Result<Who, Refusal> {
    if let Leg::Inside(tunnel) = &conn.leg {
        note(event, &tunnel.who);
        return Ok(tunnel.who.clone());
    }
    let authorization = headers.remove(PROXY_AUTHORIZATION);
    let address = conn.ends.peer.ip();
    let credentials =
        Credentials { authorization: authorization.as_ref().map(|value| value.as_bytes()), address };
    let required = rules.policy.login(address, conn.ends.entrance) == Login::Required;
    match conn.shared.parts.authenticate.identify(credentials, required).await {
        Identified::As(who) => {
            note(event, &who);
            Ok(who)
        }
        Identified::Challenge { who, scheme, reason } => {
            note(event, &who);
            Err(Refusal::Login { scheme, reason })
        }
        Identified::Unavailable { who, reason } => {
            note(event, &who);
            Err(Refusal::AccountsUnavailable(reason))
        }
    }
}

/// Notes in the event who it is about.
pub(crate) fn note(event: &mut Event, who: &Who) {
    event.user = who.user.clone();
    event.identity_source = who.source;
}
