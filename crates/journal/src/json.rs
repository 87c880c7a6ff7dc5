//! JSON for lines of the log: what serde_json writes, byte for byte, for a third of the work. Keys are written as they
//! stand in the code, texts are looked through eight bytes at a time, and all that is rare is left to serde_json.

use std::io::Write;

use serde::Serialize;
use serde::ser::{Error, Impossible, SerializeSeq, SerializeStruct, Serializer};

/// Appends the value, in one line. Takes structs, sequences, options, texts and numbers; maps, tuples and variants that
/// hold something are an error, as is a key that would have to be escaped: none stands in the code.
pub(crate) fn append(value: &impl Serialize, into: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    value.serialize(Json(into))
}

struct Json<'a>(&'a mut Vec<u8>);

impl Json<'_> {
    fn rare(self, value: impl Serialize) -> Result<(), serde_json::Error> {
        serde_json::to_writer(self.0, &value)
    }

    fn none_such<T>(self) -> Result<T, serde_json::Error> {
        Err(serde_json::Error::custom("the log has no such values"))
    }
}

/// The parts of a struct or a sequence.
struct Parts<'a> {
    into: &'a mut Vec<u8>,
    closing: u8,
    has_any: bool,
}

impl<'a> Parts<'a> {
    fn new(into: &'a mut Vec<u8>, [opening, closing]: [u8; 2]) -> Self {
        into.push(opening);
        Self { into, closing, has_any: false }
    }

    fn separate(&mut self) {
        if self.has_any {
            self.into.push(b',');
        }
        self.has_any = true;
    }

    fn close(self) {
        self.into.push(self.closing);
    }
}

impl SerializeStruct for Parts<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        debug_assert!(key.bytes().all(|byte| !must_escape(byte)), "{key}");
        self.separate();
        self.into.push(b'"');
        self.into.extend_from_slice(key.as_bytes());
        self.into.extend_from_slice(b"\":");
        value.serialize(Json(self.into))
    }

    fn end(self) -> Result<(), Self::Error> {
        self.close();
        Ok(())
    }
}

impl SerializeSeq for Parts<'_> {
    type Ok = ();
    type Error = serde_json::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        self.separate();
        value.serialize(Json(self.into))
    }

    fn end(self) -> Result<(), Self::Error> {
        self.close();
        Ok(())
    }
}

/// Appends the text in quotes. RFC 8259, section 7: quotation mark, backslash and control characters are escaped.
fn text(text: &str, into: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if has_any_to_escape(bytes) {
        serde_json::to_writer(into, text).expect("a text always encodes, and memory takes every byte");
        return;
    }
    into.reserve(bytes.len() + 2);
    into.push(b'"');
    into.extend_from_slice(bytes);
    into.push(b'"');
}

fn has_any_to_escape(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else { return bytes.iter().any(|byte| must_escape(*byte)) };
    // The last eight bytes overlap those before, which are looked at twice and do not mind.
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().chain([last]).any(|word| any_must_escape(u64::from_ne_bytes(*word)))
}

fn must_escape(byte: u8) -> bool {
    matches!(byte, 0..0x20 | b'"' | b'\\')
}

/// Whether one of eight bytes must be escaped: a byte without its highest bit that is less than 0x20, or nothing once the
/// sign looked for is taken from it. (The borrow of a byte that is may blame its neighbour, never clear it.)
fn any_must_escape(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & (ONES * 0x80);
    let sign = |sign: u8| below(word ^ (ONES * u64::from(sign)), 1);
    below(word, 0x20) | sign(b'"') | sign(b'\\') != 0
}

macro_rules! rare {
    ($($method:ident($kind:ty)),*) => {
        $(fn $method(self, value: $kind) -> Result<(), Self::Error> {
            self.rare(value)
        })*
    };
}

impl<'a> Serializer for Json<'a> {
    type Ok = ();
    type Error = serde_json::Error;
    type SerializeSeq = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeTuple = Impossible<(), Self::Error>;
    type SerializeTupleStruct = Impossible<(), Self::Error>;
    type SerializeTupleVariant = Impossible<(), Self::Error>;
    type SerializeMap = Impossible<(), Self::Error>;
    type SerializeStructVariant = Impossible<(), Self::Error>;

    rare!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_bytes(&[u8])
    );

    fn serialize_str(self, value: &str) -> Result<(), Self::Error> {
        text(value, self.0);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Self::Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Self::Error> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Self::Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Self::Error> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Self::Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Self::Error> {
        self.none_such()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Self::Error> {
        Ok(Parts::new(self.0, *b"[]"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, Self::Error> {
        Ok(Parts::new(self.0, *b"{}"))
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Self::Error> {
        self.none_such()
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Self::Error> {
        self.none_such()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Self::Error> {
        self.none_such()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Self::Error> {
        self.none_such()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Self::Error> {
        self.none_such()
    }

    /// Addresses, for one: their text is made and looked through in one go.
    fn collect_str<T: std::fmt::Display + ?Sized>(self, value: &T) -> Result<(), Self::Error> {
        self.0.push(b'"');
        let begin = self.0.len();
        write!(self.0, "{value}").expect("memory takes every byte");
        if has_any_to_escape(&self.0[begin..]) {
            let shown = String::from_utf8_lossy(&self.0[begin..]).into_owned();
            self.0.truncate(begin - 1);
            return self.serialize_str(&shown);
        }
        self.0.push(b'"');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_at_every_place_is_written_as_serde_json_does() {
        let characters = (0..=0x100).filter_map(char::from_u32).chain(['\u{2028}', '\u{10ffff}']);
        for character in characters {
            for place in 0..20 {
                let mut given = "a\u{80}\u{fe}€".repeat(4);
                let place = given.floor_char_boundary(place);
                given.insert(place, character);
                let mut written = Vec::new();
                append(&given, &mut written).unwrap();
                assert_eq!(written, serde_json::to_vec(&given).unwrap(), "{character:?} at {place}");
            }
        }
    }
}
