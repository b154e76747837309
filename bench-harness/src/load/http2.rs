//! HTTP/2 connections: the `h2` crate's connection is one task, each stream slot another one
//! that makes a request when it is due. They wake each other only when something was received,
//! as the runtime asks of its tasks.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use ringgate_core::block::Block;
use ringgate_core::rt::{self, First};
use ringgate_core::wire::Wire;

use super::grpc;
use super::mix::Call;
use super::pacer::Place;
use super::plan::Reuse;
use super::tally::{Kind, Times};
use super::worker::{Link, Stage, Worker};
use crate::wire;

/// Carries requests as streams of one connection after the other until the run is over; the
/// first one may be open already.
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
                    run(worker, wire, Purpose::Load).await;
                }
            }
            Reuse::EachNew => {
                let Some(times) = worker.next(&place, || false).await else {
                    return;
                };
                if let Some(wire) = worker.connect_for_one().await {
                    run(worker, wire, Purpose::One(times)).await;
                }
            }
        }
    }
}

/// Makes one request that does not count and keeps the connection open until the run is over.
pub async fn idle(worker: &Rc<Worker>, wire: Wire) {
    run(worker, wire, Purpose::Idle).await;
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Whatever is due.
    Load,
    /// One request with these times.
    One(Times),
    /// Being open.
    Idle,
}

/// One stream after the other in one of the places that a connection has for them.
pub struct Slot {
    /// When the request under way was sent, or [`NEVER`].
    since: Cell<u64>,
    expired: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

/// One connection.
struct Session {
    worker: Rc<Worker>,
    link: Rc<Link>,
    /// Nothing can be sent any more.
    over: Cell<bool>,
    /// Stream slots that have not ended.
    slots: Cell<u32>,
    /// Waits for the slots or for the end of the connection.
    sleeper: Cell<Option<Waker>>,
}

/// Why there is no answer.
enum Failed {
    /// The request was not processed: it goes to the next connection.
    Unprocessed,
    /// It counts.
    As(Kind, String),
}

/// Whether a connection takes further requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Ended,
}

async fn run(worker: &Rc<Worker>, wire: Wire, purpose: Purpose) {
    let wire = Rc::new(wire);
    let channel = wire::channel(&wire, Block::empty(), worker.plan.patience());
    let link = worker.link(wire, &Rc::default());
    let session = Rc::new(Session {
        worker: Rc::clone(worker),
        link,
        over: Cell::new(false),
        slots: Cell::new(0),
        sleeper: Cell::default(),
    });
    match builder().handshake::<_, Bytes>(channel).await {
        Ok((send, connection)) => {
            let driven = Rc::clone(&session);
            rt::spawn(async move {
                // What went wrong, the streams are told as well.
                let _ = connection.await;
                driven.over.set(true);
                driven.wake();
                driven.worker.rouse();
            });
            session.use_up(send, purpose).await;
        }
        Err(error) => {
            let mut tally = worker.tally.borrow_mut();
            tally.failure(Kind::Protocol, worker.now(), || error.to_string());
        }
    }
    worker.unlink(&session.link);
}

impl Session {
    async fn use_up(self: &Rc<Self>, mut send: SendRequest<Bytes>, purpose: Purpose) {
        match purpose {
            Purpose::One(times) => {
                // Whatever comes of it, the connection has done its part.
                let _ = self.request(&mut send, times, &self.slot()).await;
            }
            Purpose::Load => {
                for _ in 0..self.worker.plan.in_flight {
                    let (session, send) = (Rc::clone(self), send.clone());
                    self.slots.set(self.slots.get() + 1);
                    rt::spawn(async move {
                        session.fill(send).await;
                        session.slots.set(session.slots.get() - 1);
                        session.wake();
                    });
                }
                drop(send);
                self.until(|| self.slots.get() == 0).await;
            }
            Purpose::Idle => {
                let answered = self.answer(&mut send).await;
                self.worker.settled();
                if answered.is_ok() {
                    self.worker.tally.borrow_mut().warmup += 1;
                    self.until(|| self.over.get()).await;
                }
                if self.worker.stage() != Stage::Over {
                    self.worker.tally.borrow_mut().idle_lost += 1;
                }
            }
        }
    }

    /// Makes requests in one slot while the connection lasts.
    async fn fill(&self, mut send: SendRequest<Bytes>) {
        let place = Rc::new(Place::default());
        let slot = self.slot();
        while !self.over.get()
            && let Some(times) = self.worker.next(&place, || self.over.get()).await
        {
            if self.request(&mut send, times, &slot).await == Flow::Ended {
                return;
            }
        }
    }

    /// Makes one request and counts what comes of it.
    async fn request(&self, send: &mut SendRequest<Bytes>, times: Times, slot: &Slot) -> Flow {
        let under_way = &self.link.under_way;
        under_way.set(under_way.get() + 1);
        slot.since.set(self.worker.now());
        let outcome = slot.unless_expired(self.answer(send)).await;
        slot.since.set(NEVER);
        under_way.set(under_way.get() - 1);
        let now = self.worker.now();
        let mut tally = self.worker.tally.borrow_mut();
        match outcome {
            Some(Ok((status, body_bytes))) => tally.answer(status, body_bytes, times, now),
            Some(Err(Failed::Unprocessed)) => {
                self.worker.again(times.due);
                return Flow::Ended;
            }
            Some(Err(_)) if self.worker.has_cut() => tally.cut(times.sent),
            Some(Err(Failed::As(kind, why))) => tally.failure(kind, now, || why),
            None => tally.failure(Kind::Timeout, now, || {
                format!("no whole answer within {:?}", self.worker.plan.timeout)
            }),
        }
        Flow::On
    }

    /// The status and the bytes of the body.
    async fn answer(&self, send: &mut SendRequest<Bytes>) -> Result<(u16, u64), Failed> {
        let mix = &self.worker.plan.mix;
        let ready = poll_fn(|cx| send.poll_ready(cx)).await;
        ready.map_err(|error| self.unsent(&error))?;
        let drawn = mix.draw(&mut self.worker.draws.borrow_mut());
        let request = mix.request(drawn);
        let body = request.body.clone();
        let sent = send.send_request(request.to_http2(drawn), body.is_empty());
        let (response, stream) = sent.map_err(|error| self.unsent(&error))?;
        let failed = |error: h2::Error| self.failed(&error);
        if body.is_empty() {
            let response = response.await.map_err(failed)?;
            return read(response).await.map_err(failed);
        }
        let (mut sending, mut response) = (pin!(send_body(stream, body)), pin!(response));
        let response = match rt::race(&mut sending, &mut response).await {
            // Who does not want the body may have answered all the same.
            First::Left(_) => response.await,
            First::Right(response) => response,
        };
        let response = response.map_err(failed)?;
        match request.call {
            Call::Http => read(response).await.map_err(failed),
            Call::Grpc => {
                let reply = grpc::read(response).await.map_err(failed)?;
                reply.map_err(|why| Failed::As(Kind::Grpc, why))
            }
        }
    }

    /// What went wrong before a request was sent: the connection is at its end.
    fn unsent(&self, error: &h2::Error) -> Failed {
        match error.is_io() || error.is_go_away() || self.over.get() {
            true => Failed::Unprocessed,
            false => Failed::As(Kind::Protocol, error.to_string()),
        }
    }

    fn failed(&self, error: &h2::Error) -> Failed {
        if error.is_go_away() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR) {
            // RFC 9113, 6.8: the server has not seen this stream, and will not.
            return Failed::Unprocessed;
        }
        let kind = match error.get_io() {
            Some(error) => match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe => Kind::Closed,
                io::ErrorKind::InvalidData => Kind::Tls,
                io::ErrorKind::TimedOut => Kind::Timeout,
                _ => Kind::Reset,
            },
            None if error.is_remote() && error.is_reset() => Kind::Reset,
            None if error.is_remote() => Kind::Closed,
            None => Kind::Protocol,
        };
        Failed::As(kind, error.to_string())
    }

    fn slot(&self) -> Rc<Slot> {
        let slot = Rc::new(Slot {
            since: Cell::new(NEVER),
            expired: Cell::new(false),
            waker: Cell::default(),
        });
        self.link.slots.borrow_mut().push(Rc::clone(&slot));
        slot
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        poll_fn(|cx| match holds() {
            true => Poll::Ready(()),
            false => {
                self.sleeper.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        })
        .await;
    }

    fn wake(&self) {
        if let Some(sleeper) = self.sleeper.take() {
            sleeper.wake();
        }
    }
}

impl Slot {
    /// Ends the request under way if it was sent before `limit`.
    pub fn expire(&self, limit: u64) {
        if self.since.get() < limit {
            self.expired.set(true);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// What `answer` comes to, or nothing when its time is up.
    async fn unless_expired<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = pin!(answer);
        self.expired.set(false);
        let mut known = false;
        poll_fn(|cx| {
            if self.expired.get() {
                return Poll::Ready(None);
            }
            if !std::mem::replace(&mut known, true) {
                self.waker.set(Some(cx.waker().clone()));
            }
            answer.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

async fn read(response: http::Response<RecvStream>) -> Result<(u16, u64), h2::Error> {
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut count = 0;
    while let Some(data) = body.data().await {
        let length = data?.len();
        count += length as u64;
        body.flow_control().release_capacity(length)?;
    }
    Ok((status, count))
}

async fn send_body(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(PIECE));
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(room) => {
                let piece = body.split_to(room?.min(body.len()));
                stream.send_data(piece, body.is_empty())?;
            }
            None => return Ok(()),
        }
    }
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_push(false);
    builder
}

/// No request is under way.
const NEVER: u64 = u64::MAX;

/// Body bytes handed over at a time.
const PIECE: usize = 64 << 10;

/// Wide enough that the generator never is what a body waits for.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 64 << 20;
