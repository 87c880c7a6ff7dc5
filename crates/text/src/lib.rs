//! Body bytes to readable text: decompression, character sets, and the words that a person would read in HTML, XML,
//! JSON, event streams and forms. Everything streams, everything is bounded, nothing does I/O, and where a body is
//! cut into chunks makes no difference to its text.
//!
//! [`Extractor`] is the way in. A body walks through the modules in this order: `decompress` takes the content codings
//! off, `charset` turns bytes into characters, and the `reader` for its media type finds the words.

mod charset;
mod coding;
mod decompress;
mod entities;
mod events;
mod extractor;
mod foreign;
mod form;
mod html;
mod json;
mod markup;
mod media;
mod memory;
mod multipart;
#[cfg(test)]
mod oracle;
mod page;
mod prose;
mod reader;
mod strip;

pub use coding::narrow_accept_encoding;
pub use extractor::{Extractor, Limits, TextError};
pub use media::is_live;
pub use memory::{Memory, Room};
