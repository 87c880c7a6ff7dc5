//! Moves bytes from socket to socket without bringing them into this process: splice(2), through a pipe that is on
//! loan for as long as there is something to move. A tunnel that is quiet holds none.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Pipes open at a time; each takes two descriptors. Beyond them bytes are copied, which is dearer and never wrong.
pub const MAX_PIPES: usize = 256;
/// Pipes that a thread keeps for the next that has something to move.
const MAX_SPARE: usize = 16;
/// How much a pipe holds. The kernel grants an unprivileged user a mebibyte a pipe, and 64 MiB of pipes in all.
const PIPE_BYTES: usize = 256 * 1024;

/// Pipes open now.
static OPEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SPARE: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

/// A pipe on loan.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// Bytes in it.
    held: usize,
}

impl Pipe {
    /// A pipe with nothing in it; nothing where there are too many, or no descriptors are left.
    pub(crate) fn borrow() -> Option<Self> {
        SPARE.with_borrow_mut(Vec::pop).or_else(Self::open)
    }

    fn open() -> Option<Self> {
        if OPEN.fetch_add(1, Ordering::Relaxed) >= MAX_PIPES {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let Ok((read, write)) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK) else {
            OPEN.fetch_sub(1, Ordering::Relaxed);
            return None;
        };
        let _ = fcntl_setpipe_size(&write, PIPE_BYTES); // where it is not granted, the pipe is smaller
        Some(Self { read, write, held: 0 })
    }

    /// Gives the pipe to whoever needs one next. One with bytes in it is closed: they belong to nobody else.
    pub(crate) fn give_back(self) {
        if self.held > 0 {
            return;
        }
        SPARE.with_borrow_mut(|spare| {
            if spare.len() < MAX_SPARE {
                spare.push(self);
            }
        });
    }

    /// Takes bytes from a socket into the empty pipe; 0 at the end of the stream.
    pub(crate) fn poll_fill(&mut self, from: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(from.poll_read_ready(cx))?;
            let moved = from.try_io(Interest::READABLE, || {
                Ok(splice(from, None, &self.write, None, PIPE_BYTES, SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Ok(count) => {
                    self.held += count;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Moves everything in the pipe to a socket.
    pub(crate) fn poll_drain(&mut self, to: &TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.held > 0 {
            ready!(to.poll_write_ready(cx))?;
            let moved = to.try_io(Interest::WRITABLE, || {
                Ok(splice(&self.read, None, to, None, self.held, SpliceFlags::NONBLOCK)?)
            });
            match moved {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.held -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}
