//! Deciding what answers a request: attributes, path, route, filters, action. Nothing here
//! touches the network but the calls that a filter asks for.

mod routing;
mod server;
mod shares;

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::call;
use crate::chain::{
    Answer, CallOutcome, Calls, Filter, PeerAddr, Position, Progress, Rehearsal, Run, Scheme,
    TlsFacts,
};
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::grpc;
use crate::halves::Deadline;
use crate::http::request_id::{self, RequestIds};
use crate::http::{BodyLen, Fields, Known, Trust};
use crate::overload::Pressure;
use crate::rt;
use crate::rt::clock::Stamp;
use crate::snapshot::{Action, ForwardingPolicy, Limits, Redirect, Route, Snapshot};
use crate::stats::CoreIndex;
use crate::worker::{Installed, Worker};

use routing::find_route;
use shares::{canary, point};

/// What answers a request.
pub(crate) enum Plan<'s> {
    /// The upstream at the index.
    Forward(usize),
    /// This.
    Answer(Box<Answer>),
    /// This, which belongs to the snapshot.
    Constant(&'s Answer),
    /// The row of a fault.
    Fault(Fault),
}

/// What a decision needs to know besides the request and the snapshot.
pub(crate) struct Caller<'c, F: Filter> {
    pub(crate) core: CoreIndex,
    /// What this core's filters remember.
    pub(crate) filters: &'c RefCell<F::Core>,
    pub(crate) ids: &'c RefCell<RequestIds>,
    pub(crate) peer: PeerAddr,
    pub(crate) listener: usize,
    pub(crate) scheme: Scheme,
    pub(crate) tls: Option<&'c Rc<TlsFacts>>,
    pub(crate) limits: &'c Limits,
    /// Whether there is too much to do.
    pub(crate) pressure: &'c Pressure,
    pub(crate) unix_ms: u64,
    /// Set when the decision is only explained.
    pub(crate) rehearsal: Option<&'c Rehearsal>,
}

impl<F: Filter> Caller<'_, F> {
    /// Now, or the time that is told.
    fn now(&self) -> Stamp {
        self.rehearsal.map_or_else(Stamp::now, Rehearsal::now)
    }

    /// A run of the route's filters on this core.
    fn run<'a>(&'a self, route: &'a Route<F>, scratch: &'a RefCell<F::Scratch>) -> Run<'a, F> {
        Run::new(&route.program, self.core, self.filters, scratch).rehearsed(self.rehearsal)
    }
}

/// How far a decision has come.
pub(crate) enum Decision<'s, F: Filter> {
    /// It is made.
    Made(Plan<'s>),
    /// A filter waits for calls.
    Waits {
        route: &'s Route<F>,
        calls: Box<Calls>,
        position: Position,
    },
    /// A filter wants time to pass.
    Pauses {
        route: &'s Route<F>,
        time: Duration,
        position: Position,
    },
}

/// Decides what answers the exchange's request; makes the calls that filters ask for.
pub(crate) async fn decide<'s, F: Filter>(
    worker: &Worker<F>,
    caller: &Caller<'_, F>,
    installed: &'s Installed<F>,
    exchange: &mut Exchange<F>,
) -> Plan<'s> {
    let mut decision = begin(caller, &installed.snapshot, exchange);
    for _ in 0..CALL_ROUNDS_MAX {
        decision = match decision {
            Decision::Made(plan) => return plan,
            Decision::Waits {
                route,
                calls,
                position,
            } => {
                let outcomes = call::run_all(worker, installed, *calls, exchange.deadline).await;
                resume(caller, exchange, route, position, Some(&outcomes))
            }
            Decision::Pauses {
                route,
                time,
                position,
            } => {
                rt::sleep(exchange.deadline.left().map_or(time, |left| left.min(time))).await;
                if exchange.deadline.has_passed() {
                    return Plan::Fault(Fault::RequestTimeout);
                }
                resume(caller, exchange, route, position, None)
            }
        };
    }
    Plan::Fault(Fault::FilterFailed)
}

/// Rounds of calls that the filters of one request may ask for.
const CALL_ROUNDS_MAX: u32 = 16;

/// Decides as far as it goes without the network.
pub(crate) fn begin<'s, F: Filter>(
    caller: &Caller<'_, F>,
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Decision<'s, F> {
    identify(caller, &snapshot.forwarding, exchange);
    exchange.deadline = Deadline::since(exchange.began, caller.limits.request_timeout);
    let route = match find_route(snapshot, exchange) {
        Ok(route) => route,
        Err(plan) => return Decision::Made(plan),
    };
    if caller.pressure.refuses(route.policy.urgency) {
        return Decision::Made(Plan::Fault(Fault::Overloaded));
    }
    if let Some(timeout) = route.timeout {
        exchange.deadline = Deadline::since(exchange.began, timeout);
    }
    bound_by_client(route, exchange);
    let body_max = route.body_max.unwrap_or(caller.limits.body_max);
    if matches!(exchange.request.framing, BodyLen::Length(length) if length > body_max) {
        return Decision::Made(Plan::Fault(Fault::BodyTooLarge));
    }
    if route.program.steps().is_empty() {
        return Decision::Made(act(caller, route, exchange));
    }
    let run = caller.run(route, &exchange.scratch);
    let progress = run.request_head(&mut exchange.request, &exchange.attributes);
    advance(caller, exchange, route, progress)
}

/// A client may say how long it waits; the shorter time counts, for it and for the origin.
fn bound_by_client<F: Filter>(route: &Route<F>, exchange: &mut Exchange<F>) {
    let fields = &mut exchange.request.fields;
    if let Some(name) = &route.policy.deadline_field
        && let Some(asked) = fields.value_of(name).and_then(millis)
    {
        let asked = Deadline::since(exchange.began, asked.into());
        exchange.deadline = exchange.deadline.or_before(asked);
    }
    let own = exchange.deadline;
    let asked = fields.value(Known::GrpcTimeout).and_then(grpc::timeout);
    if let Some(asked) = asked {
        exchange.deadline = own.or_before(Deadline::since(exchange.began, asked.into()));
    }
    let is_grpc = || fields.value(Known::ContentType).is_some_and(grpc::is_grpc);
    let is_told = asked.is_some() || route.timeout.is_some() && is_grpc();
    if let Some(left) = own.left()
        && is_told
        && asked.is_none_or(|asked| left < asked)
    {
        exchange.text.clear();
        grpc::write_timeout(left, &mut exchange.text);
        // Digits and a letter are a valid value.
        let _ = fields.set(Known::GrpcTimeout.name(), &exchange.text);
    }
}

/// A number of milliseconds, of at most nine digits.
fn millis(value: &[u8]) -> Option<Duration> {
    let digits = std::str::from_utf8(value).ok()?.trim();
    let plain = digits.len() <= 9 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| plain)?;
    Some(Duration::from_millis(number.max(1)))
}

/// Goes on with a decision whose calls have ended, or whose pause has.
pub(crate) fn resume<'s, F: Filter>(
    caller: &Caller<'_, F>,
    exchange: &mut Exchange<F>,
    route: &'s Route<F>,
    position: Position,
    outcomes: Option<&[CallOutcome]>,
) -> Decision<'s, F> {
    let run = caller.run(route, &exchange.scratch);
    let (head, attributes) = (&mut exchange.request, &exchange.attributes);
    let progress = match outcomes {
        Some(outcomes) => run.resume(position, outcomes, head, attributes),
        None => run.go_on(position, head, attributes),
    };
    advance(caller, exchange, route, progress)
}

fn advance<'s, F: Filter>(
    caller: &Caller<'_, F>,
    exchange: &mut Exchange<F>,
    route: &'s Route<F>,
    progress: Progress,
) -> Decision<'s, F> {
    match progress {
        Progress::Passed => Decision::Made(act(caller, route, exchange)),
        Progress::Answered(answer, step) => {
            exchange.account.answered_by = Some(step);
            Decision::Made(Plan::Answer(answer))
        }
        Progress::Calls(calls, position) => Decision::Waits {
            route,
            calls,
            position,
        },
        Progress::Pause(time, position) => Decision::Pauses {
            route,
            time,
            position,
        },
    }
}

/// Who asks: the client's address and the request id.
fn identify<F: Filter>(
    caller: &Caller<'_, F>,
    policy: &ForwardingPolicy,
    exchange: &mut Exchange<F>,
) {
    // No route and no filter shall take a client's word for what its certificate says.
    for claim in IDENTITY_CLAIMS {
        exchange.request.fields.remove_known(claim);
    }
    let attributes = &mut exchange.attributes;
    let fields = &exchange.request.fields;
    attributes.peer = caller.peer;
    attributes.listener = caller.listener;
    attributes.route = None;
    attributes.scheme = caller.scheme;
    attributes.tls = caller.tls.map(Rc::clone);
    attributes.authority = exchange.request.authority_span();
    attributes.trust = match policy.trusted.contains(caller.peer.ip) {
        true => Trust::Trusted,
        false => Trust::Untrusted,
    };
    attributes.client = match attributes.trust {
        Trust::Trusted => PeerAddr::new(client_behind(caller.peer.ip, fields, policy)),
        Trust::Untrusted => caller.peer,
    };
    attributes.request_id.set(b"");
    let Some(name) = &policy.request_id else {
        return;
    };
    let given = match attributes.trust {
        Trust::Trusted => fields
            .value_of(name)
            .filter(|id| request_id::is_acceptable(id)),
        Trust::Untrusted => None,
    };
    match given {
        Some(id) => attributes.request_id.set(id),
        None => {
            let id = caller.ids.borrow_mut().next(caller.unix_ms);
            attributes.request_id.set(&id);
        }
    }
}

const IDENTITY_CLAIMS: [Known; 3] = [
    Known::XClientCertSubject,
    Known::XClientCertSan,
    Known::XClientCertFingerprint,
];

/// The client's address as trusted proxies tell it: of the list in `X-Forwarded-For`, read
/// from its end, the first address that is not a trusted proxy itself.
fn client_behind(peer: IpAddr, fields: &Fields, policy: &ForwardingPolicy) -> IpAddr {
    let mut client = peer;
    let mut lists: [&[u8]; LISTS_MAX] = [b""; LISTS_MAX];
    let mut count = 0;
    for value in fields.values(Known::XForwardedFor) {
        // More lines than a chain of proxies would send: only the last ones are near us.
        lists.rotate_left(usize::from(count == LISTS_MAX));
        count = (count + 1).min(lists.len());
        lists[count - 1] = value;
    }
    for item in lists[..count]
        .iter()
        .rev()
        .flat_map(|list| list.rsplit(|b| *b == b','))
    {
        let Some(addr) = parse_addr(item.trim_ascii()) else {
            break;
        };
        client = addr;
        if !policy.trusted.contains(addr) {
            break;
        }
    }
    client
}

/// `X-Forwarded-For` lines that are looked at.
const LISTS_MAX: usize = 8;

/// An address with or without port and brackets, as proxies write it.
fn parse_addr(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse()
        .ok()
        .or_else(|| {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|addr| addr.ip())
        })
        .or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

fn act<'s, F: Filter>(
    caller: &Caller<'_, F>,
    route: &'s Route<F>,
    exchange: &mut Exchange<F>,
) -> Plan<'s> {
    if let Some(rewrite) = &route.rewrite {
        let head = &mut exchange.request;
        let routed = head.fields.text_of(exchange.attributes.routed_path);
        exchange.text.clear();
        rewrite.expand(routed, &exchange.attributes.captures, &mut exchange.text);
        if head.set_path(&exchange.text).is_err() {
            return Plan::Fault(Fault::RewriteFailed);
        }
    }
    match &route.action {
        Action::Upstream(upstream) => Plan::Forward(canary(caller, route, exchange, *upstream)),
        Action::Split(split) => Plan::Forward(match split.asked(&exchange.request) {
            Some(upstream) => upstream,
            None => split.pick(point(caller, route, exchange)),
        }),
        Action::Respond(answer) => Plan::Constant(answer),
        Action::Redirect(redirect) => Plan::Answer(Box::new(redirect_answer(redirect, exchange))),
    }
}

fn redirect_answer<F: Filter>(redirect: &Redirect, exchange: &Exchange<F>) -> Answer {
    let head = &exchange.request;
    let routed = head.fields.text_of(exchange.attributes.routed_path);
    let mut location = Vec::new();
    redirect
        .to
        .expand(routed, &exchange.attributes.captures, &mut location);
    if let Some(query) = head.query()
        && !location.contains(&b'?')
    {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    Answer {
        status: redirect.status,
        fields: vec![("location".into(), location.into())],
        ..Answer::default()
    }
}
