//! The body of one message, whatever tells its length: narrows received blocks to body data and
//! finds the byte where the message ends.

use crate::block::Block;
use crate::http::h1::chunked::{ChunkedDecoder, DecoderState};
use crate::http::h1::error::BodyError;
use crate::http::head::BodyLen;

/// Follows one body to its end; started anew for each message.
#[derive(Debug, Default)]
pub struct BodyDecoder {
    kind: Kind,
    chunked: ChunkedDecoder,
    received: u64,
    /// In the place of trailers before there can be any.
    early: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Ended,
    Length {
        left: u64,
    },
    Chunked,
    UntilClose,
}

/// What a received block held. Its window is narrowed to the body's data.
#[derive(Debug)]
#[must_use]
pub struct BodyStep {
    /// Whether the body goes on.
    pub state: BodyState,
    /// What the peer sent behind the body, if anything.
    pub rest: Option<Block>,
}

/// Whether a body goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyState {
    /// More data or the end is to come.
    More,
    /// The body is complete.
    End,
}

impl BodyDecoder {
    /// Begins a body of this length.
    pub fn start(&mut self, framing: BodyLen) {
        self.received = 0;
        // Whatever the framing is: trailers of the body before must not be taken for this one's.
        self.chunked.reset();
        self.kind = match framing {
            BodyLen::None | BodyLen::Length(0) => Kind::Ended,
            BodyLen::Length(left) => Kind::Length { left },
            BodyLen::Chunked => Kind::Chunked,
            BodyLen::UntilClose => Kind::UntilClose,
        };
    }

    /// Takes the next block of the connection.
    pub fn decode(&mut self, block: &mut Block) -> Result<BodyStep, BodyError> {
        let step = match self.kind {
            Kind::Ended => split(block, 0),
            Kind::Length { left } => {
                let data = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                let left = left - data as u64;
                self.kind = if left == 0 {
                    Kind::Ended
                } else {
                    Kind::Length { left }
                };
                if left == 0 { split(block, data) } else { MORE }
            }
            Kind::Chunked => self.decode_chunked(block)?,
            Kind::UntilClose => MORE,
        };
        self.received += block.len() as u64;
        Ok(step)
    }

    fn decode_chunked(&mut self, block: &mut Block) -> Result<BodyStep, BodyError> {
        let decoded = self.chunked.decode(block)?;
        let step = match decoded.state {
            DecoderState::NeedMore => MORE,
            DecoderState::End => {
                self.kind = Kind::Ended;
                split(block, decoded.consumed)
            }
        };
        let start = block.window().start;
        block.set_window(start + decoded.data.start..start + decoded.data.end);
        Ok(step)
    }

    /// The peer closed its side. Only a body that lasts until then may be unfinished.
    pub fn on_eof(&mut self) -> Result<(), BodyError> {
        match self.kind {
            Kind::Ended => Ok(()),
            Kind::UntilClose => {
                self.kind = Kind::Ended;
                Ok(())
            }
            Kind::Length { .. } | Kind::Chunked => Err(BodyError::Truncated),
        }
    }

    /// Whether the body is complete.
    pub fn is_ended(&self) -> bool {
        self.kind == Kind::Ended
    }

    /// Bytes of data so far, without framing.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes still to come, where the length is told beforehand.
    pub fn left(&self) -> Option<u64> {
        match self.kind {
            Kind::Ended => Some(0),
            Kind::Length { left } => Some(left),
            Kind::Chunked | Kind::UntilClose => None,
        }
    }

    /// The trailers that may be forwarded, as lines; empty unless a chunked body has ended.
    pub fn trailers(&self) -> &[u8] {
        self.chunked.trailers()
    }

    /// The same, to be added to or changed. Before the end there are none, and what is added is
    /// forgotten.
    pub fn trailers_mut(&mut self) -> &mut Vec<u8> {
        if self.kind == Kind::Ended {
            return self.chunked.trailers_mut();
        }
        self.early.clear();
        &mut self.early
    }
}

const MORE: BodyStep = BodyStep {
    state: BodyState::More,
    rest: None,
};

/// Ends the body behind `data` payload bytes.
fn split(block: &mut Block, data: usize) -> BodyStep {
    BodyStep {
        state: BodyState::End,
        rest: (block.len() > data).then(|| block.split_off(data)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn step(decoder: &mut BodyDecoder, bytes: &[u8]) -> (Vec<u8>, BodyState, Option<Vec<u8>>) {
        let mut block = Block::from_slice(bytes);
        let step = decoder.decode(&mut block).unwrap();
        (
            block.to_vec(),
            step.state,
            step.rest.map(|rest| rest.to_vec()),
        )
    }

    #[test]
    fn trailers_belong_to_their_own_body() {
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Chunked);
        let mut block = Block::from_slice(b"0\r\nx-user: a\r\n\r\n");
        let step = decoder.decode(&mut block).unwrap();
        assert_eq!(step.state, BodyState::End);
        assert_eq!(decoder.trailers(), b"x-user: a\r\n");
        for framing in [BodyLen::UntilClose, BodyLen::Length(1), BodyLen::None] {
            decoder.start(framing);
            assert_eq!(decoder.trailers(), b"");
        }
    }

    #[test]
    fn a_length_ends_at_its_last_byte() {
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Length(5));
        assert_eq!(
            step(&mut decoder, b"abc"),
            (b"abc".to_vec(), BodyState::More, None)
        );
        assert_eq!(decoder.left(), Some(2));
        assert_eq!(
            step(&mut decoder, b"deGET"),
            (b"de".to_vec(), BodyState::End, Some(b"GET".to_vec()))
        );
        assert_eq!(decoder.received(), 5);
        assert_eq!(decoder.on_eof(), Ok(()));
    }

    #[test]
    fn everything_behind_no_body_is_left_over() {
        for framing in [BodyLen::None, BodyLen::Length(0)] {
            let mut decoder = BodyDecoder::default();
            decoder.start(framing);
            assert!(decoder.is_ended());
            assert_eq!(
                step(&mut decoder, b"GET"),
                (Vec::new(), BodyState::End, Some(b"GET".to_vec()))
            );
        }
    }

    #[test]
    fn chunks_are_joined_and_the_next_message_left_over() {
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Chunked);
        assert_eq!(
            step(
                &mut decoder,
                b"2\r\nab\r\n1\r\nc\r\n0\r\nx-t: 1\r\n\r\nHTTP"
            ),
            (b"abc".to_vec(), BodyState::End, Some(b"HTTP".to_vec()))
        );
        assert_eq!(decoder.trailers(), b"x-t: 1\r\n");
        assert_eq!(decoder.received(), 3);
    }

    #[test]
    fn only_close_delimited_bodies_may_end_with_the_connection() {
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Length(1));
        assert_eq!(decoder.on_eof(), Err(BodyError::Truncated));
        decoder.start(BodyLen::Chunked);
        assert_eq!(decoder.on_eof(), Err(BodyError::Truncated));
        decoder.start(BodyLen::UntilClose);
        assert_eq!(
            step(&mut decoder, b"abc"),
            (b"abc".to_vec(), BodyState::More, None)
        );
        assert_eq!(decoder.on_eof(), Ok(()));
        assert!(decoder.is_ended());
    }

    #[test]
    fn a_started_body_forgets_the_one_before() {
        let mut decoder = BodyDecoder::default();
        decoder.start(BodyLen::Chunked);
        let _ = step(&mut decoder, b"1\r\na\r\n0\r\nx: y\r\n\r\n");
        decoder.start(BodyLen::Chunked);
        assert_eq!((decoder.trailers(), decoder.received()), (&b""[..], 0));
        assert_eq!(
            step(&mut decoder, b"1\r\n"),
            (Vec::new(), BodyState::More, None)
        );
    }
}
