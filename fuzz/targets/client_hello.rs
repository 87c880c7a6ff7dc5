//! Shows libFuzzer's inputs to the check `client_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wardgate_fuzz::client_hello::check(data));
