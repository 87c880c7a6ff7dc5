//! Relays bytes between two streams until either side is done, nothing moves any more, or Wardgate stops.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use wardgate_core::{EventGuard, Outcome};

use crate::stream::Counted;

/// Buffer for each direction, in bytes.
const BUFFER: usize = 16 * 1024;

/// Relays between client and origin, and records in `event` what passed and how it ended.
pub(crate) async fn relay<C, O>(
    client: C,
    origin: O,
    mut event: EventGuard,
    idle: Duration,
    ending: &CancellationToken,
) where
    C: AsyncRead + AsyncWrite + Unpin,
    O: AsyncRead + AsyncWrite + Unpin,
{
    let (up, down) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut client = Counted::new(client, Arc::clone(&up));
    let mut origin = Counted::new(origin, Arc::clone(&down));
    let (outcome, detail) = tokio::select! {
        copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut origin, BUFFER, BUFFER) => {
            match copied {
                Ok(_) => (Outcome::Completed, None),
                Err(_) => (Outcome::Completed, Some("the tunnel was reset")),
            }
        }
        () = unmoved(&up, &down, idle) => (Outcome::TimedOut, Some("nothing moved in the tunnel")),
        () = ending.cancelled() => (Outcome::ShutDown, None),
    };
    event.request_bytes = up.load(Ordering::Relaxed);
    event.response_bytes = down.load(Ordering::Relaxed);
    event.ended(outcome, detail.map(Into::into));
}

/// Ends once neither count has changed for `idle`.
async fn unmoved(up: &AtomicU64, down: &AtomicU64, idle: Duration) {
    let total = || up.load(Ordering::Relaxed).wrapping_add(down.load(Ordering::Relaxed));
    let mut seen = total();
    loop {
        tokio::time::sleep(idle).await;
        let now = total();
        if now == seen {
            return;
        }
        seen = now;
    }
}
