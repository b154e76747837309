//! Responses, built once for each request that is new to its connection.

use std::cell::RefCell;

use ringgate_core::block::{Block, HEADROOM};
use ringgate_core::http::h1::encode::reason_of;
use ringgate_core::http::{BodyLen, Method, RequestHead, Version};

use super::query::{Closing, PIECE_MAX, Plan};

/// A request as the connection remembers it: the same bytes mean the same again.
#[derive(Debug)]
pub struct Ask {
    /// The head as sent.
    pub head: Vec<u8>,
    /// How its body's length is told.
    pub framing: BodyLen,
    /// Whether the client waits for 100 (Continue).
    pub expects: bool,
    /// What it comes to.
    pub kind: Kind,
    shape: Shape,
}

/// What a request comes to.
#[derive(Debug)]
pub enum Kind {
    /// A response that is ready, head and body.
    Ready(Vec<u8>, Then),
    /// One that has to be looked after.
    Planned(Plan),
    /// The counts.
    Stats,
}

/// What the client allows.
#[derive(Clone, Copy, Debug)]
struct Shape {
    method: Method,
    version: Version,
    persistent: bool,
}

/// Whether the connection goes on behind a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Another request may come.
    Stay,
    /// The response said that it is the last.
    Close,
}

/// What is said of a body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Nothing: there is none, whatever the status.
    None,
    /// So many bytes.
    Bytes(u64),
    /// Chunks.
    Chunked,
}

impl Ask {
    /// What a parsed head asks for. Its text is `head`.
    pub fn of(parsed: &RequestHead, head: &[u8]) -> Ask {
        let shape = Shape {
            method: parsed.method,
            version: parsed.version,
            persistent: parsed.is_persistent(),
        };
        let mut ask = Ask {
            head: head.to_vec(),
            framing: parsed.framing,
            expects: parsed.expect_continue,
            kind: Kind::Stats,
            shape,
        };
        if parsed.path() != STATS_PATH {
            ask.kind = match Plan::parse(parsed.query().unwrap_or_default()) {
                Ok(plan) if can_be_ready(&plan) => Kind::Ready(ask.whole(&plan), ask.then(&plan)),
                Ok(plan) => Kind::Planned(plan),
                Err(sentence) => ask.refusal(&sentence),
            };
        }
        ask
    }

    fn whole(&self, plan: &Plan) -> Vec<u8> {
        let mut whole = self.head_of(plan);
        if self.has_body(plan) {
            match plan.size {
                None => whole.extend_from_slice(SMALL),
                // At most `READY_MAX`.
                Some(size) => whole.resize(whole.len() + size as usize, FILLER),
            }
        }
        whole
    }

    fn refusal(&self, sentence: &str) -> Kind {
        let then = self.then(&Plan::default());
        let length = Length::Bytes(sentence.len() as u64 + 1);
        let mut whole = head(400, "text/plain", length, self.shape.connection(then));
        if self.shape.method != Method::Head {
            whole.extend_from_slice(sentence.as_bytes());
            whole.push(b'\n');
        }
        Kind::Ready(whole, then)
    }

    /// The head of a planned response.
    pub fn head_of(&self, plan: &Plan) -> Vec<u8> {
        let content_type = match plan.size {
            None => "application/json",
            Some(_) => "application/octet-stream",
        };
        let length = self.length_of(plan);
        head(
            plan.status,
            content_type,
            length,
            self.shape.connection(self.then(plan)),
        )
    }

    /// The counts as a response.
    pub fn stats(&self, text: &str) -> Vec<u8> {
        let then = self.then(&Plan::default());
        let length = Length::Bytes(text.len() as u64);
        let connection = self.shape.connection(then);
        let mut whole = head(200, "application/json", length, connection);
        if self.shape.method != Method::Head {
            whole.extend_from_slice(text.as_bytes());
        }
        whole
    }

    /// Whether the connection goes on behind the response.
    pub fn then(&self, plan: &Plan) -> Then {
        match self.shape.persistent && plan.closing == Closing::Never {
            true => Then::Stay,
            false => Then::Close,
        }
    }

    /// Whether body bytes follow the head.
    pub fn has_body(&self, plan: &Plan) -> bool {
        self.shape.method != Method::Head && !matches!(plan.status, 204 | 304)
    }

    /// How the body's length is told. HTTP/1.0 has no chunks (RFC 9112, 7).
    pub fn length_of(&self, plan: &Plan) -> Length {
        let bytes = plan.size.unwrap_or(SMALL.len() as u64);
        match (plan.status, plan.piece, self.shape.version) {
            (204 | 304, ..) => Length::None,
            (_, Some(_), Version::Http11) => Length::Chunked,
            _ => Length::Bytes(bytes),
        }
    }
}

impl Shape {
    fn connection(self, then: Then) -> &'static str {
        match (then, self.version) {
            (Then::Close, _) => "Connection: close\r\n",
            // It has to be told, since close is what it expects.
            (Then::Stay, Version::Http10) => "Connection: keep-alive\r\n",
            (Then::Stay, Version::Http11 | Version::Http2) => "",
        }
    }
}

/// Whether the response is the same bytes each time, and few of them.
fn can_be_ready(plan: &Plan) -> bool {
    let immediate = Plan {
        status: plan.status,
        size: plan.size,
        closing: plan.closing,
        ..Plan::default()
    };
    *plan == immediate
        && matches!(plan.closing, Closing::Never | Closing::After)
        && plan.size.unwrap_or(0) <= READY_MAX
}

/// A response head; `connection` is a whole line or nothing.
pub fn head(status: u16, content_type: &str, length: Length, connection: &str) -> Vec<u8> {
    let reason = reason_of(status);
    let length = match length {
        Length::None => String::new(),
        Length::Bytes(bytes) => {
            format!("Content-Type: {content_type}\r\nContent-Length: {bytes}\r\n")
        }
        Length::Chunked => {
            format!("Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n")
        }
    };
    format!("HTTP/1.1 {status} {reason}\r\n{length}{connection}\r\n").into_bytes()
}

/// The answer to what is no request, the last on its connection.
pub fn refusal(status: u16, why: &str) -> Vec<u8> {
    let length = Length::Bytes(why.len() as u64 + 1);
    let mut whole = head(status, "text/plain", length, "Connection: close\r\n");
    whole.extend_from_slice(why.as_bytes());
    whole.push(b'\n');
    whole
}

/// Blocks full of body, lent out and given back: nothing is filled or copied for a response.
#[derive(Debug, Default)]
pub struct Bodies(RefCell<Vec<Block>>);

impl Bodies {
    /// A block whose payload is that many bytes of body, at most [`PIECE_MAX`], with room for a
    /// head in front.
    pub fn lend(&self, length: usize) -> Block {
        let kept = self.0.borrow_mut().pop();
        let mut block = kept.unwrap_or_else(|| Block::from_slice(&[FILLER; PIECE_MAX]));
        block.set_window(HEADROOM..HEADROOM + length.min(PIECE_MAX));
        block
    }

    /// Takes a block back. Only what lies in front of the body was written to.
    pub fn give_back(&self, block: Block) {
        let mut kept = self.0.borrow_mut();
        if block.capacity() == HEADROOM + PIECE_MAX && kept.len() < KEPT_MAX {
            kept.push(block);
        }
    }
}

/// Blocks of body that a thread keeps: 16 MiB.
const KEPT_MAX: usize = 64;

/// The body of a response that nothing is asked of.
pub const SMALL: &[u8] = br#"{"id":7,"name":"Ada","email":"ada@example.com"}"#;

/// What other bodies consist of.
pub const FILLER: u8 = b'x';

/// The largest body that is copied behind its head instead of being sent from a shared block.
const READY_MAX: u64 = 4 << 10;

/// Where the counts are.
pub const STATS_PATH: &[u8] = b"/-/stats";

const _: () = assert!(SMALL.len() == 47);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_body_comes_back_as_it_was() {
        let bodies = Bodies::default();
        let mut block = bodies.lend(10);
        assert_eq!(&block[..], [FILLER; 10]);
        assert!(block.prepend(b"head"));
        block.advance(14);
        bodies.give_back(block);
        let again = bodies.lend(PIECE_MAX);
        assert!(again.len() == PIECE_MAX && again.iter().all(|byte| *byte == FILLER));
        assert!(bodies.0.borrow().is_empty());
    }

    #[test]
    fn heads() {
        let plain = head(200, "text/plain", Length::Bytes(5), "");
        assert_eq!(
            plain,
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n"
        );
        let bare = head(204, "text/plain", Length::None, "Connection: close\r\n");
        assert_eq!(
            bare,
            b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
        );
    }
}
