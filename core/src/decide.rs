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
    Answer, CallOutcome, Calls, Filter, PeerAddr, Position, Program, Progress, Rehearsal, Run,
    Scheme, Subject, TlsFacts,
};
use crate::client::Client;
use crate::errand::Errand;
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
use crate::worker::Installed;

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

    /// A run of filters on this core.
    fn run<'a>(&'a self, program: &'a Program<F>, scratch: &'a RefCell<F::Scratch>) -> Run<'a, F> {
        Run::new(program, self.core, self.filters, scratch).rehearsed(self.rehearsal)
    }

    /// What a route's filters follow.
    fn chain(&self, snapshot: &Snapshot<F>) -> Option<usize> {
        snapshot.chain(self.listener)
    }
}

/// How far a decision has come.
pub(crate) enum Decision<'s, F: Filter> {
    /// It is made.
    Made(Plan<'s>),
    /// A filter waits.
    Waits {
        stage: Stage<'s, F>,
        wait: Wait,
        position: Position,
    },
}

/// Whose filters decide.
pub(crate) enum Stage<'s, F: Filter> {
    /// Those of the listener: there is no route yet.
    Listener(&'s Program<F>),
    /// Those of the route, behind those of the listener.
    Route(&'s Route<F>),
}

impl<F: Filter> Clone for Stage<'_, F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: Filter> Copy for Stage<'_, F> {}

/// What a filter waits for.
pub(crate) enum Wait {
    Calls(Box<Calls>),
    Errand(Box<Errand>),
    Time(Duration),
}

/// Decides what answers the exchange's request; makes the calls that filters ask for.
pub(crate) async fn decide<'s, F: Filter>(
    client: &Client<F>,
    caller: &Caller<'_, F>,
    installed: &'s Installed<F>,
    exchange: &mut Exchange<F>,
) -> Plan<'s> {
    let (worker, snapshot) = (&*client.worker, &*installed.snapshot);
    let mut decision = begin(caller, snapshot, exchange);
    for _ in 0..ROUNDS_MAX {
        let (stage, wait, position) = match decision {
            Decision::Made(plan) => return plan,
            Decision::Waits {
                stage,
                wait,
                position,
            } => (stage, wait, position),
        };
        let left = |time: Duration| exchange.deadline.left().map_or(time, |left| left.min(time));
        let outcomes = match wait {
            Wait::Calls(calls) => {
                Some(call::run_all(worker, installed, *calls, exchange.deadline).await)
            }
            Wait::Errand(errand) => {
                let timeout = left(errand.timeout);
                worker.run_errand(*errand, timeout).await;
                Some(Vec::new())
            }
            Wait::Time(time) => {
                let pause = rt::sleep(left(time));
                if let Err(fault) = client.unless_gone(&exchange.request, pause).await {
                    return Plan::Fault(fault);
                }
                if exchange.deadline.has_passed() {
                    return Plan::Fault(Fault::RequestTimeout);
                }
                None
            }
        };
        let at = (stage, position);
        decision = resume(caller, snapshot, exchange, at, outcomes.as_deref());
    }
    Plan::Fault(Fault::FilterFailed)
}

/// Times that the filters of one request may wait.
const ROUNDS_MAX: u32 = 16;

/// Decides as far as it goes without the network.
pub(crate) fn begin<'s, F: Filter>(
    caller: &Caller<'_, F>,
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Decision<'s, F> {
    identify(caller, &snapshot.forwarding, exchange);
    exchange.deadline = Deadline::since(exchange.began, caller.limits.request_timeout);
    if !snapshot.chains.is_empty() && caller.listener >= snapshot.listeners.len() {
        // A reload took the listener away, and with it what its requests have to pass.
        return Decision::Made(Plan::Fault(Fault::Shutdown));
    }
    if let Err(plan) = routing::prepare(snapshot, exchange) {
        return Decision::Made(plan);
    }
    if let Some(answer) = routing::preflight(caller, snapshot, exchange) {
        return Decision::Made(Plan::Answer(answer));
    }
    let chain = caller.chain(snapshot);
    match chain.and_then(|chain| snapshot.chains.get(chain)) {
        Some(program) => {
            let at = (Stage::Listener(program), Position(0));
            resume(caller, snapshot, exchange, at, None)
        }
        None => route(caller, snapshot, exchange),
    }
}

/// Goes on behind the listener's filters.
fn route<'s, F: Filter>(
    caller: &Caller<'_, F>,
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Decision<'s, F> {
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
    let chain = caller.chain(snapshot);
    let passed = chain.and_then(|chain| snapshot.chains.get(chain));
    let position = Position(passed.map_or(0, |passed| passed.steps().len()));
    resume(
        caller,
        snapshot,
        exchange,
        (Stage::Route(route), position),
        None,
    )
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

/// Goes on with a decision at a position; with outcomes when its filter waited for them.
pub(crate) fn resume<'s, F: Filter>(
    caller: &Caller<'_, F>,
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
    (stage, position): (Stage<'s, F>, Position),
    outcomes: Option<&[CallOutcome]>,
) -> Decision<'s, F> {
    let program = match stage {
        Stage::Listener(program) => program,
        Stage::Route(route) => route.program_behind(caller.chain(snapshot)),
    };
    let run = caller.run(program, &exchange.scratch);
    let subject = Subject {
        head: &mut exchange.request,
        attributes: &mut exchange.attributes,
        unix_ms: caller.unix_ms,
    };
    let progress = match outcomes {
        Some(outcomes) => run.resume(position, outcomes, subject),
        None => run.request_head(position, subject),
    };
    let (wait, position) = match progress {
        Progress::Passed => {
            return match stage {
                Stage::Listener(_) => route(caller, snapshot, exchange),
                Stage::Route(route) => Decision::Made(act(caller, route, exchange)),
            };
        }
        Progress::Answered(answer, step) => {
            exchange.account.answered_by = Some(step);
            return Decision::Made(Plan::Answer(answer));
        }
        Progress::Calls(calls, position) => (Wait::Calls(calls), position),
        Progress::Errand(errand, position) => (Wait::Errand(errand), position),
        Progress::Pause(time, position) => (Wait::Time(time), position),
    };
    Decision::Waits {
        stage,
        wait,
        position,
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
    for name in &policy.reserved {
        exchange.request.fields.remove(name);
    }
    let attributes = &mut exchange.attributes;
    let fields = &exchange.request.fields;
    attributes.principal = None;
    attributes.note = "";
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
