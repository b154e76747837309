//! Response heads: what is accepted and written out again is the same response.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::http::fuzz::fuzz_response(data));
