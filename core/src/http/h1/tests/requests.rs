//! Requests that are accepted, and what is made of them.

use super::{lines, request, request_with, same_at_every_split};
use crate::http::h1::{HeadLimits, Parse, parse_request};
use crate::http::{BodyLen, Known, Method, RequestHead, TargetForm, TrailersOk, Version};

#[test]
fn reads_a_plain_request() {
    let text = b"GET /a/b?x=1&y HTTP/1.1\r\nHost: API.example.com:8080\r\n\
                 User-Agent: t\r\nAccept:*/*\r\nX-Empty:\r\nX-Blank: a b \t\r\n\r\nrest";
    let (head, len) = request(text).unwrap();
    assert_eq!(len, text.len() - 4);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.method_text(), b"GET");
    assert_eq!(
        (head.version, head.form),
        (Version::Http11, TargetForm::Origin)
    );
    assert_eq!(head.target(), b"/a/b?x=1&y");
    assert_eq!(head.path(), b"/a/b");
    assert_eq!(head.query(), Some(&b"x=1&y"[..]));
    assert_eq!(head.authority(), b"API.example.com:8080");
    assert_eq!(
        (head.host(), head.port()),
        (&b"API.example.com"[..], Some(8080))
    );
    assert_eq!(head.framing, BodyLen::None);
    assert!(head.is_persistent());
    assert_eq!(head.fields.value(Known::Accept), Some(&b"*/*"[..]));
    assert_eq!(head.fields.value_of("x-empty"), Some(&b""[..]));
    assert_eq!(head.fields.value_of("x-blank"), Some(&b"a b"[..]));
    assert_eq!(head.fields.len(), 5);
}

#[test]
fn a_query_may_be_empty_and_hold_question_marks() {
    let (head, _) = request(b"GET /? HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.path(), head.query()), (&b"/"[..], Some(&b""[..])));
    let (head, _) = request(b"GET /a?b?c HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.path(), head.query()), (&b"/a"[..], Some(&b"b?c"[..])));
}

#[test]
fn one_empty_line_may_come_before_a_request() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (head, len) = request(text).unwrap();
    assert_eq!((head.path(), len), (&b"/"[..], text.len()));
}

#[test]
fn absolute_targets_name_the_host() {
    let (head, _) = request(b"GET http://A.b:80/c?d HTTP/1.1\r\nHost: a.B:80\r\n\r\n").unwrap();
    assert_eq!(head.form, TargetForm::Absolute);
    assert_eq!(
        (head.authority(), head.host()),
        (&b"A.b:80"[..], &b"A.b"[..])
    );
    assert_eq!((head.path(), head.query()), (&b"/c"[..], Some(&b"d"[..])));
    let (head, _) = request(b"GET HTTPS://a HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!((head.path(), head.query()), (&b"/"[..], None));
    let (head, _) = request(b"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.path(), head.query()), (&b"/"[..], Some(&b"q"[..])));
    let (head, _) = request(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(head.path(), b"*");
}

#[test]
fn asterisk_and_authority_targets_belong_to_their_methods() {
    let (head, _) = request(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!((head.form, head.path()), (TargetForm::Asterisk, &b"*"[..]));
    for host in ["a:443", "a"] {
        let text = format!("CONNECT a:443 HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (head, _) = request(text.as_bytes()).unwrap();
        assert_eq!(head.form, TargetForm::Authority);
        assert_eq!((head.authority(), head.port()), (&b"a:443"[..], Some(443)));
        assert_eq!(head.path(), b"");
    }
}

#[test]
fn unknown_methods_keep_their_name() {
    let (head, _) = request(b"PURGE / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert_eq!(
        (head.method, head.method_text()),
        (Method::Extension, &b"PURGE"[..])
    );
}

#[test]
fn framing_is_told_by_length_or_chunked() {
    for (fields, framing) in [
        ("", BodyLen::None),
        ("Content-Length: 0\r\n", BodyLen::Length(0)),
        (
            "content-length: 18446744073709551615\r\n",
            BodyLen::Length(u64::MAX),
        ),
        ("Content-Length: 007\r\n", BodyLen::Length(7)),
        ("Transfer-Encoding: CHUNKED\r\n", BodyLen::Chunked),
    ] {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = request(text.as_bytes()).unwrap();
        assert_eq!(head.framing, framing, "{fields}");
    }
}

#[test]
fn fields_of_the_hop_are_taken_out() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, X-Gone,,Te\r\nX-Gone: 1\r\n\
                 Keep-Alive: timeout=5\r\nTE: deflate, Trailers\r\nProxy-Connection: x\r\n\
                 Proxy-Authorization: y\r\nx-gone: 2\r\nTrailer: x-sum\r\nX-Stays: 1\r\n\r\n";
    let (head, _) = request(text).unwrap();
    let names: Vec<_> = lines(&head.fields).into_iter().map(|line| line.0).collect();
    assert_eq!(names, ["Host", "Trailer", "X-Stays"]);
    assert!(head.connection.keep_alive && !head.connection.close);
    assert_eq!(head.trailers, TrailersOk::Yes);
    assert_eq!(head.fields.value_of("x-gone"), None);
}

#[test]
fn names_that_only_differ_in_underscores_from_known_ones_are_dropped() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded-For: 1\r\nContent_Length: 5\r\n\
                 my_own: 1\r\n\r\n";
    let (head, _) = request(text).unwrap();
    let names: Vec<_> = lines(&head.fields).into_iter().map(|line| line.0).collect();
    assert_eq!(names, ["Host", "my_own"]);
    assert_eq!(head.framing, BodyLen::None);
}

#[test]
fn an_upgrade_needs_both_fields_and_http11() {
    let ask = |version: &str, fields: &str| {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{fields}\r\n");
        let (head, _) = request(text.as_bytes()).unwrap();
        assert_eq!(head.connection.upgrade, head.upgrade().is_some());
        assert!(!head.fields.has(Known::Upgrade));
        head.upgrade().map(<[u8]>::to_vec)
    };
    let both = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    assert_eq!(ask("1.1", both), Some(b"websocket".to_vec()));
    assert_eq!(ask("1.0", both), None);
    assert_eq!(ask("1.1", "Upgrade: websocket\r\n"), None);
    assert_eq!(ask("1.1", "Connection: upgrade\r\n"), None);
}

#[test]
fn persistence_is_asked_for_by_version_and_option() {
    for (start, option, persistent) in [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        (
            "HTTP/1.1",
            "Connection: keep-alive\r\nConnection: CLOSE\r\n",
            false,
        ),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: keep-alive\r\n", true),
    ] {
        let text = format!("GET / {start}\r\nHost: a\r\n{option}\r\n");
        let (head, _) = request(text.as_bytes()).unwrap();
        assert_eq!(head.is_persistent(), persistent, "{start} {option}");
    }
}

#[test]
fn expectations_count_only_where_a_body_waits() {
    for (text, expected) in [
        (
            "HTTP/1.1\r\nContent-Length: 1\r\nExpect: 100-Continue",
            true,
        ),
        ("HTTP/1.1\r\nExpect: 100-continue", false),
        (
            "HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue",
            false,
        ),
    ] {
        let text = format!("POST / {text}\r\nHost: a\r\n\r\n");
        let (head, _) = request(text.as_bytes()).unwrap();
        assert_eq!(head.expect_continue, expected, "{text}");
        assert!(!head.fields.has(Known::Expect));
    }
}

#[test]
fn http10_may_leave_the_host_out() {
    let (head, _) = request(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(
        (head.authority(), head.host(), head.port()),
        (&b""[..], &b""[..], None)
    );
}

#[test]
fn limits_are_inclusive() {
    let text = b"GET /123 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n";
    let limits = HeadLimits {
        head_max: text.len(),
        uri_max: 4,
        headers_max: 2,
    };
    assert!(request_with(text, &limits).unwrap().is_some());
    assert!(
        request_with(&text[..text.len() - 1], &limits)
            .unwrap()
            .is_none()
    );
}

#[test]
fn a_cleared_head_is_as_new() {
    let text = b"POST http://a/b?c HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nExpect: 100-continue\r\n\
                 Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let (mut head, _) = request(text).unwrap();
    head.clear();
    assert_eq!(format!("{head:?}"), format!("{:?}", RequestHead::default()));
}

#[test]
fn a_request_is_the_same_however_it_is_split() {
    for text in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
        b"\r\nGET /a?b HTTP/1.1\r\nHost: a\r\nX: \r\nY:z\r\n\r\n",
        b"POST http://a:1/ HTTP/1.1\r\nHost: a:1\r\nContent-Length: 5\r\nConnection: x\r\nX: 1\r\n\r\n",
        b"PUT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n",
    ] {
        same_at_every_split(text, |block, resume| {
            let mut head = RequestHead::default();
            let parse = parse_request(block, &HeadLimits::default(), resume, &mut head)?;
            head.fields.put_text(crate::block::Block::from_slice(block));
            Ok(match parse {
                Parse::Partial => None,
                Parse::Complete { head_len } => Some((head_len, format!("{head:?}"), lines(&head.fields))),
            })
        });
    }
}
