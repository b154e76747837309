//! Tests of the codec as a whole: what is accepted, what is refused and why, and that what goes
//! out comes in again.
#![allow(clippy::unwrap_used)]

mod chunked;
mod corpus;
mod encoding;
mod rejected_requests;
mod rejected_responses;
mod requests;
mod responses;
mod round_trip;

use crate::block::Block;
use crate::http::h1::{HeadError, HeadLimits, Parse, Resume, parse_request, parse_response};
use crate::http::{Fields, Method, RequestHead, ResponseHead};

/// Parses one request in one piece.
fn request(bytes: &[u8]) -> Result<(RequestHead, usize), HeadError> {
    request_with(bytes, &HeadLimits::default()).map(|found| found.unwrap())
}

fn request_with(
    bytes: &[u8],
    limits: &HeadLimits,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let block = Block::from_slice(bytes);
    let mut head = RequestHead::default();
    match parse_request(&block, limits, &mut Resume::default(), &mut head)? {
        Parse::Partial => Ok(None),
        Parse::Complete { head_len } => {
            head.fields.put_text(block);
            Ok(Some((head, head_len)))
        }
    }
}

/// Parses one response to `method` in one piece.
fn response(bytes: &[u8], method: Method) -> Result<(ResponseHead, usize), HeadError> {
    response_with(bytes, &HeadLimits::default(), method).map(|found| found.unwrap())
}

fn response_with(
    bytes: &[u8],
    limits: &HeadLimits,
    method: Method,
) -> Result<Option<(ResponseHead, usize)>, HeadError> {
    let block = Block::from_slice(bytes);
    let mut head = ResponseHead::default();
    match parse_response(&block, limits, &mut Resume::default(), method, &mut head)? {
        Parse::Partial => Ok(None),
        Parse::Complete { head_len } => {
            head.fields.put_text(block);
            Ok(Some((head, head_len)))
        }
    }
}

/// Feeds the bytes in two pieces, for every place to split them, then one by one; every way has
/// to come to what the whole comes to. Only the reason of a refusal may depend on how much of
/// the line was there.
fn same_at_every_split<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    parse: impl Fn(&Block, &mut Resume) -> Result<Option<T>, HeadError>,
) {
    let parse = |block: &Block, resume: &mut Resume| parse(block, resume).map_err(drop);
    let whole = parse(&Block::from_slice(bytes), &mut Resume::default());
    for split in 1..bytes.len() {
        let mut resume = Resume::default();
        let first = parse(&Block::from_slice(&bytes[..split]), &mut resume);
        match first {
            Ok(None) => {
                assert_eq!(
                    parse(&Block::from_slice(bytes), &mut resume),
                    whole,
                    "at {split}"
                );
            }
            early => assert_eq!(early, whole, "at {split}"),
        }
    }
    let mut resume = Resume::default();
    let mut result = Ok(None);
    for len in 1..=bytes.len() {
        result = parse(&Block::from_slice(&bytes[..len]), &mut resume);
        if result != Ok(None) {
            break;
        }
    }
    assert_eq!(result, whole, "byte by byte");
}

fn lines(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}
