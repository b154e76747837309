//! What responses and trailers read as.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Line, lines, pairs};
use crate::http::h1::{BodyError, HeadError};
use crate::http::h2::{End, read_response, read_trailers, switched};
use crate::http::limits::{TRAILER_LINES_MAX, TRAILERS_MAX};
use crate::http::{BodyLen, Method, ResponseHead, Version};

fn map(fields: &[Line<'_>]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(
            HeaderName::from_lowercase(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
    }
    map
}

fn response(
    status: u16,
    fields: &[Line<'_>],
    method: Method,
    end: End,
) -> Result<ResponseHead, HeadError> {
    let response = http::Response::builder().status(status).body(()).unwrap();
    let (mut parts, ()) = response.into_parts();
    parts.headers = map(fields);
    let mut head = ResponseHead::default();
    read_response(&parts, method, end, &mut head)?;
    Ok(head)
}

#[test]
fn a_response_reads_as_its_twin_in_http1() {
    let fields = [("server", "x"), ("set-cookie", "a"), ("set-cookie", "b")];
    let head = response(200, &fields, Method::Get, End::Follows).unwrap();
    assert_eq!((head.status, head.version), (200, Version::Http2));
    assert_eq!(head.framing, BodyLen::Chunked);
    assert!(head.is_persistent() && head.reason().is_empty());
    assert_eq!(lines(&head.fields), pairs(&fields));
}

#[test]
fn the_body_is_told_by_its_length_or_by_the_streams_end() {
    let framing = |status, fields: &[_], method, end| {
        let head = response(status, fields, method, end).unwrap();
        head.framing
    };
    let five = [("content-length", "5")];
    assert_eq!(
        framing(200, &five, Method::Get, End::Follows),
        BodyLen::Length(5)
    );
    assert_eq!(
        framing(200, &[], Method::Get, End::Ended),
        BodyLen::Length(0)
    );
    assert_eq!(framing(200, &five, Method::Head, End::Ended), BodyLen::None);
    assert_eq!(framing(304, &five, Method::Get, End::Ended), BodyLen::None);
    assert_eq!(framing(204, &[], Method::Get, End::Follows), BodyLen::None);
    assert_eq!(framing(103, &[], Method::Get, End::Follows), BodyLen::None);
    let cut = response(200, &five, Method::Get, End::Ended).map(drop);
    assert_eq!(cut, Err(HeadError::ContentLength));
}

#[test]
fn the_length_of_a_response_to_head_stays() {
    let five = [("content-length", "5")];
    let head = response(200, &five, Method::Head, End::Ended).unwrap();
    assert_eq!(lines(&head.fields), pairs(&five));
    let none = response(204, &five, Method::Get, End::Ended).unwrap();
    assert!(none.fields.is_empty());
}

#[test]
fn what_http2_does_not_have_is_refused() {
    let refused = |status, fields: &[_], end| response(status, fields, Method::Get, end).map(drop);
    use HeadError::{HopField, StatusLine, TwoContentLengths};
    assert_eq!(refused(101, &[], End::Follows), Err(StatusLine));
    assert_eq!(refused(103, &[], End::Ended), Err(StatusLine));
    for name in ["connection", "transfer-encoding", "keep-alive", "upgrade"] {
        assert_eq!(refused(200, &[(name, "x")], End::Follows), Err(HopField));
    }
    let twice = [("content-length", "5"), ("content-length", "6")];
    assert_eq!(refused(200, &twice, End::Follows), Err(TwoContentLengths));
    let many = vec![("x", "y"); 257];
    assert_eq!(
        refused(200, &many, End::Follows),
        Err(HeadError::TooManyFields)
    );
}

#[test]
fn a_taken_websocket_is_a_switch() {
    let fields = [("sec-websocket-protocol", "chat")];
    let mut head = response(200, &fields, Method::Connect, End::Follows).unwrap();
    assert!(switched(&mut head));
    assert_eq!((head.status, head.framing), (101, BodyLen::None));
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert_eq!(lines(&head.fields), pairs(&fields));
    let mut refused = response(403, &[], Method::Connect, End::Ended).unwrap();
    assert!(!switched(&mut refused) && refused.upgrade().is_none());
}

#[test]
fn trailers_are_those_that_http1_keeps() {
    let trailers = map(&[
        ("grpc-status", "0"),
        ("content-length", "5"),
        ("host", "a"),
        ("connection", "close"),
        ("x-sum", " a\t"),
        ("x-sum", ""),
    ]);
    let mut out = Vec::new();
    read_trailers(&trailers, &mut out).unwrap();
    assert_eq!(out, b"grpc-status: 0\r\nx-sum: a\r\nx-sum: \r\n");
}

#[test]
fn trailers_are_bounded() {
    let long = "y".repeat(TRAILERS_MAX);
    let read = |fields: &[Line<'_>]| read_trailers(&map(fields), &mut Vec::new());
    assert_eq!(read(&[("x", &long)]), Err(BodyError::TrailersTooLarge));
    let many = vec![("x", "y"); TRAILER_LINES_MAX + 1];
    assert_eq!(read(&many), Err(BodyError::TrailersTooLarge));
    assert_eq!(read(&many[1..]), Ok(()));
    assert_eq!(read(&[("a\"", "y")]), Err(BodyError::Trailer));
}
