//! A client's connection: requests one after the other, each as an exchange.

use std::net::{IpAddr, Shutdown};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::answer;
use crate::block::{Block, BlockClass};
use crate::chain::{Attributes, Filter, PeerAddr};
use crate::decide::{self, Caller, Plan};
use crate::error::{Fault, Phase};
use crate::exchange::{Exchange, Parsed};
use crate::forward;
use crate::halves::{CLIENT, Deadline, Source};
use crate::http::h1::{self, HeadError, Parse, Resume, parse_request};
use crate::http::{BodyLen, RequestHead};
use crate::rt::clock::Stamp;
use crate::rt::wheel::{self, Due, Ticks};
use crate::rt::{self, Likely, Liveness, Socket};
use crate::snapshot::{HalfClose, Limits};
use crate::worker::{Acceptor, Activity, Installed, Place, Worker};

/// What follows an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another request may come.
    KeepAlive,
    /// The connection closes; everything the client sent has been read.
    Close,
    /// The connection closes while the client may still be sending.
    Linger,
    /// The connection closes with a reset: the answer is cut and must not look whole.
    Reset,
}

/// A client's connection.
pub(crate) struct Connection<F: Filter> {
    pub(crate) worker: Rc<Worker<F>>,
    acceptor: Rc<Acceptor>,
    pub(crate) socket: Rc<Socket>,
    place: Place<F>,
    pub(crate) peer: PeerAddr,
    pub(crate) limits: Limits,
    pub(crate) half_close: HalfClose,
    pub(crate) listener: usize,
    /// What the client sent behind the last message.
    ahead: Option<Block>,
    /// When the head of the request under way, or of the first one, must have arrived.
    head_deadline: Deadline,
    /// The snapshot that the limits are from.
    generation: u64,
    served: u32,
}

/// A connection as it was accepted.
pub(crate) struct Arrived {
    pub(crate) socket: Rc<Socket>,
    pub(crate) peer: IpAddr,
    /// The listener's index, limits and policy in the snapshot of that moment.
    pub(crate) index: usize,
    pub(crate) limits: Limits,
    pub(crate) half_close: HalfClose,
}

/// Serves a connection to its end.
pub(crate) async fn serve<F: Filter>(
    worker: Rc<Worker<F>>,
    acceptor: Rc<Acceptor>,
    arrived: Arrived,
    place: Place<F>,
) {
    let mut connection = Connection {
        peer: PeerAddr::new(arrived.peer),
        head_deadline: Deadline::after(arrived.limits.header_timeout),
        limits: arrived.limits,
        half_close: arrived.half_close,
        listener: arrived.index,
        worker,
        acceptor,
        socket: arrived.socket,
        place,
        ahead: None,
        generation: 0,
        served: 0,
    };
    loop {
        match connection.turn().await {
            Next::KeepAlive => {}
            Next::Close => return connection.flush().await,
            Next::Linger => {
                connection.flush().await;
                return connection.linger().await;
            }
            Next::Reset => return connection.socket.reset_on_close(),
        }
    }
}

/// How long a closing connection waits for the client to stop sending.
const LINGER_TIMEOUT: Ticks = Ticks(20);
/// Bytes that a closing connection reads and throws away at most.
const LINGER_MAX: usize = 1 << 20;
/// How long a draining worker waits for the first request of a connection.
pub(crate) const DRAIN_GRACE: Ticks = Ticks(5);
/// How long an unwanted rest of a request body may still take.
pub(crate) const DRAIN_TIMEOUT: Ticks = Ticks(20);
/// Bytes of an unwanted request body that are read so that the connection can be kept.
pub(crate) const DRAIN_MAX: u64 = 64 << 10;

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
    async fn turn(&mut self) -> Next {
        let first = match self.ahead.take() {
            Some(block) => block,
            None => match self.first_bytes().await {
                Some(block) => block,
                None => return Next::Close,
            },
        };
        rt::pooled(|| self.serve_one(first)).await
    }

    async fn serve_one(&mut self, first: Block) -> Next {
        if self.served > 0 {
            self.head_deadline = Deadline::after(self.limits.header_timeout);
        }
        let began = wheel::now();
        let arrival = self.read_head(first).await;
        // One snapshot from here to the end, whatever is installed meanwhile.
        let installed = self.worker.installed();
        self.refresh(&installed);
        match arrival {
            Arrival::Refused(mut exchange, fault) => {
                exchange.note(fault);
                self.identify_refused(&installed, &mut exchange);
                let next = match fault.row().status {
                    Some(_) => {
                        answer::fault(self, &installed, &mut exchange, fault, Close::Yes).await
                    }
                    None => Next::Close,
                };
                exchange.settle(&self.worker, &installed);
                next
            }
            Arrival::Request(mut exchange, ahead) => {
                self.served = self.served.saturating_add(1);
                exchange.began = began;
                self.worker.stats().requests.add(1);
                let next = self.exchange(&installed, &mut exchange, ahead).await;
                exchange.settle(&self.worker, &installed);
                next
            }
        }
    }

    /// Nothing that a refused head says is believed; nothing of the exchange that its memory
    /// served before is left.
    fn identify_refused(&self, installed: &Installed<F>, exchange: &mut Exchange<F>) {
        exchange.attributes = Attributes {
            peer: self.peer,
            client: self.peer,
            listener: self.listener,
            ..Attributes::default()
        };
        if installed.snapshot.forwarding.request_id.is_some() {
            let unix_ms = self.worker.wall().unix_ms(exchange.account.began);
            let id = self.worker.ids.borrow_mut().next(unix_ms);
            exchange.attributes.request_id.set(&id);
        }
    }

    async fn read_head(&mut self, mut block: Block) -> Arrival<F> {
        let mut exchange = Loan::new(&self.worker);
        exchange.account.began = Stamp::now();
        let mut resume = Resume::default();
        loop {
            match parse_request(
                &block,
                &self.limits.head,
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
        let wait = match (self.worker.is_draining(), self.served) {
            // The request that the connection was opened for is probably on its way.
            (true, 0) => DRAIN_GRACE,
            (true, _) if self.socket.liveness() != Liveness::Readable => return None,
            (_, 0) => self.limits.header_timeout,
            _ => self.limits.idle_timeout,
        };
        let timer = self.socket.recv_timer();
        timer.arm(wait, Due::ShutRead);
        self.place.mark(Activity::Idle);
        // The first request often comes with the connection, the next one hardly with an answer.
        let likely = match self.served {
            0 => Likely::Now,
            _ => Likely::Later,
        };
        let (result, block) = self.socket.recv_block(BlockClass::Head, likely).await;
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
        let timer = self.socket.recv_timer();
        timer.arm(deadline.within(self.limits.header_timeout), Due::ShutRead);
        let (result, block) = self.socket.recv(block).await;
        let outcome = match result {
            _ if timer.end() => Err(Fault::HeadTimeout),
            Ok(received) if received > 0 => Ok(()),
            _ => Err(Fault::ClientClosed),
        };
        (outcome, block)
    }

    /// Takes over the listener's limits from a snapshot; a connection whose listener is gone
    /// keeps those it has.
    fn refresh(&mut self, installed: &Installed<F>) {
        let listeners = &installed.snapshot.listeners;
        let index = self.acceptor.index();
        if self.generation == installed.snapshot.generation && index == Some(self.listener) {
            return;
        }
        self.generation = installed.snapshot.generation;
        match index.and_then(|index| Some((index, listeners.get(index)?))) {
            Some((index, listener)) => {
                self.listener = index;
                self.limits = listener.limits;
                self.half_close = listener.half_close;
            }
            None => self.listener = usize::MAX,
        }
    }

    async fn exchange(
        &mut self,
        installed: &Installed<F>,
        exchange: &mut Exchange<F>,
        ahead: Option<Block>,
    ) -> Next {
        let mut decoder = std::mem::take(&mut exchange.request_body);
        decoder.start(exchange.request.framing);
        let socket = Rc::clone(&self.socket);
        let wait = self.limits.body_timeout;
        let mut body = Source::new(
            &socket,
            &mut decoder,
            ahead,
            wait,
            Deadline::default(),
            &CLIENT,
        );
        exchange.account.phase = Phase::Policy;
        let plan = {
            let worker = &*self.worker;
            let caller = Caller {
                core: worker.core(),
                filters: &worker.filters,
                ids: &worker.ids,
                peer: self.peer,
                listener: self.listener,
                limits: &self.limits,
                unix_ms: worker.wall().unix_ms(exchange.account.began),
            };
            decide::decide(worker, &caller, installed, exchange).await
        };
        exchange.account.decided_at = Some(Stamp::now());
        body.limit(exchange.deadline);
        let next = match plan {
            Plan::Forward(upstream) => {
                forward::forward(self, installed, exchange, upstream, &mut body).await
            }
            Plan::Answer(answer) => {
                let close = close_behind(exchange, &body);
                let next = answer::send(self, installed, exchange, &answer, close).await;
                self.after_answer(next, &mut body).await
            }
            Plan::Constant(answer) => {
                let close = close_behind(exchange, &body);
                let next = answer::send(self, installed, exchange, answer, close).await;
                self.after_answer(next, &mut body).await
            }
            Plan::Fault(fault) => {
                exchange.note(fault);
                let close = close_behind(exchange, &body);
                let next = answer::fault(self, installed, exchange, fault, close).await;
                self.after_answer(next, &mut body).await
            }
        };
        self.ahead = body.take_rest();
        exchange.request_body = decoder;
        next
    }

    /// Reads what is left of a small body nobody wanted, so that the next request can follow.
    pub(crate) async fn after_answer(&self, next: Next, body: &mut Source<'_>) -> Next {
        if next != Next::KeepAlive || body.is_ended() {
            return next;
        }
        body.limit(Deadline::after(DRAIN_TIMEOUT));
        let most = body.received() + DRAIN_MAX;
        while !body.is_ended() {
            match body.next().await {
                Ok(_) if body.received() <= most => {}
                _ => return Next::Linger,
            }
        }
        Next::KeepAlive
    }

    /// What the answer to `request` says about the connection.
    pub(crate) fn connection_out(&self, request: &RequestHead, close: Close) -> h1::Connection {
        let keep = close == Close::No
            && request.is_persistent()
            && self.served < self.limits.requests_per_connection_max
            && !self.worker.is_draining()
            && !self.socket.is_cut()
            && self.acceptor.index().is_some();
        match keep {
            true => h1::Connection::KeepAlive,
            false => h1::Connection::Close,
        }
    }

    /// Waits for the end of an answer that was sent without waiting.
    async fn flush(&self) {
        // Its exchange is in the log already; the counters can still tell.
        if let Err(error) = self.socket.flush(self.limits.send_timeout).await {
            let fault = match error.kind() {
                std::io::ErrorKind::TimedOut => Fault::SendTimeout,
                _ => Fault::ClientClosed,
            };
            self.worker.stats().faults.fault(fault);
        }
    }

    /// Closes in a way that lets the client read the answer: the sending side first, then
    /// what the client still sends is read and thrown away for a while (RFC 9112, 9.6).
    async fn linger(&self) {
        // With both directions shut down the kernel resets the connection at the next byte,
        // and the answer with it; then the end goes out when the connection closes.
        if !self.socket.is_cut() {
            self.socket.shutdown(Shutdown::Write);
        }
        let deadline = Deadline::after(LINGER_TIMEOUT);
        let mut block = Block::new(BlockClass::Head);
        let mut left = LINGER_MAX;
        while left > 0 && !deadline.has_passed() {
            block.clear();
            let timer = self.socket.recv_timer();
            timer.arm(deadline.within(LINGER_TIMEOUT), Due::ShutBoth);
            let (result, back) = self.socket.recv(block).await;
            block = back;
            match result {
                Ok(received) if received > 0 => left = left.saturating_sub(received),
                // With the reading side shut down a receive ends at once when nothing is
                // there, but what arrives later is still queued, and would reset the
                // connection when it closes.
                Ok(_) if self.socket.is_cut() => rt::pause(Ticks(1)).await,
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

/// Whether a connection has to close behind an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    /// It may stay.
    No,
    /// It has to close.
    Yes,
}

/// An answer that does not read the request's body leaves it on the connection: a small one
/// is read later, a large or withheld one ends the connection.
pub(crate) fn close_behind<F: Filter>(exchange: &Exchange<F>, body: &Source<'_>) -> Close {
    if exchange.request.framing.is_empty() || body.is_ended() {
        return Close::No;
    }
    match exchange.request.framing {
        _ if exchange.request.expect_continue => Close::Yes,
        BodyLen::Length(length) if length <= DRAIN_MAX => Close::No,
        _ => Close::Yes,
    }
}

/// An exchange on loan from its worker's pool; counted as active until it goes back.
struct Loan<F: Filter> {
    worker: Rc<Worker<F>>,
    exchange: Option<Box<Exchange<F>>>,
}

impl<F: Filter> Loan<F> {
    fn new(worker: &Rc<Worker<F>>) -> Loan<F> {
        worker.stats().active.add(1);
        Loan {
            exchange: Some(worker.take_exchange()),
            worker: Rc::clone(worker),
        }
    }
}

impl<F: Filter> Deref for Loan<F> {
    type Target = Exchange<F>;

    fn deref(&self) -> &Exchange<F> {
        self.exchange.as_ref().expect("taken only when dropped")
    }
}

impl<F: Filter> DerefMut for Loan<F> {
    fn deref_mut(&mut self) -> &mut Exchange<F> {
        self.exchange.as_mut().expect("taken only when dropped")
    }
}

impl<F: Filter> Drop for Loan<F> {
    fn drop(&mut self) {
        self.worker.stats().active.sub(1);
        // After a panic the exchange is in an unknown state and is not used again.
        if let Some(exchange) = self.exchange.take()
            && !std::thread::panicking()
        {
            self.worker.give_back(exchange);
        }
    }
}
