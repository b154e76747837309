//! HTTP/2 response heads and trailers: what is accepted is one response in HTTP/1.1.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::http::fuzz::fuzz_http2_response(data));
