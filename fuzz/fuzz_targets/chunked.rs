//! Chunked bodies: in one piece or byte by byte, the data and the end are the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_core::http::fuzz::fuzz_chunked(data));
