//! Configurations: any bytes give a tree or diagnostics that point into the text.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringgate_config::fuzz_config(data));
