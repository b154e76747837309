//! What is written out, to the byte.

use super::{request, response};
use crate::http::h1::{
    Connection, Relay, RequestOut, ResponseOut, SimpleResponse, client_framing, encode_request,
    encode_response, encode_simple_response,
};
use crate::http::{BodyLen, Forwarding, Known, Method, Trust, Version};

fn request_out(text: &str, send: &RequestOut<'_>) -> String {
    let (head, _) = request(text.as_bytes()).unwrap();
    let mut out = Vec::new();
    encode_request(&head, send, &mut out);
    String::from_utf8(out).unwrap()
}

fn response_out(text: &str, method: Method, send: &ResponseOut<'_>) -> String {
    let (head, _) = response(text.as_bytes(), method).unwrap();
    let mut out = Vec::new();
    encode_response(&head, send, &mut out);
    String::from_utf8(out).unwrap()
}

const PLAIN: RequestOut<'static> = RequestOut {
    host: None,
    framing: BodyLen::None,
    connection: Connection::KeepAlive,
    expect: Relay::Drop,
    te: Relay::Drop,
    forwarding: None,
};

#[test]
fn a_request_goes_out_in_origin_form_with_its_own_fields() {
    assert_eq!(
        request_out(
            "GET http://a.b/c?d HTTP/1.0\r\nX-1:  a \r\nHost: a.b\r\nConnection: close\r\n\
             X-2: b\r\nX-3: c\r\nExpect: 100-continue\r\nX-4:\r\n\r\n",
            &PLAIN
        ),
        "GET /c?d HTTP/1.1\r\nHost: a.b\r\nX-1: a\r\nX-2: b\r\nX-3: c\r\nX-4: \r\n\r\n"
    );
}

#[test]
fn host_framing_and_hop_fields_are_the_gateways() {
    let send = RequestOut {
        host: Some(b"origin:81"),
        framing: BodyLen::Chunked,
        connection: Connection::Close,
        expect: Relay::Pass,
        te: Relay::Pass,
        forwarding: Some(Forwarding {
            peer: b"192.0.2.1",
            trust: Trust::Untrusted,
            proto: b"https",
            host: b"a",
            request_id: b"id",
            via: b"ringgate",
            ..Forwarding::default()
        }),
    };
    assert_eq!(
        request_out(
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTE: trailers\r\n\
             Expect: 100-continue\r\nX-Forwarded-For: 6.6.6.6\r\nVia: 1.1 b\r\n\r\n",
            &send
        ),
        "POST /x HTTP/1.1\r\nHost: origin:81\r\nVia: 1.1 b\r\nTransfer-Encoding: chunked\r\n\
         TE: trailers\r\nConnection: close, TE\r\nExpect: 100-continue\r\n\
         X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: a\r\n\
         Via: 1.1 ringgate\r\nX-Request-Id: id\r\n\r\n"
    );
}

#[test]
fn an_upgrade_is_relayed_when_asked() {
    let text = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    let send = RequestOut {
        connection: Connection::Upgrade,
        ..PLAIN
    };
    assert_eq!(
        request_out(text, &send),
        "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: k\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\n\r\n"
    );
    assert!(!request_out(text, &PLAIN).to_lowercase().contains("upgrade"));
}

#[test]
fn rewritten_parts_replace_the_received_ones() {
    let text = b"PURGE /a?b HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-B: 2\r\nX-C: 3\r\n\r\n";
    let (mut head, _) = request(text).unwrap();
    head.set_path(b"/new").unwrap();
    head.set_query(None).unwrap();
    head.fields.set("x-b", b"two").unwrap();
    head.fields.add("accept", b"*/*").unwrap();
    let mut out = Vec::new();
    encode_request(&head, &PLAIN, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "PURGE /new HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nX-C: 3\r\nx-b: two\r\naccept: */*\r\n\r\n"
    );
}

#[test]
fn a_response_goes_out_framed_for_its_client() {
    let text = "HTTP/1.1 200 Fine\r\nServer: o\r\nTransfer-Encoding: chunked\r\n\
                Connection: close\r\n\r\n";
    let out = |client, connection| {
        let framing = client_framing(BodyLen::Chunked, client);
        let send = ResponseOut {
            framing,
            connection,
            client,
            ..ResponseOut::default()
        };
        response_out(text, Method::Get, &send)
    };
    assert_eq!(
        out(Version::Http11, Connection::KeepAlive),
        "HTTP/1.1 200 Fine\r\nServer: o\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        out(Version::Http10, Connection::KeepAlive),
        "HTTP/1.1 200 Fine\r\nServer: o\r\nConnection: close\r\n\r\n"
    );
}

#[test]
fn http10_clients_are_told_that_the_connection_stays() {
    let send = ResponseOut {
        framing: BodyLen::Length(2),
        client: Version::Http10,
        ..ResponseOut::default()
    };
    assert_eq!(
        response_out(
            "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n",
            Method::Get,
            &send
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn answers_to_head_keep_the_length_of_what_get_would_give() {
    let send = ResponseOut::default();
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 77\r\nA: b\r\n\r\n";
    assert_eq!(response_out(text, Method::Head, &send), text);
    let text = "HTTP/1.1 204 None\r\nContent-Length: 0\r\nA: b\r\n\r\n";
    assert_eq!(
        response_out(text, Method::Get, &send),
        "HTTP/1.1 204 None\r\nA: b\r\n\r\n"
    );
}

#[test]
fn interim_responses_carry_only_their_fields() {
    let send = ResponseOut {
        connection: Connection::Close,
        date: b"now",
        via: b"ringgate",
        request_id: b"id",
        ..ResponseOut::default()
    };
    let text = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    assert_eq!(response_out(text, Method::Get, &send), text);
}

#[test]
fn a_switch_names_its_protocol() {
    let send = ResponseOut {
        connection: Connection::Upgrade,
        ..ResponseOut::default()
    };
    assert_eq!(
        response_out(
            "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nA: b\r\n\r\n",
            Method::Get,
            &send
        ),
        "HTTP/1.1 101 Go\r\nA: b\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
}

#[test]
fn date_via_and_request_id_are_added() {
    let send = ResponseOut {
        framing: BodyLen::Length(0),
        request_id: b"ours",
        via: b"ringgate",
        date: b"today",
        ..ResponseOut::default()
    };
    assert_eq!(
        response_out(
            "HTTP/1.0 200 OK\r\nContent-Length: 0\r\nX-Request-Id: theirs\r\n\r\n",
            Method::Get,
            &send
        ),
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: today\r\nVia: 1.0 ringgate\r\n\
         X-Request-Id: ours\r\n\r\n"
    );
    let dated = "HTTP/1.1 200 OK\r\nDate: origin\r\nContent-Length: 0\r\n\r\n";
    assert!(!response_out(dated, Method::Get, &send).contains("today"));
}

#[test]
fn own_answers_are_whole() {
    let answer = SimpleResponse {
        status: 404,
        content_type: b"text/plain",
        body: b"no route\n",
        fields: &[("Allow", b"GET")],
        connection: Connection::Close,
        date: b"today",
        ..SimpleResponse::default()
    };
    let text = |answer: &SimpleResponse<'_>| {
        let mut out = Vec::new();
        encode_simple_response(answer, &mut out);
        String::from_utf8(out).unwrap()
    };
    let head = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\
                Date: today\r\nAllow: GET\r\nConnection: close\r\n\r\n";
    assert_eq!(text(&answer), format!("{head}no route\n"));
    let to_head = SimpleResponse {
        method: Method::Head,
        ..answer
    };
    assert_eq!(text(&to_head), head);
    let empty = SimpleResponse {
        status: 204,
        ..SimpleResponse::default()
    };
    assert_eq!(text(&empty), "HTTP/1.1 204 No Content\r\n\r\n");
}

#[test]
fn the_block_behind_a_head_can_be_lent_out() {
    let text = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody";
    let (mut head, len) = request(text).unwrap();
    let mut block = head.fields.take_text();
    assert_eq!(head.fields.value(Known::Host), Some(&b""[..]));
    block.advance(len);
    assert_eq!(&block[..], b"body");
    head.fields.put_text(block);
    assert_eq!(head.fields.value(Known::Host), Some(&b"a"[..]));
}
