//! Keeps `tests/README.md` true: the tables of cases in it are those that run.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// One table at a time: all are in one file.
static README: Mutex<()> = Mutex::new(());

/// Checks that the section of `tests/README.md` between `<!-- cases: TABLE -->` and `<!-- end -->` lists exactly these
/// names and sources, in order. With `WARDGATE_WRITE_README` in the environment it is written in place of checked.
pub(crate) fn check(table: &str, rows: impl IntoIterator<Item = (&'static str, &'static str)>) {
    let _turn = README.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut wanted = String::from("\n| case | source |\n|---|---|\n");
    for (name, source) in rows {
        writeln!(wanted, "| {name} | {source} |").unwrap();
    }
    wanted.push('\n');
    let begin = format!("<!-- cases: {table} -->\n");
    let (before, rest) = readme.split_once(&begin).unwrap_or_else(|| panic!("README.md has no {begin:?}"));
    let (listed, after) = rest.split_once("<!-- end -->").expect("README.md has an end to its table");
    if std::env::var_os("WARDGATE_WRITE_README").is_some() {
        std::fs::write(&path, format!("{before}{begin}{wanted}<!-- end -->{after}")).unwrap();
        return;
    }
    assert!(
        listed == wanted,
        "tests/README.md does not list the cases of {table} as they run; \
         run this test with WARDGATE_WRITE_README=1 to write them"
    );
}
