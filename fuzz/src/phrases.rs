//! What is found in a text does not depend on how the text is cut or dressed up. Input: a text.

use std::path::Path;
use std::sync::LazyLock;

use wardgate_core::{CategoryName, Evidence, Finding, Inspector, Stage as _, TextKind};
use wardgate_phrases::{PhraseFile, Phrases};

use crate::pieces;

/// Every construction that phrase files know, with words that occur often.
const FILE: &str = r#"
category = "one"
language = "en"
source = "a fuzz target"

[[phrase]]
text = "kill myself | end it"
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
text = "naïve café"
weight = 13

[[phrase]]
text = "again"
weight = 10
count = 3

[[phrase]]
text = "aa aa aa"
weight = 1
count = 5

[[phrase]]
all = ["painless | quick", "way to die", "die die"]
within = 6
weight = 50
unless = ["a joke"]

[[context]]
text = "helpline | crisis line"
weight = -15
"#;

/// Longest snippet, in bytes: what is promised ("about 160"), with a whole character more at either end.
const MAX_SNIPPET: usize = 200;

static PHRASES: LazyLock<Phrases> = LazyLock::new(|| {
    let file = PhraseFile { path: Path::new("one.toml"), text: FILE };
    Phrases::compile(&[file], &[CategoryName::from("one")]).expect("the phrases compile").0
});

/// Checks one text.
pub fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for kind in [TextKind::Page, TextKind::Search] {
        let whole = scan(kind, [&*text]);
        for finding in &whole {
            is_sound(finding, &text);
        }
        for pieces in pieces::of_text(&text) {
            assert_eq!(scan(kind, pieces), whole, "{text:?}, cut");
        }
        assert_eq!(scores(kind, &text.to_ascii_uppercase()), scores(kind, &text), "{text:?}, in capitals");
        let hyphens: String = text.chars().flat_map(|c| [c, '\u{AD}']).collect();
        assert_eq!(scores(kind, &hyphens), scores(kind, &text), "{text:?}, with soft hyphens");
    }
}

fn scores(kind: TextKind, text: &str) -> Vec<f32> {
    scan(kind, [text]).iter().map(|finding| finding.score).collect()
}

/// What is found; checks that whatever changes is announced.
fn scan<'t>(kind: TextKind, pieces: impl IntoIterator<Item = &'t str>) -> Vec<Finding> {
    let mut inspector = PHRASES.inspector(kind).expect("there are phrases");
    let mut known = Vec::new();
    for piece in pieces {
        let changed = inspector.text(piece);
        changed_as_said(changed, &*inspector, &mut known);
    }
    let changed = inspector.end();
    changed_as_said(changed, &*inspector, &mut known);
    known
}

fn changed_as_said(changed: bool, inspector: &dyn Inspector, known: &mut Vec<Finding>) {
    let mut now = Vec::new();
    inspector.findings(&mut now);
    // What comes and goes within a piece may be announced, though nothing of it is left.
    assert!(changed || now == *known, "not announced: {known:?}, then {now:?}");
    *known = now;
}

fn is_sound(finding: &Finding, text: &str) {
    assert!(finding.score.is_finite() && finding.score >= 0.0, "{finding:?}");
    let Evidence::Phrases(hits) = &finding.evidence else { panic!("{finding:?}") };
    for hit in hits {
        assert!(text.is_char_boundary(hit.offset as usize), "{hit:?} in {text:?}");
        assert!(hit.snippet.len() <= MAX_SNIPPET, "{hit:?}");
    }
}
