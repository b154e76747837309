//! Forwarding a request to an upstream: an endpoint, a connection, the request out, the
//! response back, both directions at once.

mod directions;

use std::cell::RefCell;
use std::rc::Rc;

use crate::answer;
use crate::block::Block;
use crate::chain::{Answer, BodyMode, Filter, Run};
use crate::client::{Client, Close, Next, close_behind};
use crate::error::{Fault, Phase, Retry};
use crate::exchange::Exchange;
use crate::halves::{CLIENT, Last, ORIGIN, Piece, Sink, Source};
use crate::http::Version;
use crate::http::h1;
use crate::link::Link;
use crate::outgoing::{self, Outward, Upgrade};
use crate::reply::{Ended, gather};
use crate::rt::clock::Stamp;
use crate::snapshot::{Route, Upstream};
use crate::stats::Counter;
use crate::tunnel::{Speaks, Tunnel};
use crate::upstream::{Choice, Lease, Look, Pool, Use};
use crate::worker::Installed;

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
    let Some(route) = exchange
        .account
        .route
        .and_then(|route| installed.snapshot.routes.get(route))
    else {
        return answer::fault(client, installed, exchange, Fault::Internal, Close::Yes).await;
    };
    exchange.account.upstream = Some(upstream);
    let attempt = Attempt {
        client,
        installed,
        route,
        upstream: &installed.snapshot.upstreams[upstream],
        pool: &installed.pools[upstream],
        instead: RefCell::new(None),
    };
    let _active = Active::new(&attempt.upstream.stats.of(client.worker.core()).active);
    let outcome = match attempt.whole_body(exchange, body).await {
        Ok(whole) => attempt.run(exchange, body, whole).await,
        Err(fault) => Err(fault),
    };
    match outcome {
        Ok(next) => next,
        Err(fault) => attempt.fail(exchange, fault, body).await,
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

struct Attempt<'a, F: Filter> {
    client: &'a Client<F>,
    installed: &'a Installed<F>,
    route: &'a Route<F>,
    upstream: &'a Upstream,
    pool: &'a Rc<Pool>,
    /// A filter's answer that takes the response's place.
    instead: RefCell<Option<Box<Answer>>>,
}

impl<F: Filter> Attempt<'_, F> {
    /// The whole request body, for filters that need it.
    async fn whole_body(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
    ) -> Result<Option<Block>, Fault> {
        let BodyMode::Whole { max } = self.chain(exchange).request_body_mode() else {
            return Ok(None);
        };
        exchange.account.phase = Phase::RequestBody;
        let max = max.min(self.body_max());
        if exchange.request.expect_continue && !body.has_begun() {
            // Nobody but us will read this body, so the client is asked for it here.
            let wait = self.client.limits.send_timeout;
            let wait = || exchange.deadline.within(wait);
            let sent = self.client.link.send_continue(wait).await;
            sent.map_err(|_| CLIENT.closed)?;
        }
        exchange.request.expect_continue = false;
        let mut whole = gather(body, max).await?.ok_or(Fault::BodyTooLarge)?;
        let seen = self
            .chain(exchange)
            .request_body(&mut whole, true, 0, body.trailers_mut());
        self.accept(seen)?;
        Ok(Some(whole))
    }

    fn body_max(&self) -> u64 {
        self.route.body_max.unwrap_or(self.client.limits.body_max)
    }

    fn chain<'r>(&'r self, exchange: &'r Exchange<F>) -> Run<'r, F> {
        let worker = &self.client.worker;
        Run::new(
            &self.route.program,
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

    /// Tries an endpoint, and once more when a pooled connection turns out to be dead.
    async fn run(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<Block>,
    ) -> Result<Next, Fault> {
        let core = self.client.worker.core();
        let stats = self.upstream.stats.of(core);
        let mut pooled = true;
        loop {
            exchange.account.phase = Phase::Connect;
            let choice = self.pool.choose()?;
            exchange.account.endpoint = Some(Rc::clone(&choice.endpoint));
            exchange.account.attempts += 1;
            let look = match is_repeatable(exchange, &whole) {
                true => Look::Usual,
                false => Look::Close,
            };
            let idle = match pooled {
                true => self.pool.take(&choice, self.upstream, look),
                false => None,
            };
            let lease = match idle {
                Some(lease) => lease,
                None => {
                    let wait = exchange.deadline.within(self.upstream.connect_timeout);
                    let peer = self.client.told_ends();
                    let lease = self.pool.open(&choice, self.upstream, wait, peer).await;
                    lease
                        .map_err(|fault| exchange.deadline.fault_if(fault, Fault::ConnectTimeout))?
                }
            };
            exchange.account.connected_at = Some(Stamp::now());
            stats.requests.add(1);
            let reused = lease.use_count;
            match self
                .exchange_on(exchange, body, whole.as_ref(), &choice, lease)
                .await
            {
                Err(fault)
                    if reused == Use::Reused
                        && exchange.account.attempts < ATTEMPTS_MAX
                        && may_repeat(exchange, &whole, fault) =>
                {
                    stats.retries.add(1);
                    pooled = false;
                }
                // The origin has not looked at it.
                Err(Fault::StreamRefused)
                    if exchange.account.attempts < ATTEMPTS_MAX && is_in_hand(exchange, &whole) =>
                {
                    stats.retries.add(1);
                    pooled = false;
                }
                outcome => return outcome,
            }
        }
    }

    /// One exchange on one connection.
    async fn exchange_on(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        whole: Option<&Block>,
        choice: &Choice,
        lease: Lease,
    ) -> Result<Next, Fault> {
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
        outgoing::prepare(&self.installed.snapshot, exchange, version, upgrade);
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
                self.duplex(exchange, body, later, (origin, &mut sink), upgrade)
                    .await?
            }
            // An origin that refuses a request may close before it has read it all: what it
            // answered counts more than that the rest could not be sent.
            Ok(()) | Err(Fault::OriginClosed) => {
                let ended = self.reply_only(exchange, body, origin, upgrade).await?;
                (ended, sent.is_ok() && body.is_ended())
            }
            Err(fault) => return Err(fault),
        };
        self.finish(exchange, body, choice, lease.link, ended).await
    }

    /// What is there of the body already, as the filters leave it.
    fn first_piece(
        &self,
        exchange: &Exchange<F>,
        body: &mut Source<'_>,
    ) -> Result<Option<Piece>, Fault> {
        let mut first = body.next_ready()?;
        // A repeated request has no body, and the filters have seen that it has none.
        if let Some(piece) = &mut first
            && exchange.account.attempts == 1
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
    ) -> Result<Next, Fault> {
        match ended {
            Ended::Whole {
                origin: state,
                client,
            } => {
                exchange.account.phase = Phase::End;
                if state == h1::Connection::KeepAlive && request_read {
                    self.pool.put_back(choice, origin, self.upstream);
                }
                Ok(match client {
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
                })
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
                Ok(Next::Close)
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

/// Whether a request whose pooled connection died may go out once more: nothing of an answer
/// came, its body is in hand, and the origin acting twice would do no harm (RFC 9110, 9.2.2).
fn may_repeat<F: Filter>(exchange: &Exchange<F>, whole: &Option<Block>, fault: Fault) -> bool {
    fault == Fault::OriginClosed
        && fault.row().retry == Retry::Idempotent
        && exchange.account.status == 0
        && is_repeatable(exchange, whole)
}

/// Whether a request can be sent twice.
fn is_repeatable<F: Filter>(exchange: &Exchange<F>, whole: &Option<Block>) -> bool {
    exchange.request.method.is_idempotent() && is_in_hand(exchange, whole)
}

/// Whether all of the body is here still.
fn is_in_hand<F: Filter>(exchange: &Exchange<F>, whole: &Option<Block>) -> bool {
    exchange.request.framing.is_empty() || whole.is_some()
}

/// Attempts behind which a request that origins refuse unseen, or that finds shared connections
/// dead, is given up.
const ATTEMPTS_MAX: u8 = 3;
