//! The chunked coding, whole and in pieces.

use proptest::prelude::*;

use crate::block::{Block, BlockClass, HEADROOM};
use crate::http::h1::chunked::DecoderState::{End, NeedMore};
use crate::http::h1::{
    BodyDecoder, BodyError, CHUNK_TAILROOM, ChunkEnd, ChunkedDecoder, Decoded, Framed,
    encode_chunk, frame_chunk,
};
use crate::http::limits::{EXTENSION_MAX, TRAILERS_MAX};
use crate::http::{BodyLen, fuzz};

const NO_TRAILERS: ChunkEnd<'static> = ChunkEnd::Last { trailers: b"" };

fn decode(text: &[u8]) -> Result<(Vec<u8>, Decoded), BodyError> {
    let mut buf = text.to_vec();
    let decoded = ChunkedDecoder::default().decode(&mut buf)?;
    Ok((buf[decoded.data.clone()].to_vec(), decoded))
}

#[test]
fn joins_chunks_and_stops_at_the_last_byte() {
    let text = b"3\r\nabc\r\n0A;x=\"y\"\r\n0123456789\r\n00\r\n\r\nGET /";
    let (data, decoded) = decode(text).unwrap();
    assert_eq!(data, b"abc0123456789");
    assert_eq!((decoded.consumed, decoded.state), (text.len() - 5, End));
}

#[test]
fn data_may_look_like_framing() {
    let (data, decoded) = decode(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n").unwrap();
    assert_eq!((&data[..], decoded.state), (&b"0\r\n\r\n"[..], End));
}

#[test]
fn an_unfinished_body_asks_for_more() {
    for text in [
        "",
        "5",
        "5\r",
        "5\r\nab",
        "5\r\nabcde\r",
        "0\r\n",
        "0\r\n\r",
        "0\r\nx: y\r\n",
    ] {
        let (_, decoded) = decode(text.as_bytes()).unwrap();
        assert_eq!(
            (decoded.consumed, decoded.state),
            (text.len(), NeedMore),
            "{text:?}"
        );
    }
}

const REFUSED: &[(&str, BodyError)] = &[
    ("\r\n", BodyError::ChunkSize),
    ("x\r\n", BodyError::ChunkSize),
    ("-1\r\n", BodyError::ChunkSize),
    ("+1\r\n", BodyError::ChunkSize),
    ("0x1\r\n", BodyError::ChunkSize),
    (" 1\r\n", BodyError::ChunkSize),
    ("1 \r\n", BodyError::ChunkSize),
    ("1 ;x\r\n", BodyError::ChunkSize),
    ("1_0\r\n", BodyError::ChunkSize),
    (";x\r\n", BodyError::ChunkSize),
    ("00000000000000001\r\n", BodyError::ChunkSize),
    ("1ffffffffffffffff\r\n", BodyError::ChunkSize),
    ("1\na", BodyError::ChunkLine),
    ("1\rxa", BodyError::ChunkLine),
    ("1;x\na", BodyError::ChunkLine),
    ("1;x\rya", BodyError::ChunkLine),
    ("1\r\nab", BodyError::ChunkLine),
    ("1\r\na\n", BodyError::ChunkLine),
    ("1\r\na\rx", BodyError::ChunkLine),
    ("1\r\na0\r\n\r\n", BodyError::ChunkLine),
    ("1;\0\r\n", BodyError::ChunkExtension),
    ("1;\x7f\r\n", BodyError::ChunkExtension),
    ("0\r\n\n", BodyError::ChunkLine),
    ("0\r\nx: y\n\r\n", BodyError::ChunkLine),
    ("0\r\nx: y\r\n z\r\n\r\n", BodyError::Trailer),
    ("0\r\nx : y\r\n\r\n", BodyError::Trailer),
    ("0\r\n: y\r\n\r\n", BodyError::Trailer),
    ("0\r\nxy\r\n\r\n", BodyError::Trailer),
    ("0\r\nx: \0\r\n\r\n", BodyError::Trailer),
    ("0\r\nx: a\rb\r\n\r\n", BodyError::Trailer),
    ("0\r\n\r\r\n", BodyError::Trailer),
];

#[test]
fn every_fixture_is_refused_for_its_reason() {
    for (text, error) in REFUSED {
        assert_eq!(decode(text.as_bytes()).err(), Some(*error), "{text:?}");
        fuzz::fuzz_chunked(text.as_bytes());
    }
}

#[test]
fn sixteen_digits_are_the_most() {
    let (_, decoded) = decode(b"ffffffffffffffff\r\nabc").unwrap();
    assert_eq!((decoded.data, decoded.state), (18..21, NeedMore));
}

#[test]
fn extensions_are_bounded() {
    let long = "e".repeat(EXTENSION_MAX);
    assert!(decode(format!("1;{long}\r\na").as_bytes()).is_ok());
    assert_eq!(
        decode(format!("1;{long}e\r\na").as_bytes()).err(),
        Some(BodyError::ChunkExtensionTooLong)
    );
    let ratio = format!("1;{long}\r\na\r\n").repeat(100);
    assert_eq!(
        decode(ratio.as_bytes()).err(),
        Some(BodyError::ChunkOverhead)
    );
    assert!(decode("1\r\na\r\n".repeat(100_000).as_bytes()).is_ok());
}

#[test]
fn trailers_are_bounded() {
    let long = "t".repeat(TRAILERS_MAX);
    assert_eq!(
        decode(format!("0\r\nx: {long}").as_bytes()).err(),
        Some(BodyError::TrailersTooLarge)
    );
}

#[test]
fn a_body_is_the_same_however_it_is_split() {
    let text = b"4;e\r\nWiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX-T:  1 \r\n\r\nrest";
    let (data, whole) = decode(text).unwrap();
    for split in 0..text.len() {
        let mut decoder = ChunkedDecoder::default();
        let mut got = Vec::new();
        let mut consumed = 0;
        for piece in [&text[..split], &text[split..]] {
            let mut buf = piece.to_vec();
            let decoded = decoder.decode(&mut buf).unwrap();
            got.extend_from_slice(&buf[decoded.data]);
            consumed += decoded.consumed;
        }
        assert_eq!((&got, consumed), (&data, whole.consumed), "at {split}");
        assert_eq!(decoder.trailers(), b"X-T: 1\r\n");
    }
    fuzz::fuzz_chunked(text);
}

#[test]
fn a_received_block_is_framed_in_place() {
    let mut block = Block::from_slice(b"0123456789abcdefg");
    assert_eq!(frame_chunk(&mut block, ChunkEnd::More), Framed::Done);
    assert_eq!(&block[..], b"11\r\n0123456789abcdefg\r\n");
    let mut block = Block::from_slice(b"ab");
    let last = ChunkEnd::Last {
        trailers: b"x: y\r\n",
    };
    assert_eq!(frame_chunk(&mut block, last), Framed::Done);
    assert_eq!(&block[..], b"2\r\nab\r\n0\r\nx: y\r\n\r\n");
}

#[test]
fn no_chunk_is_made_of_nothing() {
    let mut block = Block::new(BlockClass::Head);
    assert_eq!(frame_chunk(&mut block, ChunkEnd::More), Framed::Done);
    assert_eq!(&block[..], b"");
    assert_eq!(frame_chunk(&mut block, NO_TRAILERS), Framed::Done);
    assert_eq!(&block[..], b"0\r\n\r\n");
    let mut out = Vec::new();
    encode_chunk(b"", ChunkEnd::More, &mut out);
    assert_eq!(out, b"");
}

#[test]
fn a_block_without_room_is_left_alone() {
    let size = BlockClass::Head.size();
    let mut full = Block::new(BlockClass::Head);
    full.set_window(HEADROOM..size - 1);
    assert_eq!(frame_chunk(&mut full, ChunkEnd::More), Framed::NoRoom);
    assert_eq!(full.window(), HEADROOM..size - 1);
    full.set_window(1..size - CHUNK_TAILROOM);
    assert_eq!(frame_chunk(&mut full, NO_TRAILERS), Framed::NoRoom);
    assert_eq!(full.window(), 1..size - CHUNK_TAILROOM);
    full.set_window(HEADROOM..size - CHUNK_TAILROOM);
    assert_eq!(frame_chunk(&mut full, NO_TRAILERS), Framed::Done);
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_again(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8),
        cut in 1..64usize,
    ) {
        let trailers = b"x-sum: 1\r\n";
        let mut wire = Vec::new();
        for piece in &pieces {
            encode_chunk(piece, ChunkEnd::More, &mut wire);
        }
        encode_chunk(b"", ChunkEnd::Last { trailers }, &mut wire);
        let end = wire.len();
        wire.extend_from_slice(b"next");
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Chunked);
        let (mut data, mut rest) = (Vec::new(), Vec::new());
        for part in wire.chunks(cut) {
            let mut block = Block::from_slice(part);
            let step = decoder.decode(&mut block).unwrap();
            data.extend_from_slice(&block);
            rest.extend_from_slice(&step.rest.unwrap_or_default());
        }
        prop_assert_eq!(data, pieces.concat());
        prop_assert_eq!(rest, &wire[end..]);
        prop_assert_eq!(decoder.trailers(), trailers);
    }

    #[test]
    fn any_bytes_decode_alike_whole_and_split(bytes in chunk_like()) {
        fuzz::fuzz_chunked(&bytes);
    }
}

/// Bytes with the look of chunks, so that a good part gets past the first byte.
fn chunk_like() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => "[0-9a-f]{1,2}(;[a-z]{0,3})?\r\n",
        4 => "[a-z]{0,9}\r\n",
        1 => "0\r\n(x-[a-z]: [a-z]{0,3}\r\n){0,2}\r\n",
        1 => "[\r\n;: 0-9]{0,3}",
    ];
    prop::collection::vec(part, 0..10).prop_map(|parts| parts.concat().into_bytes())
}
