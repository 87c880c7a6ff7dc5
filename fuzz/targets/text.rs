//! Shows libFuzzer's inputs to the check `text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::text::check(data));
