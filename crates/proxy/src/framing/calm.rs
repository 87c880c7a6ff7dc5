//! How much an HTTP/2 client may send that makes work and asks for nothing: requests reset at once (CVE-2023-44487),
//! SETTINGS and PING to be acknowledged, priorities, windows opened by a byte. The library keeps what memory each of
//! them takes; how many come is counted here, and a client that overdoes it is told so (RFC 9113, section 10.5).
//!
//! What browsers do passes: cancelling a page of two hundred pictures, or a window update for each frame received.

use std::time::Instant;

use super::streams::{CONTINUATION, DATA, END_STREAM, GOAWAY, HEADERS, RST_STREAM};

const ENHANCE_YOUR_CALM: u32 = 11;

/// Resets: a page full of requests may be cancelled twice, then so many a second, and one for each answer delivered.
const RESETS: Allowance = Allowance { most: 400, per_second: 50 };
/// Other frames that ask for nothing.
const OTHERS: Allowance = Allowance { most: 2_000, per_second: 100 };
/// What each frame of ours allows for: two window updates, and as many again for good measure.
const OTHERS_PER_FRAME: u32 = 4;

/// What a client may still send of such frames.
pub(super) struct Calm {
    resets: Bucket,
    others: Bucket,
}

impl Calm {
    pub(super) fn new() -> Self {
        Self { resets: Bucket::full(RESETS), others: Bucket::full(OTHERS) }
    }

    /// Counts a frame of the client's. Of headers and bodies the library counts what is too small or too much.
    pub(super) fn received(&mut self, kind: u8) -> Result<(), TooMany> {
        let (bucket, too_many) = match kind {
            DATA | HEADERS | CONTINUATION => return Ok(()),
            RST_STREAM => (&mut self.resets, TooMany::Resets),
            _ => (&mut self.others, TooMany::Others),
        };
        if bucket.take() { Ok(()) } else { Err(too_many) }
    }

    /// Notes a frame of ours: it allows for resets and window updates.
    pub(super) fn sent(&mut self, kind: u8, flags: u8) {
        if matches!(kind, DATA | HEADERS) {
            self.others.put(OTHERS_PER_FRAME);
            self.resets.put(u32::from(flags & END_STREAM));
        }
    }
}

/// What there was too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TooMany {
    Resets,
    Others,
}

impl TooMany {
    /// For the metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Resets => "resets",
            Self::Others => "others",
        }
    }

    /// The last frame for the client, whose newest stream that was.
    pub(super) fn last_words(self, newest: u32) -> Vec<u8> {
        let reason = self.reason();
        let length = 8 + reason.len() as u32; // the reasons are below, and short
        let mut frame = length.to_be_bytes()[1..].to_vec();
        frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
        frame.extend(newest.to_be_bytes());
        frame.extend(ENHANCE_YOUR_CALM.to_be_bytes());
        frame.extend(reason.as_bytes());
        frame
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Resets => "too many requests reset",
            Self::Others => "too many frames that ask for nothing",
        }
    }
}

/// How much of something is allowed: at once, and in the long run.
#[derive(Clone, Copy)]
struct Allowance {
    most: u32,
    per_second: u32,
}

/// What is left of an allowance. Looks at the clock only when it is empty.
struct Bucket {
    allowance: Allowance,
    left: u32,
    filled: Instant,
}

impl Bucket {
    fn full(allowance: Allowance) -> Self {
        Self { allowance, left: allowance.most, filled: Instant::now() }
    }

    fn put(&mut self, count: u32) {
        self.left = self.left.saturating_add(count).min(self.allowance.most);
    }

    fn take(&mut self) -> bool {
        if self.left == 0 {
            let now = Instant::now();
            let earned = now.duration_since(self.filled).as_secs_f64() * f64::from(self.allowance.per_second);
            self.put(earned as u32); // a float beyond the range becomes the largest number
            self.filled = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;
    const WINDOW_UPDATE: u8 = 8;

    #[test]
    fn what_is_too_much() {
        for (name, frames, times, expected) in [
            ("requests", &[HEADERS][..], 5_000, Ok(())),
            ("an upload", &[DATA], 5_000, Ok(())),
            ("a page cancelled", &[HEADERS, RST_STREAM], 300, Ok(())),
            ("requests reset at once", &[HEADERS, RST_STREAM], 1_000, Err(TooMany::Resets)),
            ("settings", &[SETTINGS], 5_000, Err(TooMany::Others)),
            ("frames unheard of", &[0xee], 5_000, Err(TooMany::Others)),
            ("a window by bytes", &[WINDOW_UPDATE], 5_000, Err(TooMany::Others)),
        ] {
            let mut calm = Calm::new();
            let result = (0..times).flat_map(|_| frames).try_for_each(|kind| calm.received(*kind));
            assert_eq!(result, expected, "{name}");
        }
    }

    #[test]
    fn what_we_send_allows_for_window_updates_and_resets() {
        let mut calm = Calm::new();
        for _ in 0..20_000 {
            calm.sent(DATA, END_STREAM);
            for kind in [WINDOW_UPDATE, WINDOW_UPDATE, RST_STREAM] {
                calm.received(kind).unwrap();
            }
        }
    }
}
