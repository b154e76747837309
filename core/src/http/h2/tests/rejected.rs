//! A fixture for every reason to refuse a head.

use super::{Line, parts, request, request_with};
use crate::http::h1::HeadError::{self, *};
use crate::http::h1::HeadLimits;
use crate::http::h2::End;

const FIELDS: &[(Line<'static>, HeadError)] = &[
    (("connection", "close"), HopField),
    (("connection", "x-a"), HopField),
    (("proxy-connection", "keep-alive"), HopField),
    (("keep-alive", "5"), HopField),
    (("transfer-encoding", "chunked"), HopField),
    (("transfer-encoding", "identity"), HopField),
    (("upgrade", "h2c"), HopField),
    (("te", "gzip"), HopField),
    (("te", "trailers, deflate"), HopField),
    (("te", ""), HopField),
    (("a\"b", "c"), FieldName),
    (("a", " b"), FieldBlanks),
    (("a", "b\t"), FieldBlanks),
    (("a", " "), FieldBlanks),
    (("content-length", ""), ContentLength),
    (("content-length", "+5"), ContentLength),
    (("content-length", "5 "), FieldBlanks),
    (("content-length", "5,5"), TwoContentLengths),
    (("content-length", "18446744073709551616"), ContentLength),
    (("content-length", "0x5"), ContentLength),
    (("expect", "200-ok"), Expectation),
    (("host", "b"), HostMismatch),
    (("host", "a:80"), HostMismatch),
    (("host", "u@a"), Authority),
    (("host", "a, b"), Authority),
    (("host", ""), Authority),
];

#[test]
fn refuses_each_field_for_its_reason() {
    for ((name, value), error) in FIELDS {
        let found = request("POST", "http://a/", &[(name, value)], End::Follows);
        assert_eq!(found.map(drop), Err(*error), "{name}: {value}");
    }
}

#[test]
fn refuses_fields_that_contradict_each_other() {
    for (fields, error) in [
        ([("host", "a"), ("host", "a")], TwoHosts),
        (
            [("content-length", "5"), ("content-length", "5")],
            TwoContentLengths,
        ),
        ([("te", "trailers"), ("te", "gzip")], HopField),
    ] {
        let found = request("POST", "http://a/", &fields, End::Follows);
        assert_eq!(found.map(drop), Err(error), "{fields:?}");
    }
}

const TARGETS: &[(&str, &str, HeadError)] = &[
    ("GET", "ftp://a/", Scheme),
    ("GET", "/", NoHost),
    ("GET", "http://u@a/", Authority),
    ("GET", "http://u:p@a:80/", Authority),
    ("GET", "http://a,b/", Authority),
    ("GET", "http://a/\u{e9}", Target),
    ("GET", "*", TargetForm),
    ("OPTIONS", "*", NoHost),
    ("CONNECT", "a", Authority),
    ("CONNECT", "http://a:80/", TargetForm),
    ("CONNECT", "/", TargetForm),
    ("GETGETGETGETGETGETGETGETGETGETGET", "http://a/", Method),
];

#[test]
fn refuses_each_target_for_its_reason() {
    for (method, uri, error) in TARGETS {
        let found = request(method, uri, &[], End::Ended);
        assert_eq!(found.map(drop), Err(*error), "{method} {uri}");
    }
    // The codec takes a request without `:path` and `:authority`; the path is no `/`.
    let mut parts = parts("GET", "/", &[("host", "a")]);
    parts.uri = http::Uri::from_parts(http::uri::Parts::default()).unwrap();
    let found = request_with(&parts, None, End::Ended, &HeadLimits::default());
    assert_eq!(found.map(drop), Err(Target));
}

#[test]
fn a_stream_that_ended_has_no_length() {
    let found = request("POST", "http://a/", &[("content-length", "5")], End::Ended);
    assert_eq!(found.map(drop), Err(ContentLength));
}

#[test]
fn refuses_other_protocols_than_websocket() {
    let limits = HeadLimits::default();
    let read = |method, protocol, fields: &[_]| {
        let parts = parts(method, "https://a/", fields);
        request_with(&parts, Some(protocol), End::Follows, &limits).map(drop)
    };
    assert_eq!(read("CONNECT", "connect-udp", &[]), Err(ConnectProtocol));
    assert_eq!(read("CONNECT", "WebSocket", &[]), Err(ConnectProtocol));
    assert_eq!(read("GET", "websocket", &[]), Err(ConnectProtocol));
    let length = [("content-length", "5")];
    assert_eq!(read("CONNECT", "websocket", &length), Err(ContentLength));
    assert_eq!(read("CONNECT", "websocket", &[]), Ok(()));
}

#[test]
fn bounds_the_head_its_lines_and_its_target() {
    let tight = HeadLimits {
        head_max: 100,
        uri_max: 10,
        headers_max: 3,
    };
    let read = |uri: &str, fields: &[Line<'_>]| {
        request_with(&parts("GET", uri, fields), None, End::Ended, &tight).map(drop)
    };
    assert_eq!(read("http://a/123456789", &[]), Ok(()));
    assert_eq!(read("http://a/1234567890", &[]), Err(TargetTooLong));
    let line = ("x", "y");
    assert_eq!(read("http://a/", &[line, line]), Ok(()));
    assert_eq!(read("http://a/", &[line, line, line]), Err(TooManyFields));
    let crumb = ("cookie", "a");
    assert_eq!(read("http://a/", &[crumb, crumb, crumb]), Ok(()));
    // GET / HTTP/1.1 CRLF host: a CRLF x: ... CRLF CRLF
    let rest = 16 + 9 + 5 + 2;
    assert_eq!(read("http://a/", &[("x", &"y".repeat(100 - rest))]), Ok(()));
    let long = "y".repeat(101 - rest);
    assert_eq!(read("http://a/", &[("x", &long)]), Err(HeadTooLarge));
}
