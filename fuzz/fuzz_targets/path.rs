//! Path normalisation: the result is canonical and holds nothing that the policy refuses.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_router::fuzz::fuzz_path(data));
