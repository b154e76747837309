//! A fixture for every reason to refuse a request.

use super::{request, request_with, same_at_every_split};
use crate::http::RequestHead;
use crate::http::h1::HeadError::{self, *};
use crate::http::h1::{HeadLimits, Parse, parse_request};

const REFUSED: &[(&str, HeadError)] = &[
    // Line ends.
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a \n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\nX:\n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: \n\r\n", BareLf),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", BareLf),
    ("GET / HTTP/1.1\nHost: a\n\n", BareLf),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 5\r\n\r\n",
        BareLf,
    ),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareLf),
    ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EmptyLine),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", EmptyLine),
    ("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\rHost: a\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BareCr),
    ("GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", BareCr),
    ("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", BareCr),
    // Request line.
    ("GET /\r\nHost: a\r\n\r\n", RequestLine),
    ("GET\r\nHost: a\r\n\r\n", RequestLine),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", RequestLine),
    ("GET / a HTTP/1.1\r\nHost: a\r\n\r\n", RequestLine),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", Method),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
    ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
    ("\x16\x03\x01\x02 / HTTP/1.1\r\nHost: a\r\n\r\n", Method),
    (
        "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\nHost: a\r\n\r\n",
        Method,
    ),
    // Target.
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", Target),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("GET *a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("CONNECT * HTTP/1.1\r\nHost: a\r\n\r\n", TargetForm),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Scheme),
    ("GET ://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Scheme),
    // Version.
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", VersionUnsupported),
    ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", VersionUnsupported),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionUnsupported),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", Version),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", Version),
    ("GET / HTTP/01.1\r\nHost: a\r\n\r\n", Version),
    ("GET / HTTP/1,1\r\nHost: a\r\n\r\n", Version),
    // Field lines.
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", ObsFold),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n\tb\r\n\r\n", ObsFold),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", ObsFold),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", SpaceBeforeColon),
    ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", SpaceBeforeColon),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\n",
        SpaceBeforeColon,
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", EmptyFieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\0: b\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\n(X): b\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", FieldName),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", FieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x0bb\r\n\r\n", FieldValue),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: a\x7f\r\n\r\n", FieldValue),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n",
        FieldValue,
    ),
    // Host.
    ("GET / HTTP/1.1\r\n\r\n", NoHost),
    ("GET http://a/ HTTP/1.1\r\n\r\n", NoHost),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", TwoHosts),
    ("GET / HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n", TwoHosts),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Authority),
    ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Authority),
    ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Authority),
    ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", Authority),
    ("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n", Authority),
    ("GET / HTTP/1.1\r\nHost: [v1.a]\r\n\r\n", Authority),
    ("GET / HTTP/1.0\r\nHost: a/b\r\n\r\n", Authority),
    ("GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n", Authority),
    ("GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", Authority),
    ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Authority),
    ("CONNECT http://a:1/ HTTP/1.1\r\nHost: a\r\n\r\n", Authority),
    ("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", HostMismatch),
    ("GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
    ("GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n", HostMismatch),
    ("CONNECT a:1 HTTP/1.1\r\nHost: a:2\r\n\r\n", HostMismatch),
    // Framing.
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ClAndTe,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ClAndTe,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ClAndTe,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,\r\n\r\n",
        TwoContentLengths,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        ContentLength,
    ),
    (
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        TeInHttp10,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        TwoTransferEncodings,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        TransferEncoding,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
        TransferEncoding,
    ),
    // Connection and Expect.
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Host\r\n\r\n",
        ConnectionOption,
    ),
    (
        "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\n",
        ConnectionOption,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For\r\n\r\n",
        ConnectionOption,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\n\r\n",
        ConnectionOption,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: clo se\r\n\r\n",
        Connection,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close;x\r\n\r\n",
        Connection,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
        Expectation,
    ),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n\r\n",
        Expectation,
    ),
];

#[test]
fn every_fixture_is_refused_for_its_reason() {
    for (text, error) in REFUSED {
        let result = request(text.as_bytes()).map(|(head, _)| head.path().to_vec());
        assert_eq!(result, Err(*error), "{text:?}");
    }
}

#[test]
fn every_reason_has_a_fixture() {
    let elsewhere = [TargetTooLong, TooManyFields, HeadTooLarge, StatusLine];
    let mut codes: Vec<_> = REFUSED
        .iter()
        .map(|(_, error)| *error)
        .chain(elsewhere)
        .map(HeadError::code)
        .collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), Expectation as usize + 1);
}

#[test]
fn a_refusal_is_the_same_however_it_is_split() {
    for (text, _) in REFUSED {
        same_at_every_split(text.as_bytes(), |block, resume| {
            let mut head = RequestHead::default();
            let parse = parse_request(block, &HeadLimits::default(), resume, &mut head)?;
            Ok((parse != Parse::Partial).then_some(()))
        });
    }
}

const SMALL: HeadLimits = HeadLimits {
    head_max: 300,
    uri_max: 64,
    headers_max: 4,
};

fn refused(text: &str) -> Option<HeadError> {
    request_with(text.as_bytes(), &SMALL).err()
}

#[test]
fn targets_over_the_limit_are_refused_even_before_their_end() {
    let long = "a".repeat(64);
    let whole = format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(refused(&whole), Some(TargetTooLong));
    assert_eq!(
        refused(&format!("GET /{}", "a".repeat(120))),
        Some(TargetTooLong)
    );
    assert_eq!(refused(&format!("GET /{long}")), None);
}

#[test]
fn heads_over_the_limit_are_refused_even_before_their_end() {
    let long = "a".repeat(300);
    let open = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}");
    assert_eq!(refused(&open), Some(HeadTooLarge));
    assert_eq!(refused(&format!("{open}\r\n\r\n")), Some(HeadTooLarge));
}

#[test]
fn fields_over_the_limit_are_refused() {
    let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(4));
    assert_eq!(refused(&text), Some(TooManyFields));
    let text = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(300)
    );
    let limits = HeadLimits {
        headers_max: 1000,
        ..HeadLimits::default()
    };
    assert_eq!(
        request_with(text.as_bytes(), &limits).err(),
        Some(TooManyFields)
    );
}

#[test]
fn statuses_fit_their_reasons() {
    assert_eq!(BareLf.status(), 400);
    assert_eq!(TargetTooLong.status(), 414);
    assert_eq!(Expectation.status(), 417);
    assert_eq!(TooManyFields.status(), 431);
    assert_eq!(HeadTooLarge.status(), 431);
    assert_eq!(TransferEncoding.status(), 501);
    assert_eq!(VersionUnsupported.status(), 505);
}
