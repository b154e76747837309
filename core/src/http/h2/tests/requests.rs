//! What a request reads as.

use super::{lines, pairs, parts, request, request_with};
use crate::http::h1::{Connection, HeadLimits, RequestOut, encode_request};
use crate::http::h2::End;
use crate::http::{BodyLen, Known, Method, RequestHead, TargetForm, TrailersOk, Version};

fn encoded(head: &RequestHead, send: &RequestOut<'_>) -> String {
    let mut out = Vec::new();
    encode_request(head, send, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_reads_as_its_twin_in_http1() {
    let head = request(
        "GET",
        "https://a.example:8443/a/b?c=d?e",
        &[
            ("accept", "*/*"),
            ("x-a", "1"),
            ("x-a", "2"),
            ("x-empty", ""),
        ],
        End::Ended,
    )
    .unwrap();
    assert_eq!((head.method, head.version), (Method::Get, Version::Http2));
    assert_eq!(head.form, TargetForm::Origin);
    assert_eq!(head.target(), b"/a/b?c=d?e");
    assert_eq!(head.path(), b"/a/b");
    assert_eq!(head.query(), Some(&b"c=d?e"[..]));
    assert_eq!(head.authority(), b"a.example:8443");
    assert_eq!((head.host(), head.port()), (&b"a.example"[..], Some(8443)));
    assert_eq!(head.framing, BodyLen::None);
    assert!(head.is_persistent() && !head.expect_continue && head.upgrade().is_none());
    let expected = [
        ("host", "a.example:8443"),
        ("accept", "*/*"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-empty", ""),
    ];
    assert_eq!(lines(&head.fields), pairs(&expected));
    assert_eq!(head.fields.value(Known::Accept), Some(&b"*/*"[..]));
    assert_eq!(
        encoded(&head, &RequestOut::default()),
        "GET /a/b?c=d?e HTTP/1.1\r\nHost: a.example:8443\r\naccept: */*\r\n\
         x-a: 1\r\nx-a: 2\r\nx-empty: \r\n\r\n"
    );
}

#[test]
fn host_is_the_authority_where_there_is_no_other() {
    let head = request("GET", "/a", &[("host", "B.example")], End::Ended).unwrap();
    assert_eq!(head.authority(), b"B.example");
    assert_eq!(lines(&head.fields), pairs(&[("host", "B.example")]));
    let same = request(
        "GET",
        "http://b.example/",
        &[("host", "B.example")],
        End::Ended,
    );
    assert_eq!(same.unwrap().authority(), b"b.example");
}

#[test]
fn the_body_is_told_by_its_length_or_by_the_streams_end() {
    let framing = |method, fields: &[_], end| {
        let head = request(method, "http://a/", fields, end).unwrap();
        head.framing
    };
    let length = ("content-length", "5");
    assert_eq!(framing("GET", &[], End::Ended), BodyLen::None);
    assert_eq!(framing("GET", &[], End::Follows), BodyLen::Chunked);
    assert_eq!(framing("POST", &[length], End::Follows), BodyLen::Length(5));
    assert_eq!(framing("POST", &[], End::Follows), BodyLen::Chunked);
    assert_eq!(framing("POST", &[], End::Ended), BodyLen::Length(0));
    let none = ("content-length", "0");
    assert_eq!(framing("GET", &[none], End::Ended), BodyLen::Length(0));
}

#[test]
fn pieces_of_cookies_are_one_line() {
    let fields = [
        ("cookie", "a=1"),
        ("x", "y"),
        ("cookie", "b=2"),
        ("cookie", "c"),
    ];
    let head = request("GET", "http://a/", &fields, End::Ended).unwrap();
    assert_eq!(head.fields.value(Known::Cookie), Some(&b"a=1; b=2; c"[..]));
    assert_eq!(head.fields.values(Known::Cookie).count(), 1);
    let text = encoded(&head, &RequestOut::default());
    assert!(text.contains("\r\ncookie: a=1; b=2; c\r\n"), "{text}");
    let empty = [("cookie", ""), ("cookie", "a"), ("cookie", "")];
    let head = request("GET", "http://a/", &empty, End::Ended).unwrap();
    assert_eq!(head.fields.value(Known::Cookie), Some(&b"a"[..]));
}

#[test]
fn what_concerns_the_hop_is_a_value() {
    let fields = [
        ("te", "trailers"),
        ("expect", "100-Continue"),
        ("proxy-authorization", "x"),
    ];
    let head = request("PUT", "http://a/", &fields, End::Follows).unwrap();
    assert_eq!(head.trailers, TrailersOk::Yes);
    assert!(head.expect_continue);
    assert_eq!(lines(&head.fields), pairs(&[("host", "a")]));
    let ended = request("PUT", "http://a/", &fields, End::Ended).unwrap();
    assert!(!ended.expect_continue);
}

#[test]
fn aliases_of_known_fields_are_dropped() {
    let fields = [
        ("x_forwarded_for", "1.2.3.4"),
        ("content_length", "5"),
        ("x_other", "y"),
    ];
    let head = request("GET", "http://a/", &fields, End::Ended).unwrap();
    assert_eq!(
        lines(&head.fields),
        pairs(&[("host", "a"), ("x_other", "y")])
    );
}

#[test]
fn other_forms_of_targets_are_known() {
    let mut asterisk = parts("OPTIONS", "*", &[("host", "a")]);
    let read = |parts: &_| request_with(parts, None, End::Ended, &HeadLimits::default()).unwrap();
    let head = read(&asterisk);
    assert_eq!((head.form, head.path()), (TargetForm::Asterisk, &b"*"[..]));
    asterisk.uri = http::Uri::builder()
        .scheme("http")
        .authority("a")
        .path_and_query("*")
        .build()
        .unwrap();
    assert_eq!(read(&asterisk).form, TargetForm::Asterisk);

    let head = request(
        "CONNECT",
        "a.example:443",
        &[("host", "a.example")],
        End::Follows,
    )
    .unwrap();
    assert_eq!(
        (head.form, head.method),
        (TargetForm::Authority, Method::Connect)
    );
    assert_eq!(head.authority(), b"a.example:443");
    assert_eq!((head.framing, head.path()), (BodyLen::None, &b""[..]));

    let head = request("PURGE", "http://a/x", &[], End::Ended).unwrap();
    assert_eq!(head.method_text(), b"PURGE");
}

#[test]
fn a_websocket_is_a_get_with_an_upgrade() {
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "theirs"),
        ("origin", "https://a"),
    ];
    let parts = parts("CONNECT", "https://a/chat?x", &fields);
    let limits = HeadLimits::default();
    let head = request_with(&parts, Some("websocket"), End::Follows, &limits).unwrap();
    assert_eq!((head.method, head.form), (Method::Get, TargetForm::Origin));
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert_eq!(
        (head.framing, head.connection.upgrade),
        (BodyLen::None, true)
    );
    let send = RequestOut {
        connection: Connection::Upgrade,
        ..RequestOut::default()
    };
    assert_eq!(
        encoded(&head, &send),
        "GET /chat?x HTTP/1.1\r\nHost: a\r\nsec-websocket-version: 13\r\norigin: https://a\r\n\
         Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn a_head_larger_than_any_block_has_one_of_its_own() {
    let long = "v".repeat(60 << 10);
    let fields = [("a", &long[..]), ("b", &long[..]), ("c", &long[..])];
    let limits = HeadLimits {
        head_max: 256 << 10,
        ..HeadLimits::default()
    };
    let head = request_with(
        &parts("GET", "http://a/", &fields),
        None,
        End::Ended,
        &limits,
    );
    let head = head.unwrap();
    assert_eq!(head.fields.value_of("c").unwrap().len(), long.len());
    assert_eq!(head.authority(), b"a");
}
