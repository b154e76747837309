//! The fuzz corpora, run as tests.

use std::fs;
use std::path::Path;

use crate::http::fuzz;

fn each(corpus: &str, run: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(corpus);
    let mut files = 0;
    for entry in fs::read_dir(&dir).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        run(&bytes);
        for cut in 0..bytes.len() {
            run(&bytes[..cut]);
            run(&bytes[cut..]);
        }
        files += 1;
    }
    assert!(files >= 10, "{} is nearly empty", dir.display());
}

#[test]
fn requests_of_the_corpus_hold() {
    each("request", fuzz::fuzz_request);
}

#[test]
fn responses_of_the_corpus_hold() {
    each("response", fuzz::fuzz_response);
}

#[test]
fn chunked_bodies_of_the_corpus_hold() {
    each("chunked", fuzz::fuzz_chunked);
}

#[test]
fn requests_of_http2_of_the_corpus_hold() {
    each("http2_request", fuzz::fuzz_http2_request);
}

#[test]
fn responses_of_http2_of_the_corpus_hold() {
    each("http2_response", fuzz::fuzz_http2_response);
}
