//! The route of a request: its path in one spelling, and what the router says of it.

use ringgate_router::path::{self, Normal};
use ringgate_router::{Fact, Lookup, Probe, Request, RouteSpec};

use super::server::{Forwards, challenge_answer, count_forward, server_options, slash_redirect};
use super::{Caller, Plan};
use crate::answer;
use crate::chain::{Answer, Filter, Subject};
use crate::error::Fault;
use crate::exchange::Exchange;
use crate::http::{Fields, Method, RequestHead, TargetForm};
use crate::principal::Principal;
use crate::snapshot::{Route, Snapshot};

/// Whether the request is one that the gateway answers itself, whatever the routes say.
fn answer_as_server<'s, F: Filter>(
    snapshot: &'s Snapshot<F>,
    head: &mut RequestHead,
) -> Result<(), Plan<'s>> {
    match head.form {
        TargetForm::Authority => return Err(Plan::Fault(Fault::TunnelRefused)),
        TargetForm::Asterisk => return Err(Plan::Answer(Box::new(server_options()))),
        TargetForm::Origin | TargetForm::Absolute => {}
    }
    if matches!(head.method, Method::Trace | Method::Options)
        && count_forward(head) == Forwards::Spent
    {
        return Err(match head.method {
            // In the origin's place, the gateway shows no request to anybody.
            Method::Trace => Plan::Fault(Fault::TraceRefused),
            _ => Plan::Answer(Box::new(server_options())),
        });
    }
    if let Some(proof) = snapshot.challenges.http01_at(head.path()) {
        return Err(Plan::Answer(Box::new(challenge_answer(proof))));
    }
    Ok(())
}

/// What is done with a request before anybody asks for its route: what the gateway answers
/// itself, and the path in one spelling.
pub(super) fn prepare<'s, F: Filter>(
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Result<(), Plan<'s>> {
    answer_as_server(snapshot, &mut exchange.request)?;
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
    Ok(())
}

/// The answer to a browser that asks whether it may make a request, if a filter of that
/// request's route has one. No credentials come with such a question, so it is answered before
/// anybody asks for them.
pub(super) fn preflight<F: Filter>(
    caller: &Caller<'_, F>,
    snapshot: &Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Option<Box<Answer>> {
    let head = &exchange.request;
    if head.method != Method::Options || head.fields.value_of("origin").is_none() {
        return None;
    }
    let method = head.fields.value_of("access-control-request-method")?;
    let request = Request {
        host: head.host(),
        path: head.path(),
        query: head.query().unwrap_or_default(),
        method,
    };
    let probe = Facts {
        fields: &head.fields,
        principal: None,
    };
    let captures = &mut exchange.attributes.captures;
    let Lookup::Found(id) = snapshot.router.lookup(&request, &probe, captures) else {
        return None;
    };
    exchange.attributes.route = Some(id.index());
    let program = snapshot.program(Some(id.index()), caller.listener)?;
    let answered = caller.run(program, &exchange.scratch).preflight(Subject {
        head: &mut exchange.request,
        attributes: &mut exchange.attributes,
        unix_ms: caller.unix_ms,
    });
    match answered {
        Some((answer, step)) => {
            exchange.account.route = Some(id.index());
            exchange.account.answered_by = Some(step);
            Some(answer)
        }
        None => {
            exchange.attributes.route = None;
            None
        }
    }
}

pub(super) fn find_route<'s, F: Filter>(
    snapshot: &'s Snapshot<F>,
    exchange: &mut Exchange<F>,
) -> Result<&'s Route<F>, Plan<'s>> {
    let head = &mut exchange.request;
    let request = Request {
        host: head.host(),
        path: head.path(),
        query: head.query().unwrap_or_default(),
        method: head.method_text(),
    };
    let probe = Facts {
        fields: &head.fields,
        principal: exchange.attributes.principal.as_deref(),
    };
    let captures = &mut exchange.attributes.captures;
    match snapshot.router.lookup(&request, &probe, captures) {
        Lookup::Found(id) => {
            exchange.account.route = Some(id.index());
            exchange.attributes.route = Some(id.index());
            let listed = |spec: &RouteSpec| !spec.methods.is_any();
            if head.method == Method::Trace && !snapshot.router.spec(id).is_some_and(listed) {
                // It shows its sender every field that we add; only a route that asks for it
                // by name gets it.
                return Err(Plan::Fault(Fault::TraceRefused));
            }
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

/// Predicates look at the fields of the head, and at who makes the request.
struct Facts<'a> {
    fields: &'a Fields,
    principal: Option<&'a Principal>,
}

impl Probe for Facts<'_> {
    fn any_header(&self, lower_name: &str, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.fields.values_of(lower_name).any(test)
    }

    fn any_fact(&self, fact: &Fact, test: impl FnMut(&[u8]) -> bool) -> bool {
        self.principal.is_some_and(|known| known.any(fact, test))
    }
}
