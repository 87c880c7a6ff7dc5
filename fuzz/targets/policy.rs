//! Shows libFuzzer's inputs to the check `policy`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::policy::check(data));
