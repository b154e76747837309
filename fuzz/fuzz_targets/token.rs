//! Tokens and key sets: any bytes are taken apart, and what is signed is what came.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_filters::auth::jwt::fuzz::fuzz_token(data));
