//! What all readers of a format have in common.

use crate::media::{Format, MediaType};
use crate::prose::Prose;
use crate::{events, form, html, json, multipart, strip};

/// Finds the words in the characters of a body.
pub(crate) trait Reader: Send {
    /// Takes the next characters.
    fn text(&mut self, piece: &str, out: &mut Prose);

    /// Says that the body has ended.
    fn finish(&mut self, out: &mut Prose);
}

/// The reader for a format.
pub(crate) fn reader(format: Format, media: Option<&MediaType<'_>>) -> Box<dyn Reader> {
    match format {
        Format::Html => Box::new(html::Html::default()),
        Format::Xml => Box::new(strip::Stripper::default()),
        Format::Json => Box::new(json::Json::default()),
        Format::JsonLines => Box::new(events::JsonLines::default()),
        Format::Events => Box::new(events::Events::default()),
        Format::Form => Box::new(form::Form::default()),
        Format::Multipart => {
            Box::new(multipart::Multipart::new(media.and_then(|media| media.parameter("boundary"))))
        }
        Format::Plain => Box::new(Plain),
    }
}

/// Text as it stands.
struct Plain;

impl Reader for Plain {
    fn text(&mut self, piece: &str, out: &mut Prose) {
        out.push(piece);
    }

    fn finish(&mut self, _out: &mut Prose) {}
}
