//! Hedging: a second attempt beside one that is slow. Whoever has an answer first wins, the
//! other one is cut. Both have the whole request; none of their answers reaches the client
//! before it is known which it is.

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use super::attempts::{Tries, is_in_hand};
use super::trial::{Trial, Unwanted, idempotency};
use super::{Attempt, Failure};
use crate::block::Block;
use crate::chain::Filter;
use crate::client::Next;
use crate::course::Course;
use crate::error::{Fault, Phase};
use crate::exchange::{Account, Exchange};
use crate::halves::{Deadline, Last, ORIGIN, Piece, Sink, Source};
use crate::http::{ResponseHead, ResponseKind, Version};
use crate::link::Link;
use crate::outgoing::{self, Outward, Upgrade};
use crate::reply::{INTERIM_MAX, receive_head};
use crate::resilience::hedge::Percentile;
use crate::resilience::retry::{self, Replay};
use crate::rt::clock::{Moment, Stamp};
use crate::rt::{First, pooled, race, sleep};
use crate::stats::CoreIndex;
use crate::upstream::{Choice, Lease, Placed};

/// An attempt whose answer has begun.
struct Fetched<'t> {
    choice: Choice,
    trial: Trial<'t>,
    lease: Lease,
    head: ResponseHead,
    /// What was received behind the head.
    behind: Block,
}

impl<F: Filter> Attempt<'_, F> {
    /// Behind which time a second attempt is made, where one may be.
    pub(super) fn hedge_after(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
    ) -> Option<Duration> {
        let policy = self.retry?;
        let hedge = policy.hedge.as_ref()?;
        // A long body is sent while the answer is awaited, which one of two cannot do.
        let short = whole.is_none_or(|whole| whole.len() <= super::AT_ONCE_MAX);
        let fit = short && tries.is_first() && exchange.request.upgrade().is_none();
        let request = &exchange.request;
        let name = std::str::from_utf8(request.method_text()).unwrap_or_default();
        let body = match is_in_hand(exchange, whole) {
            true => Replay::Whole,
            false => Replay::Gone,
        };
        let key = idempotency(exchange);
        if !fit || retry::may_hedge(policy, request.method, name, key, body).is_err() {
            return None;
        }
        // Until enough is known of the origin's latency, attempts are only timed.
        let now = Stamp::now().moment();
        Some(
            self.upstream
                .state
                .latency
                .after(hedge, now)
                .unwrap_or(Duration::MAX),
        )
    }

    /// An attempt, and a second one beside it when the first has no answer in time.
    pub(super) async fn hedged<'s>(
        &'s self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
        tries: &Tries,
        (choice, trial): (Choice, Trial<'s>),
        after: Duration,
    ) -> Result<Next, Failure> {
        if whole.is_none() {
            // Filters see that there is none.
            self.first_piece(exchange, body).map_err(Failure::Fault)?;
        }
        let snapshot = &self.installed.snapshot;
        outgoing::prepare(
            snapshot,
            self.route,
            exchange,
            Version::Http11,
            Upgrade::NotAsked,
        );
        let legs = <[Leg; 2]>::default();
        let fetched = {
            // Two attempts are large: made where they stay, they are never moved.
            let exchange = &*exchange;
            let racing =
                pooled(|| self.two(exchange, whole, tries, (choice, trial), (&legs, after)));
            self.client.unless_gone(&exchange.request, racing).await
        };
        let last = &legs[usize::from(legs[1].has_begun())];
        let (fetched, decided) = match fetched {
            Ok(decided) => decided,
            Err(fault) => (Err(Failure::Fault(fault)), last),
        };
        exchange.account.attempts += u8::from(legs[1].has_begun());
        decided.book(&mut exchange.account);
        let fetched = fetched?;
        if std::ptr::eq(decided, &legs[1]) {
            let stats = self.upstream.stats.of(self.client.worker.core());
            stats.hedge_wins.add(1);
        }
        self.answer(exchange, body, fetched).await
    }

    /// Runs an attempt, and a second one beside it once it is late. What comes of them is told
    /// with the one that it comes of.
    async fn two<'s, 'l>(
        &'s self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
        begun: (Choice, Trial<'s>),
        (legs, after): (&'l [Leg; 2], Duration),
    ) -> (Result<Fetched<'s>, Failure>, &'l Leg) {
        let [one, other] = legs;
        let mut first = pin!(self.fetch(exchange, whole, tries, begun, one));
        match race(&mut first, &mut pin!(alarm(after))).await {
            First::Left(fetched) => (fetched, one),
            First::Right(()) => match self.second(exchange, whole, tries) {
                None => (first.await, one),
                Some(begun) => {
                    let mut second = pin!(self.fetch(exchange, whole, tries, begun, other));
                    match first_good(&mut first, &mut second).await {
                        First::Left(fetched) => (fetched, one),
                        First::Right(fetched) => (fetched, other),
                    }
                }
            },
        }
    }

    /// A second attempt, if the budget has one and there is another endpoint.
    fn second(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
    ) -> Option<(Choice, Trial<'_>)> {
        let policy = self.retry?;
        let core = self.client.worker.core();
        let (choice, trial) = self.begin(exchange, whole, tries).ok()?;
        if tries.has_before(&choice) || !trial.may_spend(policy) {
            return None;
        }
        self.upstream.stats.of(core).hedges.add(1);
        Some((choice, trial))
    }

    /// Sends the request and waits for the head of its answer.
    async fn fetch<'t>(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
        (choice, trial): (Choice, Trial<'t>),
        leg: &Leg,
    ) -> Result<Fetched<'t>, Failure> {
        leg.begin(&choice);
        let core = self.client.worker.core();
        let timed = Timed(&self.upstream.state.latency, core, Stamp::now());
        let fetching = self.fetch_head(exchange, whole, tries, (&choice, leg));
        match fetching.await {
            Ok((lease, mut head, behind)) => {
                head.fields.put_text(behind);
                let unwanted = trial.answered(&exchange.request, &head);
                drop(timed);
                let behind = head.fields.take_text();
                match unwanted {
                    Some(unwanted) => Err(Failure::Unwanted(unwanted)),
                    None => Ok(Fetched {
                        choice,
                        trial,
                        lease,
                        head,
                        behind,
                    }),
                }
            }
            Err(fault) => {
                timed.forget();
                let fault = self.try_fault(fault);
                trial.failed(fault);
                Err(Failure::Fault(fault))
            }
        }
    }

    async fn fetch_head(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        tries: &Tries,
        (choice, leg): (&Choice, &Leg),
    ) -> Result<(Lease, ResponseHead, Block), Fault> {
        let lease = self.lease(exchange, whole, choice, tries).await?;
        leg.connected_at.set(Some(Stamp::now()));
        leg.phase.set(Phase::RequestBody);
        self.send_whole(exchange, whole, choice, &lease.link)
            .await?;
        leg.phase.set(Phase::ResponseHead);
        let mut head = ResponseHead::default();
        let head_by = Deadline::after(self.answer_timeout());
        let mut block = Block::empty();
        for _ in 0..INTERIM_MAX {
            let asked = (exchange.request.method, Upgrade::NotAsked);
            let receiving = receive_head(&lease.link, block, asked, &mut head);
            block = receiving.by(|| head_by, exchange.deadline).await?;
            match head.kind() {
                ResponseKind::Final => return Ok((lease, head, block)),
                ResponseKind::Switch => return Err(Fault::BadUpgrade),
                // A client that may get another one's answer is told of nobody's hints.
                ResponseKind::Interim => {}
            }
        }
        Err(Fault::ResponseHead(crate::http::h1::HeadError::StatusLine))
    }

    async fn send_whole(
        &self,
        exchange: &Exchange<F>,
        whole: Option<&Block>,
        choice: &Choice,
        origin: &Link,
    ) -> Result<(), Fault> {
        let mode = self.chain(exchange).request_body_mode();
        let request = &exchange.request;
        let outward = Outward {
            version: origin.version(),
            authority: outgoing::authority(self.route, request, &choice.endpoint),
            security: self.upstream.security(),
            framing: outgoing::framing(mode, request, whole),
            upgrade: Upgrade::NotAsked,
        };
        let mut out = Vec::with_capacity(1 << 10);
        outgoing::encode(&self.installed.snapshot, exchange, &outward, &mut out);
        let head = outgoing::head(request, &outward, &out)?;
        let wait = self.upstream.read_timeout;
        let mut sink = Sink::new(origin, outward.framing, wait, exchange.deadline, &ORIGIN);
        let piece = Piece {
            block: whole.map_or_else(Block::empty, |whole| Block::from_slice(whole)),
            last: Last::Yes,
        };
        sink.start(head, Some(piece), b"").await
    }

    /// Relays the winner's answer.
    async fn answer(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        fetched: Fetched<'_>,
    ) -> Result<Next, Failure> {
        let Fetched {
            choice,
            trial,
            lease,
            head,
            behind,
        } = fetched;
        exchange.response = head;
        let (course, sent) = (Course::sent(self.answer_timeout()), Cell::new(0));
        let ended = {
            let (_, mut reply) =
                self.reply(exchange, (&course, &sent), (&trial, Upgrade::NotAsked));
            reply.count_answer();
            let mut relaying = pin!(reply.relay_behind(&lease.link, behind));
            self.unless_gone(&lease.link, &mut relaying).await
        };
        exchange.account.sent = sent.get();
        let ended = ended.map_err(Failure::Fault)?;
        let read = body.is_ended() || exchange.request.framing.is_empty();
        let finished = self.finish(exchange, body, &choice, lease.link, (ended, read));
        match finished.await {
            Ok(Some(next)) => Ok(next),
            Ok(None) => Err(Failure::Unwanted(Unwanted::Replaced)),
            Err(fault) => Err(Failure::Fault(fault)),
        }
    }
}

/// How far one of two attempts has come: what the account of the exchange says if it is this one
/// that decides how the exchange goes on.
#[derive(Default)]
struct Leg {
    /// None before it begins.
    endpoint: OnceCell<Rc<Placed>>,
    phase: Cell<Phase>,
    connected_at: Cell<Option<Stamp>>,
}

impl Leg {
    fn begin(&self, choice: &Choice) {
        self.phase.set(Phase::Connect);
        // It begins once.
        let _ = self.endpoint.set(Rc::clone(&choice.endpoint));
    }

    fn has_begun(&self) -> bool {
        self.endpoint.get().is_some()
    }

    fn book(&self, account: &mut Account) {
        account.endpoint = self.endpoint.get().cloned();
        account.phase = self.phase.get();
        account.connected_at = self.connected_at.get();
    }
}

/// How long a head takes, for hedges: when this is dropped, be it that an attempt is cut.
struct Timed<'u>(&'u Percentile, CoreIndex, Stamp);

impl Timed<'_> {
    /// There will be no head.
    fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let took = Duration::from_nanos(Stamp::now().nanos_since(self.2));
        self.0.record(self.1, Moment::now(), took);
    }
}

/// Waits so long; for ever where that is as long as there is.
async fn alarm(after: Duration) {
    match after {
        Duration::MAX => std::future::pending().await,
        after => sleep(after).await,
    }
}

/// The first of two that is good, or what became of the one that ended last.
async fn first_good<T, E>(
    first: &mut Pin<&mut impl Future<Output = Result<T, E>>>,
    second: &mut Pin<&mut impl Future<Output = Result<T, E>>>,
) -> First<Result<T, E>, Result<T, E>> {
    match race(first, second).await {
        First::Left(Err(_)) => First::Right(second.as_mut().await),
        First::Right(Err(_)) => First::Left(first.as_mut().await),
        good => good,
    }
}
