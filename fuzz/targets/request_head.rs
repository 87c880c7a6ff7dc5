//! Shows libFuzzer's inputs to the check `request_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::request_head::check(data));
