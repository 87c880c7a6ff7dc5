//! What all bodies that are being read may hold together: one counter for the windows and tables of their decoders, and
//! for whatever their reader keeps beside them. Running out of it is a normal error.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::extractor::TextError;

/// The part of the whole that is kept for bodies that have begun: what cannot end well is better not begun.
const KEPT_FOR_BEGUN: usize = 4;

/// Memory that many bodies share; perhaps a part of more.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    taken: AtomicUsize,
    whole: Option<Arc<Memory>>,
}

impl Memory {
    /// So many bytes for all.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), whole: None })
    }

    /// A part of this memory, of which no more than so many bytes can be taken: what one of several may have.
    pub fn part(self: &Arc<Self>, limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, taken: AtomicUsize::new(0), whole: Some(Arc::clone(self)) })
    }

    /// Bytes that are taken now.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Room for a body that begins, of so many bytes at first; nothing where a quarter would not be left for those
    /// that have begun.
    pub fn begin(self: &Arc<Self>, bytes: usize) -> Option<Room> {
        let mut room = Room { memory: Some(Arc::clone(self)), bytes: 0 };
        let begins = |limit| limit - limit / KEPT_FOR_BEGUN;
        room.take(bytes, &begins).then_some(room)
    }

    /// Takes so many bytes, here and of the whole, up to what `allowed` makes of each limit.
    fn take(&self, bytes: usize, allowed: &dyn Fn(usize) -> usize) -> bool {
        let limit = allowed(self.limit);
        let more = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= limit);
        if self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_err() {
            return false;
        }
        let took = self.whole.as_ref().is_none_or(|whole| whole.take(bytes, allowed));
        if !took {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
        took
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.whole {
            whole.give_back(bytes);
        }
    }
}

/// What one body holds of the [`Memory`] that it shares; given back when dropped. Without any it is not counted.
#[derive(Debug, Default)]
pub struct Room {
    memory: Option<Arc<Memory>>,
    bytes: usize,
}

impl Room {
    /// More room of the same memory, none at first.
    pub fn another(&self) -> Self {
        Self { memory: self.memory.clone(), bytes: 0 }
    }

    /// Takes so many bytes more.
    pub fn grow(&mut self, bytes: usize) -> Result<(), TextError> {
        if self.take(bytes, &|limit| limit) { Ok(()) } else { Err(TextError::NoRoom) }
    }

    fn take(&mut self, bytes: usize, allowed: &dyn Fn(usize) -> usize) -> bool {
        let Some(memory) = &self.memory else { return true };
        let took = memory.take(bytes, allowed);
        if took {
            self.bytes += bytes;
        }
        took
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(memory) = &self.memory {
            memory.give_back(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_bounded_and_given_back() {
        let memory = Memory::new(100);
        let mut first = memory.begin(60).expect("room");
        assert!(memory.begin(16).is_none(), "a quarter is for those that have begun");
        let second = memory.begin(15).expect("room");
        let mut held = first.another();
        assert_eq!(held.grow(20), Ok(()));
        assert_eq!(first.grow(6), Err(TextError::NoRoom));
        assert_eq!(memory.taken(), 95, "what was refused is not counted");
        drop((first, second));
        assert_eq!(memory.taken(), 20);
        drop(held);
        assert_eq!(memory.taken(), 0);
    }

    #[test]
    fn a_part_is_bounded_by_itself_and_by_the_whole() {
        let whole = Memory::new(100);
        let (one, other) = (whole.part(60), whole.part(60));
        assert!(one.begin(46).is_none(), "three quarters of its own");
        let _one = one.begin(45).expect("room");
        assert!(other.begin(31).is_none(), "three quarters of the whole");
        assert_eq!((other.taken(), whole.taken()), (0, 45), "what was refused is not counted");
        let mut room = other.begin(30).expect("room");
        assert_eq!(room.grow(26), Err(TextError::NoRoom));
        assert_eq!(room.grow(25), Ok(()));
        drop(room);
        assert_eq!((other.taken(), whole.taken()), (0, 45));
    }

    #[test]
    fn a_room_of_nothing_is_not_counted() {
        let mut room = Room::default();
        assert_eq!(room.grow(usize::MAX), Ok(()));
    }
}
