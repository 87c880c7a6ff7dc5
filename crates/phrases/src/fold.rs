//! Folds text to the form in which it is compared: lower case, no accents, one space between words.
//!
//! Phrases and texts go through the same table, so a phrase is found however it is dressed up: `Ｓｕｉｃｉｄｅ`,
//! `sui<zero-width space>cide` and `suïcide` are all `suicide`. Every character folds by itself, without a look at its
//! neighbours; that is why the border between two pieces of a text cannot matter.

use std::sync::LazyLock;

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// In a folded text: the end of a word.
pub(crate) const SEPARATOR: u8 = b' ';

/// How much ASCII is folded at a time: what the processor holds in a register or two.
pub(crate) const CHUNK: usize = 32;

/// Folds ASCII. Of a chunk that holds anything else, or a character that is dropped, only what stands before that is
/// right; `None` stands for a chunk without such a character, else its place is returned.
#[inline(always)]
pub(crate) fn fold_chunk(chunk: &[u8; CHUNK]) -> ([u8; CHUNK], Option<usize>) {
    let (mut folded, mut special) = ([0; CHUNK], false);
    for (folded, byte) in folded.iter_mut().zip(chunk) {
        *folded = fold_byte(*byte);
        special |= is_special(*byte);
    }
    let place = if special { chunk.iter().position(|byte| is_special(*byte)) } else { None };
    (folded, place)
}

/// Folds an ASCII character that is not special.
#[inline(always)]
fn fold_byte(byte: u8) -> u8 {
    let lower = byte | 0x20;
    if lower.wrapping_sub(b'a') < 26 {
        lower
    } else if byte.wrapping_sub(b'0') < 10 {
        byte
    } else {
        SEPARATOR
    }
}

/// Whether a byte begins a character beyond ASCII, or is dropped: `don't` and `dont` are one word; so are `it's` and
/// `its`, which is no loss here.
#[inline(always)]
pub(crate) fn is_special(byte: u8) -> bool {
    (byte >= 0x80) | (byte == b'\'') | (byte == b'`')
}

/// What becomes of a character that is not plain ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// It leaves nothing behind.
    Dropped,
    /// It ends a word.
    Separator,
    /// It is, or becomes, one letter.
    Letter(char),
    /// It becomes several letters or separators: see [`fold_char`].
    Several,
}

/// Folds a character that is not plain ASCII.
#[inline]
pub(crate) fn fold_special(character: char) -> Special {
    match TABLE.get(character as usize) {
        Some(&DROPPED) => Special::Dropped,
        Some(&SEPARATES) => Special::Separator,
        Some(unit) => char::from_u32(u32::from(*unit)).map_or(Special::Several, Special::Letter),
        None if is_ideograph(character) => Special::Letter(character),
        None => classify(character),
    }
}

/// Han ideographs as most texts are written with; none of them has another form.
fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}')
}

/// Sees to it that no text has to wait for the table that [`fold_special`] looks into.
pub(crate) fn prepare() {
    LazyLock::force(&TABLE);
}

/// What [`fold_char`] says of the characters before the Han ideographs: to ask it takes a hundred times as long.
static TABLE: LazyLock<Box<[u16]>> = LazyLock::new(|| (0..0x3400).map(table_unit).collect());

const DROPPED: u16 = 0;
const SEPARATES: u16 = SEPARATOR as u16;
/// Half a surrogate pair, which is no character.
const SEVERAL: u16 = 0xD800;

fn table_unit(unit: u16) -> u16 {
    match char::from_u32(u32::from(unit)).map_or(Special::Several, classify) {
        Special::Dropped => DROPPED,
        Special::Separator => SEPARATES,
        Special::Letter(letter) => u16::try_from(u32::from(letter)).unwrap_or(SEVERAL),
        Special::Several => SEVERAL,
    }
}

fn classify(character: char) -> Special {
    let mut special = Special::Dropped;
    fold_char(character, |part| {
        special = match (special, part) {
            (Special::Dropped, Folded::Letter(letter)) => Special::Letter(letter),
            (Special::Dropped, Folded::Separator) => Special::Separator,
            _ => Special::Several,
        }
    });
    special
}

/// What becomes of a part of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folded {
    /// A letter or digit, in lower case and without accents.
    Letter(char),
    /// The end of a word.
    Separator,
}

/// Folds one character; nothing is emitted for a character that is dropped.
pub(crate) fn fold_char(character: char, mut emit: impl FnMut(Folded)) {
    if is_dropped(character) {
        return;
    }
    decompose_compatible(character, |part| {
        for lower in part.to_lowercase() {
            fold_part(lower, &mut emit);
        }
    });
}

fn fold_part(part: char, emit: &mut impl FnMut(Folded)) {
    let letters = match part {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'ł' => "l",
        'đ' => "d",
        'ı' => "i",
        _ if canonical_combining_class(part) != 0 || is_dropped(part) => return,
        _ if part.is_alphanumeric() => return emit(Folded::Letter(part)),
        _ => return emit(Folded::Separator),
    };
    letters.chars().for_each(|letter| emit(Folded::Letter(letter)));
}

/// Characters that readers do not see or that writers leave out: zero-width characters, soft hyphens, directional
/// marks, variation selectors and every kind of apostrophe.
fn is_dropped(character: char) -> bool {
    matches!(
        character,
        '\'' | '`' | '\u{00AD}' | '\u{00B4}' | '\u{02B9}'..='\u{02BC}' | '\u{2018}'..='\u{201B}' | '\u{2032}'
            | '\u{034F}' | '\u{061C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
            | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FF07}' | '\u{FFA0}'
            | '\u{E0000}'..='\u{E0FFF}'
    )
}

/// Folds a phrase as a policy file writes it: words with one space between them, none at the ends.
pub(crate) fn fold_phrase(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for character in text.chars() {
        fold_char(character, |part| match part {
            Folded::Letter(letter) => folded.push(letter),
            Folded::Separator if folded.is_empty() || folded.ends_with(' ') => {}
            Folded::Separator => folded.push(' '),
        });
    }
    folded.truncate(folded.trim_end().len());
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_phrases() {
        for (name, given, expected) in [
            ("case", "Kill MYSELF", "kill myself"),
            ("accents", "Café crème", "cafe creme"),
            ("combining accents", "cafe\u{301}", "cafe"),
            ("full width", "ｋｉｌｌ", "kill"),
            ("mathematical", "𝓴𝓲𝓵𝓵 𝗺𝗲", "kill me"),
            ("circled", "ⓚⓘⓛⓛ", "kill"),
            ("ligatures", "ﬁne œuvre", "fine oeuvre"),
            ("zero width", "k\u{200B}i\u{2060}l\u{FEFF}l", "kill"),
            ("soft hyphen", "sui\u{AD}cide", "suicide"),
            ("apostrophes", "don't don’t donʼt", "dont dont dont"),
            ("punctuation", "self-harm, (self_harm)", "self harm self harm"),
            ("no-break space", "self\u{A0}harm", "self harm"),
            ("sharp s", "Straße STRAẞE", "strasse strasse"),
            ("Turkish", "İstanbul ısı", "istanbul isi"),
            ("Cyrillic kept", "Привет", "привет"),
            ("Devanagari vowels kept", "हिन्दी", "हिनदी"),
            ("only signs", "!?", ""),
        ] {
            assert_eq!(fold_phrase(given), expected, "{name}");
        }
    }

    #[test]
    fn the_short_ways_and_the_characters_agree() {
        for byte in 0..128u8 {
            let (folded, special) = fold_chunk(&[byte; CHUNK]);
            let expected = if folded[0] == SEPARATOR {
                Special::Separator
            } else {
                Special::Letter(char::from(folded[0]))
            };
            match special {
                None => assert_eq!(classify(char::from(byte)), expected, "byte {byte}"),
                Some(place) => {
                    assert_eq!((place, classify(char::from(byte))), (0, Special::Dropped), "byte {byte}");
                }
            }
        }
        for character in (0..=0x1_1000).filter_map(char::from_u32) {
            assert_eq!(fold_special(character), classify(character), "{character:?}");
        }
    }

    #[test]
    fn the_first_special_byte_of_a_chunk_is_found() {
        for place in 0..CHUNK {
            let mut chunk = [b'A'; CHUNK];
            chunk[place..].fill(0xC3);
            let (folded, special) = fold_chunk(&chunk);
            assert_eq!(special, Some(place));
            assert!(folded[..place].iter().all(|byte| *byte == b'a'));
        }
    }
}
