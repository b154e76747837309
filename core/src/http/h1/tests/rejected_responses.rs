//! Fixtures of responses that are refused. Origins are read as strictly as clients.

use super::{response, response_with, same_at_every_split};
use crate::http::h1::HeadError::{self, *};
use crate::http::h1::{HeadLimits, Parse, parse_response};
use crate::http::{Method, ResponseHead};

const REFUSED: &[(&str, HeadError)] = &[
    ("HTTP/1.1 200 OK\n\r\n", BareLf),
    ("HTTP/1.1 200\n\r\n", BareLf),
    ("HTTP/1.1 200 OK\r\nA: b\n\r\n", BareLf),
    ("HTTP/1.1 200 OK\r\n\n", BareLf),
    ("HTTP/1.1 200 OK\rA: b\r\n\r\n", BareCr),
    ("HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", BareCr),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", EmptyLine),
    ("\nHTTP/1.1 200 OK\r\n\r\n", EmptyLine),
    ("HTTP/1.1 20 OK\r\n\r\n", StatusLine),
    ("HTTP/1.1 2000 OK\r\n\r\n", StatusLine),
    ("HTTP/1.1 20x OK\r\n\r\n", StatusLine),
    ("HTTP/1.1 099 OK\r\n\r\n", StatusLine),
    ("HTTP/1.1  200 OK\r\n\r\n", StatusLine),
    ("HTTP/1.1\r\n\r\n", StatusLine),
    ("HTTP/1.1 200 O\0K\r\n\r\n", StatusLine),
    ("HTTP/2.0 200 OK\r\n\r\n", VersionUnsupported),
    ("HTTP/1.10 200 OK\r\n\r\n", Version),
    ("ICY 200 OK\r\n\r\n", Version),
    ("http/1.1 200 OK\r\n\r\n", Version),
    ("220 mail.example ESMTP\r\n", Version),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", ObsFold),
    ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", SpaceBeforeColon),
    ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", EmptyFieldName),
    ("HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", FieldName),
    ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", FieldName),
    ("HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n", FieldValue),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ClAndTe,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        ContentLength,
    ),
    (
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        TeInHttp10,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        TransferEncoding,
    ),
    (
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        TwoTransferEncodings,
    ),
    (
        "HTTP/1.1 200 OK\r\nConnection: set-cookie\r\n\r\n",
        ConnectionOption,
    ),
    ("HTTP/1.1 200 OK\r\nConnection: a b\r\n\r\n", Connection),
];

#[test]
fn every_fixture_is_refused_for_its_reason() {
    for (text, error) in REFUSED {
        let result = response(text.as_bytes(), Method::Get).map(|(head, _)| head.status);
        assert_eq!(result, Err(*error), "{text:?}");
    }
}

#[test]
fn a_refusal_is_the_same_however_it_is_split() {
    for (text, _) in REFUSED {
        same_at_every_split(text.as_bytes(), |block, resume| {
            let mut head = ResponseHead::default();
            let limits = HeadLimits::default();
            let parse = parse_response(block, &limits, resume, Method::Get, &mut head)?;
            Ok((parse != Parse::Partial).then_some(()))
        });
    }
}

#[test]
fn bodiless_responses_are_checked_all_the_same() {
    let text = b"HTTP/1.1 204 x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for method in [Method::Get, Method::Head, Method::Connect] {
        assert_eq!(response(text, method).err(), Some(ClAndTe));
    }
}

#[test]
fn large_heads_are_refused() {
    let limits = HeadLimits {
        head_max: 100,
        headers_max: 2,
        ..HeadLimits::default()
    };
    let refused = |text: String| response_with(text.as_bytes(), &limits, Method::Get).err();
    let open = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(100));
    assert_eq!(refused(open.clone()), Some(HeadTooLarge));
    assert_eq!(refused(format!("{open}\r\n\r\n")), Some(HeadTooLarge));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(3));
    assert_eq!(refused(many), Some(TooManyFields));
}
