//! Explaining a request: the production decision on a described request, with nothing sent
//! and nothing listened on. What filters remember is kept from one request to the next, so a
//! sequence shows limiters and the like fill up.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::answer;
use crate::block::Block;
use crate::chain::{Answer, Filter, PeerAddr, Rehearsal, Run, Scheme};
use crate::decide::{self, Caller, Decision, Plan, Wait};
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::fleet::EndpointState;
use crate::http::fields::put_named;
use crate::http::h1::{HeadError, Parse, Resume, parse_request};
use crate::http::request_id::RequestIds;
use crate::http::{RequestHead, Version};
use crate::outgoing::{self, Outward, Upgrade};
use crate::overload::Pressure;
use crate::principal::Proved;
use crate::rt::clock::Stamp;
use crate::snapshot::{Action, Endpoint, Route, Snapshot, UpstreamProtocol};
use crate::stats::CoreIndex;
use crate::upstream::{Asked, Pool, balance_hash};
use crate::wire::Security;

/// A core that only decides.
pub struct DryCore<F: Filter> {
    filters: RefCell<F::Core>,
    ids: RefCell<RequestIds>,
    pools: Vec<Pool>,
}

/// A request to explain.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    /// The head as a client would send it, with its empty line.
    pub head: &'a [u8],
    /// The client's address.
    pub peer: IpAddr,
    /// The listener it comes to, by index.
    pub listener: usize,
    /// The time, in milliseconds since the UNIX epoch.
    pub unix_ms: u64,
    /// The same time by the clock that filters and policies go by; never earlier than that of a
    /// request before.
    pub now: Stamp,
}

/// What would happen to a request.
#[derive(Debug)]
pub struct Explanation {
    /// Method, host, path and query as the router saw them; the path normalised.
    pub routed: Option<Routed>,
    /// The listener, by index.
    pub listener: usize,
    /// The route, by index.
    pub route: Option<usize>,
    /// The filter that answered, by its place in the route's program.
    pub answered_by: Option<usize>,
    /// What filters say of their decisions, by their places in the program.
    pub told: Vec<(usize, String)>,
    /// What made the choice among several upstreams, where the route has several.
    pub chosen_by: Option<ChosenBy>,
    /// Who makes the request, as far as filters have proved it.
    pub principal: Proved,
    /// The client's address as trusted proxies tell it.
    pub client: IpAddr,
    /// The end of it.
    pub outcome: Outcome,
}

/// What makes the choice among several upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// The conditions of a branch hold.
    Conditions,
    /// The hash of the route's key, which is this.
    Key(String),
    /// A draw, with each request anew.
    Chance,
}

/// What the router saw.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The method.
    pub method: Vec<u8>,
    /// The host without port.
    pub host: Vec<u8>,
    /// The normalised path.
    pub path: Vec<u8>,
    /// The query; empty when there is none.
    pub query: Vec<u8>,
    /// The fields that predicates see: names and values.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// How a decision ends.
#[derive(Debug)]
pub enum Outcome {
    /// The head is refused.
    Refused(HeadError),
    /// The request goes to an upstream.
    Forward {
        /// The upstream, by index.
        upstream: usize,
        /// The endpoint whose turn it is; none when the upstream has none.
        endpoint: Option<Endpoint>,
        /// The head that the endpoint would get.
        head: Vec<u8>,
    },
    /// The gateway answers: a constant, a redirect, a filter's answer.
    Answer(Answer),
    /// The gateway refuses.
    Fault(Fault, Answer),
    /// A filter would make calls before it decides, to these upstreams (by index) and targets.
    Calls(Vec<(usize, String)>),
    /// A filter would have something done off the data plane before it decides.
    Errand,
}

impl<F: Filter> DryCore<F> {
    /// A core for the snapshot.
    pub fn new(snapshot: &Snapshot<F>) -> DryCore<F> {
        let pools = snapshot.upstreams.iter();
        DryCore {
            filters: RefCell::default(),
            ids: RefCell::new(RequestIds::new()),
            pools: pools
                .map(|upstream| Pool::new(CoreIndex(0), &upstream.endpoints))
                .collect(),
        }
    }

    /// Decides a described request as a worker would.
    ///
    /// # Panics
    /// When the snapshot has no such listener, or is not the one this core was made for.
    pub fn explain(&self, snapshot: &Snapshot<F>, described: &Described<'_>) -> Explanation {
        let limits = &snapshot.listeners[described.listener].limits;
        let mut exchange = Exchange::<F>::default();
        let mut explanation = Explanation {
            routed: None,
            listener: described.listener,
            route: None,
            answered_by: None,
            told: Vec::new(),
            chosen_by: None,
            principal: None,
            client: described.peer,
            outcome: Outcome::Refused(HeadError::RequestLine),
        };
        let block = Block::from_slice(described.head);
        let mut resume = Resume::default();
        match parse_request(&block, &limits.head, &mut resume, &mut exchange.request) {
            Ok(Parse::Complete { .. }) => exchange.request.fields.put_text(block),
            Ok(Parse::Partial) => return explanation,
            Err(error) => {
                explanation.outcome = Outcome::Refused(error);
                return explanation;
            }
        }
        let rehearsal = Rehearsal::at(described.now);
        F::tick(&mut self.filters.borrow_mut(), described.now.moment());
        let caller = Caller {
            core: CoreIndex(0),
            filters: &self.filters,
            ids: &self.ids,
            peer: PeerAddr::new(described.peer),
            listener: described.listener,
            scheme: match snapshot.listeners[described.listener].tls {
                None => Scheme::Http,
                Some(_) => Scheme::Https,
            },
            tls: None,
            limits,
            pressure: &Pressure::default(),
            unix_ms: described.unix_ms,
            rehearsal: Some(&rehearsal),
        };
        let before = fields_of(&exchange);
        let mut decision = decide::begin(&caller, snapshot, &mut exchange);
        // Nobody waits here.
        while let Decision::Waits {
            stage,
            wait: Wait::Time(_),
            position,
        } = decision
        {
            let at = (stage, position);
            decision = decide::resume(&caller, snapshot, &mut exchange, at, None);
        }
        explanation.route = exchange.account.route;
        explanation.answered_by = exchange.account.answered_by;
        explanation.principal = exchange.attributes.principal.clone();
        explanation.client = exchange.attributes.client.ip;
        explanation.routed = Some(routed(&exchange, before));
        let route = explanation
            .route
            .and_then(|route| snapshot.routes.get(route));
        explanation.chosen_by = route.and_then(|route| chosen_by(route, &exchange));
        explanation.outcome = self.outcome(snapshot, &mut exchange, decision);
        explanation.told = rehearsal.into_told();
        explanation
    }

    fn outcome(
        &self,
        snapshot: &Snapshot<F>,
        exchange: &mut Exchange<F>,
        decision: Decision<'_, F>,
    ) -> Outcome {
        match decision {
            Decision::Waits { wait, .. } => match wait {
                Wait::Calls(calls) => {
                    let calls = calls.calls.into_iter();
                    let calls = calls.map(|call| (call.upstream, call.target.into()));
                    Outcome::Calls(calls.collect())
                }
                Wait::Errand(_) => Outcome::Errand,
                Wait::Time(_) => unreachable!("pauses are over"),
            },
            Decision::Made(Plan::Answer(answer)) => match exchange.account.fault {
                Some(fault) => Outcome::Fault(fault, *answer),
                None => Outcome::Answer(*answer),
            },
            Decision::Made(Plan::Constant(answer)) => Outcome::Answer(answer.clone()),
            Decision::Made(Plan::Fault(fault)) => {
                let id = exchange.attributes.request_id.as_bytes();
                Outcome::Fault(fault, answer::of_fault(fault, &exchange.request, id))
            }
            Decision::Made(Plan::Forward(upstream)) => self.forward(snapshot, exchange, upstream),
        }
    }

    fn forward(
        &self,
        snapshot: &Snapshot<F>,
        exchange: &mut Exchange<F>,
        upstream: usize,
    ) -> Outcome {
        let spec = &snapshot.upstreams[upstream];
        let random = self.ids.borrow_mut().random();
        let route = exchange.account.route.map(|route| &snapshot.routes[route]);
        let own = route.and_then(|route| route.policy.balance.as_ref());
        let way = own.unwrap_or(&spec.policy.balance.choice);
        let asked = Asked {
            choice: way,
            hash: route.map_or(random, |route| balance_hash(way, route, exchange, random)),
            ..Asked::of(spec, random)
        };
        let choice = self.pools[upstream].choose(&asked).ok();
        let nowhere = Endpoint {
            addr: crate::rt::Addr::Tcp(([0, 0, 0, 0], 0).into()),
            weight: 1,
            priority: 0,
            zone: None,
            state: Arc::new(EndpointState::new(1)),
            authority: "".into(),
        };
        let endpoint = choice
            .as_ref()
            .map_or(&nowhere, |choice| &**choice.endpoint);
        if let Some(route) = route {
            let upstream = &snapshot.upstreams[upstream];
            // What an origin picks in TLS is not known here: HTTP/1.1 stands for both.
            let version = match upstream.protocol {
                UpstreamProtocol::Http2 => Version::Http2,
                UpstreamProtocol::Http1 | UpstreamProtocol::Auto => Version::Http11,
            };
            let filters = &self.filters;
            let program = route.program_behind(snapshot.chain(exchange.attributes.listener));
            let run = Run::new(program, CoreIndex(0), filters, &exchange.scratch);
            let mode = run.request_body_mode();
            let upgrade = outgoing::wanted_upgrade(route, &exchange.request, |_| true);
            outgoing::prepare(snapshot, route, exchange, version, upgrade);
            let mut out = std::mem::take(&mut exchange.out);
            let outward = Outward {
                version,
                authority: outgoing::authority(route, &exchange.request, endpoint),
                security: upstream.security(),
                framing: outgoing::framing(mode, &exchange.request, None),
                upgrade,
            };
            outgoing::encode(snapshot, exchange, &outward, &mut out);
            if version == Version::Http2 {
                let begin = pseudo_fields(&exchange.request, &outward);
                out.splice(..0, begin);
            }
            exchange.out = out;
        }
        Outcome::Forward {
            upstream,
            endpoint: choice.map(|choice| (**choice.endpoint).clone()),
            head: std::mem::take(&mut exchange.out),
        }
    }
}

/// The begin of a request's head in HTTP/2 (RFC 9113, 8.3.1; RFC 8441, 4).
fn pseudo_fields(request: &RequestHead, outward: &Outward<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match outward.upgrade {
        Upgrade::Asked => {
            put_named(b":method: ", b"CONNECT", &mut out);
            put_named(b":protocol: ", b"websocket", &mut out);
        }
        Upgrade::NotAsked => put_named(b":method: ", request.method_text(), &mut out),
    }
    let scheme: &[u8] = match outward.security {
        Security::Plain => b"http",
        Security::Tls => b"https",
    };
    put_named(b":scheme: ", scheme, &mut out);
    put_named(b":authority: ", outward.authority, &mut out);
    out.extend_from_slice(b":path: ");
    out.extend_from_slice(request.path());
    if let Some(query) = request.query() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b"\r\n");
    out
}

fn chosen_by<F: Filter>(route: &Route<F>, exchange: &Exchange<F>) -> Option<ChosenBy> {
    let head = &exchange.request;
    match &route.action {
        Action::Split(split) if split.asked(head).is_some() => {
            return Some(ChosenBy::Conditions);
        }
        Action::Split(_) => {}
        _ => drop(route.policy.canary.as_ref()?),
    }
    let Some(key) = &route.policy.split_key else {
        return Some(ChosenBy::Chance);
    };
    let mut text = Vec::new();
    key.write(head, &exchange.attributes, &route.key_names(), &mut text);
    Some(ChosenBy::Key(String::from_utf8_lossy(&text).into_owned()))
}

type FieldList = Vec<(Vec<u8>, Vec<u8>)>;

fn fields_of<F: Filter>(exchange: &Exchange<F>) -> FieldList {
    let fields = exchange.request.fields.iter();
    fields
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

fn routed<F: Filter>(exchange: &Exchange<F>, fields: FieldList) -> Routed {
    let request = &exchange.request;
    Routed {
        method: request.method_text().to_vec(),
        host: request.host().to_vec(),
        path: request
            .fields
            .text_of(exchange.attributes.routed_path)
            .to_vec(),
        query: request.query().unwrap_or_default().to_vec(),
        fields,
    }
}
