//! The client of an exchange: its link, who it is, and what holds for it. One per HTTP/1
//! connection, and one per stream of HTTP/2.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::answer;
use crate::block::Block;
use crate::chain::{Attributes, Filter, PeerAddr, Scheme, TlsFacts};
use crate::decide::{self, Caller, Plan};
use crate::error::{Fault, Phase};
use crate::exchange::Exchange;
use crate::forward;
use crate::halves::{CLIENT, Deadline, Source};
use crate::http::h1;
use crate::http::{BodyLen, RequestHead};
use crate::link::Link;
use crate::rt::clock::Stamp;
use crate::rt::wheel::Ticks;
use crate::snapshot::{HalfClose, Limits};
use crate::wire::Wire;
use crate::worker::{Acceptor, Installed, Worker};

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

/// The client of an exchange.
pub(crate) struct Client<F: Filter> {
    pub(crate) worker: Rc<Worker<F>>,
    pub(crate) acceptor: Rc<Acceptor>,
    pub(crate) link: Link,
    /// The connection, whatever it carries.
    pub(crate) wire: Rc<Wire>,
    pub(crate) peer: PeerAddr,
    /// The addresses of a connection's two ends, where they are not its socket's.
    pub(crate) ends: Ends,
    pub(crate) tls: Option<Rc<TlsFacts>>,
    pub(crate) limits: Limits,
    pub(crate) half_close: HalfClose,
    pub(crate) listener: usize,
    /// The snapshot that the limits are from.
    pub(crate) generation: u64,
    pub(crate) served: u32,
}

/// The addresses of a connection's two ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ends {
    pub(crate) source: Option<SocketAddr>,
    pub(crate) destination: Option<SocketAddr>,
}

/// How long an unwanted rest of a request body may still take.
pub(crate) const DRAIN_TIMEOUT: Ticks = Ticks(20);
/// Bytes of an unwanted request body that are read so that the connection can be kept.
pub(crate) const DRAIN_MAX: u64 = 64 << 10;

impl<F: Filter> Client<F> {
    /// The same client on a stream of its connection.
    pub(crate) fn on(&self, link: Link) -> Client<F> {
        Client {
            worker: Rc::clone(&self.worker),
            acceptor: Rc::clone(&self.acceptor),
            link,
            wire: Rc::clone(&self.wire),
            tls: self.tls.clone(),
            ..*self
        }
    }

    /// Takes over the listener's limits from a snapshot; a connection whose listener is gone
    /// keeps those it has.
    pub(crate) fn refresh(&mut self, installed: &Installed<F>) {
        let listeners = &installed.snapshot.listeners;
        let index = self.acceptor.index();
        let index = index.or_else(|| self.worker.index_of(self.acceptor.addr()));
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

    /// Serves a request whose head has been read; `ahead` was received behind it. Returns what
    /// was received behind the request as well.
    pub(crate) async fn exchange(
        &self,
        installed: &Installed<F>,
        exchange: &mut Exchange<F>,
        ahead: Option<Block>,
    ) -> (Next, Option<Block>) {
        let mut decoder = std::mem::take(&mut exchange.request_body);
        self.link.begin_body(&mut decoder, exchange.request.framing);
        let (link, wait) = (&self.link, self.limits.body_timeout);
        let mut body = Source::new(
            link,
            &mut decoder,
            ahead,
            wait,
            Deadline::default(),
            &CLIENT,
        )
        .at_least(self.limits.rate_min);
        exchange.account.phase = Phase::Policy;
        let plan = {
            let worker = &*self.worker;
            let caller = self.caller(worker.wall().unix_ms(exchange.account.began));
            decide::decide(self, &caller, installed, exchange).await
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
            // Nobody is there to be answered.
            Plan::Fault(fault) if fault.row().status.is_none() => {
                exchange.note(fault);
                Next::Close
            }
            Plan::Fault(fault) => {
                exchange.note(fault);
                let close = close_behind(exchange, &body);
                let next = answer::fault(self, installed, exchange, fault, close).await;
                self.after_answer(next, &mut body).await
            }
        };
        let rest = body.take_rest();
        exchange.request_body = decoder;
        (next, rest)
    }

    fn caller(&self, unix_ms: u64) -> Caller<'_, F> {
        Caller {
            core: self.worker.core(),
            filters: &self.worker.filters,
            ids: &self.worker.ids,
            peer: self.peer,
            listener: self.listener,
            scheme: match self.tls {
                None => Scheme::Http,
                Some(_) => Scheme::Https,
            },
            tls: self.tls.as_ref(),
            limits: &self.limits,
            pressure: &self.worker.pressure,
            unix_ms,
            rehearsal: None,
        }
    }

    /// Reads what is left of a small body nobody wanted, so that the next request can follow, and
    /// so that a stream need not be reset behind a complete answer.
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
        if let Link::Http2(_) = self.link {
            return h1::Connection::Stream;
        }
        let keep = close == Close::No
            && request.is_persistent()
            && self.served < self.limits.requests_per_connection_max
            && !self.worker.is_draining()
            && !self.link.is_cut()
            && self.acceptor.index().is_some();
        match keep {
            true => h1::Connection::KeepAlive,
            false => h1::Connection::Close,
        }
    }

    /// The two ends of the client's connection, for an origin that is told of them.
    pub(crate) fn told_ends(&self) -> Ends {
        Ends {
            source: self.ends.source.or_else(|| self.wire.peer()),
            destination: self.ends.destination.or_else(|| self.wire.local()),
        }
    }

    /// Nothing that a refused head says is believed; nothing of the exchange that its memory
    /// served before is left.
    pub(crate) fn identify_refused(&self, installed: &Installed<F>, exchange: &mut Exchange<F>) {
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

    /// Books what ended a connection before or beside its requests; `told` stands in the log
    /// where a request does.
    pub(crate) fn book(&self, fault: Fault, told: &str) {
        let installed = self.worker.installed();
        let mut exchange = Loan::new(&self.worker);
        exchange.account.began = Stamp::now();
        exchange.account.head_at = exchange.account.began;
        self.identify_refused(&installed, &mut exchange);
        exchange
            .request
            .fields
            .put_text(Block::from_slice(told.as_bytes()));
        exchange.account.status = fault.row().status.unwrap_or_default();
        exchange.note(fault);
        exchange.settle(&self.worker, &installed);
    }
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
pub(crate) struct Loan<F: Filter> {
    worker: Rc<Worker<F>>,
    exchange: Option<Box<Exchange<F>>>,
}

impl<F: Filter> Loan<F> {
    pub(crate) fn new(worker: &Rc<Worker<F>>) -> Loan<F> {
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
