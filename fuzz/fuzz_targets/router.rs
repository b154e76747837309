//! Route tables: look-ups agree with explanations, and witnesses prove their conflicts.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_router::fuzz::fuzz_router(data));
