//! The fuzz entries on lists made to break them.

use proptest::prelude::*;

use crate::http::fuzz::{fuzz_http2_request, fuzz_http2_response};

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec())
}

/// Bytes that heads are cut and split with.
fn odd() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(&b"a:, \t\r\n;=/?#*%_-\"{}\x7f\x80\xff0"[..]);
    prop::collection::vec(byte, 0..6)
}

fn text(words: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => one_of(words),
        1 => odd(),
        1 => (one_of(words), odd()).prop_map(|(word, odd)| [word, odd].concat()),
    ]
}

fn field() -> impl Strategy<Value = Vec<u8>> {
    const NAMES: &[&str] = &[
        "host",
        "content-length",
        "content_length",
        "te",
        "expect",
        "cookie",
        "connection",
        "transfer-encoding",
        "transfer_encoding",
        "upgrade",
        "x-forwarded-for",
        "trailer",
        "x-a",
        "grpc-status",
        "x_y",
        "http2-settings",
        "proxy-authorization",
        "sec-websocket-key",
    ];
    const VALUES: &[&str] = &[
        "a",
        "a.example",
        "a.example:80",
        "0",
        "5",
        "trailers",
        "100-continue",
        "",
        "chunked",
        "x; y",
        "websocket",
        "b=c",
    ];
    (text(NAMES), text(VALUES)).prop_map(|(name, value)| [name, value].join(&b':'))
}

fn list() -> impl Strategy<Value = Vec<u8>> {
    const METHODS: &[&str] = &["GET", "POST", "HEAD", "OPTIONS", "CONNECT", "PURGE"];
    const HOSTS: &[&str] = &["a.example", "a.example:80", "A.EXAMPLE", "[::1]", "u@a", ""];
    const PATHS: &[&str] = &["/", "/a?b", "*", "", "/a#b", "//a", "a", "/%0d%0a", "?x"];
    let head = (
        any::<u8>(),
        text(METHODS),
        one_of(&["http", "https", "", "ftp"]),
        text(HOSTS),
        text(PATHS),
    );
    (head, prop::collection::vec(field(), 0..8)).prop_map(
        |((flags, method, scheme, host, path), fields)| {
            let mut parts = vec![[vec![flags], method].concat(), scheme, host, path];
            parts.extend(fields);
            parts.join(&0)
        },
    )
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    const STATUSES: &[&str] = &["200", "204", "304", "100", "101", "103", "404", "999"];
    let fields = prop::collection::vec(field(), 0..8);
    (any::<u8>(), one_of(STATUSES), fields).prop_map(|(flags, status, fields)| {
        let mut parts = vec![[vec![flags], status].concat()];
        parts.extend(fields);
        parts.join(&0)
    })
}

proptest! {
    #[test]
    fn any_list_of_a_request_holds(list in list()) {
        fuzz_http2_request(&list);
    }

    #[test]
    fn any_list_of_a_response_holds(list in answer()) {
        fuzz_http2_response(&list);
    }

    #[test]
    fn any_bytes_hold(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        fuzz_http2_request(&bytes);
        fuzz_http2_response(&bytes);
    }
}
