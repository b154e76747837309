//! Reads answers off a connection: strict about framing, and keeping nothing of them but the
//! status and the size. No I/O, no allocation in the steady state.

use ringgate_core::block::Block;
use ringgate_core::http::h1::{ChunkedDecoder, HeadLimits, Parse, Resume, parse_response};
use ringgate_core::http::{BodyLen, Method, ResponseHead, ResponseKind};

/// Follows the answers on one connection.
#[derive(Debug, Default)]
pub struct Reader {
    head: ResponseHead,
    resume: Resume,
    chunked: ChunkedDecoder,
    state: State,
    body_bytes: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    Length {
        left: u64,
    },
    Chunked,
    UntilClose,
}

/// An answer that was received whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Bytes of its body, without framing.
    pub body_bytes: u64,
    /// What becomes of the connection.
    pub connection: Connection,
}

/// What becomes of a connection behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// It takes further requests.
    Kept,
    /// The server will close it.
    Ends,
}

/// What the received bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An answer ended; there may be more bytes behind it.
    Answered(Answer),
    /// All bytes are used up but those of an unfinished head.
    More,
}

impl Reader {
    /// Takes bytes off the begin of the payload, up to the end of one answer to a request with
    /// this method.
    ///
    /// # Errors
    /// When they are no answer by RFC 9112: what is wrong.
    pub fn read(&mut self, block: &mut Block, method: Method) -> Result<Step, String> {
        loop {
            match self.state {
                State::Head => {
                    if let Some(step) = self.read_head(block, method)? {
                        return Ok(step);
                    }
                }
                State::Length { left } => {
                    let taken = (block.len() as u64).min(left);
                    block.advance(taken as usize);
                    self.body_bytes += taken;
                    if taken < left {
                        self.state = State::Length { left: left - taken };
                        return Ok(Step::More);
                    }
                    return Ok(self.answered());
                }
                State::Chunked => {
                    let decoded = self
                        .chunked
                        .decode(block)
                        .map_err(|error| format!("malformed chunks: {}", error.code()))?;
                    self.body_bytes += decoded.data.len() as u64;
                    block.advance(decoded.consumed);
                    if !self.chunked.is_ended() {
                        return Ok(Step::More);
                    }
                    return Ok(self.answered());
                }
                State::UntilClose => {
                    self.body_bytes += block.len() as u64;
                    block.advance(block.len());
                    return Ok(Step::More);
                }
            }
        }
    }

    /// The server has closed its side: the answer that ends with it, if there is one.
    pub fn close(&mut self) -> Option<Answer> {
        match self.state {
            State::UntilClose => match self.answered() {
                Step::Answered(answer) => Some(answer),
                Step::More => None,
            },
            _ => None,
        }
    }

    fn read_head(&mut self, block: &mut Block, method: Method) -> Result<Option<Step>, String> {
        self.head.clear();
        let limits = HeadLimits::default();
        let parsed = parse_response(block, &limits, &mut self.resume, method, &mut self.head);
        match parsed {
            Ok(Parse::Partial) => return Ok(Some(Step::More)),
            Ok(Parse::Complete { head_len }) => block.advance(head_len),
            Err(error) => return Err(format!("malformed head: {}", error.code())),
        }
        match self.head.kind() {
            ResponseKind::Interim => return Ok(None),
            ResponseKind::Switch => return Err("101, but no upgrade was asked for".to_owned()),
            ResponseKind::Final => {}
        }
        self.body_bytes = 0;
        self.state = match self.head.framing {
            BodyLen::None => State::Length { left: 0 },
            BodyLen::Length(left) => State::Length { left },
            BodyLen::UntilClose => State::UntilClose,
            BodyLen::Chunked => {
                self.chunked.reset();
                State::Chunked
            }
        };
        Ok(None)
    }

    fn answered(&mut self) -> Step {
        self.state = State::Head;
        Step::Answered(Answer {
            status: self.head.status,
            body_bytes: self.body_bytes,
            connection: match self.head.is_persistent() {
                true => Connection::Kept,
                false => Connection::Ends,
            },
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of `piece`; the answers, and whether the end was an error.
    fn answers(bytes: &[u8], piece: usize, method: Method) -> Result<Vec<(u16, u64)>, String> {
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        let mut held = Vec::new();
        for piece in bytes.chunks(piece) {
            held.extend_from_slice(piece);
            let mut block = Block::from_slice(&held);
            while !block.is_empty() {
                match reader.read(&mut block, method)? {
                    Step::Answered(answer) => seen.push((answer.status, answer.body_bytes)),
                    Step::More => break,
                }
            }
            held = block.to_vec();
        }
        seen.extend(reader.close().map(|end| (end.status, end.body_bytes)));
        Ok(seen)
    }

    #[test]
    fn answers_are_found_wherever_the_bytes_are_cut() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n\
            HTTP/1.1 204 No Content\r\n\r\n\
            HTTP/1.1 200 OK\r\n\r\nuntil the end";
        for piece in 1..bytes.len() {
            let seen = answers(bytes, piece, Method::Get).unwrap();
            assert_eq!(seen, [(200, 3), (404, 5), (204, 0), (200, 13)], "{piece}");
        }
    }

    #[test]
    fn an_answer_to_head_has_no_body() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".repeat(2);
        let seen = answers(&bytes, 7, Method::Head).unwrap();
        assert_eq!(seen, [(200, 0), (200, 0)]);
    }

    #[test]
    fn a_body_that_lasts_until_the_close_ends_with_it() {
        let mut reader = Reader::default();
        let mut block = Block::from_slice(b"HTTP/1.0 200 OK\r\n\r\nabc");
        assert_eq!(reader.read(&mut block, Method::Get), Ok(Step::More));
        let answer = reader.close().unwrap();
        assert_eq!(
            (answer.body_bytes, answer.connection),
            (3, Connection::Ends)
        );
    }

    #[test]
    fn a_cut_body_is_no_answer() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            b"HTTP/1.1 200 OK\r\nContent-",
        ] {
            let mut reader = Reader::default();
            let mut block = Block::from_slice(bytes);
            assert_eq!(reader.read(&mut block, Method::Get), Ok(Step::More));
            assert_eq!(reader.close(), None);
        }
    }

    #[test]
    fn what_is_no_http_is_refused() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ] {
            assert!(answers(bytes, bytes.len(), Method::Get).is_err());
        }
    }

    #[test]
    fn the_server_says_whether_the_connection_goes_on() {
        let read = |bytes: &[u8]| {
            let mut block = Block::from_slice(bytes);
            match Reader::default().read(&mut block, Method::Get).unwrap() {
                Step::Answered(answer) => answer.connection,
                Step::More => panic!("not whole"),
            }
        };
        let end = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(end), Connection::Ends);
        let keep = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(read(keep), Connection::Kept);
    }
}
