//! What must hold for whatever bytes arrive, one module a subject. libFuzzer looks for inputs that break it
//! (`targets/`); `tests/replay.rs` shows every input kept in `corpus/` and `regressions/` to the same functions.
//!
//! Each module has one function `check`, which panics where its property does not hold. Inputs are kept readable: a
//! request as it stands on the wire, a list as it stands in a file.

pub mod answer;
pub mod client_hello;
pub mod lists;
pub mod phrases;
pub mod policy;
pub mod request_head;
pub mod search;
pub mod target;
pub mod text;

mod chunked;
mod pieces;
mod places;

/// A check and the name of its folders.
pub type Target = (&'static str, fn(&[u8]));

/// Every check.
pub const TARGETS: [Target; 9] = [
    ("answer", answer::check),
    ("client_hello", client_hello::check),
    ("lists", lists::check),
    ("phrases", phrases::check),
    ("policy", policy::check),
    ("request_head", request_head::check),
    ("search", search::check),
    ("target", target::check),
    ("text", text::check),
];
