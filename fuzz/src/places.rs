//! Diagnostics must say where: a place that exists in the file they name.

use wardgate_core::Diagnostic;

/// Checks that a diagnostic says something, and that its place lies within the text of its file.
pub(crate) fn check(diagnostic: &Diagnostic, text: &str) {
    assert!(!diagnostic.message.is_empty(), "{diagnostic:?} says nothing");
    let Some(at) = diagnostic.position else { return };
    let line = text.split('\n').nth(at.line as usize - 1);
    let line = line.unwrap_or_else(|| panic!("{diagnostic}: the file ends before that line"));
    assert!(at.column as usize <= line.chars().count() + 1, "{diagnostic}: the line ends before that column");
}
