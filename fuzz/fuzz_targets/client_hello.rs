//! First TLS flights: judged alike however they come, and no name that is none.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::fuzz::fuzz_client_hello(data));
