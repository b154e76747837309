//! The origin's half of an exchange: its response head, through the filters, to the client,
//! and then its body.

mod receive;

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::answer::response_id;
use crate::block::Block;
use crate::chain::{Answer, Attributes, BodyMode, Filter, Run};
use crate::client::{Client, Close};
use crate::course::Course;
use crate::error::{Fault, Phase};
use crate::exchange::Account;
use crate::forward::Trial;
use crate::halves::{CLIENT, Deadline, Last, ORIGIN, Piece, Sink, Source};
use crate::http::h1::{
    self, BodyDecoder, BodyError, HeadError, ResponseOut, client_framing, encode_response,
};
use crate::http::{BodyLen, RequestHead, ResponseHead, ResponseKind, Version};
use crate::http2::{self};
use crate::link::{Head, Link};
use crate::outgoing::Upgrade;
use crate::rt::clock::Stamp;
use crate::snapshot::{Snapshot, Upstream};
use crate::upgrade;

pub(crate) use receive::receive_head;

/// What the relay of a response needs, borrowed from its exchange.
pub(crate) struct Reply<'x, F: Filter> {
    pub(crate) client: &'x Client<F>,
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
    /// How the request's own direction stands.
    pub(crate) course: &'x Course,
    /// Body bytes sent to the client so far.
    pub(crate) sent: &'x Cell<u64>,
    /// The attempt that this is the answer of.
    pub(crate) trial: &'x Trial<'x>,
    /// An answer of a filter that takes the response's place.
    pub(crate) instead: &'x RefCell<Option<Box<Answer>>>,
    /// Whether the head was sent with an upgrade.
    pub(crate) upgrade: Upgrade,
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
    /// It has come, but another attempt or somebody else answers the client.
    Unwanted,
}

impl Ended {
    /// The same, with an origin's connection that can carry nothing more.
    pub(crate) fn without_origin(self) -> Ended {
        match self {
            Ended::Whole { client, .. } => Ended::Whole {
                origin: h1::Connection::Close,
                client,
            },
            other => other,
        }
    }
}

/// Interim responses that are relayed in one exchange at most.
pub(crate) const INTERIM_MAX: u32 = 16;

impl<F: Filter> Reply<'_, F> {
    /// Relays the response.
    pub(crate) async fn relay(&mut self, origin: &Link) -> Result<Ended, Fault> {
        let block = self.final_head(origin).await?;
        if self.trial.unwanted().is_some() {
            return Ok(Ended::Unwanted);
        }
        self.relay_behind(origin, block).await
    }

    /// Relays the response whose final head has come; `block` has what was received behind it.
    pub(crate) async fn relay_behind(
        &mut self,
        origin: &Link,
        mut block: Block,
    ) -> Result<Ended, Fault> {
        if self.response.kind() == ResponseKind::Switch {
            return self.switch(block).await;
        }
        if upgrade::would_open(self.request, self.response.status) {
            return Err(Fault::BadUpgrade);
        }
        // The head reads its fields from the block until it is encoded. Where no filter looks
        // at the body, the body stays in it too and goes out from there, behind its new head.
        let mode = match self.response.framing {
            BodyLen::None => BodyMode::Skip,
            _ => self.run.response_body_mode(),
        };
        let behind = block.window();
        let ahead = match mode {
            BodyMode::Skip => None,
            _ => (!block.is_empty()).then(|| block.split_off(0)),
        };
        self.response.fields.put_text(block);
        if let Some(cookie) = self.trial.cookie() {
            // Digits, letters and a dot are a valid value.
            let _ = self.response.fields.add("set-cookie", cookie);
        }
        let seen = self
            .run
            .response_head(self.response, self.request, self.attributes);
        self.accept(seen)?;
        let mut decoder = std::mem::take(self.decoder);
        origin.begin_body(&mut decoder, self.response.framing);
        let wait = self.upstream.read_timeout;
        let mut body = Source::new(origin, &mut decoder, ahead, wait, self.deadline, &ORIGIN);
        let sent = match mode {
            BodyMode::Skip => self.pass(&mut body, behind).await,
            _ => self.pass_seen(&mut body, mode).await,
        };
        let clean = body.take_rest().is_none() && body.is_ended();
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
    async fn final_head(&mut self, origin: &Link) -> Result<Block, Fault> {
        let mut block = Block::empty();
        for interims in 0..INTERIM_MAX {
            block = match self.head(origin, block).await {
                // Something of an answer has come: nothing may be tried again.
                Err(Fault::OriginClosed) if interims > 0 => {
                    return Err(Fault::ResponseBody(BodyError::Truncated));
                }
                head => head?,
            };
            match self.response.kind() {
                ResponseKind::Final => {
                    return Ok(self.answered(block));
                }
                ResponseKind::Switch => {
                    // The text is looked at here and once more when it is sent on.
                    self.response.fields.put_text(block);
                    if self.upgrade == Upgrade::NotAsked || !self.switches_as_asked() {
                        return Err(Fault::BadUpgrade);
                    }
                    let block = self.response.fields.take_text();
                    return Ok(self.answered(block));
                }
                ResponseKind::Interim => {
                    self.response.fields.put_text(block);
                    self.interim(origin).await?;
                    block = self.response.fields.take_text();
                }
            }
        }
        Err(Fault::ResponseHead(HeadError::StatusLine))
    }

    fn switches_as_asked(&self) -> bool {
        match (self.response.upgrade(), self.request.upgrade()) {
            (Some(answered), Some(asked)) => answered.eq_ignore_ascii_case(asked),
            _ => false,
        }
    }

    /// The final head has come; `block` holds its text.
    fn answered(&mut self, mut block: Block) -> Block {
        self.course.answered();
        self.count_answer();
        // The text is looked at here and once more when it is sent on.
        let behind = block.window();
        self.response.fields.put_text(block);
        self.trial.answered(self.request, self.response);
        block = self.response.fields.take_text();
        block.set_window(behind);
        block
    }

    /// Books the origin's answer.
    pub(crate) fn count_answer(&mut self) {
        let now = Stamp::now();
        self.account.answered_at = Some(now);
        let stats = self.upstream.stats.of(self.client.worker.core());
        let since = self.account.connected_at.unwrap_or(now);
        stats.latency.record(now.micros_since(since));
        stats.responses[usize::from(self.response.status / 100).min(5)].add(1);
    }

    /// Receives one response head; returns its block with the window behind the head.
    async fn head(&mut self, origin: &Link, block: Block) -> Result<Block, Fault> {
        let method = self.request.method;
        let head_by = || self.course.head_deadline();
        let asked = self.upgrade;
        let receiving = receive_head(origin, block, (method, asked), self.response);
        let received = receiving.by(head_by, self.deadline).await;
        if self.course.is_sent() {
            self.account.phase = Phase::ResponseHead;
        }
        received
    }

    async fn interim(&mut self, origin: &Link) -> Result<(), Fault> {
        let is_continue = self.response.status == 100;
        let wanted = match is_continue {
            true => self.request.expect_continue,
            false => true,
        };
        if !wanted || self.request.version == Version::Http10 {
            return Ok(());
        }
        self.out.clear();
        match &self.client.link {
            Link::Http1(_) => {
                encode_response(self.response, &ResponseOut::default(), self.out);
                let mut sink = self.sink(BodyLen::None);
                sink.start(Head::Bytes(self.out), None, b"").await?;
            }
            Link::Http2(stream) => {
                let connection = h1::Connection::Stream;
                let send = ResponseOut {
                    connection,
                    ..ResponseOut::default()
                };
                encode_response(self.response, &send, self.out);
                let interim = http2::response(self.response.status, self.out);
                let sent = stream.send_interim(interim);
                sent.map_err(|_| Fault::ClientClosed)?;
            }
        }
        if is_continue && self.course.is_withheld() {
            // From here on the client owes its body.
            self.course.called_for(origin, self.deadline);
            let wait = self.deadline.within(self.client.limits.body_timeout);
            let timer = self.client.link.recv_timer();
            timer.arm(wait, CLIENT.due);
        }
        Ok(())
    }

    fn sink(&self, framing: BodyLen) -> Sink<'_> {
        let wait = self.client.limits.send_timeout;
        Sink::new(&self.client.link, framing, wait, self.deadline, &CLIENT)
            .at_least(self.client.limits.rate_min)
    }

    async fn switch(&mut self, block: Block) -> Result<Ended, Fault> {
        self.response.fields.put_text(block);
        let client = self.client.link.version();
        if !upgrade::settle_accept(self.request, self.response, client) {
            return Err(Fault::BadUpgrade);
        }
        self.account.status = 101;
        self.account.phase = Phase::Tunnel;
        let connection = match self.client.link {
            Link::Http1(_) => h1::Connection::Upgrade,
            Link::Http2(_) => h1::Connection::Stream,
        };
        self.encode(BodyLen::None, connection);
        let block = self.response.fields.take_text();
        let head = self.written();
        self.sink(BodyLen::None).start(head, None, b"").await?;
        Ok(Ended::Switched((!block.is_empty()).then_some(block)))
    }

    /// Sends head and body to the client. What has arrived of the body lies in the head's
    /// block, at `behind`.
    async fn pass(
        &mut self,
        body: &mut Source<'_>,
        behind: Range<usize>,
    ) -> Result<h1::Connection, Fault> {
        let framing = client_framing(self.response.framing, self.request.version);
        let out = self.begin(framing);
        let mut block = self.response.fields.take_text();
        block.set_window(behind);
        if !block.is_empty() {
            body.push(block);
        }
        let first = body.next_ready()?;
        self.rest(body, (framing, out), first, BodyMode::Skip)
            .await?;
        Ok(out)
    }

    /// The same with filters that look at the body.
    async fn pass_seen(
        &mut self,
        body: &mut Source<'_>,
        mode: BodyMode,
    ) -> Result<h1::Connection, Fault> {
        let version = self.request.version;
        let (framing, first) = match mode {
            BodyMode::Whole { max } => {
                let mut block = gather(body, max).await?.ok_or(Fault::FilterFailed)?;
                let trailers = body.trailers_mut();
                let seen = self.run.response_body(&mut block, true, 0, trailers);
                self.accept(seen)?;
                let framing = BodyLen::Length(block.len() as u64);
                let last = Last::Yes;
                (framing, Some(Piece { block, last }))
            }
            BodyMode::Rewrite => (client_framing(BodyLen::Chunked, version), self.first(body)?),
            _ => {
                let framing = client_framing(self.response.framing, version);
                (framing, self.first(body)?)
            }
        };
        let out = self.begin(framing);
        drop(self.response.fields.take_text());
        self.rest(body, (framing, out), first, mode).await?;
        Ok(out)
    }

    /// Encodes the head; from here on the client has its answer.
    fn begin(&mut self, framing: BodyLen) -> h1::Connection {
        let close = match self.course.may_keep_client() && framing != BodyLen::UntilClose {
            true => Close::No,
            false => Close::Yes,
        };
        let out = self.client.connection_out(self.request, close);
        self.encode(framing, out);
        self.account.status = self.response.status;
        self.account.phase = Phase::ResponseBody;
        out
    }

    /// Sends the head with the first piece, then piece after piece.
    async fn rest(
        &self,
        body: &mut Source<'_>,
        (framing, out): (BodyLen, h1::Connection),
        first: Option<Piece>,
        mode: BodyMode,
    ) -> Result<(), Fault> {
        let mut ended = first.as_ref().is_some_and(|piece| piece.last == Last::Yes);
        let mut sink = self.sink(framing);
        if ended && out == h1::Connection::KeepAlive {
            sink = sink.without_waiting();
        }
        let mut result = sink.start(self.written(), first, body.trailers()).await;
        self.sent.set(sink.sent());
        while result.is_ok() && !ended {
            let before = body.received();
            let mut piece = body.next().await?;
            ended = piece.last == Last::Yes;
            if mode != BodyMode::Skip {
                let seen =
                    self.run
                        .response_body(&mut piece.block, ended, before, body.trailers_mut());
                self.accept(seen)?;
            }
            result = sink.write(piece, body.trailers()).await;
            self.sent.set(sink.sent());
        }
        result
    }

    /// The first piece, where it has arrived, as the filters leave it.
    fn first(&self, body: &mut Source<'_>) -> Result<Option<Piece>, Fault> {
        let mut piece = body.next_ready()?;
        if let Some(piece) = &mut piece {
            let last = piece.last == Last::Yes;
            let seen = self
                .run
                .response_body(&mut piece.block, last, 0, body.trailers_mut());
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

    /// The head in `out`, as the client's link takes it.
    fn written(&self) -> Head<'_> {
        match self.client.link {
            Link::Http1(_) => Head::Bytes(self.out),
            Link::Http2(_) => Head::Response(http2::response(self.response.status, self.out)),
        }
    }

    fn encode(&mut self, framing: BodyLen, connection: h1::Connection) {
        let policy = &self.snapshot.forwarding;
        let id = self.attributes.request_id.as_bytes();
        let id = response_id(policy.request_id.as_deref(), id, self.response);
        self.out.clear();
        let out = &mut *self.out;
        let response = &*self.response;
        let client = self.request.version;
        self.client.worker.with_date(|date| {
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
