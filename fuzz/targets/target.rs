//! Shows libFuzzer's inputs to the check `target`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::target::check(data));
