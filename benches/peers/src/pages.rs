//! The pages of the origin: English of natural variety in the mark-up that pages have, the same in every run.

use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;
use std::{fmt, fs};

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::words;

const KIB: usize = 1024;
/// What a download of the bulk mode has.
pub(crate) const BULK_MIB: usize = 10;

/// What the origin serves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Page {
    /// An HTML page of so many KiB.
    Html(usize),
    /// The same, and the origin sends it in gzip.
    Gzip(usize),
    /// Ten MiB that are not text.
    Bulk,
    /// A page that every filter under test should object to: it is about ways around filters.
    Control,
}

/// The sizes that pages come in.
const SIZES: [usize; 3] = [1, 32, 256];

impl Page {
    /// Where the origin has it.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Html(size) => format!("/{size}k.html"),
            Self::Gzip(size) => format!("/gzip/{size}k.html"),
            Self::Bulk => "/bulk.bin".to_owned(),
            Self::Control => "/control.html".to_owned(),
        }
    }

    /// What a client ends up with.
    pub(crate) fn bytes(self) -> Vec<u8> {
        match self {
            Self::Html(size) | Self::Gzip(size) => html(size * KIB).into_bytes(),
            Self::Bulk => Dice(1).bytes(BULK_MIB * KIB * KIB),
            Self::Control => CONTROL.as_bytes().to_vec(),
        }
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Html(size) => write!(f, "{size} KiB"),
            Self::Gzip(size) => write!(f, "{size} KiB gzip"),
            Self::Bulk => write!(f, "{BULK_MIB} MiB"),
            Self::Control => f.write_str("control"),
        }
    }
}

/// Writes all pages below the origin's root; what lies in `gzip` is served with that coding.
pub(crate) fn write(root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("gzip"))?;
    let pages = SIZES.iter().flat_map(|size| [Page::Html(*size), Page::Gzip(*size)]);
    for page in pages.chain([Page::Bulk, Page::Control]) {
        let bytes = page.bytes();
        let bytes = if matches!(page, Page::Gzip(_)) { gzip(&bytes)? } else { bytes };
        fs::write(root.join(&page.path()[1..]), bytes)?;
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

const CONTROL: &str = "<!doctype html><html lang=\"en\"><title>Ways around</title><body>
<p>How to bypass the school filter: get around the school filter with a cgiproxy, unblock websites, use nph-proxy,
phproxy or a proxy list. Bypass school wifi and access blocked sites.</p></body></html>\n";

/// A page of exactly so many bytes.
fn html(size: usize) -> String {
    const END: &str = "</main><footer><p>Made for the benchmark.</p></footer></body></html>\n";
    let mut dice = Dice(size as u64);
    let mut page = head(&mut dice, size);
    let mut number = 0;
    loop {
        let section = section(&mut dice, number);
        if page.len() + section.len() + END.len() > size {
            break;
        }
        page.push_str(&section);
        number += 1;
    }
    while page.len() + END.len() + "<p></p>".len() < size {
        let room = size - page.len() - END.len() - "<p></p>".len();
        let text = sentence(&mut dice);
        page.push_str(&format!("<p>{}</p>", &text[..room.min(text.len())])); // ASCII throughout
    }
    page.push_str(&" ".repeat(size.saturating_sub(page.len() + END.len())));
    page + END
}

/// What stands before the text of a page. A page of 1 KiB is what a script asks for in the background: it has little.
fn head(dice: &mut Dice, size: usize) -> String {
    let title = title(dice);
    let small =
        format!("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>");
    if size <= KIB {
        return small + "</head><body><main>";
    }
    let links: String = (0..24).map(|number| format!("<li>{}</li>", link(dice, number))).collect();
    let rules: String = (0..30).map(|n| format!(".c{n}{{margin:{n}px;color:#{:06x}}}\n", n * 7919)).collect();
    format!(
        "{small}<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"description\" content=\"{}\"><link rel=\"stylesheet\" href=\"/style.css\">\n\
         <style>\n{rules}</style>\n<script>window.pageData={{\"id\":{},\"title\":\"{title}\",\"tags\":[\"a\",\"b\"]}};\
         (function(){{for(var i=0;i<3;i++){{document.documentElement.className+=\" js\"+i;}}}})();</script></head>\n\
         <body class=\"c1 c2\"><header><nav><ul>{links}</ul></nav></header><main>\n",
        sentence(dice),
        dice.below(100_000),
    )
}

fn section(dice: &mut Dice, number: usize) -> String {
    let paragraphs: String = (0..3)
        .map(|_| {
            let text: Vec<String> = (0..3 + dice.below(4)).map(|_| sentence(dice)).collect();
            format!("<p class=\"c{}\">{} {}</p>\n", number % 30, text.join(" "), link(dice, number))
        })
        .collect();
    format!(
        "<section id=\"s{number}\"><h2>{}</h2><!-- part {number} -->\n<figure><img src=\"/i/{number}.jpg\" alt=\"{}\" \
         width=\"640\" height=\"480\" loading=\"lazy\"></figure>\n{paragraphs}</section>\n",
        title(dice),
        title(dice),
    )
}

fn link(dice: &mut Dice, number: usize) -> String {
    let title = title(dice);
    let path = title.to_ascii_lowercase().replace(' ', "-");
    format!("<a href=\"/page/{number}/{path}?from=home&amp;n={}\" rel=\"next\">{title}</a>", dice.below(900))
}

fn sentence(dice: &mut Dice) -> String {
    match SENTENCES.get() {
        Some(sentences) => sentences[dice.below(sentences.len())].clone(),
        None => filled(dice, words::SENTENCES),
    }
}

/// Sentences that somebody wrote, where pages are to be made of such.
static SENTENCES: OnceLock<Vec<String>> = OnceLock::new();

/// Makes pages of the sentences of a file, one a line, in place of made-up ones. Those that HTML would have to escape, or
/// are not ASCII, are passed over.
pub(crate) fn write_with(sentences: &Path) -> Result<()> {
    let text = fs::read_to_string(sentences).with_context(|| sentences.display().to_string())?;
    let is_plain = |line: &&str| !line.is_empty() && line.is_ascii() && !line.contains(['<', '>', '&']);
    let sentences: Vec<String> = text.lines().filter(is_plain).map(str::to_owned).collect();
    ensure!(!sentences.is_empty(), "no line holds a sentence in ASCII");
    let _ = SENTENCES.set(sentences);
    Ok(())
}

fn title(dice: &mut Dice) -> String {
    filled(dice, words::TITLES)
}

/// One of the patterns, with a word in each of its gaps.
fn filled(dice: &mut Dice, patterns: &[&str]) -> String {
    let pattern = patterns[dice.below(patterns.len())];
    let mut text = String::with_capacity(160);
    for (number, part) in pattern.split(['{', '}']).enumerate() {
        match part {
            _ if number % 2 == 0 => text.push_str(part),
            "N" => text.push_str(dice.word(words::NOUNS)),
            "A" => text.push_str(dice.word(words::ADJECTIVES)),
            "V" => text.push_str(dice.word(words::VERBS)),
            "W" => text.push_str(dice.word(words::NAMES)),
            "L" => text.push_str(dice.word(words::PLACES)),
            "T" => text.push_str(dice.word(words::TIMES)),
            _ => text.push_str(&(10 + dice.below(890)).to_string()),
        }
    }
    text
}

/// Numbers that look random and are the same in each run (xorshift64*).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below a limit.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 33) as usize) % limit
    }

    /// A word of a list; words at its beginning come more often, as in life.
    pub(crate) fn word<'a>(&mut self, list: &'a str) -> &'a str {
        let words: Vec<&str> = list.split_whitespace().collect();
        let widest = 1 + self.below(words.len());
        words[self.below(widest)]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pages_have_their_size_and_are_the_same_each_time() {
        for size in SIZES {
            let page = Page::Html(size).bytes();
            assert_eq!(page.len(), size * KIB);
            assert_eq!(page, Page::Gzip(size).bytes());
            assert!(page.is_ascii() && page.ends_with(b"</html>\n"));
        }
        assert_eq!(Page::Bulk.bytes().len(), BULK_MIB * KIB * KIB);
    }

    #[test]
    fn pages_are_not_one_sentence_over_and_over() {
        let page = String::from_utf8(Page::Html(256).bytes()).unwrap();
        let words: HashSet<&str> = page.split(|c: char| !c.is_ascii_alphabetic()).collect();
        assert!(words.len() > 500, "{} words", words.len());
        let sentences: Vec<&str> = page.split(". ").collect();
        let distinct: HashSet<&&str> = sentences.iter().collect();
        assert!(distinct.len() * 100 > sentences.len() * 95, "{} of {}", distinct.len(), sentences.len());
        let packed = gzip(page.as_bytes()).unwrap().len();
        assert!((3..7).contains(&(page.len() / packed)), "gzip makes {packed} of it");
    }
}
