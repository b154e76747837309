//! The origin's half of an exchange: its response head, through the filters, to the client,
//! and then its body.

use std::cell::{Cell, RefCell};

use crate::answer::response_id;
use crate::block::{Block, BlockClass};
use crate::chain::{Answer, Attributes, BodyMode, Filter, Run};
use crate::connection::{Close, Connection};
use crate::error::{Fault, Phase};
use crate::exchange::Account;
use crate::halves::{CLIENT, Deadline, Last, ORIGIN, Piece, Sink, Source};
use crate::http::h1::{
    self, BodyDecoder, BodyError, HeadError, HeadLimits, Parse, ResponseOut, Resume,
    client_framing, encode_response, parse_response,
};
use crate::http::{BodyLen, RequestHead, ResponseHead, ResponseKind, Version};
use crate::outgoing::Upgrade;
use crate::rt::Socket;
use crate::rt::clock::Stamp;
use crate::rt::wheel::Due;
use crate::snapshot::{Snapshot, Upstream};

/// What the relay of a response needs, borrowed from its exchange.
pub(crate) struct Reply<'x, F: Filter> {
    pub(crate) connection: &'x Connection<F>,
    pub(crate) snapshot: &'x Snapshot<F>,
    pub(crate) upstream: &'x Upstream,
    pub(crate) run: Run<'x, F>,
    pub(crate) request: &'x RequestHead,
    pub(crate) response: &'x mut ResponseHead,
    pub(crate) attributes: &'x Attributes,
    pub(crate) decoder: &'x mut BodyDecoder,
    pub(crate) out: &'x mut Vec<u8>,
    pub(crate) account: &'x mut Account,
    pub(crate) deadline: Deadline,
    /// What the client holds back until it reads 100 (Continue).
    pub(crate) withheld: &'x Cell<Withheld>,
    /// An answer of a filter that takes the response's place.
    pub(crate) instead: &'x RefCell<Option<Box<Answer>>>,
    /// Whether the head was sent with an upgrade.
    pub(crate) upgrade: Upgrade,
}

/// Whether the client holds its body back until it reads 100 (Continue).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Withheld {
    No,
    Yes,
}

/// How a response ended.
pub(crate) enum Ended {
    /// It was relayed whole.
    Whole {
        /// Whether the origin's connection can carry another request.
        origin: h1::Connection,
        /// What the client was told about its connection.
        client: h1::Connection,
    },
    /// The connection is a tunnel now; these bytes came behind the 101.
    Switched(Option<Block>),
}

/// Interim responses that are relayed in one exchange at most.
const INTERIM_MAX: u32 = 16;

/// Limits of response heads. An origin is less hostile than a client, but its memory is
/// ours all the same.
pub(crate) const RESPONSE_HEAD: HeadLimits = HeadLimits {
    head_max: 64 << 10,
    uri_max: 0,
    headers_max: 200,
};

impl<F: Filter> Reply<'_, F> {
    /// Relays the response.
    pub(crate) async fn relay(&mut self, origin: &Socket) -> Result<Ended, Fault> {
        let block = self.final_head(origin).await?;
        if self.response.kind() == ResponseKind::Switch {
            return self.switch(block).await;
        }
        // The head reads its fields from the block until it is encoded; what lies behind it is
        // the body's.
        let mut block = block;
        let ahead = (!block.is_empty()).then(|| block.split_off(0));
        self.response.fields.put_text(block);
        let seen = self
            .run
            .response_head(self.response, self.request, self.attributes);
        self.accept(seen)?;
        let mut decoder = std::mem::take(self.decoder);
        decoder.start(self.response.framing);
        let wait = self.upstream.read_timeout;
        let mut body = Source::new(origin, &mut decoder, ahead, wait, self.deadline, &ORIGIN);
        let sent = self.pass(&mut body).await;
        let clean = body.take_rest().is_none() && decoder.is_ended();
        *self.decoder = decoder;
        let client = sent?;
        Ok(Ended::Whole {
            origin: match clean && self.response.is_persistent() {
                true => h1::Connection::KeepAlive,
                false => h1::Connection::Close,
            },
            client,
        })
    }

    /// Receives heads until one is final (or a switch), relaying interim ones; returns the
    /// bytes behind it.
    async fn final_head(&mut self, origin: &Socket) -> Result<Block, Fault> {
        let deadline = Deadline::after(self.upstream.response_timeout);
        let mut block = Block::empty();
        for _ in 0..INTERIM_MAX {
            block = self.head(origin, block, deadline).await?;
            match self.response.kind() {
                ResponseKind::Final => {
                    self.answered();
                    return Ok(block);
                }
                ResponseKind::Switch if self.upgrade == Upgrade::Asked => {
                    self.answered();
                    return Ok(block);
                }
                ResponseKind::Switch => return Err(Fault::BadUpgrade),
                ResponseKind::Interim => {
                    // The filters' and the client's view needs the text in place.
                    self.response.fields.put_text(block);
                    self.interim().await?;
                    block = self.response.fields.take_text();
                }
            }
        }
        Err(Fault::ResponseHead(HeadError::StatusLine))
    }

    fn answered(&mut self) {
        let now = Stamp::now();
        self.account.answered_at = Some(now);
        let stats = self.upstream.stats.of(self.connection.worker.core());
        let since = self.account.connected_at.unwrap_or(now);
        stats.latency.record(now.micros_since(since));
        stats.responses[usize::from(self.response.status / 100).min(5)].add(1);
    }

    /// Receives one response head; returns its block with the window behind the head.
    async fn head(
        &mut self,
        origin: &Socket,
        mut block: Block,
        deadline: Deadline,
    ) -> Result<Block, Fault> {
        let mut resume = Resume::default();
        loop {
            self.response.clear();
            let parsed = match block.is_empty() {
                true => Ok(Parse::Partial),
                false => parse_response(
                    &block,
                    &RESPONSE_HEAD,
                    &mut resume,
                    self.request.method,
                    self.response,
                ),
            };
            match parsed.map_err(Fault::ResponseHead)? {
                Parse::Complete { head_len } => {
                    block.advance(head_len);
                    return Ok(block);
                }
                Parse::Partial => block = self.more(origin, block, deadline).await?,
            }
        }
    }

    async fn more(
        &mut self,
        origin: &Socket,
        block: Block,
        deadline: Deadline,
    ) -> Result<Block, Fault> {
        let block = with_room(block)?;
        let begun = !block.is_empty();
        if deadline.has_passed() || self.deadline.has_passed() {
            return Err(self.deadline.fault(Fault::ResponseTimeout));
        }
        let timer = origin.recv_timer();
        let wait = deadline.within(self.upstream.response_timeout);
        timer.arm(self.deadline.within(wait), Due::ShutBoth);
        let (result, block) = origin.recv(block).await;
        timer.disarm();
        if timer.take_fired() {
            return Err(self.deadline.fault(Fault::ResponseTimeout));
        }
        match result {
            Ok(received) if received > 0 => Ok(block),
            _ if begun => Err(Fault::ResponseBody(BodyError::Truncated)),
            _ => Err(Fault::OriginClosed),
        }
    }

    async fn interim(&mut self) -> Result<(), Fault> {
        let is_continue = self.response.status == 100;
        let wanted = match is_continue {
            true => self.request.expect_continue,
            false => true,
        };
        if !wanted || self.request.version == Version::Http10 {
            return Ok(());
        }
        self.out.clear();
        encode_response(self.response, &ResponseOut::default(), self.out);
        let mut sink = self.sink(BodyLen::None);
        sink.start(self.out, None, b"").await?;
        if is_continue {
            self.withheld.set(Withheld::No);
        }
        Ok(())
    }

    fn sink(&self, framing: BodyLen) -> Sink<'_> {
        let wait = self.connection.limits.send_timeout;
        Sink::new(
            &self.connection.socket,
            framing,
            wait,
            self.deadline,
            &CLIENT,
        )
    }

    async fn switch(&mut self, block: Block) -> Result<Ended, Fault> {
        self.account.status = 101;
        self.account.phase = Phase::Tunnel;
        self.response.fields.put_text(block);
        self.encode(BodyLen::None, h1::Connection::Upgrade);
        let block = self.response.fields.take_text();
        self.sink(BodyLen::None).start(self.out, None, b"").await?;
        Ok(Ended::Switched((!block.is_empty()).then_some(block)))
    }

    /// Sends head and body to the client.
    async fn pass(&mut self, body: &mut Source<'_>) -> Result<h1::Connection, Fault> {
        let mode = self.run.program().response_body_mode();
        let origin_framing = self.response.framing;
        let client_version = self.request.version;
        let (framing, mut first) = match mode {
            _ if origin_framing == BodyLen::None => (BodyLen::None, body.next_ready()?),
            BodyMode::Skip => (
                client_framing(origin_framing, client_version),
                body.next_ready()?,
            ),
            BodyMode::Observe => (
                client_framing(origin_framing, client_version),
                self.first(body)?,
            ),
            BodyMode::Rewrite => (
                client_framing(BodyLen::Chunked, client_version),
                self.first(body)?,
            ),
            BodyMode::Whole { max } => {
                let mut block = gather(body, max).await?.ok_or(Fault::FilterFailed)?;
                let seen = self.run.response_body(&mut block, true, 0);
                self.accept(seen)?;
                let framing = BodyLen::Length(block.len() as u64);
                (
                    framing,
                    Some(Piece {
                        block,
                        last: Last::Yes,
                    }),
                )
            }
        };
        let close = match (self.withheld.get(), framing) {
            (Withheld::Yes, _) | (_, BodyLen::UntilClose) => Close::Yes,
            _ => Close::No,
        };
        let out = self.connection.connection_out(self.request, close);
        self.encode(framing, out);
        drop(self.response.fields.take_text());
        self.account.status = self.response.status;
        self.account.phase = Phase::ResponseBody;
        let mut ended = first.as_ref().is_some_and(|piece| piece.last == Last::Yes);
        let mut sink = self.sink(framing);
        let mut result = sink.start(self.out, first.take(), body.trailers()).await;
        while result.is_ok() && !ended {
            let before = body.received();
            let mut piece = match body.next().await {
                Ok(piece) => piece,
                Err(fault) => {
                    self.account.sent = sink.sent();
                    return Err(fault);
                }
            };
            ended = piece.last == Last::Yes;
            if mode != BodyMode::Skip {
                let seen = self.run.response_body(&mut piece.block, ended, before);
                self.accept(seen)?;
            }
            result = sink.write(piece, body.trailers()).await;
        }
        self.account.sent = sink.sent();
        result.map(|()| out)
    }

    /// The first piece, where it has arrived, as the filters leave it.
    fn first(&self, body: &mut Source<'_>) -> Result<Option<Piece>, Fault> {
        let mut piece = body.next_ready()?;
        if let Some(piece) = &mut piece {
            let seen = self
                .run
                .response_body(&mut piece.block, piece.last == Last::Yes, 0);
            self.accept(seen)?;
        }
        Ok(piece)
    }

    fn accept(&self, seen: Result<(), Box<Answer>>) -> Result<(), Fault> {
        seen.map_err(|answer| {
            *self.instead.borrow_mut() = Some(answer);
            Fault::FilterRefused
        })
    }

    fn encode(&mut self, framing: BodyLen, connection: h1::Connection) {
        let policy = &self.snapshot.forwarding;
        let id = self.attributes.request_id.as_bytes();
        let id = response_id(policy.request_id.as_deref(), id, self.response);
        self.out.clear();
        let out = &mut *self.out;
        let response = &*self.response;
        let client = self.request.version;
        self.connection.worker.with_date(|date| {
            let send = ResponseOut {
                framing,
                connection,
                client,
                request_id: id,
                via: policy.via.as_deref().unwrap_or_default().as_bytes(),
                date,
            };
            encode_response(response, &send, out);
        });
    }
}

/// A block that a receive can add to.
pub(crate) fn with_room(block: Block) -> Result<Block, Fault> {
    if block.capacity() == 0 {
        return Ok(Block::new(BlockClass::Small));
    }
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

/// Takes a whole body, or nothing when it is longer than `max` bytes.
pub(crate) async fn gather(body: &mut Source<'_>, max: u64) -> Result<Option<Block>, Fault> {
    let mut whole = Vec::new();
    loop {
        let piece = body.next().await?;
        if (whole.len() + piece.block.len()) as u64 > max {
            return Ok(None);
        }
        if whole.is_empty() && piece.last == Last::Yes {
            return Ok(Some(piece.block));
        }
        whole.extend_from_slice(&piece.block);
        if piece.last == Last::Yes {
            return Ok(Some(Block::from_slice(&whole)));
        }
    }
}
