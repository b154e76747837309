//! A client's connection: what comes before its first request, and over HTTP/1 its requests
//! one after the other, each as an exchange.

mod prelude;

use std::net::SocketAddr;
use std::rc::Rc;

use crate::answer;
use crate::block::{Block, BlockClass};
use crate::chain::{Filter, PeerAddr};
use crate::client::{Client, Close, Ends, Loan, Next};
use crate::error::Fault;
use crate::exchange::Parsed;
use crate::halves::Deadline;
use crate::http::h1::{HeadError, Parse, Resume, parse_request};
use crate::http2;
use crate::link::Link;
use crate::rt::clock::Stamp;
use crate::rt::wheel::{self, Due, Ticks};
use crate::rt::{self, Likely, Liveness};
use crate::snapshot::{Carries, HalfClose, Http2Unasked, Limits, Listener};
use crate::wire::{Security, Wire};
use crate::worker::{Acceptor, Activity, Installed, Place, Worker};

use prelude::Begun;

/// A client's connection.
pub(crate) struct Connection<F: Filter> {
    pub(crate) client: Client<F>,
    pub(crate) place: Place<F>,
    /// What the client sent behind the last message.
    pub(crate) ahead: Option<Block>,
    /// When the head of the request under way, or of the first one, must have arrived.
    head_deadline: Deadline,
    /// As it was when the connection was accepted: by its first bytes the listener may be gone.
    h2c: Http2Unasked,
}

/// A connection as it was accepted.
pub(crate) struct Arrived {
    pub(crate) wire: Rc<Wire>,
    pub(crate) peer: Option<SocketAddr>,
    /// The listener's index, limits and policy in the snapshot of that moment.
    pub(crate) index: usize,
    pub(crate) limits: Limits,
    pub(crate) half_close: HalfClose,
    pub(crate) h2c: Http2Unasked,
    /// Whether something comes before the first request.
    pub(crate) begins: Begins,
}

/// How connections begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// With a request.
    Request,
    /// With something else: a PROXY protocol header, a handshake, what is passed on unread.
    Otherwise,
}

impl Begins {
    /// Of a listener's connections.
    pub(crate) fn of(listener: &Listener) -> Begins {
        let plain = listener.tls.is_none()
            && listener.proxies.is_empty()
            && matches!(listener.carries, Carries::Http);
        match plain {
            true => Begins::Request,
            false => Begins::Otherwise,
        }
    }
}

/// Serves a connection to its end.
pub(crate) fn serve<F: Filter>(
    worker: Rc<Worker<F>>,
    acceptor: Rc<Acceptor>,
    arrived: Arrived,
    place: Place<F>,
) -> impl Future<Output = ()> {
    // The indices of a listener and of what it passes on to are those of this snapshot: a reload
    // may come before the first turn.
    let installed = (arrived.begins == Begins::Otherwise).then(|| worker.installed());
    serve_as(worker, acceptor, arrived, place, installed)
}

async fn serve_as<F: Filter>(
    worker: Rc<Worker<F>>,
    acceptor: Rc<Acceptor>,
    arrived: Arrived,
    place: Place<F>,
    installed: Option<Rc<Installed<F>>>,
) {
    let peer = arrived.peer.map_or(prelude::NOWHERE, |peer| peer.ip());
    let mut connection = Connection {
        client: Client {
            worker,
            acceptor,
            link: Link::Http1(Rc::clone(&arrived.wire)),
            wire: arrived.wire,
            peer: PeerAddr::new(peer),
            ends: Ends::default(),
            tls: None,
            limits: arrived.limits,
            half_close: arrived.half_close,
            listener: arrived.index,
            generation: 0,
            served: 0,
        },
        head_deadline: Deadline::after(arrived.limits.header_timeout),
        h2c: arrived.h2c,
        place,
        ahead: None,
    };
    if let Some(installed) = installed {
        // In memory of its own: the connection does not carry the room for it as long as it
        // lasts.
        match rt::pooled(|| connection.begin(installed)).await {
            Begun::Requests => {}
            Begun::Http2 => return Box::pin(http2::serve(connection)).await,
            Begun::Over => return,
        }
    }
    loop {
        match connection.turn().await {
            Turned::Next(Next::KeepAlive) => {}
            Turned::Next(Next::Close) => return connection.close().await,
            Turned::Next(Next::Linger) => {
                connection.flush().await;
                return connection.linger().await;
            }
            Turned::Next(Next::Reset) => return connection.client.wire.reset_on_close(),
            Turned::Http2 => return Box::pin(http2::serve(connection)).await,
        }
    }
}

/// What a turn came to.
enum Turned {
    Next(Next),
    /// The connection speaks HTTP/2; its first bytes wait in `ahead`.
    Http2,
}

/// How long a closing connection waits for the client to stop sending.
const LINGER_TIMEOUT: Ticks = Ticks(20);
/// Bytes that a closing connection reads and throws away at most: more than the buffers of both
/// kernels hold, which a client may have filled before it could look at the answer.
const LINGER_MAX: usize = 32 << 20;
/// How long a draining worker waits for the first request of a connection.
pub(crate) const DRAIN_GRACE: Ticks = Ticks(5);

/// What came of waiting for a request.
enum Arrival<F: Filter> {
    /// A request, and what was received behind its head.
    Request(Loan<F>, Option<Block>),
    /// Bytes that are no request.
    Refused(Loan<F>, Fault),
}

impl<F: Filter> Connection<F> {
    /// Waits for a request and serves it. Only the wait for its first bytes is part of the
    /// idle connection; everything behind them lives in pooled memory.
    async fn turn(&mut self) -> Turned {
        let first = match self.ahead.take() {
            Some(block) => block,
            None => match self.first_bytes().await {
                Some(block) => block,
                None => return Turned::Next(Next::Close),
            },
        };
        let first = match self.client.served == 0 && may_be_preface(&first) {
            true => rt::pooled(|| self.as_preface(first)).await,
            false => first,
        };
        if self.client.served == 0 && first.starts_with(PREFACE_BEGIN) && self.takes_preface() {
            self.ahead = Some(first);
            return Turned::Http2;
        }
        Turned::Next(rt::pooled(|| self.serve_one(first)).await)
    }

    /// Receives until it is clear whether this is a preface, which may come byte by byte.
    async fn as_preface(&self, mut first: Block) -> Block {
        while first.len() < PREFACE_BEGIN.len() && may_be_preface(&first) {
            let (received, block) = self.more_head(first).await;
            first = block;
            if received.is_err() {
                // Whoever reads a head of it meets the same.
                break;
            }
        }
        first
    }

    /// Whether HTTP/2 is understood where nothing has agreed on it.
    fn takes_preface(&self) -> bool {
        self.client.tls.is_none() && self.h2c == Http2Unasked::Accepted
    }

    async fn serve_one(&mut self, first: Block) -> Next {
        if self.client.served > 0 {
            self.head_deadline = Deadline::after(self.client.limits.header_timeout);
        }
        let began = wheel::now();
        let arrival = self.read_head(first).await;
        // One snapshot from here to the end, whatever is installed meanwhile.
        let installed = self.client.worker.installed();
        self.client.refresh(&installed);
        match arrival {
            Arrival::Refused(mut exchange, fault) => {
                exchange.note(fault);
                let client = &self.client;
                client.identify_refused(&installed, &mut exchange);
                let next = match fault.row().status {
                    Some(_) => {
                        let close = Close::Yes;
                        answer::fault(client, &installed, &mut exchange, fault, close).await
                    }
                    None => Next::Close,
                };
                exchange.settle(&client.worker, &installed);
                next
            }
            Arrival::Request(mut exchange, ahead) => {
                self.client.served = self.client.served.saturating_add(1);
                exchange.began = began;
                let client = &self.client;
                client.worker.stats().requests.add(1);
                let (next, rest) = client.exchange(&installed, &mut exchange, ahead).await;
                exchange.settle(&client.worker, &installed);
                self.ahead = rest;
                next
            }
        }
    }

    async fn read_head(&mut self, mut block: Block) -> Arrival<F> {
        let mut exchange = Loan::new(&self.client.worker);
        exchange.account.began = Stamp::now();
        let mut resume = Resume::default();
        loop {
            match parse_request(
                &block,
                &self.client.limits.head,
                &mut resume,
                &mut exchange.request,
            ) {
                Ok(Parse::Complete { head_len }) => {
                    let ahead = (block.len() > head_len).then(|| block.split_off(head_len));
                    exchange.request.fields.put_text(block);
                    exchange.account.head_at = Stamp::now();
                    exchange.account.parsed = Parsed::Yes;
                    return Arrival::Request(exchange, ahead);
                }
                Ok(Parse::Partial) => exchange.request.clear(),
                Err(error) => return refused(exchange, block, Fault::RequestHead(error)),
            }
            let (received, back) = self.more_head(block).await;
            block = back;
            if let Err(fault) = received {
                return refused(exchange, block, fault);
            }
        }
    }

    /// Waits between requests, with nothing but the smallest block in hand.
    async fn first_bytes(&mut self) -> Option<Block> {
        let wait = match (self.client.worker.is_draining(), self.client.served) {
            // The request that the connection was opened for is probably on its way.
            (true, 0) => DRAIN_GRACE,
            (true, _) if self.client.wire.liveness() != Liveness::Readable => return None,
            (_, 0) => self.client.limits.header_timeout,
            _ => self.client.limits.idle_timeout,
        };
        let timer = self.client.wire.recv_timer();
        timer.arm(wait, Due::ShutRead);
        self.place.mark(Activity::Idle);
        // The first request often comes with the connection, the next one hardly with an answer.
        let likely = match self.client.served {
            0 => Likely::Now,
            _ => Likely::Later,
        };
        let (result, block) = self.client.wire.recv_block(BlockClass::Head, likely).await;
        self.place.mark(Activity::Busy);
        // A request that came just as the wait ran out is served; the connection then closes.
        timer.end();
        matches!(result, Ok(received) if received > 0).then_some(block)
    }

    /// Receives more of a head that is not complete.
    async fn more_head(&self, mut block: Block) -> (Result<(), Fault>, Block) {
        if block.tailroom() <= rt::CHUNK_TAILROOM {
            let class = BlockClass::fitting(block.len() * 4).unwrap_or(BlockClass::Large);
            let mut larger = Block::new(class);
            if larger.append(&block) < block.len() || larger.tailroom() <= rt::CHUNK_TAILROOM {
                return (Err(Fault::RequestHead(HeadError::HeadTooLarge)), block);
            }
            block = larger;
        }
        let deadline = self.head_deadline;
        if deadline.has_passed() {
            return (Err(Fault::HeadTimeout), block);
        }
        let timer = self.client.wire.recv_timer();
        timer.arm(
            deadline.within(self.client.limits.header_timeout),
            Due::ShutRead,
        );
        let (result, block) = self.client.wire.recv(block).await;
        let outcome = match result {
            _ if timer.end() => Err(Fault::HeadTimeout),
            Ok(received) if received > 0 => Ok(()),
            _ => Err(Fault::ClientClosed),
        };
        (outcome, block)
    }

    /// Waits for what was sent without waiting, and under TLS says that it was all.
    async fn close(&self) {
        self.flush().await;
        let wire = &self.client.wire;
        // Where a deadline has ended receiving, the client still reads.
        if wire.security() == Security::Tls {
            wire.finish(self.client.limits.send_timeout).await;
        }
    }

    /// Waits for the end of an answer that was sent without waiting.
    async fn flush(&self) {
        // Its exchange is in the log already; the counters can still tell.
        if let Err(error) = self
            .client
            .wire
            .flush(self.client.limits.send_timeout)
            .await
        {
            let fault = match error.kind() {
                std::io::ErrorKind::TimedOut => Fault::SendTimeout,
                _ => Fault::ClientClosed,
            };
            self.client.worker.stats().faults.fault(fault);
        }
    }

    /// Closes in a way that lets the client read the answer: the sending side first, then
    /// what the client still sends is read and thrown away for a while (RFC 9112, 9.6).
    async fn linger(&self) {
        // With both directions shut down the kernel resets the connection at the next byte,
        // and the answer with it; then the end goes out when the connection closes.
        if !self.client.wire.is_cut() {
            self.client
                .wire
                .finish(self.client.limits.send_timeout)
                .await;
        }
        let deadline = Deadline::after(LINGER_TIMEOUT);
        let mut block = Block::new(BlockClass::Head);
        let mut left = LINGER_MAX;
        while left > 0 && !deadline.has_passed() {
            block.clear();
            let timer = self.client.wire.recv_timer();
            timer.arm(deadline.within(LINGER_TIMEOUT), Due::ShutBoth);
            let (result, back) = self.client.wire.recv(block).await;
            block = back;
            match result {
                Ok(received) if received > 0 => left = left.saturating_sub(received),
                // With the reading side shut down a receive ends at once when nothing is
                // there, but what arrives later is still queued, and would reset the
                // connection when it closes.
                Ok(_) if self.client.wire.is_cut() => rt::pause(Ticks(1)).await,
                _ => return,
            }
        }
    }
}

/// Nothing of a refused head is believed, but the log shows how it began.
fn refused<F: Filter>(mut exchange: Loan<F>, block: Block, fault: Fault) -> Arrival<F> {
    exchange.request.clear();
    exchange.request.fields.put_text(block);
    exchange.account.head_at = Stamp::now();
    Arrival::Refused(exchange, fault)
}

/// No method of HTTP/1 begins like this, but HTTP/2's preface does (RFC 9113, 3.4).
const PREFACE_BEGIN: &[u8] = b"PRI ";

fn may_be_preface(first: &[u8]) -> bool {
    first.starts_with(PREFACE_BEGIN) || PREFACE_BEGIN.starts_with(first)
}
