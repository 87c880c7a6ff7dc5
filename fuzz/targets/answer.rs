//! Shows libFuzzer's inputs to the check `answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::answer::check(data));
