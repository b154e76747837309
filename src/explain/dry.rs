//! A compiled configuration with one core that only decides, and the reports it makes.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use ringgate_config::Config;
use ringgate_config::model::{EndpointAddr, ListenAddr, Listener, ListenerProtocol, Route};
use ringgate_core::answer;
use ringgate_core::chain::{self, Filter as _, Program};
use ringgate_core::error::Fault;
use ringgate_core::explain::{self, Described, DryCore, Explanation, Routed};
use ringgate_core::http::RequestHead;
use ringgate_core::http::h1::HeadError;
use ringgate_core::http::request_id::RequestIds;
use ringgate_core::principal::Principal;
use ringgate_core::rt::Addr;
use ringgate_core::rt::clock::Stamp;
use ringgate_core::snapshot::{Action, Endpoint, UpstreamProtocol};
use ringgate_core::stats::Registry;
use ringgate_filters::Filter;
use ringgate_router::{Fact, Probe, Reason, Request, Verdict};

use super::losing::loss;
use super::policies;
use super::report::{self, Candidate, Decision, Forward, Outcome, Place, Report, Step, Understood};
use super::request::Asked;
use super::shown::{masked, masked_query, text_of, without_credentials};
use crate::checked::Checked;
use crate::compile::{self, Addresses, Snapshot};

/// When a request comes: by the calendar, and by the clock that policies go by.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    /// Milliseconds since the UNIX epoch.
    pub unix_ms: u64,
    /// The same.
    pub now: Stamp,
}

impl Time {
    /// Now.
    pub fn now() -> Time {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Time {
            unix_ms: since.map_or(0, |since| since.as_millis() as u64),
            now: Stamp::now(),
        }
    }

    /// This much later.
    pub fn after(self, span: Duration) -> Time {
        Time {
            unix_ms: self.unix_ms.saturating_add(span.as_millis() as u64),
            now: self.now.after(span),
        }
    }
}

/// A configuration that explains requests; filters remember the ones before.
pub struct Dry {
    config: Arc<Config>,
    snapshot: Snapshot,
    core: DryCore<Filter>,
}

impl Dry {
    /// Takes over what `check` made of a file. Names are not resolved: each stands for one
    /// address that is never shown.
    pub fn new(checked: Checked) -> Dry {
        let (config, mut snapshot) = (checked.config, checked.snapshot);
        let (addresses, registry) = (unresolved(&config), Registry::new(1));
        for (written, upstream) in config.upstreams.iter().zip(&mut snapshot.upstreams) {
            upstream.endpoints = compile::endpoints(written, &addresses, &registry);
        }
        Dry {
            core: DryCore::new(&snapshot),
            config,
            snapshot,
        }
    }

    /// The index of the listener of that name, or of the first that takes requests.
    ///
    /// # Errors
    /// The names there are, when this is none of them; that connections are passed on, when they
    /// are.
    pub fn listener(&self, name: Option<&str>) -> Result<usize, String> {
        let listeners = &self.config.listeners;
        let takes_requests = |listener: &Listener| listener.protocol == ListenerProtocol::Http;
        let Some(name) = name else {
            let found = listeners.iter().position(takes_requests);
            let told = || "no listener takes requests: all pass their connections on unread";
            return found.ok_or_else(|| told().to_owned());
        };
        let found = listeners.iter().position(|l| &**l.name == name);
        let found = found.ok_or_else(|| {
            let names: Vec<&str> = listeners.iter().map(|l| &**l.name).collect();
            format!("no listener \"{name}\"; there is {}", names.join(", "))
        })?;
        match takes_requests(&listeners[found]) {
            true => Ok(found),
            false => Err(format!(
                "listener \"{name}\" takes no requests: it passes its connections on unread"
            )),
        }
    }

    /// Where a listener listens.
    pub fn address_of(&self, listener: usize) -> String {
        self.config.listeners[listener].listen.to_string()
    }

    /// The host of a request to a listener that names none: its address, and what clients send
    /// through a socket in the file system.
    pub fn host_of(&self, listener: usize) -> String {
        match &self.config.listeners[listener].listen.value {
            ListenAddr::Tcp(address) => address.to_string(),
            ListenAddr::Unix(_) => "localhost".to_owned(),
        }
    }

    /// What would become of a request.
    pub fn explain(&self, asked: &Asked, listener: usize, time: Time) -> Report {
        let explanation = self.core.explain(
            &self.snapshot,
            &Described {
                head: &asked.head,
                peer: asked.peer,
                listener,
                unix_ms: time.unix_ms,
                now: time.now,
            },
        );
        let routed = explanation.routed.as_ref();
        let principal = explanation.principal.as_deref();
        let routes = routed.map_or_else(Vec::new, |routed| self.candidates(routed, principal));
        let won = routes.iter().any(|c| c.verdict == report::Verdict::Won);
        Report {
            request: self.understood(asked, listener, &explanation),
            filters: match won || explanation.answered_by.is_some() {
                true => self.steps(&explanation),
                false => Vec::new(),
            },
            outcome: self.outcome(asked, &explanation, won, time.unix_ms),
            routes,
        }
    }

    fn understood(&self, asked: &Asked, listener: usize, told: &Explanation) -> Understood {
        let routed = told.routed.as_ref();
        let secret = &self.snapshot.forwarding.secret_parameters;
        let path = routed.map(|r| text_of(&r.path)).filter(|p| !p.is_empty());
        let sent = asked.target.split('?').next().unwrap_or_default();
        let (client_from, client_place) = self.client_from(asked, told);
        Understood {
            method: asked.method.clone(),
            url: masked(asked.url.clone(), secret),
            host: routed.map(|r| text_of(&r.host)),
            path_sent: (path.as_deref() != Some(sent)).then(|| sent.to_owned()),
            path,
            query: routed
                .map(|r| masked_query(&text_of(&r.query), secret))
                .filter(|query| !query.is_empty()),
            client: told.client.to_string(),
            client_from,
            client_place,
            listener: self.config.listeners[listener].name.to_string(),
            listen: self.address_of(listener),
        }
    }

    fn client_from(&self, asked: &Asked, told: &Explanation) -> (String, Option<Place>) {
        let mut trusted = self.config.forwarded.trusted.iter();
        let named = told.routed.as_ref().is_some_and(|routed| {
            let mut fields = routed.fields.iter();
            fields.any(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"))
        });
        match trusted.find(|network| network.value.contains(&asked.peer)) {
            Some(network) => {
                let text = match told.client == asked.peer {
                    true => "the peer, a trusted proxy, names no other".to_owned(),
                    false => format!("X-Forwarded-For, from the trusted proxy {}", asked.peer),
                };
                (text, Some(Place::of(self.config.sources(), network.span)))
            }
            None if named => (
                "the peer; X-Forwarded-For counts only from a trusted proxy".to_owned(),
                None,
            ),
            None => ("the peer".to_owned(), None),
        }
    }

    /// The winner, then the rest by how close they came.
    fn candidates(&self, routed: &Routed, principal: Option<&Principal>) -> Vec<Candidate> {
        if routed.path.is_empty() {
            return Vec::new();
        }
        let request = Request {
            host: &routed.host,
            path: &routed.path,
            query: &routed.query,
            method: &routed.method,
        };
        let router = &self.snapshot.router;
        let mut found = router.candidates(&request, &Seen { routed, principal });
        found.sort_by_key(|candidate| match candidate.verdict {
            Verdict::Won => 0,
            Verdict::Lost(
                Reason::Header(_) | Reason::Query(_) | Reason::Fact(_) | Reason::Method,
            ) => 1,
            Verdict::Lost(Reason::LessSpecific { .. }) => 2,
            Verdict::Lost(Reason::Path) => 3,
            Verdict::Lost(Reason::Host) => 4,
        });
        let sources = self.config.sources();
        let told = found.into_iter().map(|candidate| {
            let route = &self.config.routes[candidate.route.index()];
            let name = route.name.to_string();
            match candidate.verdict {
                Verdict::Won => Candidate {
                    route: name,
                    verdict: report::Verdict::Won,
                    because: None,
                    detail: format!("path {}", route.path),
                    place: Place::of(sources, route.path.span),
                },
                Verdict::Lost(reason) => {
                    let loss = loss(&self.config, router, candidate.route, reason, routed);
                    Candidate {
                        route: name,
                        verdict: report::Verdict::Lost,
                        because: Some(loss.word),
                        detail: loss.text,
                        place: Place::of(sources, loss.span),
                    }
                }
            }
        });
        told.collect()
    }

    fn steps(&self, told: &Explanation) -> Vec<Step> {
        let listener = self.config.listeners.get(told.listener);
        let before = listener.map_or(&[][..], |listener| &listener.filters);
        let route = told.route.map(|index| &self.config.routes[index]);
        let own = route.map_or(&[][..], |route| &route.filters);
        let named = before.iter().chain(own);
        let program = self.snapshot.program(told.route, told.listener);
        let steps = program.map_or(&[][..], Program::steps);
        let each = steps.iter().zip(named).enumerate();
        each.map(|(place, (step, name))| Step {
            filter: step.name.to_string(),
            describes: step.filter.describe(),
            decision: decision(place, told),
            told: told_by(place, told),
            place: Some(Place::of(self.config.sources(), name.span)),
        })
        .collect()
    }

    fn outcome(&self, asked: &Asked, told: &Explanation, won: bool, unix_ms: u64) -> Outcome {
        match &told.outcome {
            explain::Outcome::Refused(error) => self.refused_head(*error, unix_ms),
            explain::Outcome::Forward {
                upstream,
                endpoint,
                head,
            } => {
                let forward = self.forward(told.route, *upstream, endpoint.as_ref(), head);
                let route = told.route.unwrap_or_default();
                Outcome::Forward(Forward {
                    chosen_by: told.chosen_by.as_ref().map(policies::chosen_by),
                    policies: policies::of(&self.snapshot, route, *upstream, asked),
                    ..forward
                })
            }
            explain::Outcome::Answer(answer) => self.answer(told, answer, won),
            explain::Outcome::Fault(fault, answer) => {
                let route = told.route.filter(|_| won);
                Outcome::Refuse(report::Answer {
                    route: route.map(|index| self.route(index).name.to_string()),
                    by: "the gateway".to_owned(),
                    code: fault.row().code.to_owned(),
                    meaning: meaning(*fault),
                    ..plain(answer)
                })
            }
            explain::Outcome::Calls(calls) => Outcome::Calls {
                calls: calls
                    .iter()
                    .map(|(upstream, target)| (self.upstream(*upstream), target.clone()))
                    .collect(),
            },
            explain::Outcome::Errand => Outcome::Errand,
        }
    }

    /// Nothing of such a head is believed, so the answer depends on nothing in it.
    fn refused_head(&self, error: HeadError, unix_ms: u64) -> Outcome {
        let fault = Fault::RequestHead(error);
        let id = match self.snapshot.forwarding.request_id {
            Some(_) => RequestIds::new().next(unix_ms).to_vec(),
            None => Vec::new(),
        };
        let answer = answer::of_fault(fault, &RequestHead::default(), &id);
        let mut answer = report::Answer {
            by: "the request head".to_owned(),
            code: fault.row().code.to_owned(),
            meaning: format!("the head breaks a rule of HTTP ({error}); the connection closes"),
            ..plain(&answer)
        };
        let close = ("Connection".to_owned(), "close".to_owned());
        answer.fields.push(close);
        Outcome::Refuse(answer)
    }

    fn forward(
        &self,
        route: Option<usize>,
        upstream: usize,
        endpoint: Option<&Endpoint>,
        head: &[u8],
    ) -> Forward {
        let index = route.unwrap_or_default();
        let split = match &self.snapshot.routes[index].action {
            Action::Split(split) => split
                .weights()
                .map(|(upstream, weight)| (self.upstream(upstream), weight))
                .collect(),
            _ => Vec::new(),
        };
        let route = self.route(index);
        let rewrite = route.rewrite.as_ref();
        let head = text_of(head).replace("\r\n", "\n").trim_end().to_owned();
        Forward {
            policies: Vec::new(),
            chosen_by: None,
            route: route.name.to_string(),
            upstream: self.upstream(upstream),
            split,
            endpoint: endpoint.map_or("none".to_owned(), shown),
            endpoint_is_address: endpoint.is_some_and(|endpoint| !is_name(endpoint)),
            endpoints: self.config.upstreams[upstream].endpoints.len(),
            rewrite: rewrite.map(ToString::to_string),
            rewrite_place: rewrite.map(|text| Place::of(self.config.sources(), text.span)),
            protocol: match self.snapshot.upstreams[upstream].protocol {
                UpstreamProtocol::Http1 => "http/1.1",
                UpstreamProtocol::Http2 => "h2",
                UpstreamProtocol::Auto => "auto",
            },
            head: masked(
                without_credentials(&head, &self.config),
                &self.snapshot.forwarding.secret_parameters,
            ),
        }
    }

    fn answer(&self, told: &Explanation, answer: &chain::Answer, won: bool) -> Outcome {
        let program = self.snapshot.program(told.route, told.listener);
        let step = told.answered_by.zip(program);
        let step = step.and_then(|(step, program)| program.steps().get(step));
        let step = step.map(|step| &step.name);
        let by = match (step, told.route) {
            (Some(name), _) => format!("filter {name}"),
            (None, Some(_)) if won => "the route".to_owned(),
            (None, Some(_)) => "the trailing slash".to_owned(),
            (None, None) => "the gateway, for OPTIONS".to_owned(),
        };
        let told_answer = report::Answer {
            route: told.route.map(|index| self.route(index).name.to_string()),
            by,
            ..plain(answer)
        };
        match step.is_some() && answer.status >= 400 {
            true => Outcome::Refuse(told_answer),
            false => Outcome::Answer(told_answer),
        }
    }

    fn route(&self, index: usize) -> &Route {
        &self.config.routes[index]
    }

    fn upstream(&self, index: usize) -> String {
        self.snapshot.upstreams[index].name.to_string()
    }
}

/// One address for each name, so that upstreams of names have endpoints to choose from.
fn unresolved(config: &Config) -> Addresses {
    let mut addresses = Addresses::new();
    for upstream in &config.upstreams {
        for endpoint in &upstream.endpoints {
            if let EndpointAddr::Name { host, port } = &endpoint.address.value {
                let key = ((&**upstream.name).into(), host.clone(), port.get());
                addresses.insert(key, vec![([0, 0, 0, 0], port.get()).into()]);
            }
        }
    }
    addresses
}

/// Addresses say themselves what they are; a name has the address that stands for it.
fn is_name(endpoint: &Endpoint) -> bool {
    matches!(&endpoint.addr, Addr::Tcp(addr) if *endpoint.authority != addr.to_string())
}

/// An endpoint as it is configured.
fn shown(endpoint: &Endpoint) -> String {
    match is_name(endpoint) {
        true => endpoint.authority.to_string(),
        false => endpoint.addr.to_string(),
    }
}

fn decision(place: usize, told: &Explanation) -> Decision {
    match (&told.outcome, told.answered_by) {
        (explain::Outcome::Calls(_) | explain::Outcome::Errand, _) => Decision::Waits,
        (_, Some(step)) if place == step => Decision::Answers,
        (_, Some(step)) if place > step => Decision::NotReached,
        // The limit on bodies comes before the filters.
        (explain::Outcome::Fault(Fault::BodyTooLarge, _), None) => Decision::NotReached,
        _ => Decision::Passes,
    }
}

/// What the filter at a place said of its decisions.
fn told_by(place: usize, told: &Explanation) -> Vec<String> {
    let said = told.told.iter().filter(|(at, _)| *at == place);
    said.map(|(_, text)| text_of(text.as_bytes())).collect()
}

fn plain(answer: &chain::Answer) -> report::Answer {
    let fields = answer.fields.iter();
    report::Answer {
        route: None,
        by: String::new(),
        status: answer.status,
        code: answer.code.to_owned(),
        meaning: String::new(),
        fields: fields
            .map(|(name, value)| (name.to_string(), text_of(value)))
            .collect(),
        body: text_of(&answer.body),
    }
}

/// What a refusal means, for those that a decision can end in.
fn meaning(fault: Fault) -> String {
    let text = match fault {
        Fault::RequestPath(error) => return error.to_string(),
        Fault::NoRoute => "no route takes this host and path",
        Fault::MethodNotAllowed => "routes take this path, but not with this method",
        Fault::BodyTooLarge => "the body is longer than `body_max` allows",
        Fault::TunnelRefused => "CONNECT is for forward proxies",
        Fault::RewriteFailed => "the rewritten path cannot be sent",
        _ => "",
    };
    text.to_owned()
}

/// The phrase of a status as RFC 9110 has it.
pub fn phrase(status: u16) -> &'static str {
    match status {
        // The library still says what RFC 7231 called them.
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        _ => StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or(""),
    }
}

/// Header conditions look at the fields as the parser left them, and other ones at what filters
/// of the listener have proved.
struct Seen<'a> {
    routed: &'a Routed,
    principal: Option<&'a Principal>,
}

impl Probe for Seen<'_> {
    fn any_header(&self, lower_name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let fields = self.routed.fields.iter();
        fields
            .filter(|(name, _)| name.eq_ignore_ascii_case(lower_name.as_bytes()))
            .any(|(_, value)| test(value))
    }

    fn any_fact(&self, fact: &Fact, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.principal.is_some_and(|known| known.any(fact, test))
    }
}
