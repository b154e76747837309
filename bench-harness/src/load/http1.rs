//! HTTP/1.1 connections: one task each, which sends and receives at once, so that neither a
//! pipelining server nor one that answers early can block it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringgate_core::block::{Block, BlockClass};
use ringgate_core::http::Method;
use ringgate_core::rt::wheel::Due;
use ringgate_core::wire::{TlsError, Wire};

use super::mix::Drawn;
use super::pacer::{Place, Turn};
use super::plan::Reuse;
use super::response::{Connection, Reader, Step};
use super::tally::{Kind, Times};
use super::worker::{Link, Stage, Worker};

/// Carries requests on one connection after the other until the run is over; the first one may
/// be open already.
pub async fn carry(worker: &Rc<Worker>, first: Option<Wire>) {
    let place = Rc::new(Place::default());
    let mut open = first;
    worker.begun().await;
    while worker.is_on(worker.now()) {
        match worker.plan.reuse {
            Reuse::Kept => {
                let wire = match open.take() {
                    Some(wire) => Some(wire),
                    None => worker.connect().await,
                };
                if let Some(wire) = wire {
                    Exchange::new(worker, wire, &place, Purpose::Load)
                        .run()
                        .await;
                }
            }
            Reuse::EachNew => carry_one(worker, &place).await,
        }
    }
}

/// One request on a connection of its own; its time begins before the connection is opened.
async fn carry_one(worker: &Rc<Worker>, place: &Rc<Place>) {
    let Some(times) = worker.next(place, || false).await else {
        return;
    };
    let wire = worker.connect_for_one().await;
    if let Some(wire) = wire {
        let purpose = Purpose::One(times);
        Exchange::new(worker, wire, place, purpose).run().await;
    }
}

/// Makes one request that does not count and keeps the connection open until the run is over.
pub async fn idle(worker: &Rc<Worker>, wire: Wire) {
    let place = Rc::new(Place::default());
    Exchange::new(worker, wire, &place, Purpose::Idle(Quiet::NotYet))
        .run()
        .await;
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Whatever is due.
    Load,
    /// One request with these times.
    One(Times),
    /// Being open.
    Idle(Quiet),
    /// Nothing more.
    Spent,
}

/// Whether an idle connection has had its one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quiet {
    /// The request is still to be sent.
    NotYet,
    /// It is under way.
    Asked,
    /// It was answered.
    Now,
}

/// A request under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    times: Times,
    method: Method,
}

/// Requests and answers on one connection.
struct Exchange<'w> {
    worker: &'w Rc<Worker>,
    link: Rc<Link>,
    reader: Reader,
    flights: VecDeque<Flight>,
    /// The request whose body is not sent to its end, and how much of it is.
    body: Option<(Drawn, usize)>,
    purpose: Purpose,
    /// The connection has waited for a request to be due.
    waited: bool,
    /// Size of the next receive, and what came with the last one.
    class: BlockClass,
    got: usize,
}

/// What happens next on a connection.
enum Event {
    Sent(io::Result<()>, Block),
    Received(io::Result<usize>, Block),
    Due,
}

/// Whether a connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Ended,
}

impl<'w> Exchange<'w> {
    fn new(
        worker: &'w Rc<Worker>,
        wire: Wire,
        place: &Rc<Place>,
        purpose: Purpose,
    ) -> Exchange<'w> {
        Exchange {
            worker,
            link: worker.link(Rc::new(wire), place),
            reader: Reader::default(),
            flights: VecDeque::with_capacity(worker.plan.in_flight as usize),
            body: None,
            purpose,
            waited: false,
            class: BlockClass::Head,
            got: 0,
        }
    }

    async fn run(mut self) {
        let link = Rc::clone(&self.link);
        let mut outgoing = Some(Block::new(self.class_to_send()));
        let mut recv = pin!(link.wire.recv(Block::new(self.class)));
        let mut send = pin!(None);
        let patience = self.worker.plan.patience();
        loop {
            if let Some(mut block) = outgoing.take() {
                self.fill(&mut block);
                match block.is_empty() {
                    true => outgoing = Some(block),
                    false => send.set(Some(link.wire.send_lent(block, move || patience))),
                }
            }
            let event = poll_fn(|cx| {
                if let Some(sending) = send.as_mut().as_pin_mut()
                    && let Poll::Ready((result, block)) = sending.poll(cx)
                {
                    return Poll::Ready(Event::Sent(result, block));
                }
                if let Poll::Ready((result, block)) = recv.as_mut().poll(cx) {
                    return Poll::Ready(Event::Received(result, block));
                }
                match outgoing.is_some() && self.waits(cx.waker()) == Turn::Now {
                    true => Poll::Ready(Event::Due),
                    false => Poll::Pending,
                }
            })
            .await;
            match event {
                Event::Due => {}
                Event::Sent(result, block) => {
                    send.set(None);
                    // Who sends no more may still get an answer: receiving tells.
                    match result {
                        Ok(()) => outgoing = Some(block),
                        Err(_) => self.purpose = Purpose::Spent,
                    }
                }
                Event::Received(result, mut block) => {
                    if self.received(result, &mut block) == Flow::Ended {
                        break;
                    }
                    recv.set(link.wire.recv(self.room(block)));
                }
            }
        }
        self.end();
    }

    /// Fills a block with what can be sent now: the rest of a body, and requests that are due.
    fn fill(&mut self, block: &mut Block) {
        block.clear();
        let plan = &self.worker.plan;
        loop {
            if let Some((drawn, at)) = self.body {
                let body = &plan.mix.request(drawn).body;
                let at = at + block.append(&body[at..]);
                self.body = (at < body.len()).then_some((drawn, at));
                if self.body.is_some() {
                    return;
                }
            }
            if self.flights.len() >= plan.in_flight as usize
                || block.tailroom() < plan.mix.head_max()
            {
                return;
            }
            let Some(times) = self.next() else { return };
            let drawn = plan.mix.draw(&mut self.worker.draws.borrow_mut());
            let request = plan.mix.request(drawn);
            request.encode(drawn, |piece| {
                let appended = block.append(piece);
                debug_assert_eq!(appended, piece.len());
            });
            self.body = (!request.body.is_empty()).then_some((drawn, 0));
            if self.flights.is_empty() {
                self.arm();
            }
            self.flights.push_back(Flight {
                times,
                method: request.method,
            });
            self.link.under_way.set(self.flights.len() as u32);
        }
    }

    /// The times of the next request, if there is one.
    fn next(&mut self) -> Option<Times> {
        match self.purpose {
            Purpose::Load => {
                let sent = self.worker.now();
                let due = self.worker.take(sent)?;
                if std::mem::take(&mut self.waited) && self.worker.plan.rates.is_some() {
                    self.worker.tally.borrow_mut().sent_after_wait(due, sent);
                }
                Some(Times { due, sent })
            }
            Purpose::One(times) => {
                self.purpose = Purpose::Spent;
                Some(times)
            }
            Purpose::Idle(Quiet::NotYet) => {
                self.purpose = Purpose::Idle(Quiet::Asked);
                Some(Times { due: 0, sent: 0 })
            }
            Purpose::Idle(_) | Purpose::Spent => None,
        }
    }

    /// Waits for a request to be due, if another one may be sent.
    fn waits(&mut self, waker: &std::task::Waker) -> Turn {
        let has_room = self.flights.len() < self.worker.plan.in_flight as usize;
        if self.purpose != Purpose::Load || !has_room {
            return Turn::Later;
        }
        let turn = self.worker.wait(&self.link.place, waker);
        // A request that is due at once has not been waited for.
        self.waited |= turn == Turn::Later;
        turn
    }

    fn received(&mut self, result: io::Result<usize>, block: &mut Block) -> Flow {
        let now = self.worker.now();
        match result {
            Ok(0) => {
                if let Some(answer) = self.reader.close() {
                    self.answered(answer.status, answer.body_bytes, now);
                }
                self.fail_all(now, Kind::Closed, || CLOSED.to_owned());
                return Flow::Ended;
            }
            Err(error) => {
                self.fail_all(now, kind_of(&error), || error.to_string());
                return Flow::Ended;
            }
            Ok(count) => self.got = count,
        }
        while !block.is_empty() {
            let Some(flight) = self.flights.front() else {
                return self.unasked(now);
            };
            match self.reader.read(block, flight.method) {
                Ok(Step::More) => break,
                Err(what) => {
                    self.fail_all(now, Kind::Protocol, || what);
                    return Flow::Ended;
                }
                Ok(Step::Answered(answer)) => {
                    self.answered(answer.status, answer.body_bytes, now);
                    if answer.connection == Connection::Ends {
                        self.give_back();
                        return Flow::Ended;
                    }
                }
            }
        }
        match self.flights.is_empty() {
            true => self.link.wire.recv_timer().disarm(),
            false => self.arm(),
        }
        match self.flights.is_empty() && self.purpose == Purpose::Spent {
            true => Flow::Ended,
            false => Flow::On,
        }
    }

    fn answered(&mut self, status: u16, body_bytes: u64, now: u64) {
        let Some(flight) = self.flights.pop_front() else {
            return;
        };
        self.link.under_way.set(self.flights.len() as u32);
        if self.purpose == Purpose::Idle(Quiet::Asked) {
            self.purpose = Purpose::Idle(Quiet::Now);
            self.worker.tally.borrow_mut().warmup += 1;
            return self.worker.settled();
        }
        let mut tally = self.worker.tally.borrow_mut();
        tally.answer(status, body_bytes, flight.times, now);
    }

    /// The server has said that it answers no more: RFC 9112, 9.6 has it process no more either.
    fn give_back(&mut self) {
        for flight in self.flights.drain(..) {
            if self.purpose == Purpose::Load {
                self.worker.again(flight.times.due);
            }
        }
    }

    /// Bytes that are no answer to anything.
    fn unasked(&mut self, now: u64) -> Flow {
        let mut tally = self.worker.tally.borrow_mut();
        tally.failure(Kind::Protocol, now, || UNASKED.to_owned());
        Flow::Ended
    }

    /// All requests under way have failed. A deadline that cut the connection is the reason
    /// whatever the cut looked like; who is cut because the run is over has not failed.
    fn fail_all(&mut self, now: u64, kind: Kind, why: impl FnOnce() -> String) {
        let wire = &self.link.wire;
        let is_over = self.worker.stage() == Stage::Over;
        // Until the run is over only deadlines cut: this one, or that of a peer that takes nothing.
        let timed_out = wire.recv_timer().take_fired() || (wire.is_cut() && !is_over);
        if matches!(self.purpose, Purpose::Idle(_)) {
            return;
        }
        let mut tally = self.worker.tally.borrow_mut();
        if !timed_out && wire.is_cut() && is_over {
            for flight in self.flights.drain(..) {
                tally.cut(flight.times.sent);
            }
        }
        let mut why = Some(why);
        for _ in self.flights.drain(..) {
            let kind = if timed_out { Kind::Timeout } else { kind };
            tally.failure(kind, now, || match why.take() {
                Some(why) if !timed_out => why(),
                _ => format!("no whole answer within {:?}", self.worker.plan.timeout),
            });
        }
    }

    /// Gives the connection back.
    fn end(&mut self) {
        self.worker.leave(&self.link.place);
        self.worker.unlink(&self.link);
        if let Purpose::Idle(quiet) = self.purpose {
            if quiet != Quiet::Now {
                self.worker.settled();
            }
            if self.worker.stage() != Stage::Over {
                self.worker.tally.borrow_mut().idle_lost += 1;
            }
        }
    }

    fn arm(&self) {
        let timer = self.link.wire.recv_timer();
        timer.arm(self.worker.plan.patience(), Due::ShutBoth);
    }

    /// The block of the next receive: what is left of this one, with room behind it.
    fn room(&mut self, block: Block) -> Block {
        let full = block.tailroom() <= ringgate_core::rt::CHUNK_TAILROOM;
        if block.is_empty() {
            self.class = match full {
                true => self.class.larger(),
                false if self.got * 8 < self.class.size() => self.class.smaller(),
                false => self.class,
            };
            if block.capacity() == self.class.size() {
                let mut block = block;
                block.clear();
                return block;
            }
            return Block::new(self.class);
        }
        // Part of a head: it moves to the begin, and into a larger block when it fills one.
        if block.len() * 2 > self.class.size() {
            self.class = self.class.larger();
        }
        let mut room = Block::new(self.class);
        room.append(&block);
        room
    }

    fn class_to_send(&self) -> BlockClass {
        let plan = &self.worker.plan;
        let once = plan.mix.whole_max().min(BlockClass::Large.size());
        let most = (once * plan.in_flight as usize).max(plan.mix.head_max());
        BlockClass::fitting(most).unwrap_or(BlockClass::Large)
    }
}

fn kind_of(error: &io::Error) -> Kind {
    let tls = TlsError::of(error);
    match (tls, error.kind()) {
        (Some(TlsError::Truncated), _) => Kind::Closed,
        (Some(_), _) => Kind::Tls,
        (None, io::ErrorKind::UnexpectedEof) => Kind::Closed,
        (None, io::ErrorKind::TimedOut) => Kind::Timeout,
        (None, _) => Kind::Reset,
    }
}

const CLOSED: &str = "the server closed the connection before the answer was whole";
const UNASKED: &str = "the server sent bytes that nobody asked for";
