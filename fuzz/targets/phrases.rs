//! Shows libFuzzer's inputs to the check `phrases`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::phrases::check(data));
