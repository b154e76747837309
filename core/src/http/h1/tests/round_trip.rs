//! Generated heads: written out, read back, the same. Bytes near to heads: never a panic, and
//! nothing accepted that reads differently when written again.

use proptest::prelude::*;

use super::{lines, request, response};
use crate::http::h1::{Connection, RequestOut, ResponseOut, encode_request, encode_response};
use crate::http::{BodyLen, Method, RequestHead, ResponseHead, fuzz};

fn framing() -> impl Strategy<Value = BodyLen> {
    prop_oneof![
        Just(BodyLen::None),
        any::<u64>().prop_map(BodyLen::Length),
        Just(BodyLen::Chunked),
    ]
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        "x-[a-z0-9!#$%&'*+.^`|~-]{1,20}",
        Just("Accept".to_owned()),
        Just("set-cookie".to_owned()),
        Just("Via".to_owned()),
    ];
    let value = prop_oneof!["", "[!-~]{1,12}", "[!-~][ -~\t]{0,30}[!-~]", "[!-~]é[!-~]"];
    prop::collection::vec((name, value), 0..12)
}

proptest! {
    #[test]
    fn a_request_head_survives_the_wire(
        path in "/[!-\"$->@-~]{0,40}",
        query in prop::option::of("[!-\"$-~]{0,20}"),
        host in "[a-z][a-z0-9-]{0,10}(\\.[a-z]{1,5})?(:[0-9]{1,4})?",
        method in prop_oneof!["GET", "POST", "OPTIONS", "[A-Z]{1,32}"]
            .prop_filter("CONNECT has its own target", |method| method != "CONNECT"),
        framing in framing(),
        fields in fields(),
    ) {
        let text = format!("{method} / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (mut head, _) = request(text.as_bytes()).unwrap();
        head.set_path(path.as_bytes()).unwrap();
        head.set_query(query.as_ref().map(String::as_bytes)).unwrap();
        for (name, value) in &fields {
            head.fields.add(name, value.as_bytes()).unwrap();
        }
        let mut wire = Vec::new();
        let send = RequestOut { framing, ..RequestOut::default() };
        encode_request(&head, &send, &mut wire);
        let (back, len) = request(&wire).unwrap();
        prop_assert_eq!(len, wire.len());
        prop_assert_eq!(back.method_text(), method.as_bytes());
        prop_assert_eq!(back.path(), path.as_bytes());
        prop_assert_eq!(back.query(), query.as_ref().map(String::as_bytes));
        prop_assert_eq!(back.authority(), host.as_bytes());
        prop_assert_eq!(back.framing, framing);
        prop_assert_eq!(end_to_end(&back.fields), lower(fields));
        fuzz::fuzz_request(&wire);
    }

    #[test]
    fn a_response_head_survives_the_wire(
        status in (200..=999u16).prop_filter("bodiless", |status| !matches!(status, 204 | 304)),
        framing in prop_oneof![any::<u64>().prop_map(BodyLen::Length), Just(BodyLen::Chunked)],
        fields in fields(),
    ) {
        let mut head = ResponseHead { status, ..ResponseHead::default() };
        for (name, value) in &fields {
            head.fields.add(name, value.as_bytes()).unwrap();
        }
        let mut wire = Vec::new();
        let send = ResponseOut {
            framing,
            connection: Connection::Close,
            ..ResponseOut::default()
        };
        encode_response(&head, &send, &mut wire);
        let (back, len) = response(&wire, Method::Get).unwrap();
        prop_assert_eq!(len, wire.len());
        prop_assert_eq!((back.status, back.framing), (status, framing));
        prop_assert!(back.connection.close);
        prop_assert_eq!(end_to_end(&back.fields), lower(fields));
        fuzz::fuzz_response(&wire);
    }

    #[test]
    fn what_is_accepted_means_the_same_when_written_again(bytes in nearly(REQUESTS)) {
        fuzz::fuzz_request(&bytes);
    }

    #[test]
    fn what_an_origin_says_means_the_same_when_written_again(bytes in nearly(RESPONSES)) {
        fuzz::fuzz_response(&bytes);
    }
}

fn end_to_end(fields: &crate::http::Fields) -> Vec<(String, String)> {
    let mut lines = lower(lines(fields));
    lines.retain(|(name, _)| name != "host" && name != "content-length");
    lines
}

fn lower(lines: Vec<(String, String)>) -> Vec<(String, String)> {
    let lower = |(name, value): (String, String)| (name.to_lowercase(), value);
    lines.into_iter().map(lower).collect()
}

const REQUESTS: &[&[u8]] = &[
    b"GET /a/b?c HTTP/1.1\r\nHost: a.example:80\r\nAccept: */*\r\nX-A:b\r\n\r\n",
    b"POST http://a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: x-a\r\nX-A: b\r\n\r\n",
    b"PUT / HTTP/1.0\r\nContent-Length: 5\r\nX_A: \r\nConnection: keep-alive\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n\r\n",
];

const RESPONSES: &[&[u8]] = &[
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\n",
    b"HTTP/1.0 404 \r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: a\r\nContent-Length: 1\r\n\r\n",
    b"HTTP/1.1 304\r\nTransfer-Encoding: chunked\r\nConnection: x\r\nX:y\r\n\r\n",
];

/// A sample with some bytes changed, inserted or taken out.
fn nearly(samples: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        Just(b'\r'),
        Just(b'\n'),
        Just(b' '),
        Just(b'\t'),
        Just(b':'),
        Just(b','),
        Just(b'_'),
        Just(0),
        Just(0x7f),
        Just(0xff),
        any::<u8>(),
    ];
    let edit = (0..3u8, any::<prop::sample::Index>(), byte);
    (
        prop::sample::select(samples),
        prop::collection::vec(edit, 0..4),
    )
        .prop_map(|(sample, edits)| {
            let mut bytes = sample.to_vec();
            for (kind, at, byte) in edits {
                let at = at.index(bytes.len());
                match kind {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => {
                        bytes.remove(at);
                    }
                }
            }
            bytes
        })
}

#[test]
fn a_head_can_be_made_without_a_block() {
    let head = RequestHead::default();
    assert_eq!(
        (head.path(), head.target(), head.authority()),
        (&b""[..], &b""[..], &b""[..])
    );
    assert_eq!(head.upgrade(), None);
}
