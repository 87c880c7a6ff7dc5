//! The way from body bytes to readable text.

use crate::charset::Charset;
use crate::coding::parse_content_encoding;
use crate::decompress::{Decompressor, SLICE_BYTES};
use crate::media::{Format, MediaType, SNIFFED_BYTES, sniff};
use crate::memory::Room;
use crate::prose::Prose;
use crate::reader::{Reader, reader};

/// Most bytes that a compressed body may decode to.
const DECODED_BYTES: u64 = 1024 * 1024 * 1024;

/// Most decoded bytes for each encoded one. Text rarely reaches 20; only repetition reaches 200.
const RATIO: u32 = 200;

/// How much a body may decode to before its ratio counts.
const RATIO_GRACE_BYTES: u64 = 8 * 1024 * 1024;

/// Most decoded bytes from one [`Extractor::push`].
const BURST_BYTES: u64 = 16 * 1024 * 1024;

/// What a body may cost. A body without compression has no limit of its own: its text is never longer than a few times
/// its bytes, and what is kept of it does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes that a compressed body may decode to.
    pub decoded_bytes: u64,
    /// Most decoded bytes for each encoded one, once more than `ratio_grace_bytes` are decoded.
    pub ratio: u32,
    /// How much a body may decode to before its ratio counts.
    pub ratio_grace_bytes: u64,
    /// Most decoded bytes from one [`Extractor::push`]; bounds the text that a caller receives at once.
    pub burst_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decoded_bytes: DECODED_BYTES,
            ratio: RATIO,
            ratio_grace_bytes: RATIO_GRACE_BYTES,
            burst_bytes: BURST_BYTES,
        }
    }
}

/// Why a body cannot be read. But for the last, the fault is always the sender's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// Its content coding is unknown, broken or cut short.
    #[error("the body cannot be decoded: {reason}")]
    Undecodable {
        /// What is wrong, in words for a technician.
        reason: &'static str,
    },
    /// It decodes to more than the limits allow.
    #[error("the body decodes to too much: {decoded} bytes from {encoded}")]
    Bomb {
        /// Bytes received until then.
        encoded: u64,
        /// Bytes decoded until then.
        decoded: u64,
    },
    /// All bodies that are being read hold as much as they may together. Nobody's fault.
    #[error("there is no memory left for reading the body")]
    NoRoom,
}

/// Reads the text of one body as it streams past.
///
/// ```
/// use wardgate_text::{Extractor, Limits};
///
/// let mut text = String::new();
/// let mut extractor = Extractor::new(Some("text/html"), None, Limits::default())?.expect("HTML is text");
/// extractor.push(b"<p>Hello <b>wor", &mut text)?;
/// extractor.push(b"l</b>d", &mut text)?;
/// extractor.finish(&mut text)?;
/// assert_eq!(text, "Hello world\n");
/// # Ok::<(), wardgate_text::TextError>(())
/// ```
pub struct Extractor {
    decompressor: Decompressor,
    body: Body,
    prose: Prose,
}

impl Extractor {
    /// An extractor for a body with these values of `Content-Type` and `Content-Encoding`; nothing where the body is
    /// not text. Without a type, the first bytes decide. Fails where a coding is not one that we decode, or where
    /// more than three are stacked.
    pub fn new(
        content_type: Option<&str>,
        content_encoding: Option<&str>,
        limits: Limits,
    ) -> Result<Option<Self>, TextError> {
        let body = match content_type.filter(|value| !value.trim().is_empty()) {
            None => Body::Unknown { head: Vec::new() },
            Some(value) => {
                let media = MediaType::parse(value);
                let Some(format) = media.format() else { return Ok(None) };
                Body::Text(Text::new(format, Some(&media)))
            }
        };
        let codings = parse_content_encoding(content_encoding)
            .ok_or(TextError::Undecodable { reason: "the content coding is unknown" })?;
        Ok(Some(Self { decompressor: Decompressor::new(&codings, limits), body, prose: Prose::default() }))
    }

    /// Counts what the decoders hold in this room, and fails with [`TextError::NoRoom`] where it is used up. To be
    /// called before the first byte.
    pub fn hold_in(&mut self, room: Room) {
        self.decompressor.hold_in(room);
    }

    /// Appends to `text` what can be read of the next bytes. After an error, what was read before it has been
    /// appended; the extractor is of no further use.
    pub fn push(&mut self, bytes: &[u8], text: &mut String) -> Result<(), TextError> {
        let Self { decompressor, body, prose } = self;
        prose.swap(text);
        let result = decompressor.push(bytes, &mut |slice| body.push(slice, prose));
        prose.swap(text);
        result
    }

    /// Says that the body has ended, and appends what was held back. A compressed body that is cut short is an error.
    pub fn finish(&mut self, text: &mut String) -> Result<(), TextError> {
        self.prose.swap(text);
        self.body.finish(&mut self.prose);
        self.prose.swap(text);
        self.decompressor.finish()
    }
}

/// A decoded body.
enum Body {
    /// What it is must show.
    Unknown {
        head: Vec<u8>,
    },
    Text(Text),
    NotText,
}

impl Body {
    fn push(&mut self, bytes: &[u8], out: &mut Prose) {
        match self {
            Self::Unknown { head } => {
                let (more, rest) = bytes.split_at(bytes.len().min(SNIFFED_BYTES - head.len()));
                head.extend_from_slice(more);
                if head.len() == SNIFFED_BYTES {
                    self.settle(out);
                    self.push(rest, out);
                }
            }
            Self::Text(text) => text.push(bytes, out),
            Self::NotText => {}
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        self.settle(out);
        if let Self::Text(text) = self {
            text.finish(out);
        }
    }

    /// Decides what an unknown body is.
    fn settle(&mut self, out: &mut Prose) {
        let Self::Unknown { head } = self else { return };
        let head = std::mem::take(head);
        *self = match sniff(&head) {
            Some(format) => Self::Text(Text::new(format, None)),
            None => Self::NotText,
        };
        self.push(&head, out);
    }
}

/// A body that is text.
struct Text {
    charset: Charset,
    reader: Box<dyn Reader>,
}

impl Text {
    fn new(format: Format, media: Option<&MediaType<'_>>) -> Self {
        Self {
            charset: Charset::new(format, media.and_then(|media| media.parameter("charset"))),
            reader: reader(format, media),
        }
    }

    fn push(&mut self, bytes: &[u8], out: &mut Prose) {
        for slice in bytes.chunks(SLICE_BYTES) {
            self.charset.decode(slice, &mut |text| self.reader.text(text, out));
        }
    }

    fn finish(&mut self, out: &mut Prose) {
        self.charset.finish(&mut |text| self.reader.text(text, out));
        self.reader.finish(out);
    }
}
