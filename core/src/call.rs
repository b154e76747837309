//! Calls: requests of the gateway's own that filters ask for. Off the plain path, so they
//! allocate; a call's response is gathered up to its limit.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::block::Block;
use crate::chain::{Call, CallOutcome, CallResponse, Calls, Filter};
use crate::client::Ends;
use crate::error::Fault;
use crate::forward::{Trial, Wants};
use crate::halves::{Deadline, Last, ORIGIN, Piece, Sink, Source};
use crate::http::h1::BodyDecoder;
use crate::http::{BodyLen, Method, RequestHead, ResponseHead, ResponseKind};
use crate::link::{Head, Link};
use crate::outgoing::{self, Outward, Upgrade};
use crate::reply::{INTERIM_MAX, receive_head};
use crate::snapshot::Upstream;
use crate::upstream::{Asked, Look, Use};
use crate::worker::{Installed, Worker};

/// Runs calls in parallel; each has an outcome, in the order given.
pub(crate) async fn run_all<F: Filter>(
    worker: &Worker<F>,
    installed: &Installed<F>,
    calls: Calls,
    exchange: Deadline,
) -> Vec<CallOutcome> {
    let deadline = Deadline::after(exchange.within(calls.timeout));
    let mut running: Vec<_> = calls
        .calls
        .iter()
        .map(|call| Slot::Running(Box::pin(run(worker, installed, call, deadline))))
        .collect();
    poll_fn(|cx| {
        let mut pending = false;
        for slot in &mut running {
            if let Slot::Running(future) = slot {
                match future.as_mut().poll(cx) {
                    Poll::Ready(outcome) => *slot = Slot::Done(Some(outcome)),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    let outcome = |slot| match slot {
        Slot::Done(Some(outcome)) => outcome,
        _ => Err(Fault::Internal),
    };
    running.into_iter().map(outcome).collect()
}

#[allow(
    clippy::large_enum_variant,
    reason = "a handful per exchange that makes calls at all"
)]
enum Slot<T> {
    Running(Pin<Box<T>>),
    Done(Option<CallOutcome>),
}

/// Makes one call.
pub(crate) async fn run<F: Filter>(
    worker: &Worker<F>,
    installed: &Installed<F>,
    call: &Call,
    deadline: Deadline,
) -> CallOutcome {
    let upstreams = &installed.snapshot.upstreams;
    let (Some(upstream), Some(pool)) = (
        upstreams.get(call.upstream),
        installed.pools.get(call.upstream),
    ) else {
        return Err(Fault::FilterFailed);
    };
    let stats = upstream.stats.of(worker.core());
    let mut pooled = true;
    for attempt in 1..=ATTEMPTS_MAX {
        let random = worker.ids.borrow_mut().random();
        let choice = pool.choose(&Asked::of(upstream, random))?;
        let trial = Trial::begin(upstream, &choice.endpoint, worker.core(), Wants::default())?;
        let idle = match pooled {
            true => pool.take(&choice, upstream, Look::Close),
            false => None,
        };
        let lease = match idle {
            Some(lease) => lease,
            None => {
                let wait = deadline.within(upstream.connect_timeout);
                let opened = pool.open(&choice, upstream, wait, Ends::default()).await;
                opened.map_err(|fault| {
                    trial.failed(fault);
                    deadline.fault_if(fault, Fault::ConnectTimeout)
                })?
            }
        };
        stats.requests.add(1);
        let repeatable =
            lease.use_count == Use::Reused && call.method.is_idempotent() && attempt < ATTEMPTS_MAX;
        match on_link(&lease.link, upstream, call, deadline).await {
            Err(Fault::OriginClosed) if repeatable => {
                stats.retries.add(1);
                pooled = false;
            }
            Err(fault) => {
                trial.failed(fault);
                return Err(fault);
            }
            Ok((response, keep)) => {
                trial.ended_with(response.head.status);
                stats.responses[usize::from(response.head.status / 100).min(5)].add(1);
                if keep {
                    pool.put_back(&choice, lease.link, upstream);
                }
                return Ok(response);
            }
        }
    }
    Err(Fault::OriginClosed)
}

/// Attempts behind which a call that finds shared connections dead is given up.
const ATTEMPTS_MAX: u32 = 3;

async fn on_link(
    origin: &Link,
    upstream: &Upstream,
    call: &Call,
    deadline: Deadline,
) -> Result<(CallResponse, bool), Fault> {
    let mut out = Vec::with_capacity(512);
    let head = head_of(call, origin, upstream, &mut out)?;
    let wait = upstream.read_timeout;
    let mut sink = Sink::new(origin, framing_of(call), wait, deadline, &ORIGIN);
    let piece = Piece {
        block: Block::from_slice(&call.body),
        last: Last::Yes,
    };
    sink.start(head, Some(piece), b"").await?;
    let mut head = ResponseHead::default();
    let head_by = Deadline::after(upstream.response_timeout);
    let mut block = Block::empty();
    for _ in 0..INTERIM_MAX {
        let asked = (call.method, Upgrade::NotAsked);
        let receiving = receive_head(origin, block, asked, &mut head);
        block = receiving.by(|| head_by, deadline).await?;
        if head.kind() != ResponseKind::Interim {
            break;
        }
    }
    if head.kind() != ResponseKind::Final {
        return Err(Fault::BadUpgrade);
    }
    let mut decoder = BodyDecoder::default();
    origin.begin_body(&mut decoder, head.framing);
    // The head's spans lie in its block; the body's first bytes are copied out of it.
    let ahead = (!block.is_empty()).then(|| Block::from_slice(&block));
    head.fields.put_text(block);
    let mut source = Source::new(
        origin,
        &mut decoder,
        ahead,
        upstream.read_timeout,
        deadline,
        &ORIGIN,
    );
    let mut body = Vec::new();
    loop {
        let piece = source.next().await?;
        if body.len() + piece.block.len() > call.response_max {
            return Err(Fault::BodyTooLarge);
        }
        body.extend_from_slice(&piece.block);
        if piece.last == Last::Yes {
            break;
        }
    }
    let keep = source.take_rest().is_none() && head.is_persistent();
    Ok((CallResponse { head, body }, keep))
}

fn framing_of(call: &Call) -> BodyLen {
    match call.body.len() {
        0 => BodyLen::None,
        length => BodyLen::Length(length as u64),
    }
}

/// The request as the link takes it. Whatever could break a line is refused: a filter may have
/// built these texts from what a peer sent.
fn head_of<'h>(
    call: &Call,
    origin: &Link,
    upstream: &Upstream,
    out: &'h mut Vec<u8>,
) -> Result<Head<'h>, Fault> {
    let failed = |_| Fault::FilterFailed;
    let (path, query) = match call.target.split_once('?') {
        Some((path, query)) => (path, Some(query.as_bytes())),
        None => (&*call.target, None),
    };
    let mut head = RequestHead {
        method: call.method,
        ..RequestHead::default()
    };
    if call.method == Method::Extension {
        return Err(Fault::FilterFailed);
    }
    head.set_path(path.as_bytes()).map_err(failed)?;
    head.set_query(query).map_err(failed)?;
    head.set_authority(call.host.as_bytes()).map_err(failed)?;
    for (name, value) in &call.fields {
        if FRAMING.contains(&&**name) || head.fields.add(name, value).is_err() {
            return Err(Fault::FilterFailed);
        }
    }
    let outward = Outward {
        version: origin.version(),
        authority: head.authority(),
        security: upstream.security(),
        framing: framing_of(call),
        upgrade: Upgrade::NotAsked,
    };
    outgoing::encode_plain(&head, &outward, None, out);
    outgoing::head(&head, &outward, out)
}

/// Whether a field is one that only the engine writes, or that speaks of one connection.
pub(crate) fn is_own(name: &[u8]) -> bool {
    const OF_ONE_HOP: [&[u8]; 6] = [
        b"te",
        b"trailer",
        b"keep-alive",
        b"proxy-connection",
        b"http2-settings",
        b"expect",
    ];
    let own = FRAMING.iter().map(|name| name.as_bytes());
    own.chain(OF_ONE_HOP)
        .any(|own| name.eq_ignore_ascii_case(own))
}

/// Fields that only the engine writes.
const FRAMING: [&str; 5] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
];
