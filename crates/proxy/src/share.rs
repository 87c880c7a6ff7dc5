//! One client's share of Wardgate: how many exchanges it has under way on all its connections together, how many
//! handshakes are in the queue for it, and how much memory the bodies hold that are read for it, so that one device cannot
//! take the places of all the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use wardgate_core::{BoxFuture, Event, Journal, Unrecordable};
use wardgate_text::Memory;

/// Handshakes of one client that may be in the queue of all at a time; its others wait behind them.
pub(crate) const HANDSHAKES_OF_A_CLIENT: usize = 4;

/// Counts what one client has under way. Each connection of the client has a clone.
#[derive(Clone)]
pub(crate) struct Share(Arc<Counts>);

struct Counts {
    exchanges: AtomicUsize,
    handshakes: Semaphore,
    scan_memory: Arc<Memory>,
}

impl Share {
    /// A share of which nothing is taken yet, with this memory for bodies that are read.
    pub(crate) fn new(scan_memory: Arc<Memory>) -> Self {
        let handshakes = Semaphore::new(HANDSHAKES_OF_A_CLIENT);
        Self(Arc::new(Counts { exchanges: AtomicUsize::new(0), handshakes, scan_memory }))
    }

    /// How many exchanges are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.0.exchanges.load(Ordering::Relaxed)
    }

    /// The client's places in the queue for handshakes.
    pub(crate) fn handshakes(&self) -> &Semaphore {
        &self.0.handshakes
    }

    /// What the bodies may hold that are read for this client.
    pub(crate) fn scan_memory(&self) -> &Arc<Memory> {
        &self.0.scan_memory
    }

    /// Counts one more, until it is dropped or [`Begun::stays`].
    fn begin(&self) -> Begun {
        self.0.exchanges.fetch_add(1, Ordering::Relaxed);
        Begun(self.clone())
    }

    fn end(&self) {
        self.0.exchanges.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An exchange that has not got its room in the journal yet.
struct Begun(Share);

impl Begun {
    /// From here on the record of the exchange ends it.
    fn stays(self) {
        std::mem::forget(self);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The journal as one client's exchanges use it: each is counted from its beginning until it is recorded.
pub(crate) struct CountingJournal {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) share: Share,
}

impl Journal for CountingJournal {
    fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
        let begun = self.share.begin();
        Box::pin(async move {
            self.journal.reserve().await?;
            begun.stays();
            Ok(())
        })
    }

    fn record(&self, event: Event) {
        self.share.end();
        self.journal.record(event);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use wardgate_core::EventGuard;

    use super::*;

    /// A journal that gives room, or never answers, or fails.
    enum Room {
        Given,
        Awaited,
        Refused,
    }

    impl Journal for Room {
        fn reserve(&self) -> BoxFuture<'_, Result<(), Unrecordable>> {
            match self {
                Self::Given => Box::pin(std::future::ready(Ok(()))),
                Self::Awaited => Box::pin(std::future::pending()),
                Self::Refused => Box::pin(std::future::ready(Err(Unrecordable("the disk is full".into())))),
            }
        }

        fn record(&self, _: Event) {}
    }

    #[test]
    fn every_exchange_is_counted_once_and_given_back_once() {
        for (name, room, expected) in [
            ("recorded", Room::Given, 1),
            ("given up while it waits", Room::Awaited, 1),
            ("refused", Room::Refused, 0),
        ] {
            let share = Share::new(Memory::new(0));
            let journal: Arc<dyn Journal> =
                Arc::new(CountingJournal { journal: Arc::new(room), share: share.clone() });
            {
                let mut begin = pin!(EventGuard::begin(&journal, Ipv4Addr::LOCALHOST.into(), "hash".into()));
                let begun = match begin.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(begun) => begun.ok(),
                    Poll::Pending => None,
                };
                assert_eq!(share.under_way(), expected, "{name}: under way");
                drop(begun);
            }
            assert_eq!(share.under_way(), 0, "{name}: over");
        }
    }
}
