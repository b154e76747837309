//! Response heads as they come: off a connection byte by byte, off a stream at once.

use crate::block::{Block, BlockClass};
use crate::error::Fault;
use crate::halves::Deadline;
use crate::http::h1::{BodyError, HeadError, HeadLimits, Parse, Resume, parse_response};
use crate::http::h2::{self, End};
use crate::http::{Method, ResponseHead};
use crate::http2::{self, Answered, Stream};
use crate::link::Link;
use crate::outgoing::Upgrade;
use crate::rt::Likely;
use crate::rt::wheel::{Due, Ticks};
use crate::wire::Wire;

/// Limits of response heads. An origin is less hostile than a client, but its memory is
/// ours all the same.
const RESPONSE_HEAD: HeadLimits = HeadLimits {
    head_max: 64 << 10,
    uri_max: 0,
    headers_max: 200,
};

/// Receives one response head, beginning with what `block` holds.
pub(crate) fn receive_head<'h>(
    origin: &'h Link,
    block: Block,
    (method, asked): (Method, Upgrade),
    head: &'h mut ResponseHead,
) -> ReceiveHead<'h> {
    ReceiveHead {
        origin,
        block,
        method,
        asked,
        head,
    }
}

/// A response head that is to come.
pub(crate) struct ReceiveHead<'h> {
    origin: &'h Link,
    block: Block,
    /// Of the request.
    method: Method,
    asked: Upgrade,
    head: &'h mut ResponseHead,
}

impl ReceiveHead<'_> {
    /// Returns the block with its window behind the head, which must have come by `head_by()`,
    /// which may move while it is awaited, and by the end of the exchange.
    pub(crate) async fn by(
        self,
        head_by: impl Fn() -> Deadline,
        exchange: Deadline,
    ) -> Result<Block, Fault> {
        match self.origin {
            Link::Http1(wire) => self.bytes(wire, head_by, exchange).await,
            Link::Http2(stream) => self.of_stream(stream, head_by, exchange).await,
        }
    }

    async fn bytes(
        mut self,
        wire: &Wire,
        head_by: impl Fn() -> Deadline,
        exchange: Deadline,
    ) -> Result<Block, Fault> {
        let mut resume = Resume::default();
        loop {
            let begun = !self.block.is_empty();
            if begun {
                self.head.clear();
                let (block, limits, method) = (&self.block, &RESPONSE_HEAD, self.method);
                let parsed = parse_response(block, limits, &mut resume, method, self.head);
                if let Parse::Complete { head_len } = parsed.map_err(Fault::ResponseHead)? {
                    self.block.advance(head_len);
                    return Ok(self.block);
                }
            }
            self.arm(&head_by, exchange)?;
            let (result, received) = match begun {
                true => wire.recv(with_room(self.block)?).await,
                false => wire.recv_block(BlockClass::Small, Likely::Later).await,
            };
            if wire.recv_timer().end() {
                return Err(exchange.fault(Fault::ResponseTimeout));
            }
            self.block = match result {
                Ok(bytes) if bytes > 0 => received,
                _ if begun => return Err(Fault::ResponseBody(BodyError::Truncated)),
                _ => return Err(Fault::OriginClosed),
            };
        }
    }

    async fn of_stream(
        self,
        stream: &Stream,
        head_by: impl Fn() -> Deadline,
        exchange: Deadline,
    ) -> Result<Block, Fault> {
        self.arm(&head_by, exchange)?;
        let answered = stream.response().await;
        if stream.recv_timer().end() {
            stream.waited_in_vain();
            return Err(exchange.fault(Fault::ResponseTimeout));
        }
        let head = match answered.map_err(|error| http2::fault_of(&error))? {
            Some(Answered::Interim(head) | Answered::Final(head)) => head.into_parts().0,
            None => return Err(Fault::OriginClosed),
        };
        let end = match stream.has_ended() {
            true => End::Ended,
            false => End::Follows,
        };
        self.head.clear();
        let read = h2::read_response(&head, self.method, end, self.head);
        read.map_err(Fault::ResponseHead)?;
        if self.asked == Upgrade::Asked {
            // Any other answer is a plain one.
            let _ = h2::switched(self.head);
        }
        let mut block = self.head.fields.take_text();
        block.advance(block.len());
        Ok(block)
    }

    fn arm(&self, head_by: &impl Fn() -> Deadline, exchange: Deadline) -> Result<(), Fault> {
        if head_by().has_passed() || exchange.has_passed() {
            return Err(exchange.fault(Fault::ResponseTimeout));
        }
        let wait = head_by().within(Ticks::NEVER);
        let timer = self.origin.recv_timer();
        timer.arm(exchange.within(wait), Due::ShutBoth);
        Ok(())
    }
}

/// A block that a receive can add to.
fn with_room(block: Block) -> Result<Block, Fault> {
    if block.tailroom() > crate::rt::CHUNK_TAILROOM {
        return Ok(block);
    }
    let class = BlockClass::fitting(block.len() * 4).unwrap_or(BlockClass::Large);
    let mut larger = Block::new(class);
    larger.append(&block);
    match larger.len() == block.len() && larger.tailroom() > crate::rt::CHUNK_TAILROOM {
        true => Ok(larger),
        false => Err(Fault::ResponseHead(HeadError::HeadTooLarge)),
    }
}
