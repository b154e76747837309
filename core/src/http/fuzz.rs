//! Fuzz entry points: plain functions that a fuzzer and the unit tests both call. Each takes any
//! bytes and panics when a property does not hold.

mod h2;

use crate::block::Block;
use crate::http::h1::{
    BodyDecoder, ChunkEnd, ChunkedDecoder, Connection, Decoded, HeadLimits, Parse, Relay,
    RequestOut, ResponseOut, Resume, encode_chunk, encode_request, encode_response, parse_request,
    parse_response,
};
use crate::http::{BodyLen, Method, RequestHead, ResponseHead, Version};

pub use h2::{fuzz_http2_request, fuzz_http2_response};

/// Whatever is accepted and written out again parses to the same request, to the last byte.
pub fn fuzz_request(bytes: &[u8]) {
    let Some(first) = request(bytes) else {
        return;
    };
    let mut out = Vec::new();
    let send = RequestOut {
        framing: first.framing,
        expect: Relay::Pass,
        te: Relay::Pass,
        connection: match (first.connection.upgrade, first.is_persistent()) {
            (true, _) => Connection::Upgrade,
            (false, true) => Connection::KeepAlive,
            (false, false) => Connection::Close,
        },
        ..RequestOut::default()
    };
    encode_request(&first, &send, &mut out);
    if first.authority().is_empty() {
        // An HTTP/1.0 request without Host: the gateway has to name one.
        out.clear();
        let host = Some(&b"origin.example"[..]);
        encode_request(&first, &RequestOut { host, ..send }, &mut out);
    }
    let second = request(&out).expect("what was written out parses again");
    assert_eq!(second.method_text(), first.method_text());
    assert_eq!(second.path(), first.path());
    assert_eq!(second.query(), first.query());
    if !first.authority().is_empty() {
        assert_eq!(second.authority(), first.authority());
    }
    assert_eq!(second.framing, first.framing);
    assert_eq!(second.trailers, first.trailers);
    assert_eq!(second.expect_continue, first.expect_continue);
    assert_eq!(second.upgrade(), first.upgrade());
    assert!(end_to_end(&second.fields).eq(end_to_end(&first.fields)));
    assert_clean(&out);
}

/// The same for responses, to GET, HEAD and CONNECT.
pub fn fuzz_response(bytes: &[u8]) {
    for method in [Method::Get, Method::Head, Method::Connect] {
        let Some(first) = response(bytes, method) else {
            continue;
        };
        let mut out = Vec::new();
        let send = ResponseOut {
            framing: first.framing,
            connection: match (first.connection.upgrade, first.is_persistent()) {
                (true, _) if first.framing != BodyLen::UntilClose => Connection::Upgrade,
                (_, true) => Connection::KeepAlive,
                (_, false) => Connection::Close,
            },
            client: Version::Http11,
            ..ResponseOut::default()
        };
        encode_response(&first, &send, &mut out);
        let second = response(&out, method).expect("what was written out parses again");
        assert_eq!(second.status, first.status);
        assert_eq!(second.framing, first.framing);
        assert!(end_to_end(&second.fields).eq(end_to_end(&first.fields)));
        assert_clean(&out);
    }
}

/// A chunked body in one piece and byte by byte comes to the same, ends at the same byte, and
/// written out again gives the same data and trailers.
pub fn fuzz_chunked(bytes: &[u8]) {
    let mut whole = ChunkedDecoder::default();
    let mut buf = bytes.to_vec();
    let result = whole.decode(&mut buf);
    let mut split = ChunkedDecoder::default();
    let mut data = Vec::new();
    let mut consumed = 0;
    let mut failed = None;
    for byte in bytes {
        match split.decode(&mut [*byte]) {
            Ok(piece) => {
                if !piece.data.is_empty() {
                    data.push(*byte);
                }
                consumed += piece.consumed;
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    match result {
        Ok(Decoded {
            data: range,
            consumed: end,
            ..
        }) => {
            // Overhead is checked once a piece, so a split body may be refused earlier.
            if failed.is_some() {
                return;
            }
            assert_eq!(&buf[range.clone()], &data[..]);
            assert_eq!(end, consumed);
            assert_eq!(&buf[end..], &bytes[end..]);
            assert_eq!(whole.is_ended(), split.is_ended());
            assert_eq!(whole.trailers(), split.trailers());
            if whole.is_ended() {
                rewrite_chunked(&data, whole.trailers());
            }
        }
        Err(error) => {
            let failed = failed.expect("a split body fails where the whole does");
            assert!(failed == error || failed == crate::http::h1::BodyError::ChunkOverhead);
        }
    }
}

fn rewrite_chunked(data: &[u8], trailers: &[u8]) {
    let mut out = Vec::new();
    encode_chunk(data, ChunkEnd::Last { trailers }, &mut out);
    let mut block = Block::from_slice(&out);
    let mut decoder = BodyDecoder::default();
    decoder.start(BodyLen::Chunked);
    let step = decoder
        .decode(&mut block)
        .expect("what was written out decodes again");
    assert!(decoder.is_ended() && step.rest.is_none());
    assert_eq!(&block[..], data);
    assert_eq!(decoder.trailers(), trailers);
}

fn request(bytes: &[u8]) -> Option<RequestHead> {
    let block = Block::from_slice(bytes);
    let mut head = RequestHead::default();
    match parse_request(&block, &LIMITS, &mut Resume::default(), &mut head) {
        Ok(Parse::Complete { head_len }) => {
            assert_clean(&bytes[..head_len]);
            head.fields.put_text(block);
            Some(head)
        }
        _ => None,
    }
}

fn response(bytes: &[u8], method: Method) -> Option<ResponseHead> {
    let block = Block::from_slice(bytes);
    let mut head = ResponseHead::default();
    match parse_response(&block, &LIMITS, &mut Resume::default(), method, &mut head) {
        Ok(Parse::Complete { head_len }) => {
            assert_clean(&bytes[..head_len]);
            head.fields.put_text(block);
            Some(head)
        }
        _ => None,
    }
}

/// The fields that a rewritten head has in common with its source, lower-cased.
fn end_to_end(fields: &crate::http::Fields) -> impl Iterator<Item = (Vec<u8>, &[u8])> {
    fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .filter(|(name, _)| !matches!(&name[..], b"host" | b"content-length"))
}

/// Exactly one head: every line ends in CRLF, and only the last is empty, but for one that may
/// come before a request.
fn assert_clean(head: &[u8]) {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let end = memchr::memmem::find(head, b"\r\n\r\n").expect("a head ends in an empty line");
    assert_eq!(end + 4, head.len());
    for (at, byte) in head.iter().enumerate() {
        match byte {
            b'\n' => assert_eq!(head[at - 1], b'\r'),
            b'\r' => assert_eq!(head[at + 1], b'\n'),
            0 => panic!("NUL in a head"),
            _ => {}
        }
    }
}

const LIMITS: HeadLimits = HeadLimits {
    head_max: 64 << 10,
    uri_max: 16 << 10,
    headers_max: 128,
};
