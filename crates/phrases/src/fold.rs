//! Folds text to the form in which it is compared: lower case, no accents, one space between words.
//!
//! Phrases and texts go through the same table, so a phrase is found however it is dressed up: `Ｓｕｉｃｉｄｅ`,
//! `sui<zero-width space>cide` and `suïcide` are all `suicide`. Every character folds by itself, without a look at its
//! neighbours; that is why the border between two pieces of a text cannot matter.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

/// What becomes of one byte of UTF-8: itself in lower case for ASCII letters and digits, or one of the marks below.
pub(crate) static FOLD: [u8; 256] = table();

/// In [`FOLD`]: the byte leaves nothing behind.
pub(crate) const DROPPED: u8 = 0;
/// In [`FOLD`]: the byte separates words. Runs of separators count as one.
pub(crate) const SEPARATOR: u8 = b' ';
/// In [`FOLD`]: the byte begins (or continues) a character beyond ASCII; see [`fold_char`].
pub(crate) const BEYOND_ASCII: u8 = 0xFF;

const fn table() -> [u8; 256] {
    let mut table = [BEYOND_ASCII; 256];
    let mut byte = 0;
    while byte < 128 {
        let ascii = byte as u8;
        table[byte] = match ascii {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => ascii.to_ascii_lowercase(),
            // `don't` and `dont` are one word; so are `it's` and `its`, which is no loss here.
            b'\'' | b'`' => DROPPED,
            _ => SEPARATOR,
        };
        byte += 1;
    }
    table
}

/// Whether a value of [`FOLD`] is a letter or digit. The marks are below them, or negative: one comparison.
#[inline(always)]
pub(crate) fn is_letter(folded: u8) -> bool {
    folded as i8 > SEPARATOR as i8
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
    fn the_table_and_the_characters_agree() {
        for byte in 0..128u8 {
            let mut folded = Vec::new();
            fold_char(byte as char, |part| folded.push(part));
            let expected = match FOLD[byte as usize] {
                DROPPED => vec![],
                SEPARATOR => vec![Folded::Separator],
                letter => vec![Folded::Letter(letter as char)],
            };
            assert_eq!(folded, expected, "byte {byte}");
            assert_eq!(is_letter(FOLD[byte as usize]), byte.is_ascii_alphanumeric(), "byte {byte}");
        }
        assert!(!is_letter(BEYOND_ASCII));
    }
}
