//! The chunked coding (RFC 9112, 7.1), both ways.
//!
//! The decoder works in place: the data of several chunks in one received block is moved
//! together, each byte at most once, and what lies behind the message is not touched.

use std::ops::Range;

use crate::block::Block;
use crate::http::h1::error::BodyError;
use crate::http::h1::trailers::{Section, Trailers};
use crate::http::limits::{CHUNK_OVERHEAD_BASE_MAX, CHUNK_OVERHEAD_PER_BYTE_MAX, EXTENSION_MAX};

/// Decodes one chunked body.
#[derive(Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Framing bytes and data bytes so far.
    overhead: u64,
    data: u64,
    trailers: Trailers,
}

/// What a decoded piece holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Where the data of the body now lies in the buffer.
    pub data: Range<usize>,
    /// How many bytes of the buffer belonged to this body.
    pub consumed: usize,
    /// Whether the body has ended.
    pub state: DecoderState,
}

/// Whether a body goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderState {
    /// The body goes on.
    NeedMore,
    /// The body has ended at `consumed`.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In a chunk size of which `digits` were read.
    Size { size: u64, digits: u8 },
    /// In the extension of a chunk.
    Extension { size: u64, len: usize },
    /// Behind the CR of a chunk line.
    SizeLf { size: u64 },
    /// In data.
    Data { left: u64 },
    /// Behind data.
    DataCr,
    /// Behind the CR behind data.
    DataLf,
    /// Behind the last chunk's line.
    Trailers,
    /// Behind the body.
    End,
}

impl Default for State {
    fn default() -> State {
        State::Size { size: 0, digits: 0 }
    }
}

impl ChunkedDecoder {
    /// Makes the decoder ready for another body; keeps its memory.
    pub fn reset(&mut self) {
        self.state = State::default();
        self.overhead = 0;
        self.data = 0;
        self.trailers.clear();
    }

    /// Decodes the next bytes of the body in place.
    pub fn decode(&mut self, buf: &mut [u8]) -> Result<Decoded, BodyError> {
        let mut at = 0;
        let mut data = 0..0;
        while at < buf.len() && self.state != State::End {
            match self.state {
                State::Data { left } => {
                    let len = (buf.len() - at).min(usize::try_from(left).unwrap_or(usize::MAX));
                    append_data(buf, &mut data, at, len);
                    at += len;
                    self.data += len as u64;
                    let left = left - len as u64;
                    self.state = if left == 0 {
                        State::DataCr
                    } else {
                        State::Data { left }
                    };
                }
                State::Trailers => match self.trailers.take(&buf[at..])? {
                    Section::Open => at = buf.len(),
                    Section::Ended(len) => {
                        at += len;
                        self.state = State::End;
                    }
                },
                _ => {
                    self.state = self.step(buf[at])?;
                    at += 1;
                    self.overhead += 1;
                }
            }
        }
        if self.overhead
            > CHUNK_OVERHEAD_BASE_MAX + self.data.saturating_mul(CHUNK_OVERHEAD_PER_BYTE_MAX)
        {
            return Err(BodyError::ChunkOverhead);
        }
        Ok(Decoded {
            data,
            consumed: at,
            state: match self.state {
                State::End => DecoderState::End,
                _ => DecoderState::NeedMore,
            },
        })
    }

    /// Whether the body has ended.
    pub fn is_ended(&self) -> bool {
        self.state == State::End
    }

    /// The trailers that may be forwarded, as `name: value` lines with their CRLF.
    pub fn trailers(&self) -> &[u8] {
        self.trailers.text()
    }

    /// The same, to be added to or changed.
    pub fn trailers_mut(&mut self) -> &mut Vec<u8> {
        self.trailers.text_mut()
    }

    /// Takes one byte of framing.
    fn step(&self, byte: u8) -> Result<State, BodyError> {
        match (self.state, byte) {
            (State::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == 16 {
                    return Err(BodyError::ChunkSize);
                }
                // Sixteen digits fill a u64 and cannot overflow it.
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                Ok(State::Size {
                    size: size << 4 | u64::from(digit),
                    digits: digits + 1,
                })
            }
            (State::Size { digits: 0, .. }, _) => Err(BodyError::ChunkSize),
            (State::Size { size, .. }, b';') => Ok(State::Extension { size, len: 0 }),
            (State::Size { size, .. } | State::Extension { size, .. }, b'\r') => {
                Ok(State::SizeLf { size })
            }
            (State::Size { .. } | State::Extension { .. }, b'\n') => Err(BodyError::ChunkLine),
            (State::Size { .. }, _) => Err(BodyError::ChunkSize),
            (State::Extension { size, len }, b'\t' | b' '..=0x7e | 0x80..) => {
                if len == EXTENSION_MAX {
                    return Err(BodyError::ChunkExtensionTooLong);
                }
                Ok(State::Extension { size, len: len + 1 })
            }
            (State::Extension { .. }, _) => Err(BodyError::ChunkExtension),
            (State::SizeLf { size: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeLf { size }, b'\n') => Ok(State::Data { left: size }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::default()),
            _ => Err(BodyError::ChunkLine),
        }
    }
}

/// Moves `len` bytes at `at` behind the data found so far.
fn append_data(buf: &mut [u8], data: &mut Range<usize>, at: usize, len: usize) {
    if data.start == data.end {
        *data = at..at + len;
        return;
    }
    if data.end != at {
        buf.copy_within(at..at + len, data.end);
    }
    data.end += len;
}

/// Where a chunk stands in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkEnd<'a> {
    /// Chunks follow.
    More,
    /// The body ends with this chunk and these trailer lines, each with its CRLF.
    Last {
        /// Lines as [`ChunkedDecoder::trailers`] gives them; may be empty.
        trailers: &'a [u8],
    },
}

/// Whether a chunk could be framed in its block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Framed {
    /// The payload now is the chunk with its framing.
    Done,
    /// Too little room before or behind the payload; nothing was changed.
    NoRoom,
}

/// Frames the payload as a chunk within its own block: the size goes into the headroom, the
/// line ends into the tailroom. Without payload only the body's end is written, if it is there.
pub fn frame_chunk(block: &mut Block, end: ChunkEnd<'_>) -> Framed {
    let len = block.len();
    let size = SizeLine::of(len);
    let (size, data_end): (&[u8], &[u8]) = if len == 0 {
        (b"", b"")
    } else {
        (size.text(), b"\r\n")
    };
    let last = match end {
        ChunkEnd::More => 0,
        ChunkEnd::Last { trailers } => LAST.len() + trailers.len() + 2,
    };
    if block.headroom() < size.len() || block.tailroom() < data_end.len() + last {
        return Framed::NoRoom;
    }
    let fits = block.prepend(size);
    debug_assert!(fits);
    block.append(data_end);
    if let ChunkEnd::Last { trailers } = end {
        block.append(LAST);
        block.append(trailers);
        block.append(b"\r\n");
    }
    Framed::Done
}

/// Appends `data` as a chunk to `out`: what [`frame_chunk`] does, with a copy.
pub fn encode_chunk(data: &[u8], end: ChunkEnd<'_>, out: &mut Vec<u8>) {
    if !data.is_empty() {
        out.extend_from_slice(SizeLine::of(data.len()).text());
        out.extend_from_slice(data);
        out.extend_from_slice(b"\r\n");
    }
    if let ChunkEnd::Last { trailers } = end {
        out.extend_from_slice(LAST);
        out.extend_from_slice(trailers);
        out.extend_from_slice(b"\r\n");
    }
}

const LAST: &[u8] = b"0\r\n";

/// A chunk size in hexadecimal with its CRLF.
struct SizeLine {
    text: [u8; 18],
    start: usize,
}

impl SizeLine {
    fn of(mut len: usize) -> SizeLine {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"0000000000000000\r\n";
        let mut start = 16;
        loop {
            start -= 1;
            text[start] = DIGITS[len & 15];
            len >>= 4;
            if len == 0 {
                return SizeLine { text, start };
            }
        }
    }

    fn text(&self) -> &[u8] {
        &self.text[self.start..]
    }
}
