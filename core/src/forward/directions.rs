//! The two directions of a forwarded exchange, side by side in one task.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::Shutdown;
use std::pin::{Pin, pin};

use super::{Attempt, Trial};
use crate::block::Block;
use crate::chain::{Answer, BodyMode, Filter, Run};
use crate::client::{DRAIN_MAX, DRAIN_TIMEOUT};
use crate::course::{Course, Withheld};
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::halves::{Broken, Deadline, Last, Piece, Sink, Source, Wanted, pump};
use crate::link::Link;
use crate::outgoing::Upgrade;
use crate::reply::{Ended, Reply};
use crate::rt::wheel::{Due, Ticks};
use crate::rt::{First, race};

impl<F: Filter> Attempt<'_, F> {
    /// The request has been sent whole; the response comes.
    pub(super) async fn reply_only(
        &self,
        exchange: &mut Exchange<F>,
        (body, trial): (&Source<'_>, &Trial<'_>),
        origin: &Link,
        upgrade: Upgrade,
    ) -> Result<Ended, Fault> {
        let course = match body.is_ended() {
            true => Course::sent(self.answer_timeout()),
            // The origin has closed its side while the request was being sent.
            false => {
                let course = Course::sending(body.left(), Withheld::No);
                course.expect_answer(self.answer_timeout());
                course
            }
        };
        let sent = Cell::new(0);
        let ended = {
            let (_, mut reply) = self.reply(exchange, (&course, &sent), (trial, upgrade));
            let mut relaying = pin!(reply.relay(origin));
            self.unless_gone(origin, &mut relaying).await
        };
        exchange.account.sent = sent.get();
        ended
    }

    /// How long an origin that has the request may take to its response head.
    pub(super) fn answer_timeout(&self) -> Ticks {
        self.upstream
            .response_timeout
            .or_shorter(self.try_timeout())
    }

    /// Waits for the response, and looks after the client meanwhile, which only waits: one that
    /// has gone needs no answer, and what its departure brings about is its own fault.
    pub(super) async fn unless_gone<T>(
        &self,
        origin: &Link,
        relaying: &mut Pin<&mut impl Future<Output = Result<T, Fault>>>,
    ) -> Result<T, Fault> {
        match &self.client.link {
            Link::Http1(wire) => {
                self.client.watch(wire, origin.recv_timer().id());
                let ended = relaying.await;
                match wire.recv_timer().end() {
                    true => Err(Fault::ClientClosed),
                    false => ended,
                }
            }
            Link::Http2(stream) => {
                let mut gone = false;
                poll_fn(|cx| {
                    if !gone && stream.poll_gone(cx).is_ready() {
                        gone = true;
                        origin.shutdown(Shutdown::Both);
                    }
                    let ended = relaying.as_mut().poll(cx);
                    ended.map(|ended| match gone {
                        true => Err(Fault::ClientClosed),
                        false => ended,
                    })
                })
                .await
            }
        }
    }

    pub(super) fn reply<'x>(
        &'x self,
        exchange: &'x mut Exchange<F>,
        (course, sent): (&'x Course, &'x Cell<u64>),
        (trial, upgrade): (&'x Trial<'x>, Upgrade),
    ) -> (Run<'x, F>, Reply<'x, F>) {
        let worker = &self.client.worker;
        let run = Run::new(
            self.program(),
            worker.core(),
            &worker.filters,
            &exchange.scratch,
        );
        let reply = Reply {
            client: self.client,
            snapshot: &self.installed.snapshot,
            upstream: self.upstream,
            run,
            request: &exchange.request,
            response: &mut exchange.response,
            attributes: &exchange.attributes,
            decoder: &mut exchange.response_body,
            out: &mut exchange.out,
            account: &mut exchange.account,
            deadline: exchange.deadline,
            course,
            sent,
            trial,
            instead: &self.instead,
            upgrade,
        };
        (run, reply)
    }

    /// The request's rest goes out while the response comes in. Tells how the response ended
    /// and whether the request's body has been read to its end.
    pub(super) async fn duplex(
        &self,
        exchange: &mut Exchange<F>,
        (body, trial): (&mut Source<'_>, &Trial<'_>),
        later: Option<&Block>,
        (origin, sink): (&Link, &mut Sink<'_>),
        upgrade: Upgrade,
    ) -> Result<(Ended, bool), Fault> {
        let withheld = exchange.request.expect_continue && !body.has_begun();
        let course = match withheld {
            true => {
                // The client waits rightly; what it waits for has its own deadline.
                body.wait_long_for_first();
                let course = Course::sending(None, Withheld::Yes);
                course.expect_answer(self.answer_timeout());
                course
            }
            false => Course::sending(body.left(), Withheld::No),
        };
        let (sent, wanted) = (Cell::new(0), Wanted::default());
        let (response_timeout, deadline) = (self.answer_timeout(), exchange.deadline);
        let mut spared = false;
        let outcome = {
            let (chain, mut reply) = self.reply(exchange, (&course, &sent), (trial, upgrade));
            let mut relaying = pin!(reply.relay(origin));
            let mut pumping = pin!(self.send_rest(
                chain,
                body,
                later,
                (origin, sink),
                (&wanted, &course, deadline)
            ));
            match race(&mut pumping, &mut relaying).await {
                First::Left(Ok(())) => {
                    trial.sent();
                    course.finished(origin, response_timeout, deadline);
                    let ended = self.unless_gone(origin, &mut relaying).await;
                    ended.map(|ended| (ended, true))
                }
                First::Left(Err(Broken::Source(fault))) => {
                    // The client's doing says nothing of the origin.
                    trial.spared();
                    spared = true;
                    // Without its rest the request is void: the origin must not act on it.
                    origin.shutdown(Shutdown::Both);
                    let _ = relaying.await;
                    Err(fault)
                }
                First::Left(Err(Broken::Sink(fault))) => {
                    course.given_up(origin, response_timeout, deadline);
                    match relaying.await {
                        Ok(ended) => Ok((ended.without_origin(), false)),
                        Err(Fault::OriginClosed) => Err(fault),
                        Err(other) => Err(other),
                    }
                }
                First::Right(ended) => {
                    let client = &self.client.link;
                    let kept = later.is_some();
                    let unread = !kept && (course.is_withheld() || ended.is_err());
                    let most = if unread { 0 } else { DRAIN_MAX };
                    wanted.discard(most, Deadline::after(DRAIN_TIMEOUT));
                    origin.shutdown(Shutdown::Both);
                    match unread {
                        true => client.shutdown(Shutdown::Read),
                        false => client.recv_timer().arm(DRAIN_TIMEOUT, Due::ShutRead),
                    }
                    let read = pumping.await.is_ok();
                    client.disarm();
                    client.recv_timer().take_fired();
                    ended.map(|ended| (ended.without_origin(), read))
                }
            }
        };
        exchange.account.sent = sent.get();
        exchange.account.spared = spared;
        // A gathered body has been read before any of it went out.
        outcome.map(|(ended, read)| (ended, read || body.is_ended()))
    }

    /// Sends what is left of the request: from the client, or what was gathered before.
    async fn send_rest(
        &self,
        chain: Run<'_, F>,
        body: &mut Source<'_>,
        later: Option<&Block>,
        (origin, sink): (&Link, &mut Sink<'_>),
        (wanted, course, deadline): (&Wanted, &Course, Deadline),
    ) -> Result<(), Broken> {
        if let Some(whole) = later {
            let piece = Piece {
                block: Block::from_slice(whole),
                last: Last::Yes,
            };
            return sink.write(piece, b"").await.map_err(Broken::Sink);
        }
        let body_max = self.body_max();
        pump(body, sink, wanted, |piece, before, trailers| {
            course.called_for(origin, deadline);
            look(chain, &self.instead, body_max, (piece, trailers), before)
        })
        .await
    }
}

pub(super) fn look<F: Filter>(
    chain: Run<'_, F>,
    instead: &RefCell<Option<Box<Answer>>>,
    body_max: u64,
    (piece, trailers): (&mut Piece, &mut Vec<u8>),
    before: u64,
) -> Result<(), Fault> {
    if before + piece.block.len() as u64 > body_max {
        return Err(Fault::BodyTooLarge);
    }
    if chain.request_body_mode() == BodyMode::Skip {
        return Ok(());
    }
    chain
        .request_body(&mut piece.block, piece.last == Last::Yes, before, trailers)
        .map_err(|answer| {
            *instead.borrow_mut() = Some(answer);
            Fault::FilterRefused
        })
}
