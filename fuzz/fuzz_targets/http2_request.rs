//! HTTP/2 request heads: what is accepted is one request in HTTP/1.1 and in HTTP/2.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::http::fuzz::fuzz_http2_request(data));
