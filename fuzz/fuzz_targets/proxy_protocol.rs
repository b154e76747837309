//! PROXY protocol headers: judged alike however they come, and written as they read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::fuzz::fuzz_proxy_protocol(data));
