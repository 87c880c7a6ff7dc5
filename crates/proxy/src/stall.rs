//! A clock on HTTP/2 clients that ask and do not read. hyper does not poll a body while its stream has no window, so
//! the body cannot keep this clock; the task that hyper starts for each stream can. Its wrapper here ends it once what
//! it handed to the client has not been taken for too long, which resets that stream and no other.
//!
//! HTTP/1 has the clock of [`crate::framing`], which ends the connection.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep};

thread_local! {
    /// Since when the stream that this thread is polling has waited for its client.
    static WAITING_SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Notes that the client has something to take before it gets more. Returns since when.
pub(crate) fn handed() -> Instant {
    let now = Instant::now();
    WAITING_SINCE.set(Some(now));
    now
}

/// Notes that the client has taken what it was handed: more is asked for.
pub(crate) fn taken() {
    WAITING_SINCE.set(None);
}

/// Runs the tasks of an HTTP/2 connection, and ends those whose client does not read for `patience`.
#[derive(Clone, Copy)]
pub(crate) struct Patient {
    pub(crate) patience: Duration,
}

impl<F> Executor<F> for Patient
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, task: F) {
        let (patience, waiting_since, clock) = (self.patience, None, None);
        tokio::spawn(Watched { task: Some(task), patience, waiting_since, clock });
    }
}

pin_project! {
    struct Watched<F> {
        #[pin]
        task: Option<F>,
        patience: Duration,
        waiting_since: Option<Instant>,
        clock: Option<Pin<Box<Sleep>>>,
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some(task) = this.task.as_mut().as_pin_mut() else { return Poll::Ready(()) };
        WAITING_SINCE.set(*this.waiting_since);
        let polled = task.poll(cx);
        *this.waiting_since = WAITING_SINCE.take();
        if polled.is_ready() {
            return Poll::Ready(());
        }
        let Some(since) = *this.waiting_since else { return Poll::Pending };
        let deadline = since + *this.patience;
        let clock = this.clock.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if clock.deadline() != deadline {
            clock.as_mut().reset(deadline);
        }
        let expired = clock.as_mut().poll(cx);
        if expired.is_ready() {
            this.task.set(None);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Says whether a task was still there when the test ended it.
    struct Alive(Arc<AtomicBool>);

    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.store(false, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_client_that_takes_nothing_is_ended() {
        for (name, hands, takes, expected) in [
            ("nothing was handed", false, false, true),
            ("what was handed was taken", true, true, true),
            ("what was handed is still there", true, false, false),
        ] {
            let alive = Arc::new(AtomicBool::new(true));
            let guard = Alive(Arc::clone(&alive));
            Patient { patience: Duration::from_secs(10) }.execute(async move {
                let _guard = guard;
                if hands {
                    handed();
                }
                tokio::time::sleep(Duration::from_secs(5)).await;
                if takes {
                    taken();
                }
                std::future::pending::<()>().await;
            });
            tokio::time::sleep(Duration::from_secs(9)).await;
            assert!(alive.load(Ordering::Relaxed), "{name}: ended too early");
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(alive.load(Ordering::Relaxed), expected, "{name}");
        }
    }
}
