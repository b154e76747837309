//! Responses that are accepted, and what is made of them.

use super::{lines, response, same_at_every_split};
use crate::http::h1::{HeadLimits, Parse, parse_response};
use crate::http::{BodyLen, Known, Method, ResponseHead, ResponseKind, Version};

#[test]
fn reads_a_plain_response() {
    let text = b"HTTP/1.1 200 OK\r\nServer: o\r\nContent-Length: 2\r\nSet-Cookie: a\r\n\
                 Set-Cookie: b\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\nhi";
    let (head, len) = response(text, Method::Get).unwrap();
    assert_eq!(len, text.len() - 2);
    assert_eq!((head.status, head.reason()), (200, &b"OK"[..]));
    assert_eq!(
        (head.version, head.kind()),
        (Version::Http11, ResponseKind::Final)
    );
    assert_eq!(head.framing, BodyLen::Length(2));
    assert!(head.is_persistent());
    let cookies: Vec<_> = head.fields.values(Known::SetCookie).collect();
    assert_eq!(cookies, [b"a", b"b"]);
    assert_eq!(head.fields.len(), 4);
}

#[test]
fn reasons_may_be_empty_missing_or_odd() {
    for (line, reason) in [
        ("HTTP/1.1 200 ", ""),
        ("HTTP/1.1 200", ""),
        ("HTTP/1.1 299 A\tb c", "A\tb c"),
        ("HTTP/1.0 200 \u{e9}", ""),
    ] {
        let text = format!("{line}\r\nContent-Length: 0\r\n\r\n");
        let (head, _) = response(text.as_bytes(), Method::Get).unwrap();
        assert_eq!(head.reason(), reason.as_bytes(), "{line}");
    }
}

#[test]
fn the_length_follows_status_method_and_fields() {
    let framing = |status: u16, fields: &str, method| {
        let text = format!("HTTP/1.1 {status} x\r\n{fields}\r\n");
        response(text.as_bytes(), method).unwrap().0.framing
    };
    let length = "Content-Length: 5\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(framing(200, "", Method::Get), BodyLen::UntilClose);
    assert_eq!(framing(200, length, Method::Get), BodyLen::Length(5));
    assert_eq!(framing(200, chunked, Method::Post), BodyLen::Chunked);
    for fields in ["", length, chunked] {
        assert_eq!(framing(200, fields, Method::Head), BodyLen::None);
        assert_eq!(framing(200, fields, Method::Connect), BodyLen::None);
        for status in [100, 101, 103, 204, 304] {
            assert_eq!(framing(status, fields, Method::Get), BodyLen::None);
        }
    }
    assert_eq!(framing(404, length, Method::Connect), BodyLen::Length(5));
}

#[test]
fn a_length_stays_visible_only_where_it_means_something() {
    let has = |status: u16, method| {
        let text = format!("HTTP/1.1 {status} x\r\nContent-Length: 5\r\n\r\n");
        let (head, _) = response(text.as_bytes(), method).unwrap();
        head.fields.has(Known::ContentLength)
    };
    assert!(has(200, Method::Get) && has(200, Method::Head) && has(304, Method::Get));
    assert!(!has(204, Method::Get) && !has(103, Method::Get) && !has(200, Method::Connect));
}

#[test]
fn kinds_tell_what_follows() {
    let kind = |status: u16| {
        let text = format!("HTTP/1.1 {status} x\r\n\r\n");
        response(text.as_bytes(), Method::Get).unwrap().0.kind()
    };
    assert_eq!(kind(100), ResponseKind::Interim);
    assert_eq!(kind(103), ResponseKind::Interim);
    assert_eq!(kind(101), ResponseKind::Switch);
    assert_eq!(kind(200), ResponseKind::Final);
    assert_eq!(kind(999), ResponseKind::Final);
}

#[test]
fn an_upgrade_is_kept_for_the_tunnel() {
    let text = b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81";
    let (head, len) = response(text, Method::Get).unwrap();
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    assert!(head.fields.is_empty());
    assert_eq!(len, text.len() - 1);
}

#[test]
fn connections_are_reused_only_when_both_version_and_framing_allow() {
    let persistent = |text: &str| {
        let text = format!("{text}\r\n\r\n");
        let (head, _) = response(text.as_bytes(), Method::Get).unwrap();
        head.is_persistent()
    };
    assert!(persistent("HTTP/1.1 200 x\r\nContent-Length: 0"));
    assert!(!persistent(
        "HTTP/1.1 200 x\r\nContent-Length: 0\r\nConnection: close"
    ));
    assert!(!persistent("HTTP/1.1 200 x"));
    assert!(!persistent("HTTP/1.0 200 x\r\nContent-Length: 0"));
    assert!(persistent(
        "HTTP/1.0 200 x\r\nContent-Length: 0\r\nConnection: keep-alive"
    ));
}

#[test]
fn a_response_is_the_same_however_it_is_split() {
    for text in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.0 404\r\nA:\r\nB:  c \r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: x\r\nX: y\r\n\r\n",
    ] {
        same_at_every_split(text, |block, resume| {
            let mut head = ResponseHead::default();
            let limits = HeadLimits::default();
            let parse = parse_response(block, &limits, resume, Method::Get, &mut head)?;
            head.fields.put_text(crate::block::Block::from_slice(block));
            Ok(match parse {
                Parse::Partial => None,
                Parse::Complete { head_len } => {
                    Some((head_len, format!("{head:?}"), lines(&head.fields)))
                }
            })
        });
    }
}

#[test]
fn a_cleared_head_is_as_new() {
    let text = b"HTTP/1.0 404 gone\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n";
    let (mut head, _) = response(text, Method::Get).unwrap();
    head.clear();
    assert_eq!(
        format!("{head:?}"),
        format!("{:?}", ResponseHead::default())
    );
}
