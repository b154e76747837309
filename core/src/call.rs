//! Calls: requests of the gateway's own that filters ask for. Off the plain path, so they
//! allocate; a call's response is gathered up to its limit.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::block::Block;
use crate::chain::{Call, CallOutcome, CallResponse, Calls, Filter};
use crate::error::Fault;
use crate::halves::{Deadline, Last, ORIGIN, Sink, Source};
use crate::http::h1::BodyDecoder;
use crate::http::{BodyLen, Method, ResponseHead, ResponseKind};
use crate::reply::{INTERIM_MAX, receive_head};
use crate::rt::Socket;
use crate::snapshot::Upstream;
use crate::upstream::{Look, Pool, Use};
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

async fn run<F: Filter>(
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
    loop {
        let choice = pool.choose()?;
        let idle = match pooled {
            true => pool.take_idle(&choice, stats, Look::Close),
            false => None,
        };
        let lease = match idle {
            Some(lease) => lease,
            None => {
                let wait = deadline.within(upstream.connect_timeout);
                let connected = Pool::connect(&choice, wait, stats).await;
                connected.map_err(|fault| deadline.fault_if(fault, Fault::ConnectTimeout))?
            }
        };
        stats.requests.add(1);
        let repeatable = lease.use_count == Use::Reused && call.method.is_idempotent();
        match on_connection(&lease.socket, upstream, call, deadline).await {
            Err(Fault::OriginClosed) if repeatable => {
                stats.retries.add(1);
                pooled = false;
            }
            Err(fault) => return Err(fault),
            Ok((response, keep)) => {
                stats.responses[usize::from(response.head.status / 100).min(5)].add(1);
                if keep {
                    pool.put_back(&choice, lease.socket, upstream);
                }
                return Ok(response);
            }
        }
    }
}

async fn on_connection(
    origin: &Socket,
    upstream: &Upstream,
    call: &Call,
    deadline: Deadline,
) -> Result<(CallResponse, bool), Fault> {
    let request = request_bytes(call)?;
    let mut sink = Sink::new(
        origin,
        BodyLen::None,
        upstream.read_timeout,
        deadline,
        &ORIGIN,
    );
    sink.start(&request, None, b"").await?;
    let mut head = ResponseHead::default();
    let head_by = Deadline::after(upstream.response_timeout);
    let mut block = Block::empty();
    for _ in 0..INTERIM_MAX {
        block = receive_head(origin, block, call.method, &mut head, || head_by, deadline).await?;
        if head.kind() != ResponseKind::Interim {
            break;
        }
    }
    if head.kind() != ResponseKind::Final {
        return Err(Fault::BadUpgrade);
    }
    let mut decoder = BodyDecoder::default();
    decoder.start(head.framing);
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

/// The request as bytes. Whatever could break a line is refused: a filter may have built
/// these texts from what a peer sent.
fn request_bytes(call: &Call) -> Result<Vec<u8>, Fault> {
    let breaks = |text: &[u8]| text.iter().any(|b| *b < b' ' || *b == 0x7f);
    let is_token = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    let target = call.target.as_bytes();
    if call.method == Method::Extension
        || !target.starts_with(b"/")
        || breaks(target)
        || target.contains(&b' ')
        || breaks(call.host.as_bytes())
    {
        return Err(Fault::FilterFailed);
    }
    let mut out = Vec::with_capacity(512 + call.body.len());
    out.extend_from_slice(call.method.name().as_bytes());
    out.push(b' ');
    out.extend_from_slice(target);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(call.host.as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &call.fields {
        if !is_token(name) || breaks(value) || FRAMING.contains(&&**name) {
            return Err(Fault::FilterFailed);
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    if !call.body.is_empty() {
        out.extend_from_slice(b"content-length: ");
        out.extend_from_slice(itoa::Buffer::new().format(call.body.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&call.body);
    Ok(out)
}

/// Fields that only the engine writes.
const FRAMING: [&str; 5] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
];
