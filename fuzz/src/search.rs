//! The words taken out of an address are bounded, and the same for every spelling of the address. Input: an address.

use wardgate_core::{Report, RequestHead, Stage as _, Target};
use wardgate_search::Search;

/// Most bytes of a search that are kept.
const MAX_SEARCH_BYTES: usize = 2048;

/// Checks one address.
pub fn check(data: &[u8]) {
    let Ok(address) = std::str::from_utf8(data) else { return };
    let Ok(target) = Target::parse(address) else { return };
    for method in ["GET", "POST"] {
        let report = report(method, &target);
        for written in &report.written {
            let words = &*written.text;
            assert!(!words.trim().is_empty() && words.len() <= MAX_SEARCH_BYTES, "{words:?}");
            assert!(!written.service.is_empty());
        }
        assert!(method == "POST" || report.body_kind.is_none(), "a GET has no body");
    }
    assert!(report("PUT", &target).written.is_empty());
}

fn report(method: &str, target: &Target) -> Report {
    let mut report = Report::default();
    Search.request(&RequestHead { method, target, content_type: None }, &mut report);
    report
}
