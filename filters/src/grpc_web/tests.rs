use proptest::prelude::*;

use ringgate_core::base64::InvalidBase64;
use ringgate_core::chain::{self, Answer};
use ringgate_core::http::Fields;

use super::*;
use crate::testing::{Ends, Exchange, passes};

const FILTER: Filter = Filter::GrpcWeb(GrpcWeb);

/// An exchange whose request has this content type and has passed the filter.
fn exchange(content_type: &str) -> Exchange {
    exchange_with(&[("content-type", content_type)])
}

fn exchange_with(fields: &[(&str, &str)]) -> Exchange {
    let mut exchange = Exchange::default();
    for (name, value) in fields {
        exchange.head.fields.add(name, value.as_bytes()).unwrap();
    }
    assert!(passes(&exchange.request_head(&FILTER)));
    exchange
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    let value = fields.value_of(name)?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

fn head(framing: BodyLen, fields: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::default();
    (head.status, head.framing) = (200, framing);
    for (name, value) in fields {
        head.fields.add(name, value.as_bytes()).unwrap();
    }
    head
}

/// The content type that a response of this one gets.
fn respond(exchange: &mut Exchange, content_type: &str) -> String {
    let mut head = head(BodyLen::Chunked, &[("content-type", content_type)]);
    exchange.response_head(&FILTER, &mut head);
    text(&head.fields, "content-type").unwrap()
}

/// The request body that the origin gets, or the answer in its place.
fn sent(exchange: &mut Exchange, pieces: &[&[u8]]) -> Result<Vec<u8>, Box<Answer>> {
    let mut body = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let mut piece = Block::from_slice(piece);
        let mut trailers = Vec::new();
        let mut phase = exchange.body(&mut piece, 0, ends(at, pieces), &mut trailers);
        match chain::Filter::request_body(&FILTER, &mut phase) {
            BodyVerdict::Continue => body.extend_from_slice(&piece),
            BodyVerdict::Refuse(answer) => return Err(answer),
        }
    }
    Ok(body)
}

/// The response body that the client gets, piece by piece.
fn received(exchange: &mut Exchange, pieces: &[&[u8]], trailers: &str) -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let mut piece = Block::from_slice(piece);
        let mut lines = match ends(at, pieces) {
            Ends::Here => trailers.as_bytes().to_vec(),
            Ends::Later => Vec::new(),
        };
        let mut phase = exchange.body(&mut piece, 0, ends(at, pieces), &mut lines);
        let verdict = chain::Filter::response_body(&FILTER, &mut phase);
        assert!(matches!(verdict, BodyVerdict::Continue));
        assert!(lines.is_empty(), "trailers are left");
        body.push(piece.to_vec());
    }
    body
}

fn ends(at: usize, pieces: &[&[u8]]) -> Ends {
    match at + 1 == pieces.len() {
        true => Ends::Here,
        false => Ends::Later,
    }
}

fn frame(flag: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[flag][..], &len, payload].concat()
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = Encoder::default();
    encoder.push(bytes, &mut out);
    encoder.finish(&mut out);
    out
}

fn unbase64(text: &[u8]) -> Result<Vec<u8>, InvalidBase64> {
    let mut out = Vec::new();
    Decoder::default().push(text, &mut out)?;
    Ok(out)
}

const OK: &str = "grpc-status: 0\r\ngrpc-message: fine\r\n";

#[test]
fn requests_become_grpc() {
    for (web, own) in [
        ("application/grpc-web", "application/grpc"),
        ("application/grpc-web+proto", "application/grpc+proto"),
        (
            "application/grpc-web-text+json; x=y",
            "application/grpc+json",
        ),
        ("Application/GRPC-Web-Text", "application/grpc"),
    ] {
        let exchange = exchange(web);
        assert_eq!(text(&exchange.head.fields, "content-type").unwrap(), own);
        assert_eq!(exchange.head.trailers, TrailersOk::Yes);
        assert_eq!(exchange.bodies(&FILTER), Bodies::Wanted);
    }
}

#[test]
fn other_requests_pass_untouched() {
    for content_type in ["application/grpc", "application/grpc+proto", "text/plain"] {
        let mut exchange = exchange(content_type);
        assert_eq!(
            text(&exchange.head.fields, "content-type").unwrap(),
            content_type
        );
        assert_eq!(exchange.head.trailers, TrailersOk::Unsaid);
        assert_eq!(exchange.bodies(&FILTER), Bodies::Unwanted);
        assert_eq!(
            respond(&mut exchange, "application/grpc"),
            "application/grpc"
        );
        assert_eq!(sent(&mut exchange, &[b"AAAA"]).unwrap(), b"AAAA");
    }
    assert_eq!(exchange_with(&[]).bodies(&FILTER), Bodies::Unwanted);
}

#[test]
fn binary_requests_pass_as_they_are() {
    let mut exchange = exchange("application/grpc-web");
    let body = sent(&mut exchange, &[b"\0\0\0\0\x01", b"x", b""]);
    assert_eq!(body.unwrap(), b"\0\0\0\0\x01x");
}

#[test]
fn text_is_decoded_however_it_is_cut_and_padded() {
    let message = frame(0, b"message");
    let whole = [base64(&message), base64(b"\0\0"), base64(b"\0\0\0")].concat();
    let expected = [&message[..], b"\0\0\0\0\0"].concat();
    for size in 1..whole.len() {
        let mut pieces: Vec<&[u8]> = whole.chunks(size).collect();
        pieces.push(b"");
        let mut exchange = exchange("application/grpc-web-text");
        assert_eq!(sent(&mut exchange, &pieces).unwrap(), expected, "{size}");
    }
}

#[test]
fn text_that_is_none_is_answered_as_grpc() {
    for pieces in [
        &[&b"AAA*"[..]][..],
        &[b"AAAA", b"AA"],
        &[b"AA=", b"A"],
        &[b"AAAAA", b""],
    ] {
        let mut exchange = exchange("application/grpc-web-text");
        let answer = sent(&mut exchange, pieces).unwrap_err();
        assert_eq!((answer.status, answer.code), (200, "grpc_web_text"));
        let status = answer
            .fields
            .iter()
            .find(|(name, _)| &**name == "grpc-status");
        assert_eq!(&*status.unwrap().1, b"3");
    }
}

#[test]
fn responses_get_the_type_that_the_client_takes() {
    for (fields, expected) in [
        (
            &[("content-type", "application/grpc-web")][..],
            "application/grpc-web+proto",
        ),
        (
            &[("content-type", "application/grpc-web-text")],
            "application/grpc-web-text+proto",
        ),
        (
            &[
                ("content-type", "application/grpc-web"),
                ("accept", "application/grpc-web-text"),
            ],
            "application/grpc-web-text+proto",
        ),
        (
            &[
                ("content-type", "application/grpc-web-text"),
                ("accept", "application/grpc-web"),
            ],
            "application/grpc-web+proto",
        ),
        (
            &[("content-type", "application/grpc-web"), ("accept", "*/*")],
            "application/grpc-web+proto",
        ),
    ] {
        let mut exchange = exchange_with(fields);
        assert_eq!(respond(&mut exchange, "application/grpc+proto"), expected);
    }
}

#[test]
fn an_answer_that_is_not_grpc_passes_untouched() {
    let mut exchange = exchange("application/grpc-web");
    assert_eq!(respond(&mut exchange, "text/html"), "text/html");
    let mut piece = Block::from_slice(b"<p>");
    let mut trailers = b"x: y\r\n".to_vec();
    let mut phase = exchange.body(&mut piece, 0, Ends::Here, &mut trailers);
    chain::Filter::response_body(&FILTER, &mut phase);
    assert_eq!((&piece[..], &trailers[..]), (&b"<p>"[..], &b"x: y\r\n"[..]));
}

#[test]
fn trailers_become_the_last_frame() {
    let mut exchange = exchange("application/grpc-web");
    respond(&mut exchange, "application/grpc");
    let message = frame(0, b"message");
    let body = received(
        &mut exchange,
        &[&message[..4], &message[4..], b""],
        "Grpc-Status: 0\r\nX-Custom: A:B\r\n",
    );
    let last = frame(0x80, b"grpc-status: 0\r\nx-custom: A:B\r\n");
    assert_eq!(body, [&message[..4], &message[4..], &last]);
}

#[test]
fn the_last_piece_may_have_bytes_of_its_own() {
    let mut exchange = exchange("application/grpc-web");
    respond(&mut exchange, "application/grpc");
    // Of a size that leaves no room behind it.
    let message = frame(0, &vec![b'x'; (16 << 10) - 512 - 5]);
    let body = received(&mut exchange, &[&message], OK);
    assert_eq!(
        body.concat(),
        [message, frame(0x80, OK.as_bytes())].concat()
    );
}

#[test]
fn text_is_padded_behind_messages_only() {
    let mut exchange = exchange("application/grpc-web-text");
    respond(&mut exchange, "application/grpc");
    let message = frame(0, b"message!");
    let body = received(&mut exchange, &[&message[..7], &message[7..], b""], OK);
    let begun = base64(&message[..6]);
    let rest = base64(&message[6..]);
    assert_eq!(body, [begun, rest, base64(&frame(0x80, OK.as_bytes()))]);
}

#[test]
fn a_body_without_a_status_says_so() {
    let mut exchange = exchange("application/grpc-web");
    respond(&mut exchange, "application/grpc");
    let body = received(&mut exchange, &[b""], "x: y\r\n").concat();
    let lines = b"x: y\r\ngrpc-status: 2\r\ngrpc-message: the origin sent no status\r\n";
    assert_eq!(body, frame(0x80, lines));
}

#[test]
fn trailers_in_the_head_become_a_frame_where_a_body_follows() {
    let fields = [
        ("content-type", "application/grpc"),
        ("grpc-status", "5"),
        ("x-kept", "1"),
        ("trailer", "x-late"),
        ("grpc-message", "no such thing"),
    ];
    for (content_type, form) in [
        ("application/grpc-web", Form::Binary),
        ("application/grpc-web-text", Form::Text),
    ] {
        let mut exchange = exchange(content_type);
        let mut head = head(BodyLen::Length(0), &fields);
        exchange.response_head(&FILTER, &mut head);
        assert_eq!(text(&head.fields, "content-type").unwrap(), content_type);
        assert_eq!(text(&head.fields, "x-kept").unwrap(), "1");
        assert_eq!(text(&head.fields, "trailer"), None);
        assert_eq!(text(&head.fields, "grpc-status"), None);
        assert_eq!(text(&head.fields, "grpc-message"), None);
        let body = received(&mut exchange, &[b""], "").concat();
        let lines = b"grpc-status: 5\r\ngrpc-message: no such thing\r\n";
        let expected = match form {
            Form::Text => base64(&frame(0x80, lines)),
            _ => frame(0x80, lines),
        };
        assert_eq!(body, expected);
    }
}

#[test]
fn trailers_in_the_head_stay_where_no_body_can_follow() {
    let mut exchange = exchange("application/grpc-web");
    let fields = [("content-type", "application/grpc"), ("grpc-status", "5")];
    let mut head = head(BodyLen::None, &fields);
    exchange.response_head(&FILTER, &mut head);
    assert_eq!(
        text(&head.fields, "content-type").unwrap(),
        "application/grpc-web"
    );
    assert_eq!(text(&head.fields, "grpc-status").unwrap(), "5");
    assert_eq!(received(&mut exchange, &[b""], "").concat(), b"");
}

#[test]
fn an_answer_of_the_gateways_takes_the_place_of_an_origins() {
    let mut exchange = exchange("application/grpc-web-text");
    assert_eq!(respond(&mut exchange, "text/html"), "text/html");
    let fields = [("content-type", "application/grpc"), ("grpc-status", "13")];
    let mut head = head(BodyLen::Length(0), &fields);
    exchange.response_head(&FILTER, &mut head);
    assert_eq!(
        text(&head.fields, "content-type").unwrap(),
        "application/grpc-web-text"
    );
    let body = received(&mut exchange, &[b""], "").concat();
    assert_eq!(
        unbase64(&body).unwrap(),
        frame(0x80, b"grpc-status: 13\r\n")
    );
}

proptest! {
    #[test]
    fn text_decodes_to_what_the_origin_sent(
        sizes in proptest::collection::vec(0usize..70, 0..5),
        step in 1usize..90,
    ) {
        let mut body = Vec::new();
        for size in sizes {
            body.extend(frame(0, &vec![size as u8; size]));
        }
        let mut pieces: Vec<&[u8]> = body.chunks(step).collect();
        pieces.push(b"");
        let mut exchange = exchange("application/grpc-web-text");
        respond(&mut exchange, "application/grpc");
        let text = received(&mut exchange, &pieces, OK);
        let expected = [&body[..], &frame(0x80, OK.as_bytes())].concat();
        prop_assert_eq!(unbase64(&text.concat()).unwrap(), expected);
    }

    #[test]
    fn any_text_is_decoded_or_refused(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..5),
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
        let mut exchange = exchange("application/grpc-web-text");
        let decoded = unbase64(&pieces.concat());
        match sent(&mut exchange, &pieces) {
            Ok(body) => prop_assert_eq!(body, decoded.unwrap()),
            Err(answer) => prop_assert_eq!(answer.code, "grpc_web_text"),
        }
    }
}
