//! Shows libFuzzer's inputs to the check `search`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::search::check(data));
