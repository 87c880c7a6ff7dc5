//! What it costs to look at a page: each step by itself, and all of them as the proxy takes them; and how the cost
//! grows with the number of phrases. Prints Markdown tables. `benches/README.md` says how to run it and how to read it.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails says where and stops")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};
use wardgate_core::{CategoryName, Pipeline, TextKind};
use wardgate_phrases::{PhraseFile, Phrases};
use wardgate_text::{Extractor, Limits};

/// What the proxy reads from a connection at a time, about.
const CHUNK_BYTES: usize = 16 * 1024;
/// The longest that one figure may take.
const WHOLE: Duration = Duration::from_millis(600);
const SMOKE: Duration = Duration::from_millis(5);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let time = if arguments.iter().any(|argument| argument == "--smoke") { SMOKE } else { WHOLE };
    let files: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let pages: Vec<(String, String)> = if files.is_empty() {
        [32, 256].map(|kib| (format!("generated, {kib} KiB"), page(kib * 1024, &mut Random(1)))).into()
    } else {
        files.into_iter().map(|file| (name(file), text(file))).collect()
    };
    steps(&pages, time);
    growth(&pages[0].1, time);
}

fn name(file: &str) -> String {
    Path::new(file).file_name().unwrap().to_string_lossy().into_owned()
}

fn text(file: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()
}

/// Prints what each step costs for each page, in microseconds for each KiB of the page as it is decoded.
fn steps(pages: &[(String, String)], time: Duration) {
    let pipeline = Pipeline::new(vec![Arc::new(shipped())]);
    println!("| page | KiB | text | inflate | characters | HTML | phrases | all, plain | all, gzip | MB/s |");
    println!("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (name, page) in pages {
        let kib = page.len() as f64 / 1024.0;
        let body = page.as_bytes();
        let packed = gzip(body);
        let mut words = String::new();
        extract(HTML, None, body, &mut words);
        let mut scratch = String::new();
        let costs = [
            cost(time, || inflate(&packed)),
            cost(time, || extract("text/plain; charset=utf-8", None, body, &mut scratch)),
            cost(time, || extract(HTML, None, body, &mut scratch)),
            cost(time, || scan(&pipeline, &words)),
            cost(time, || look(&pipeline, None, body)),
            cost(time, || look(&pipeline, Some("gzip"), &packed)),
        ];
        let each: Vec<String> = costs.iter().map(|micros| format!("{:.2}", micros / kib)).collect();
        let share = 100 * words.len() / page.len();
        let rate = page.len() as f64 / costs[5];
        println!("| {name} | {kib:.0} | {share} % | {} | {rate:.0} |", each.join(" | "));
    }
    println!();
}

/// Prints what phrases cost by their number.
fn growth(page: &str, time: Duration) {
    let mut words = String::new();
    extract(HTML, None, page.as_bytes(), &mut words);
    let kib = words.len() as f64 / 1024.0;
    println!("| phrases | compiled in ms | MiB | µs for a KiB of text |");
    println!("|---:|---:|---:|---:|");
    for count in [100, 1_000, 10_000, 100_000] {
        let file = phrase_file(count);
        let (before, began) = (resident(), Instant::now());
        let phrases = compile(&[PhraseFile { path: Path::new("generated.toml"), text: &file }]);
        let (took, memory) = (began.elapsed(), resident().saturating_sub(before));
        let pipeline = Pipeline::new(vec![Arc::new(phrases)]);
        let micros = cost(time, || scan(&pipeline, &words)) / kib;
        println!("| {count} | {} | {} | {micros:.2} |", took.as_millis(), memory / (1024 * 1024));
    }
}

const HTML: &str = "text/html; charset=utf-8";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn inflate(packed: &[u8]) {
    let (mut state, mut output) = (Decompress::new_gzip(15), vec![0; 32 * 1024]);
    while state
        .decompress(&packed[state.total_in() as usize..], &mut output, FlushDecompress::None)
        .is_ok_and(|status| status != Status::StreamEnd)
    {}
}

fn extract(content_type: &str, coding: Option<&str>, body: &[u8], into: &mut String) {
    into.clear();
    let mut extractor = Extractor::new(Some(content_type), coding, Limits::default()).unwrap().unwrap();
    for chunk in body.chunks(CHUNK_BYTES) {
        extractor.push(chunk, into).unwrap();
    }
    extractor.finish(into).unwrap();
}

fn scan(pipeline: &Pipeline, words: &str) {
    let mut scan = pipeline.scan(TextKind::Page).unwrap();
    let mut rest = words;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(CHUNK_BYTES));
        scan.text(piece).unwrap();
        rest = after;
    }
    scan.end().unwrap();
    black_box(scan.findings().unwrap());
}

/// All steps, as `scan::Watch` of the proxy takes them.
fn look(pipeline: &Pipeline, coding: Option<&str>, body: &[u8]) {
    let mut extractor = Extractor::new(Some(HTML), coding, Limits::default()).unwrap().unwrap();
    let mut scan = pipeline.scan(TextKind::Page).unwrap();
    let mut text = String::new();
    for chunk in body.chunks(CHUNK_BYTES) {
        text.clear();
        extractor.push(chunk, &mut text).unwrap();
        if scan.text(&text).unwrap() {
            black_box(scan.findings().unwrap());
        }
    }
    text.clear();
    extractor.finish(&mut text).unwrap();
    if scan.text(&text).unwrap() | scan.end().unwrap() {
        black_box(scan.findings().unwrap());
    }
}

/// The time that a job takes in microseconds: the least of many runs, so that what else the machine does counts as
/// little as may be. A run is shorter than the kernel's accounts of CPU time are exact.
fn cost(time: Duration, mut job: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut least = Duration::MAX;
    while least == Duration::MAX || began.elapsed() < time {
        let begin = Instant::now();
        job();
        least = least.min(begin.elapsed());
    }
    least.as_secs_f64() * 1e6
}

/// The memory of this process in bytes.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The phrases that Wardgate ships with.
fn shipped() -> Phrases {
    let folder = tempfile::tempdir().unwrap();
    wardgate_policy::write_embedded(&folder.path().join("policies")).unwrap();
    let loaded = wardgate_policy::load(&folder.path().join("policies")).unwrap();
    let categories: Vec<CategoryName> = loaded.policy.categories().cloned().collect();
    let files: Vec<_> =
        loaded.phrase_files.iter().map(|file| PhraseFile { path: &file.path, text: &file.text }).collect();
    Phrases::compile(&files, &categories).unwrap().0
}

fn compile(files: &[PhraseFile<'_>]) -> Phrases {
    Phrases::compile(files, &["generated".into()]).unwrap().0
}

/// So many phrases of one to four words; one in twenty may go on. One word of each is in no text, so that few phrases
/// are found, as in real life; the others are everywhere.
fn phrase_file(count: usize) -> String {
    let mut file = String::from("category = 'generated'\nlanguage = 'en'\nsource = 'a benchmark'\n");
    let mut random = Random(2);
    for number in 0..count {
        let mut words: Vec<String> = (0..random.below(4)).map(|_| word(&mut random).to_owned()).collect();
        let letters =
            [1, 26, 26 * 26, 26 * 26 * 26].map(|place| char::from(b'a' + (number / place % 26) as u8));
        words.insert(random.below(words.len() + 1), format!("q{}", String::from_iter(letters)));
        let star = if random.below(20) == 0 { "*" } else { "" };
        writeln!(file, "[[phrase]]\ntext = '{}{star}'\nweight = 1", words.join(" ")).unwrap();
    }
    file
}

/// Small pseudo-random numbers: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

/// A page with as much markup and script around its words as pages on the web have: three quarters.
fn page(bytes: usize, random: &mut Random) -> String {
    let mut page = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Notes from the valley</title>\n\
         <meta name=\"description\" content=\"What happened here &amp; elsewhere\">\n\
         <link rel=\"stylesheet\" href=\"/assets/site.css?v=20261121\"></head>\n<body class=\"home page\">\n",
    );
    for number in 0.. {
        if page.len() >= bytes {
            break;
        }
        match number % 7 {
            0 => page.push_str(
                "<script>window.queue = window.queue || []; for (var i = 0; i < 9; i++) { queue.push({id: i, \
                 ready: function () { return document.querySelectorAll('.card[data-kind=\"story\"]').length > i; \
                 }}); }</script>\n<style>.card > a:hover { color: #12436d; } .card::after { content: '>'; }</style>\n",
            ),
            1 | 4 => {
                page.push_str("<ul class=\"nav nav--wide\" role=\"list\">");
                for item in 0..5 {
                    let (one, two) = (word(random), word(random));
                    writeln!(
                        page,
                        "<li class=\"nav__item\"><a class=\"nav__link\" href=\"/{one}/{two}-{item}\" \
                         data-track=\"menu:{number}\">{one} {two}</a></li>"
                    )
                    .unwrap();
                }
                page.push_str("</ul>\n");
            }
            _ => {
                write!(
                    page,
                    "<article class=\"card card--story\" id=\"story-{number}\" data-kind=\"story\">\n  <h2 \
                     class=\"card__title\"><a href=\"/stories/{number}\">"
                )
                .unwrap();
                sentence(&mut page, 5, random);
                write!(
                    page,
                    "</a></h2>\n  <img src=\"/images/{number}.jpg\" width=\"640\" height=\"360\" loading=\"lazy\" \
                     alt=\"{} and {}\">\n  <p class=\"card__text\">",
                    word(random),
                    word(random)
                )
                .unwrap();
                for length in [12, 9, 16] {
                    sentence(&mut page, length, random);
                    page.push(' ');
                }
                page.push_str("</p>\n  <!-- end of story -->\n</article>\n");
            }
        }
    }
    page.push_str("</body></html>\n");
    page
}

fn word(random: &mut Random) -> &'static str {
    WORDS[random.below(WORDS.len())]
}

fn sentence(page: &mut String, length: usize, random: &mut Random) {
    for place in 0..length {
        let word = word(random);
        let gap = match random.below(12) {
            _ if place == 0 => "",
            0 => ", ",
            1 => "&nbsp;",
            _ => " ",
        };
        page.push_str(gap);
        match random.below(40) {
            0 => write!(page, "<em>{word}</em>").unwrap(),
            1 => write!(page, "<a href=\"/about/{word}\">{word}</a>").unwrap(),
            2 => write!(page, "{word}\u{2019}s").unwrap(),
            _ => page.push_str(word),
        }
    }
    page.push('.');
}

/// Words as frequent pages have them; some are part of shipped phrases.
const WORDS: [&str; 167] = [
    "the",
    "of",
    "and",
    "to",
    "in",
    "a",
    "is",
    "that",
    "for",
    "it",
    "was",
    "on",
    "with",
    "as",
    "be",
    "at",
    "by",
    "this",
    "from",
    "they",
    "we",
    "say",
    "her",
    "she",
    "or",
    "an",
    "will",
    "my",
    "one",
    "all",
    "would",
    "there",
    "their",
    "what",
    "so",
    "up",
    "out",
    "if",
    "about",
    "who",
    "get",
    "which",
    "go",
    "me",
    "when",
    "make",
    "can",
    "like",
    "time",
    "no",
    "just",
    "him",
    "know",
    "take",
    "people",
    "into",
    "year",
    "your",
    "good",
    "some",
    "could",
    "them",
    "see",
    "other",
    "than",
    "then",
    "now",
    "look",
    "only",
    "come",
    "its",
    "over",
    "think",
    "also",
    "back",
    "after",
    "use",
    "two",
    "how",
    "our",
    "work",
    "first",
    "well",
    "way",
    "even",
    "new",
    "want",
    "because",
    "any",
    "these",
    "give",
    "day",
    "most",
    "us",
    "river",
    "mill",
    "village",
    "children",
    "summer",
    "school",
    "teacher",
    "lesson",
    "football",
    "season",
    "police",
    "hospital",
    "report",
    "council",
    "minister",
    "economy",
    "market",
    "weather",
    "garden",
    "recipe",
    "butter",
    "oven",
    "castle",
    "history",
    "battle",
    "army",
    "museum",
    "painting",
    "music",
    "concert",
    "guitar",
    "planet",
    "science",
    "research",
    "student",
    "college",
    "exam",
    "library",
    "novel",
    "author",
    "chapter",
    "train",
    "station",
    "bridge",
    "island",
    "harbour",
    "winter",
    "storm",
    "forest",
    "animal",
    "doctor",
    "medicine",
    "health",
    "support",
    "help",
    "privacy",
    "cookies",
    "policy",
    "contact",
    "subscribe",
    "newsletter",
    "share",
    "comment",
    "photograph",
    "yesterday",
    "government",
    "international",
    "championship",
    "development",
    "understanding",
    "responsibility",
    "online",
    "video",
];
