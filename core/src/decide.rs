//! Deciding what answers a request: attributes, path, route, filters, action. Nothing here
//! touches the network but the calls that a filter asks for.

use std::net::IpAddr;

use ringgate_router::path::{self, Normal};
use ringgate_router::{Lookup, Probe, Request, Slash};

use crate::answer;
use crate::call;
use crate::chain::{Answer, Filter, Progress, Run};
use crate::connection::Connection;
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::halves::Deadline;
use crate::http::{BodyLen, Fields, Known, Method, RequestHead, TargetForm, Trust, request_id};
use crate::snapshot::{Action, ForwardingPolicy, Redirect, Route, Snapshot};
use crate::worker::{Installed, Worker};

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

/// Decides what answers the exchange's request.
pub(crate) async fn decide<'s, F: Filter>(
    connection: &Connection<F>,
    installed: &'s Installed<F>,
    exchange: &mut Exchange<F>,
) -> Plan<'s> {
    let snapshot = &*installed.snapshot;
    identify(connection, &snapshot.forwarding, exchange);
    exchange.deadline = Deadline::after(connection.limits.request_timeout);
    let route = match find_route(snapshot, exchange) {
        Ok(route) => route,
        Err(plan) => return plan,
    };
    if let Some(timeout) = route.timeout {
        exchange.deadline = Deadline::after(timeout);
    }
    let body_max = route.body_max.unwrap_or(connection.limits.body_max);
    if matches!(exchange.request.framing, BodyLen::Length(length) if length > body_max) {
        return Plan::Fault(Fault::BodyTooLarge);
    }
    if !route.program.steps().is_empty()
        && let Err(plan) = run_filters(connection, installed, exchange, route).await
    {
        return plan;
    }
    act(&connection.worker, route, exchange)
}

/// Who asks: the client's address and the request id.
fn identify<F: Filter>(
    connection: &Connection<F>,
    policy: &ForwardingPolicy,
    exchange: &mut Exchange<F>,
) {
    let attributes = &mut exchange.attributes;
    let fields = &exchange.request.fields;
    attributes.peer = connection.peer;
    attributes.listener = connection.listener;
    attributes.trust = match policy.trusted.contains(connection.peer) {
        true => Trust::Trusted,
        false => Trust::Untrusted,
    };
    attributes.client = match attributes.trust {
        Trust::Trusted => client_behind(connection.peer, fields, policy),
        Trust::Untrusted => connection.peer,
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
            let id = connection.worker.next_request_id(exchange.account.began);
            attributes.request_id.set(&id);
        }
    }
}

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

fn find_route<'s, F: Filter>(
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Result<&'s Route<F>, Plan<'s>> {
    match exchange.request.form {
        TargetForm::Authority => return Err(Plan::Fault(Fault::TunnelRefused)),
        TargetForm::Asterisk => return Err(Plan::Answer(Box::new(server_options()))),
        TargetForm::Origin | TargetForm::Absolute => {}
    }
    let head = &mut exchange.request;
    match path::normalise(head.path(), &snapshot.path_policy, &mut exchange.text) {
        Ok(Normal::Unchanged) => {}
        Ok(Normal::Rewritten) => {
            let set = head.set_path(&exchange.text);
            set.map_err(|_| Plan::Fault(Fault::RewriteFailed))?;
        }
        Err(error) => return Err(Plan::Fault(Fault::RequestPath(error))),
    }
    exchange.attributes.routed_path = head.path_span();
    let request = Request {
        host: head.host(),
        path: head.path(),
        query: head.query().unwrap_or_default(),
        method: head.method_text(),
    };
    let captures = &mut exchange.attributes.captures;
    match snapshot
        .router
        .lookup(&request, &FieldProbe(&head.fields), captures)
    {
        Lookup::Found(id) => {
            exchange.account.route = Some(id.index());
            Ok(&snapshot.routes[id.index()])
        }
        Lookup::NotFound => Err(Plan::Fault(Fault::NoRoute)),
        Lookup::Redirect(id, slash) => {
            exchange.account.route = Some(id.index());
            Err(Plan::Answer(Box::new(slash_redirect(head, slash))))
        }
        Lookup::MethodNotAllowed(allowed) => {
            let allow = snapshot.router.allowed_methods(allowed).allow_value();
            let mut answer = answer::of_fault(
                Fault::MethodNotAllowed,
                head,
                exchange.attributes.request_id.as_bytes(),
            );
            answer
                .fields
                .push(("allow".into(), allow.into_bytes().into()));
            exchange.account.fault = Some(Fault::MethodNotAllowed);
            Err(Plan::Answer(Box::new(answer)))
        }
        Lookup::Options(allowed) => {
            let allow = snapshot.router.allowed_methods(allowed).allow_value();
            Err(Plan::Answer(Box::new(Answer {
                status: 204,
                fields: vec![("allow".into(), allow.into_bytes().into())],
                ..Answer::default()
            })))
        }
    }
}

/// Header predicates look at the fields of the head.
struct FieldProbe<'a>(&'a Fields);

impl Probe for FieldProbe<'_> {
    fn any_header(&self, lower_name: &str, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.0.values_of(lower_name).any(test)
    }
}

/// `OPTIONS *` asks about the server as a whole (RFC 9110, 9.3.7).
fn server_options() -> Answer {
    let methods = [
        Method::Get,
        Method::Head,
        Method::Post,
        Method::Put,
        Method::Patch,
        Method::Delete,
        Method::Options,
    ];
    let names: Vec<&str> = methods.iter().map(|method| method.name()).collect();
    Answer {
        status: 204,
        fields: vec![("allow".into(), names.join(", ").into_bytes().into())],
        ..Answer::default()
    }
}

fn slash_redirect(head: &RequestHead, slash: Slash) -> Answer {
    let mut location = head.path().to_vec();
    match slash {
        Slash::Add => location.push(b'/'),
        Slash::Remove => {
            let bare = location
                .iter()
                .rposition(|b| *b != b'/')
                .map_or(1, |last| last + 1);
            location.truncate(bare);
        }
    }
    if let Some(query) = head.query() {
        location.push(b'?');
        location.extend_from_slice(query);
    }
    Answer {
        status: 308,
        fields: vec![("location".into(), location.into())],
        ..Answer::default()
    }
}

async fn run_filters<F: Filter>(
    connection: &Connection<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    route: &Route<F>,
) -> Result<(), Plan<'static>> {
    let worker = &*connection.worker;
    let mut calls_made = 0;
    let mut progress = {
        let run = Run::new(
            &route.program,
            worker.core(),
            &worker.filters,
            &exchange.scratch,
        );
        run.request_head(&mut exchange.request, &exchange.attributes)
    };
    loop {
        let (calls, position) = match progress {
            Progress::Passed => return Ok(()),
            Progress::Answered(answer, _) => return Err(Plan::Answer(answer)),
            Progress::Calls(calls, position) => (calls, position),
        };
        calls_made += 1;
        if calls_made > CALL_ROUNDS_MAX {
            return Err(Plan::Fault(Fault::FilterFailed));
        }
        let outcomes = call::run_all(worker, installed, *calls, exchange.deadline).await;
        let run = Run::new(
            &route.program,
            worker.core(),
            &worker.filters,
            &exchange.scratch,
        );
        progress = run.resume(
            position,
            &outcomes,
            &mut exchange.request,
            &exchange.attributes,
        );
    }
}

/// Rounds of calls that the filters of one request may ask for.
const CALL_ROUNDS_MAX: u32 = 16;

fn act<'s, F: Filter>(
    worker: &Worker<F>,
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
        Action::Upstream(upstream) => Plan::Forward(*upstream),
        Action::Split(split) => Plan::Forward(split.pick(worker.random())),
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
