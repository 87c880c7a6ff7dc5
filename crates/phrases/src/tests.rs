//! What is found in which text, each case in one piece, character by character and in pieces cut at random; and what
//! is wrong with which file.

use std::fmt::Write;
use std::path::Path;

use wardgate_core::{CategoryName, Evidence, Finding, Inspector, PhraseHit, Severity, Stage, TextKind};

use super::inspect::PhraseInspector;
use super::{PhraseFile, Phrases, oracle};

const HEAD: &str = "category = 'one'\nlanguage = 'en'\nsource = 'tests'\n";

fn categories() -> Vec<CategoryName> {
    ["one", "two", "gambling"].map(CategoryName::from).to_vec()
}

fn compile(body: &str) -> Phrases {
    let text = format!("{HEAD}{body}");
    let file = PhraseFile { path: Path::new("one.toml"), text: &text };
    Phrases::compile(&[file], &categories()).expect("the phrases compile").0
}

/// Feeds the pieces; checks that whatever changes is announced.
fn scan<'p>(phrases: &Phrases, kind: TextKind, pieces: impl Iterator<Item = &'p str>) -> Vec<Finding> {
    let mut inspector = phrases.inspector(kind).expect("there are phrases");
    let mut findings = Vec::new();
    let look = |inspector: &dyn Inspector| {
        let mut findings = Vec::new();
        inspector.findings(&mut findings);
        findings
    };
    for piece in pieces {
        let changed = inspector.text(piece);
        let now = look(&*inspector);
        assert_eq!(changed, now != findings, "after `{piece}`: {findings:?} {now:?}");
        findings = now;
    }
    let changed = inspector.end();
    let now = look(&*inspector);
    assert_eq!(changed, now != findings, "at the end: {findings:?} {now:?}");
    now
}

/// Small pseudo-random numbers: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % bound
    }
}

fn random_cuts<'t>(text: &'t str, random: &mut Random) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + random.below(12)));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

/// Scans the text in every way of cutting it; all must agree.
fn find(phrases: &Phrases, kind: TextKind, text: &str) -> Vec<Finding> {
    let whole = scan(phrases, kind, std::iter::once(text));
    let characters: Vec<&str> = text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    assert_eq!(scan(phrases, kind, characters.into_iter()), whole, "`{text}` by characters");
    let mut random = Random(text.len() as u64);
    for _ in 0..20 {
        let pieces = random_cuts(text, &mut random);
        assert_eq!(scan(phrases, kind, pieces.iter().copied()), whole, "`{text}` as {pieces:?}");
    }
    whole
}

fn score(phrases: &Phrases, kind: TextKind, text: &str) -> f32 {
    find(phrases, kind, text).iter().map(|finding| finding.score).sum()
}

fn hits(findings: &[Finding]) -> &[PhraseHit] {
    match findings {
        [Finding { evidence: Evidence::Phrases(hits), .. }] => hits,
        other => panic!("one finding expected: {other:?}"),
    }
}

const PHRASES: &str = r#"
[[phrase]]
text = "kill myself"
weight = 60

[[phrase]]
text = "suicid*"
weight = 20
unless = ["suicide squad", "prevention"]
within = 4

[[phrase]]
text = "*cide"
weight = 3

[[phrase]]
text = "*mmmm*"
weight = 2
kinds = ["search"]

[[phrase]]
text = "sex | sexy"
weight = 7

[[phrase]]
text = "don't care"
weight = 11

[[phrase]]
text = "naïve café"
weight = 13

[[phrase]]
text = "again"
weight = 10
count = 3

[[phrase]]
all = ["painless | quick", "way to die"]
within = 6
weight = 50

[[context]]
text = "helpline | crisis line"
weight = -15
"#;

#[test]
fn scores() {
    let phrases = compile(PHRASES);
    for (name, text, expected) in [
        ("nothing", "a quiet page", 0.0),
        ("empty", "", 0.0),
        ("whole text", "kill myself", 60.0),
        ("in a sentence", "I could kill myself, he said.", 60.0),
        ("case", "KILL Myself", 60.0),
        ("signs between words", "kill -- \"myself\"", 60.0),
        ("line break", "kill\r\n\t myself", 60.0),
        ("not inside a word", "skill myself", 0.0),
        ("not with more letters", "kill myselfish", 0.0),
        ("not with a word between", "kill it myself", 0.0),
        ("not run together", "killmyself", 0.0),
        ("twice counts once", "kill myself kill myself", 60.0),
        ("count", "again again again again", 30.0),
        ("Essex", "Essex, Sussex and Middlesex", 0.0),
        ("spellings count once", "sex sexy", 7.0),
        ("prefix", "suicidal", 20.0),
        ("prefix is not an infix", "parasuicidal", 0.0),
        ("suffix", "pesticide genocide", 3.0),
        ("suffix and prefix", "suicide", 23.0),
        ("suffix is no infix", "coincided", 0.0),
        ("accents left out", "naive cafe", 13.0),
        ("accents put in", "kíll mysélf", 60.0),
        ("accents apart", "na\u{ef}ve cafe\u{301} ki\u{301}ll", 13.0),
        ("full width", "ｋｉｌｌ　ｍｙｓｅｌｆ", 60.0),
        ("mathematical letters", "𝐤𝐢𝐥𝐥 𝓂𝓎𝓈ℯ𝓁𝒻", 60.0),
        ("zero width", "k\u{200b}ill my\u{2060}se\u{feff}lf", 60.0),
        ("soft hyphen", "kill my\u{ad}self", 60.0),
        ("apostrophe", "I don't care", 11.0),
        ("apostrophe left out", "I dont care", 11.0),
        ("curly apostrophe", "I don’t care", 11.0),
        ("unless before", "prevention of suicide", 3.0),
        ("unless after", "suicide and its prevention", 3.0),
        ("unless around", "the suicide squad", 3.0),
        ("unless too far before", "prevention is one two three four suicide", 23.0),
        ("unless just near enough", "suicide is one two prevention", 3.0),
        ("unless too far after", "suicide is one two three four prevention", 23.0),
        ("unless once, counted once", "suicide prevention a b c d e f g suicide", 23.0),
        ("combination", "a painless way to die", 50.0),
        ("combination, other order", "a way to die, quick", 50.0),
        ("combination, other words between", "quick or painless: one way to die", 50.0),
        ("combination too wide", "quick one two three four way to die", 0.0),
        ("combination from the nearer part", "quick one two three four quick way to die", 50.0),
        ("half a combination", "a painless way", 0.0),
        ("context", "kill myself, the helpline said", 45.0),
        ("context counts once", "kill myself helpline helpline crisis line", 45.0),
        ("never below nothing", "sex helpline", 0.0),
        ("context alone", "helpline", 0.0),
        ("kind of text", "hmmmmm", 0.0),
    ] {
        assert_eq!(score(&phrases, TextKind::Page, text), expected, "{name}: {text}");
    }
    assert_eq!(score(&phrases, TextKind::Search, "hmmmmm"), 2.0);
    assert!(phrases.inspector(TextKind::Address).is_none(), "addresses are not text");
}

#[test]
fn evidence() {
    let phrases = compile(PHRASES);
    let text =
        "Suicide prevention — a café’s notice: “kill  myself”, again and again, quick: what way to die";
    let findings = find(&phrases, TextKind::Post, text);
    let shown: Vec<(&str, u64, f32, u32)> =
        hits(&findings).iter().map(|hit| (&*hit.phrase, hit.offset, hit.weight, hit.count)).collect();
    let place = |word: &str| text.find(word).unwrap() as u64;
    assert_eq!(
        shown,
        [
            ("suicid*", 0, 0.0, 1),
            ("*cide", 0, 3.0, 1),
            ("kill myself", place("kill"), 60.0, 1),
            ("again", place("again"), 20.0, 2),
            ("quick + way to die", place("quick"), 50.0, 1),
        ]
    );
    assert_eq!((findings[0].score, findings[0].kind), (133.0, TextKind::Post));
    assert_eq!(findings[0].category.as_str(), "one");
    for hit in hits(&findings) {
        assert!(hit.snippet.len() <= 160 && hit.snippet.len() > 40, "{}", hit.snippet);
    }
    assert!(hits(&findings)[2].snippet.contains("notice: “kill myself”, again"));
}

#[test]
fn evidence_shows_the_occurrence_that_counts() {
    let phrases = compile(PHRASES);
    let text = format!("suicide prevention {} suicide note", "word ".repeat(40));
    let findings = find(&phrases, TextKind::Page, &text);
    let hit = hits(&findings).iter().find(|hit| &*hit.phrase == "suicid*").unwrap();
    assert_eq!((hit.offset, hit.weight, hit.count), (text.rfind("suicide").unwrap() as u64, 20.0, 2));
    assert!(hit.snippet.ends_with("suicide note"));
}

#[test]
fn a_snippet_is_whole_words_around_the_phrase() {
    let phrases = compile("[[phrase]]\ntext = 'needle'\nweight = 1");
    let text = format!("{} needle {}", "straw ".repeat(3000), "hay ".repeat(3000));
    let findings = find(&phrases, TextKind::Page, &text);
    let snippet = &hits(&findings)[0].snippet;
    assert!(snippet.starts_with("straw straw") && snippet.ends_with("hay hay"), "{snippet}");
    assert!((120..=160).contains(&snippet.len()), "{}", snippet.len());
    assert!(snippet.split(' ').all(|word| ["straw", "needle", "hay"].contains(&word)), "{snippet}");
}

#[test]
fn a_phrase_over_three_pieces() {
    let phrases = compile(PHRASES);
    let mut inspector = phrases.inspector(TextKind::Page).unwrap();
    assert!(!inspector.text("I want to ki"));
    assert!(!inspector.text("ll   m"));
    assert!(!inspector.text("yself"), "the word could go on");
    assert!(inspector.end());
}

#[test]
fn categories_are_reported_apart() {
    let files = [("one", 5), ("two", 7)].map(|(category, weight)| {
        format!("{}[[phrase]]\ntext = 'both'\nweight = {weight}", HEAD.replace("one", category))
    });
    let files = files.each_ref().map(|text| PhraseFile { path: Path::new("f.toml"), text });
    let (phrases, warnings) = Phrases::compile(&files, &categories()).unwrap();
    let scores: Vec<(String, f32)> = find(&phrases, TextKind::Page, "both")
        .into_iter()
        .map(|f| (f.category.to_string(), f.score))
        .collect();
    assert_eq!(scores, [("one".to_owned(), 5.0), ("two".to_owned(), 7.0)]);
    assert_eq!((phrases.len(), phrases.languages().len(), warnings), (2, 1, vec![]));
}

#[test]
fn what_grows_is_bounded() {
    let mut body = String::new();
    for number in 0..100 {
        write!(body, "[[phrase]]\ntext = 'number {number}'\nweight = 1\nunless = ['harmless']\n").unwrap();
    }
    let phrases = compile(&body);
    let mut inspector = phrases.inspector(TextKind::Page).unwrap();
    let mut text = String::new();
    for number in 0..10_000 {
        write!(text, "number {} \u{200b}\u{301}'' ﷺ ", number % 100).unwrap();
    }
    for _ in 0..10 {
        inspector.text(&text);
        inspector.text(&"\u{200b}".repeat(100_000));
        inspector.text(&"x".repeat(100_000));
        inspector.text(&" \n".repeat(100_000));
    }
    inspector.end();
    let mut findings = Vec::new();
    inspector.findings(&mut findings);
    assert_eq!(findings[0].score, 100.0, "every phrase counts");
    let hits = hits(&findings);
    assert_eq!(hits.len(), 32, "but not every phrase is recorded");
    assert!(hits.iter().all(|hit| hit.snippet.len() <= 160 && hit.count == 1000));
}

#[test]
fn words_far_apart_in_bytes() {
    let phrases = compile("[[phrase]]\ntext = 'kill myself'\nweight = 60");
    let text = format!("kill {} myself now", "\u{200b} ".repeat(2000));
    let findings = find(&phrases, TextKind::Page, &text);
    assert_eq!((findings[0].score, hits(&findings)[0].offset), (60.0, 0));
}

#[test]
fn a_repeated_phrase_is_news_only_so_often() {
    let phrases = compile("[[phrase]]\ntext = 'again'\nweight = 1");
    let mut inspector = phrases.inspector(TextKind::Page).unwrap();
    let news = (0..5000).filter(|_| inspector.text("again ")).count();
    assert!(news <= 1002, "{news}");
}

/// Compiles one file and returns its diagnostics as people see them.
fn complaints(text: &str) -> Vec<String> {
    let file = PhraseFile { path: Path::new("one.toml"), text };
    match Phrases::compile(&[file], &categories()) {
        Ok((_, warnings)) => {
            assert!(warnings.iter().all(|warning| warning.severity == Severity::Warning));
            warnings.iter().map(ToString::to_string).collect()
        }
        Err(diagnostics) => diagnostics.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn files_that_are_wrong() {
    let phrase = |keys: &str| format!("{HEAD}[[phrase]]\n{keys}\n");
    for (name, text, expected) in [
        (
            "unknown key",
            phrase("text = 'a phrase'\nwieght = 3"),
            "one.toml:6:1: error: unknown field `wieght`, expected one of `text`, `all`, `weight`, `kinds`, `count`, \
             `unless`, `within`\n  help: did you mean `weight`?",
        ),
        (
            "unknown kind",
            phrase("text = 'a phrase'\nweight = 3\nkinds = ['serach']"),
            "one.toml:7:10: error: unknown variant `serach`, expected one of `search`, `prompt`, `page`, `post`\n  \
             help: did you mean `search`?",
        ),
        (
            "category with a slip",
            phrase("text = 'a phrase'\nweight = 3").replace("one", "gamblign"),
            "one.toml:1:12: error: unknown category `gamblign`\n  help: did you mean `gambling`?",
        ),
        (
            "category unlike any",
            phrase("text = 'a phrase'\nweight = 3").replace("one", "xylophones"),
            "one.toml:1:12: error: unknown category `xylophones`\n  help: known categories: one, two, gambling",
        ),
        (
            "no TOML",
            "category = one".to_owned(),
            "one.toml:1:12: error: string values must be quoted, expected literal string",
        ),
        (
            "no phrase",
            HEAD.to_owned(),
            "one.toml:1:1: error: the file has no phrase\n  help: add a [[phrase]], or remove the file",
        ),
        (
            "no source",
            phrase("text = 'a phrase'\nweight = 3").replace("tests", " "),
            "one.toml:3:10: error: `source` is empty\n  help: say where the knowledge comes from, so that others can \
             judge it",
        ),
        (
            "no language",
            phrase("text = 'a phrase'\nweight = 3").replace("'en'", "'e'"),
            "one.toml:2:12: error: `e` is no language tag\n  help: write a tag such as `en`, `cy` or `pt-BR`",
        ),
        (
            "neither text nor all",
            phrase("weight = 3"),
            "one.toml:4:1: error: a phrase has either `text` or `all`\n  help: `text` is one phrase, `all` a \
             combination of phrases",
        ),
        (
            "empty phrase",
            phrase("text = ' ?! '\nweight = 3"),
            "one.toml:5:10: error: the phrase `?!` is empty once signs are left out",
        ),
        (
            "empty spelling",
            phrase("text = 'a phrase |'\nweight = 3"),
            "one.toml:5:20: error: the phrase `` is empty once signs are left out",
        ),
        (
            "short phrase",
            phrase("text = 'a'\nweight = 3"),
            "one.toml:5:9: error: the phrase `a` is too short: 2 letters at least",
        ),
        (
            "short open phrase",
            phrase("text = 'abc*'\nweight = 3"),
            "one.toml:5:9: error: the phrase `abc*` is too short for a `*`: 4 letters at least",
        ),
        (
            "star in the middle",
            phrase("text = 'ki*ll'\nweight = 3"),
            "one.toml:5:9: error: the phrase `ki*ll` has a `*` in its middle; it may stand at the beginning or the end",
        ),
        (
            "long phrase",
            phrase(&format!("text = '{}'\nweight = 3", "a ".repeat(17).trim())),
            "one.toml:5:9: error: the phrase `a a a a a a a a a a a a a a a a a` is too long: 16 words and 200 bytes \
             at most",
        ),
        (
            "no weight in points",
            phrase("text = 'a phrase'\nweight = 0"),
            "one.toml:6:10: error: weight is 0, outside 1 to 200 in points",
        ),
        (
            "negative phrase",
            phrase("text = 'a phrase'\nweight = -5"),
            "one.toml:6:10: error: weight is -5, outside 1 to 200 in points",
        ),
        (
            "positive context",
            phrase("text = 'a phrase'\nweight = 5\n[[context]]\ntext = 'good'\nweight = 5"),
            "one.toml:9:10: error: the weight of context is 5, outside -200 to -1 in points",
        ),
        (
            "one part",
            phrase("all = ['a phrase']\nweight = 5"),
            "one.toml:5:7: error: `all` takes 2 to 8 phrases\n  help: for a single phrase write `text`",
        ),
        (
            "within without use",
            phrase("text = 'a phrase'\nweight = 5\nwithin = 3"),
            "one.toml:7:10: error: `within` has nothing to act on\n  help: it says how near `unless` must stand, or how \
             close together the parts of `all`",
        ),
        (
            "no kinds",
            phrase("text = 'a phrase'\nweight = 5\nkinds = []"),
            "one.toml:7:9: error: `kinds` is empty, so the phrase is never looked for\n  help: leave `kinds` out for \
             every kind of text",
        ),
        (
            "duplicate",
            phrase("text = 'a phrase'\nweight = 5\n[[phrase]]\ntext = 'A  Phrase'\nweight = 6"),
            "one.toml:8:9: error: the phrase `A Phrase` is already in this category\n  help: it also stands at \
             one.toml:5:9; keep one of them",
        ),
        (
            "needless spelling",
            phrase("text = 'suicid* | suicide'\nweight = 5"),
            "one.toml:5:19: warning: `suicide` is already found by `suicid*`\n  help: leave it out",
        ),
        (
            "a spelling on a line of its own",
            phrase("text = \"\"\"\n    a phrase |\n    ?!\n\"\"\"\nweight = 5"),
            "one.toml:7:5: error: the phrase `?!` is empty once signs are left out",
        ),
    ] {
        assert_eq!(complaints(&text), [expected], "{name}");
    }
}

#[test]
fn one_phrase_may_weigh_differently_by_kind() {
    let text = format!(
        "{HEAD}[[phrase]]\ntext = 'a phrase'\nweight = 5\nkinds = ['search']\n[[phrase]]\ntext = 'a phrase'\nweight = \
         2\nkinds = ['page', 'post']"
    );
    assert_eq!(complaints(&text), Vec::<String>::new());
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = format!("{HEAD}[[phrase]]\ntext = 'a'\nweight = 3\n[[phrase]]\ntext = 'abc'\nweight = 1000\n");
    assert_eq!(complaints(&text).len(), 2);
}

#[test]
fn no_files_no_inspector() {
    let (phrases, _) = Phrases::compile(&[], &categories()).unwrap();
    assert!(phrases.is_empty() && phrases.inspector(TextKind::Page).is_none());
}

/// Words and what stands between them, so chosen that phrases made of them occur all the time.
const WORDS: [&str; 24] = [
    "a",
    "ab",
    "abc",
    "abcd",
    "abcde",
    "kill",
    "killing",
    "my",
    "myself",
    "self",
    "cide",
    "suicide",
    "suicidal",
    "pesticide",
    "Été",
    "été",
    "straße",
    "ﬁne",
    "ﷺ",
    "привет",
    "Ἀθῆναι",
    "abcdefghijklmnop",
    "zzzz",
    "don't",
];
const GAPS: [&str; 16] = [
    " ",
    " ",
    " ",
    " ",
    ", ",
    "\n",
    "-",
    "\u{2014}",
    "\u{a0}",
    "\u{200b}",
    "'",
    "’",
    "\u{301}",
    "",
    " \u{200b} ",
    "   ",
];

fn random_phrase(random: &mut Random) -> String {
    let words: Vec<&str> = (0..1 + random.below(4)).map(|_| WORDS[random.below(WORDS.len())]).collect();
    let stars = [("", ""), ("", ""), ("*", ""), ("", "*"), ("*", "*")][random.below(5)];
    let words = words.join(" ");
    let cut = words.floor_char_boundary(words.len().saturating_sub(random.below(3)));
    format!("{}{}{}", stars.0, words[..cut].trim_end(), stars.1)
}

fn random_policy(random: &mut Random) -> Phrases {
    let mut body = String::new();
    let mut written = std::collections::HashSet::new();
    for _ in 0..1 + random.below(60) {
        let phrase = random_phrase(random);
        let entry = match random.below(5) {
            0 => format!("all = [\"{phrase}\", \"{}\"]\nweight = 3\nwithin = 9", random_phrase(random)),
            1 => format!("text = \"{phrase}\"\nweight = 2\nunless = [\"{}\"]", random_phrase(random)),
            _ => format!("text = \"{phrase}\"\nweight = 1\ncount = {}", 1 + random.below(100)),
        };
        let text = format!("{HEAD}{body}[[phrase]]\n{entry}\n");
        let file = PhraseFile { path: Path::new("one.toml"), text: &text };
        // What is too short or there already is left out.
        if written.insert(phrase) && Phrases::compile(&[file], &categories()).is_ok() {
            write!(body, "[[phrase]]\n{entry}\n").unwrap();
        }
    }
    compile(&format!("{body}[[phrase]]\ntext = 'always there'\nweight = 1\n"))
}

fn random_text(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(3000) {
        match random.below(1000) {
            0 => text.push_str(&"x".repeat(random.below(9000))),
            1 => text.push_str(&" ".repeat(random.below(9000))),
            2 => text.push_str(&"\u{200b}".repeat(random.below(3000))),
            3 => text.push_str(&"ﷺ".repeat(random.below(1000))),
            _ => {}
        }
        text.push_str(WORDS[random.below(WORDS.len())]);
        text.push_str(GAPS[random.below(GAPS.len())]);
    }
    text
}

#[test]
fn the_quick_way_and_the_plain_way_agree() {
    let mut random = Random(7);
    let mut found = 0;
    for round in 0..40 {
        let phrases = random_policy(&mut random);
        let automaton = oracle::automaton(&phrases);
        for longest in [1, 20, 700, 20_000] {
            let text = random_text(&mut random);
            let mut quick = PhraseInspector::new(phrases.compiled.clone(), TextKind::Page);
            let mut plain = oracle::Oracle::new(&phrases, &automaton, TextKind::Page);
            let look = |inspector: &dyn Inspector| {
                let mut findings = Vec::new();
                inspector.findings(&mut findings);
                findings
            };
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.ceil_char_boundary(1 + random.below(longest)));
                let changed = (quick.text(piece), plain.text(piece));
                assert_eq!(changed.0, changed.1, "round {round}, after `{piece}`");
                if changed.0 {
                    assert_eq!(look(&quick), look(&plain), "round {round}, after `{piece}`");
                }
                rest = after;
            }
            assert_eq!(quick.end(), plain.end(), "round {round}, at the end");
            assert_eq!(look(&quick), look(&plain), "round {round}, at the end");
            assert_eq!(quick.tally.told, plain.tally.told, "round {round}: what, where, and in which order");
            found += look(&plain).len();
        }
    }
    assert!(found > 100, "phrases were found in {found} texts of 160");
}
