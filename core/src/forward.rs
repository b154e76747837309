//! Forwarding a request to an upstream: an endpoint, a connection, the request out, the
//! response back, both directions at once.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use crate::answer;
use crate::block::Block;
use crate::chain::{Answer, BodyMode, Filter, Run};
use crate::connection::{Close, Connection, DRAIN_MAX, Next, close_behind};
use crate::error::{Fault, Phase, Retry};
use crate::exchange::Exchange;
use crate::halves::{Broken, Last, ORIGIN, Piece, Sink, Source, Wanted, pump};
use crate::http::h1;
use crate::outgoing::{self, Upgrade};
use crate::reply::{Ended, Reply, Withheld, gather};
use crate::rt::clock::Stamp;
use crate::rt::wheel::{Due, Ticks};
use crate::rt::{First, Socket, race};
use crate::snapshot::{HalfClose, Route, Upstream};
use crate::stats::Counter;
use crate::tunnel;
use crate::upstream::{Choice, Lease, Pool, Use};
use crate::worker::Installed;

/// Ticks between two looks at a client that waits for its answer.
const WATCH_EVERY: Ticks = Ticks(3);
/// How long an unwanted rest of a request body may still take.
const DRAIN_TIMEOUT: Ticks = Ticks(20);

/// Forwards the exchange's request and relays the answer.
pub(crate) async fn forward<F: Filter>(
    connection: &Connection<F>,
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
        return answer::fault(connection, installed, exchange, Fault::Internal, Close::Yes).await;
    };
    exchange.account.upstream = Some(upstream);
    let attempt = Attempt {
        connection,
        installed,
        route,
        upstream: &installed.snapshot.upstreams[upstream],
        pool: &installed.pools[upstream],
        instead: RefCell::new(None),
    };
    let _active = Active::new(&attempt.upstream.stats.of(connection.worker.core()).active);
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
    connection: &'a Connection<F>,
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
        let BodyMode::Whole { max } = self.route.program.request_body_mode() else {
            return Ok(None);
        };
        exchange.account.phase = Phase::RequestBody;
        let max = max.min(self.body_max());
        if exchange.request.expect_continue {
            // Nobody but us will read this body, so the client is asked for it here.
            let (sent, _) = self
                .connection
                .socket
                .send(Block::from_slice(h1::CONTINUE))
                .await;
            sent.map_err(|_| Fault::ClientClosed)?;
            exchange.request.expect_continue = false;
        }
        let mut whole = gather(body, max).await?.ok_or(Fault::BodyTooLarge)?;
        let seen = self.chain(exchange).request_body(&mut whole, true, 0);
        self.accept(seen)?;
        Ok(Some(whole))
    }

    fn body_max(&self) -> u64 {
        self.route
            .body_max
            .unwrap_or(self.connection.limits.body_max)
    }

    fn chain<'r>(&'r self, exchange: &'r Exchange<F>) -> Run<'r, F> {
        let worker = &self.connection.worker;
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
        let core = self.connection.worker.core();
        let stats = self.upstream.stats.of(core);
        let mut pooled = true;
        loop {
            exchange.account.phase = Phase::Connect;
            let choice = self.pool.choose()?;
            exchange.account.endpoint = Some(Rc::clone(&choice.endpoint));
            exchange.account.attempts += 1;
            let idle = if pooled {
                self.pool.take_idle(&choice, stats)
            } else {
                None
            };
            let lease = match idle {
                Some(lease) => lease,
                None => {
                    let wait = exchange.deadline.within(self.upstream.connect_timeout);
                    Pool::connect(&choice, wait, stats)
                        .await
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
                Err(fault) if reused == Use::Reused && may_repeat(exchange, &whole, fault) => {
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
        let origin = &lease.socket;
        let upgrade = outgoing::wanted_upgrade(self.route, &exchange.request);
        let framing = outgoing::framing(self.route, &exchange.request, whole);
        let snapshot = &*self.installed.snapshot;
        outgoing::encode(
            snapshot,
            self.route,
            exchange,
            &choice.endpoint,
            framing,
            upgrade,
        );
        exchange.account.phase = Phase::RequestBody;
        let first = match whole {
            Some(whole) => Some(Piece {
                block: Block::from_slice(whole),
                last: Last::Yes,
            }),
            None => self.first_piece(exchange, body)?,
        };
        let last = first.as_ref().map(|piece| piece.last);
        let wait = self.upstream.read_timeout;
        let mut sink = Sink::new(origin, framing, wait, exchange.deadline, &ORIGIN);
        let sent = sink.start(&exchange.out, first, body.trailers()).await;
        if last == Some(Last::Yes) || whole.is_some() {
            exchange.account.phase = Phase::ResponseHead;
        }
        let ended = match (sent, last) {
            (Ok(()), None | Some(Last::No)) => {
                self.duplex(exchange, body, origin, &mut sink, upgrade)
                    .await?
            }
            // An origin that refuses a request may close before it has read it all: what it
            // answered counts more than that the rest could not be sent.
            (Ok(()) | Err(Fault::OriginClosed), _) => (
                self.reply_only(exchange, origin, upgrade).await?,
                body.is_ended(),
            ),
            (Err(fault), _) => return Err(fault),
        };
        self.finish(exchange, body, choice, lease.socket, ended)
            .await
    }

    /// What is there of the body already, as the filters leave it.
    fn first_piece(
        &self,
        exchange: &Exchange<F>,
        body: &mut Source<'_>,
    ) -> Result<Option<Piece>, Fault> {
        let mut first = body.next_ready()?;
        if let Some(piece) = &mut first {
            self.look(exchange, piece, 0)?;
        }
        Ok(first)
    }

    /// Checks a piece of the request body against the limit and shows it to the filters.
    fn look(&self, exchange: &Exchange<F>, piece: &mut Piece, before: u64) -> Result<(), Fault> {
        look(
            self.chain(exchange),
            &self.instead,
            self.body_max(),
            piece,
            before,
        )
    }

    /// The request has been sent whole; the response comes.
    async fn reply_only(
        &self,
        exchange: &mut Exchange<F>,
        origin: &Socket,
        upgrade: Upgrade,
    ) -> Result<Ended, Fault> {
        let withheld = Cell::new(Withheld::No);
        let client = self.connection.socket.recv_timer();
        self.watch_client(origin);
        let (_, mut reply) = self.reply(exchange, &withheld, upgrade);
        let ended = reply.relay(origin).await;
        client.disarm();
        match client.take_fired() {
            true => Err(Fault::ClientClosed),
            false => ended,
        }
    }

    fn watch_client(&self, origin: &Socket) {
        if self.connection.half_close == HalfClose::Abort {
            let watch = Due::Watch {
                other: origin.raw(),
                every: WATCH_EVERY,
            };
            self.connection.socket.recv_timer().arm(WATCH_EVERY, watch);
        }
    }

    fn reply<'x>(
        &'x self,
        exchange: &'x mut Exchange<F>,
        withheld: &'x Cell<Withheld>,
        upgrade: Upgrade,
    ) -> (Run<'x, F>, Reply<'x, F>) {
        let worker = &self.connection.worker;
        let run = Run::new(
            &self.route.program,
            worker.core(),
            &worker.filters,
            &exchange.scratch,
        );
        let reply = Reply {
            connection: self.connection,
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
            withheld,
            instead: &self.instead,
            upgrade,
        };
        (run, reply)
    }

    /// The request's rest goes out while the response comes in.
    async fn duplex(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        origin: &Socket,
        sink: &mut Sink<'_>,
        upgrade: Upgrade,
    ) -> Result<(Ended, bool), Fault> {
        let withheld = Cell::new(
            match exchange.request.expect_continue && body.received() == 0 {
                true => Withheld::Yes,
                false => Withheld::No,
            },
        );
        let (body_max, client) = (self.body_max(), &self.connection.socket);
        let wanted = Wanted::passing();
        {
            let (chain, mut reply) = self.reply(exchange, &withheld, upgrade);
            let mut relaying = pin!(reply.relay(origin));
            let mut pumping = pin!(pump(body, sink, &wanted, |piece, before| {
                withheld.set(Withheld::No);
                look(chain, &self.instead, body_max, piece, before)
            }));
            match race(&mut pumping, &mut relaying).await {
                First::Left(Ok(())) => {
                    self.watch_client(origin);
                    let ended = relaying.await;
                    client.recv_timer().disarm();
                    match client.recv_timer().take_fired() {
                        true => Err(Fault::ClientClosed),
                        false => ended.map(|ended| (ended, true)),
                    }
                }
                First::Left(Err(Broken::Source(fault))) => {
                    // Without its rest the request is void: the origin must not act on it.
                    origin.shutdown(std::net::Shutdown::Both);
                    let _ = relaying.await;
                    Err(fault)
                }
                First::Left(Err(Broken::Sink(fault))) => match relaying.await {
                    Ok(ended) => Ok((ended, false)),
                    Err(Fault::OriginClosed) => Err(fault),
                    Err(other) => Err(other),
                },
                First::Right(ended) => {
                    let drained = match (&ended, withheld.get()) {
                        (Ok(Ended::Whole { .. }), Withheld::No) => {
                            wanted.discard(DRAIN_MAX);
                            origin.shutdown(std::net::Shutdown::Both);
                            client.recv_timer().arm(DRAIN_TIMEOUT, Due::ShutRead);
                            pumping.await.is_ok()
                        }
                        _ => {
                            wanted.discard(0);
                            origin.shutdown(std::net::Shutdown::Both);
                            client.shutdown(std::net::Shutdown::Read);
                            let _ = pumping.await;
                            false
                        }
                    };
                    ended.map(|ended| (ended, drained))
                }
            }
        }
    }

    /// Both messages are through, or the connection became a tunnel.
    async fn finish(
        &self,
        exchange: &mut Exchange<F>,
        body: &mut Source<'_>,
        choice: &Choice,
        origin: Socket,
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
                    h1::Connection::KeepAlive if request_read => Next::KeepAlive,
                    _ if request_read => Next::Close,
                    _ => Next::Linger,
                })
            }
            Ended::Switched(behind) => {
                let limits = &self.connection.limits;
                let ahead = (body.take_rest(), behind);
                let (idle, send) = (limits.tunnel_idle_timeout, limits.send_timeout);
                let (passed, fault) =
                    tunnel::relay(&self.connection.socket, &origin, ahead, idle, send).await;
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
    async fn fail(&self, exchange: &mut Exchange<F>, fault: Fault, body: &Source<'_>) -> Next {
        exchange.note(fault);
        if exchange.account.status != 0 {
            // The end of a body that lasts until the connection closes would look whole.
            return match exchange.request.version {
                crate::http::Version::Http10 => Next::Reset,
                crate::http::Version::Http11 => Next::Close,
            };
        }
        if fault.row().status.is_none() {
            return Next::Close;
        }
        let close = match exchange.request.framing.is_empty() || body.is_ended() {
            true => Close::No,
            false => match fault {
                Fault::BodyTooLarge => Close::Yes,
                _ => close_behind(exchange, body),
            },
        };
        let instead = self.instead.borrow_mut().take();
        let next = match instead {
            Some(instead) => {
                exchange.account.fault = None;
                answer::send(self.connection, self.installed, exchange, &instead, close).await
            }
            None => answer::fault(self.connection, self.installed, exchange, fault, close).await,
        };
        match next {
            Next::KeepAlive if !body.is_ended() => Next::Linger,
            next => next,
        }
    }
}

/// Whether a request whose pooled connection died may go out once more: nothing of an answer
/// came, its body is in hand, and the origin acting twice would do no harm (RFC 9110, 9.2.2).
fn may_repeat<F: Filter>(exchange: &Exchange<F>, whole: &Option<Block>, fault: Fault) -> bool {
    fault.row().retry == Retry::Idempotent
        && fault == Fault::OriginClosed
        && exchange.account.status == 0
        && exchange.request.method.is_idempotent()
        && (exchange.request.framing.is_empty() || whole.is_some())
}

fn look<F: Filter>(
    chain: Run<'_, F>,
    instead: &RefCell<Option<Box<Answer>>>,
    body_max: u64,
    piece: &mut Piece,
    before: u64,
) -> Result<(), Fault> {
    if before + piece.block.len() as u64 > body_max {
        return Err(Fault::BodyTooLarge);
    }
    if chain.program().request_body_mode() == BodyMode::Skip {
        return Ok(());
    }
    chain
        .request_body(&mut piece.block, piece.last == Last::Yes, before)
        .map_err(|answer| {
            *instead.borrow_mut() = Some(answer);
            Fault::FilterRefused
        })
}
