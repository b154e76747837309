//! Forwarding: places, attempts at endpoints, the request out, the response back, both
//! directions at once; and who answers when the upstream cannot.

mod attempts;
mod directions;
mod hedge;
mod kept;
mod mirror;
mod places;
mod trial;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::answer;
use crate::block::Block;
use crate::chain::{Answer, Filter, Program, Run};
use crate::client::{Client, Close, Next, close_behind};
use crate::error::Fault;
use crate::error::Phase;
use crate::exchange::Exchange;
use crate::halves::{Last, ORIGIN, Piece, Sink, Source};
use crate::http::Version;
use crate::http::h1;
use crate::link::Link;
use crate::outgoing::{self, Outward, Upgrade};
use crate::policy::{Fallback, FallbackTo, Mirror, Retry};
use crate::reply::Ended;
use crate::resilience::Outcome;
use crate::rt::clock::Stamp;
use crate::rt::wheel::Ticks;
use crate::snapshot::{Route, Upstream};
use crate::stats::Counter;
use crate::tunnel::{Speaks, Tunnel};
use crate::upstream::{Choice, Lease, Pool};
use crate::worker::Installed;

use places::RoutePlace;
pub(crate) use trial::{Trial, Unwanted, Wants};

/// Bytes of a gathered request body that go out with the head; a larger one is sent while
/// the response is awaited, as the origin may answer before it has read it.
const AT_ONCE_MAX: usize = 16 << 10;

/// Forwards the exchange's request and relays the answer.
pub(crate) async fn forward<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    upstream: usize,
    body: &mut Source<'_>,
) -> Next {
    let routes = &installed.snapshot.routes;
    let Some(route) = exchange.account.route.and_then(|route| routes.get(route)) else {
        return answer::fault(client, installed, exchange, Fault::Internal, Close::Yes).await;
    };
    let mut attempt = Attempt::new(client, installed, route, upstream);
    let mut whole = attempt.take_whole(exchange, body).await;
    if let Ok(whole) = &whole {
        attempt.mirror(exchange, whole.as_ref());
    }
    let mut place = RoutePlace::NotAsked;
    loop {
        let outcome = match &whole {
            Ok(whole) => {
                attempt
                    .serve(exchange, body, whole.as_ref(), &mut place)
                    .await
            }
            Err(fault) => Err(Failure::Fault(*fault)),
        };
        let failure = match outcome {
            Ok(next) => {
                place.leave(exchange);
                return next;
            }
            Err(failure) => failure,
        };
        let instead = attempt.instead_of(exchange, failure, whole.as_ref().ok());
        if instead.is_some() {
            exchange.account.replaced = Some(match failure {
                Failure::Fault(fault) => Outcome::of_fault(fault),
                Failure::Unwanted(_) => Outcome::Failed { head_after: None },
            });
            exchange.account.fallback_for = exchange.account.upstream;
            exchange.account.endpoint = None;
        }
        match instead {
            Some(FallbackTo::Respond(answer)) => {
                place.leave(exchange);
                let close = close_behind(exchange, body);
                let next = answer::send(client, installed, exchange, answer, close).await;
                return client.after_answer(next, body).await;
            }
            Some(FallbackTo::Upstream(other)) => {
                let early = attempt.early.take();
                attempt = Attempt::new(client, installed, route, *other);
                attempt.early = RefCell::new(early);
                // Whoever stands in has nobody who stands in for it.
                attempt.fallback.set(None);
                whole = whole.or(Ok(None));
            }
            None => {
                place.leave(exchange);
                return attempt.fail(exchange, failure.fault(), body).await;
            }
        }
    }
}

/// A gauge that counts as long as this lives.
struct Active<'a>(&'a Counter);

impl<'a> Active<'a> {
    fn new(gauge: &'a Counter) -> Active<'a> {
        gauge.add(1);
        Active(gauge)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.sub(1);
    }
}

/// Why an upstream has not answered the client.
#[derive(Clone, Copy)]
enum Failure {
    /// It could not.
    Fault(Fault),
    /// It did, but its answer is not wanted.
    Unwanted(Unwanted),
}

impl Failure {
    fn fault(self) -> Fault {
        match self {
            Failure::Fault(fault) => fault,
            // Whoever does not want an answer has another one.
            Failure::Unwanted(_) => Fault::Internal,
        }
    }
}

struct Attempt<'a, F: Filter> {
    client: &'a Client<F>,
    installed: &'a Installed<F>,
    route: &'a Route<F>,
    upstream: &'a Upstream,
    index: usize,
    pool: &'a Rc<Pool>,
    retry: Option<&'a Retry>,
    mirror: Option<Mirror>,
    /// Who answers when this upstream cannot.
    fallback: Cell<Option<&'a Fallback>>,
    /// What was taken of the body when it was looked at whether it is all there.
    early: RefCell<Option<Piece>>,
    /// A filter's answer that takes the response's place.
    instead: RefCell<Option<Box<Answer>>>,
}

impl<'a, F: Filter> Attempt<'a, F> {
    fn new(
        client: &'a Client<F>,
        installed: &'a Installed<F>,
        route: &'a Route<F>,
        index: usize,
    ) -> Attempt<'a, F> {
        let upstream = &installed.snapshot.upstreams[index];
        let (own, shared) = (&route.policy, &upstream.policy);
        Attempt {
            client,
            installed,
            route,
            upstream,
            index,
            pool: &installed.pools[index],
            retry: own.retry.as_deref().or(shared.retry.as_deref()),
            mirror: own.mirror,
            fallback: Cell::new(own.fallback.as_deref().or(shared.fallback.as_deref())),
            early: RefCell::new(None),
            instead: RefCell::new(None),
        }
    }

    /// Has the upstream answer, once there is a place for the request.
    async fn serve(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
        place: &mut RoutePlace<'a, F>,
    ) -> Result<Next, Failure> {
        let core = self.client.worker.core();
        exchange.account.upstream = Some(self.index);
        let _active = Active::new(&self.upstream.stats.of(core).active);
        if self.retry.is_some() {
            let budget = &self.upstream.state.budget;
            budget.live(core, Stamp::now().moment());
        }
        let permit = self.places(exchange, place).await?;
        let ran = self.run(exchange, body, whole).await;
        if let Some(permit) = permit {
            permit.record(exchange.account.outcome());
        }
        ran
    }

    /// Who answers in the upstream's place.
    fn instead_of(
        &self,
        exchange: &Exchange<F>,
        failure: Failure,
        whole: Option<&Option<Block>>,
    ) -> Option<&'a FallbackTo> {
        let fallback = self.fallback.get()?;
        let covered = match failure {
            Failure::Unwanted(unwanted) => unwanted == Unwanted::Replaced,
            Failure::Fault(fault) => {
                let status = fault.row().status;
                fault.is_of_upstream()
                    && status.is_some_and(|status| fallback.statuses.contains(&status))
            }
        };
        let in_hand = exchange.request.framing.is_empty()
            || whole.is_some_and(Option::is_some)
            || !exchange.account.body_begun;
        let able = match fallback.to {
            FallbackTo::Respond(_) => true,
            // An answer that was given up for it has to be replaced.
            FallbackTo::Upstream(_) => {
                let late = exchange.deadline.has_passed();
                in_hand && (!late || matches!(failure, Failure::Unwanted(_)))
            }
        };
        if !covered || !able || exchange.account.status != 0 {
            return None;
        }
        let stats = self.upstream.stats.of(self.client.worker.core());
        stats.fallbacks.add(1);
        Some(&fallback.to)
    }

    /// The longest that one attempt may take until its response head.
    fn try_timeout(&self) -> Ticks {
        match self.retry {
            Some(retry) if !retry.try_timeout.is_zero() => retry.try_timeout.into(),
            _ => Ticks::NEVER,
        }
    }

    fn body_max(&self) -> u64 {
        self.route.body_max.unwrap_or(self.client.limits.body_max)
    }

    fn program(&self) -> &Program<F> {
        let chain = self.installed.snapshot.chain(self.client.listener);
        self.route.program_behind(chain)
    }

    fn chain<'r>(&'r self, exchange: &'r Exchange<F>) -> Run<'r, F> {
        let worker = &self.client.worker;
        Run::new(
            self.program(),
            worker.core(),
            &worker.filters,
            &exchange.scratch,
        )
    }

    fn accept(&self, seen: Result<(), Box<Answer>>) -> Result<(), Fault> {
        seen.map_err(|answer| {
            *self.instead.borrow_mut() = Some(answer);
            Fault::FilterRefused
        })
    }

    /// One exchange on one connection.
    async fn exchange_on(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
        (choice, trial): (&Choice, &Trial<'_>),
        lease: Lease,
    ) -> Result<Option<Next>, Fault> {
        let origin = &lease.link;
        let takes = |protocol: &[u8]| origin.takes_upgrade(protocol);
        let upgrade = outgoing::wanted_upgrade(self.route, &exchange.request, takes);
        let mode = self.chain(exchange).request_body_mode();
        let framing = outgoing::framing(mode, &exchange.request, whole);
        exchange.account.phase = Phase::RequestBody;
        let later = whole.filter(|whole| whole.len() > AT_ONCE_MAX);
        let first = match (whole, later) {
            (_, Some(_)) => None,
            (Some(whole), None) => Some(Piece {
                block: Block::from_slice(whole),
                last: Last::Yes,
            }),
            (None, None) => self.first_piece(exchange, body)?,
        };
        let complete =
            later.is_none() && first.as_ref().is_some_and(|piece| piece.last == Last::Yes);
        // A tunnel's other end speaks on.
        let first = match (origin, upgrade) {
            (Link::Http2(_), Upgrade::Asked) => None,
            _ => first,
        };
        let wait = self.upstream.read_timeout;
        let mut sink = Sink::new(origin, framing, wait, exchange.deadline, &ORIGIN);
        if complete {
            sink = sink.without_waiting();
        }
        let version = origin.version();
        outgoing::prepare(
            &self.installed.snapshot,
            self.route,
            exchange,
            version,
            upgrade,
        );
        let mut out = std::mem::take(&mut exchange.out);
        let sent = {
            let request = &exchange.request;
            let outward = Outward {
                version,
                authority: outgoing::authority(self.route, request, &choice.endpoint),
                security: self.upstream.security(),
                framing,
                upgrade,
            };
            outgoing::encode(&self.installed.snapshot, exchange, &outward, &mut out);
            let head = outgoing::head(request, &outward, &out)?;
            sink.start(head, first, body.trailers()).await
        };
        exchange.out = out;
        let ended = match sent {
            Ok(()) if !complete => {
                self.duplex(exchange, (body, trial), later, (origin, &mut sink), upgrade)
                    .await?
            }
            // An origin that refuses a request may close before it has read it all: what it
            // answered counts more than that the rest could not be sent.
            Ok(()) | Err(Fault::OriginClosed) => {
                let ended = self
                    .reply_only(exchange, (body, trial), origin, upgrade)
                    .await?;
                (ended, sent.is_ok() && body.is_ended())
            }
            Err(fault) => return Err(fault),
        };
        self.finish(exchange, body, choice, lease.link, ended).await
    }

    /// What is there of the body already, as the filters leave it.
    fn first_piece(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
    ) -> Result<Option<Piece>, Fault> {
        let mut first = match self.early.take() {
            None => body.next_ready()?,
            early => early,
        };
        let begun = std::mem::replace(&mut exchange.account.body_begun, true);
        // What is sent once more has no body, and the filters have seen that it has none.
        if let Some(piece) = &mut first
            && !begun
        {
            let (chain, body_max) = (self.chain(exchange), self.body_max());
            let seen = (piece, body.trailers_mut());
            directions::look(chain, &self.instead, body_max, seen, 0)?;
        }
        Ok(first)
    }

    /// Both messages are through, or the connection became a tunnel.
    async fn finish(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        choice: &Choice,
        origin: Link,
        (ended, request_read): (Ended, bool),
    ) -> Result<Option<Next>, Fault> {
        match ended {
            Ended::Unwanted => Ok(None),
            Ended::Whole {
                origin: state,
                client,
            } => {
                exchange.account.phase = Phase::End;
                if state == h1::Connection::KeepAlive && request_read {
                    self.pool.put_back(choice, origin, self.upstream);
                }
                Ok(Some(match client {
                    h1::Connection::KeepAlive | h1::Connection::Stream => {
                        self.client.after_answer(Next::KeepAlive, body).await
                    }
                    // What the client has sent on is read before the connection closes: a
                    // reset could take the end of the answer with it.
                    h1::Connection::Close
                        if body.is_ended()
                            && !body.has_more()
                            && !self.client.link.has_unread() =>
                    {
                        Next::Close
                    }
                    _ => Next::Linger,
                }))
            }
            Ended::Switched(behind) => {
                let limits = &self.client.limits;
                let ahead = (body.take_rest(), behind);
                let kind = match exchange.request.upgrade() {
                    Some(upgrade) if upgrade.eq_ignore_ascii_case(b"websocket") => {
                        Speaks::WebSocket
                    }
                    _ => Speaks::Anything,
                };
                let tunnel = Tunnel::new(limits, kind, &self.client.worker);
                let (passed, fault) = tunnel.relay(&self.client.link, &origin, ahead).await;
                exchange.account.received = passed.from_client;
                exchange.account.sent = passed.from_origin;
                if let Some(fault) = fault {
                    exchange.note(fault);
                }
                Ok(Some(Next::Close))
            }
        }
    }

    /// Answers a fault, or cuts the answer that has begun.
    async fn fail(&self, exchange: &mut Exchange<F>, fault: Fault, body: &mut Source<'_>) -> Next {
        exchange.note(fault);
        if exchange.account.status != 0 {
            // The end of a body that lasts until the connection closes would look whole.
            return match exchange.request.version {
                Version::Http10 => Next::Reset,
                Version::Http11 | Version::Http2 => Next::Close,
            };
        }
        if fault.row().status.is_none() {
            return Next::Close;
        }
        let close = match fault {
            Fault::BodyTooLarge if !body.is_ended() => Close::Yes,
            _ => close_behind(exchange, body),
        };
        let instead = match fault {
            Fault::FilterRefused => self.instead.borrow_mut().take(),
            _ => None,
        };
        let next = match instead {
            Some(instead) => {
                exchange.account.fault = None;
                answer::send(self.client, self.installed, exchange, &instead, close).await
            }
            None => answer::fault(self.client, self.installed, exchange, fault, close).await,
        };
        self.client.after_answer(next, body).await
    }
}
