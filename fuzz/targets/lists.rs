//! Shows libFuzzer's inputs to the check `lists`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::lists::check(data));
