//! Turns at TLS handshakes. What a handshake computes, a certificate perhaps and a signature always, costs as much as
//! serving several pages, and whoever sends a greeting of a few bytes can ask for it. So no more handshakes compute at a
//! time than leave a processor for others, each client has few of them in the queue, and none holds a turn while it
//! waits for its client. How long one may take in all, its time in the queue included, is for the caller to say.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use tokio::sync::Semaphore;

use crate::share::Share;

/// The turns that all clients share.
pub(crate) struct Handshakes {
    turns: Semaphore,
}

impl Handshakes {
    /// As many turns as there are processors, but for one.
    pub(crate) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns(processors.saturating_sub(1).max(1))
    }

    fn with_turns(turns: usize) -> Self {
        Self { turns: Semaphore::new(turns) }
    }

    /// Drives a client's handshake to its end, in its turn whenever there is something to compute.
    pub(crate) async fn drive<F: Future>(&self, share: &Share, handshake: F) -> F::Output {
        let mut handshake = pin!(handshake);
        loop {
            {
                // Neither is ever closed, so that both are permits. A client's own queue first: whoever has many
                // waiting holds up nobody else.
                let _own = share.handshakes().acquire().await;
                let _turn = self.turns.acquire().await;
                if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await {
                    return done;
                }
            }
            woken().await;
        }
    }
}

/// Waits until the task is woken: what was polled before has something to do.
async fn woken() {
    let mut waited = false;
    poll_fn(|_| if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;
    use crate::share::HANDSHAKES_OF_A_CLIENT;

    fn share() -> Share {
        Share::new(wardgate_text::Memory::new(0))
    }

    #[tokio::test]
    async fn a_client_with_many_holds_up_nobody_else() {
        let handshakes = Handshakes::with_turns(1);
        let (one, other) = (share(), share());
        let order = Mutex::new(Vec::new());
        let shake = |share: Share, name: &'static str| {
            let (handshakes, order) = (&handshakes, &order);
            async move { handshakes.drive(&share, async { order.lock().unwrap().push(name) }).await }
        };
        let mut all: Vec<_> = (0..100).map(|_| shake(one.clone(), "many")).collect();
        all.push(shake(other, "one"));
        let held = handshakes.turns.acquire().await.unwrap();
        let release = async {
            tokio::task::yield_now().await; // all are in their queues
            drop(held);
        };
        tokio::join!(join_all(all), release);
        let order = order.into_inner().unwrap();
        assert_eq!(order.len(), 101);
        let place = order.iter().position(|name| *name == "one").unwrap();
        assert!(place <= HANDSHAKES_OF_A_CLIENT, "{place} came before");
    }

    #[tokio::test]
    async fn whoever_waits_for_a_client_holds_no_turn() {
        let handshakes = Handshakes::with_turns(1);
        let share = share();
        let silent = || handshakes.drive(&share, std::future::pending::<()>());
        let silent = join_all((0..100).map(|_| silent()));
        tokio::select! {
            _ = silent => unreachable!("they are never done"),
            () = handshakes.drive(&share, tokio::time::sleep(Duration::from_millis(20))) => {}
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_compute_at_a_time_than_there_are_turns() {
        let handshakes = Arc::new(Handshakes::with_turns(2));
        let (computing, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks = (0..40).map(|_| {
            let (handshakes, computing, most) =
                (Arc::clone(&handshakes), Arc::clone(&computing), Arc::clone(&most));
            tokio::spawn(async move {
                let compute = async {
                    most.fetch_max(computing.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    computing.fetch_sub(1, Ordering::SeqCst);
                };
                handshakes.drive(&share(), compute).await;
            })
        });
        join_all(tasks).await;
        let most = most.load(Ordering::SeqCst);
        assert!(most <= 2, "{most} at a time");
    }
}
