//! Routes: patterns and conditions into the router, actions and filters beside it.

use ringgate_config::model::{self, FilterId, ValueMatch};
use ringgate_config::{Config, Diagnostic, Severity, Span, Spanned};
use ringgate_core::chain::{Answer, Program, Step};
use ringgate_core::key::RouteNames;
use ringgate_core::policy::{Condition, Conditions, SplitBranch};
use ringgate_core::snapshot::{self, Action, Redirect, Split, UpstreamHost};
use ringgate_core::stats::Registry;
use ringgate_filters::Filter;
use ringgate_router::path::{self, PathPolicy};
use ringgate_router::{
    Fact, FactPredicate, HeaderPredicate, HostPattern, MethodSet, PathPattern, PatternError,
    QueryPredicate, RouteId, RouteSpec, Router, RouterBuilder, RouterOptions, Template,
    TrailingSlash, ValueTest,
};

use super::Surroundings;
use super::chains;
use super::filters::Filters;
use super::listeners::{bytes, ticks};
use super::policies::{self, Upstreams};

type Route = snapshot::Route<Filter>;

/// The router over all routes.
pub(super) fn router(config: &Config) -> Result<Router, Vec<Diagnostic>> {
    let policy = path_policy(config);
    let mut builder = RouterBuilder::new(RouterOptions {
        trailing_slash: match config.path.trailing_slash {
            model::TrailingSlash::Strict => TrailingSlash::Strict,
            model::TrailingSlash::Ignore => TrailingSlash::Ignore,
            model::TrailingSlash::Redirect => TrailingSlash::Redirect,
        },
        merge_slashes: policy.merge_slashes,
    });
    let mut faults = Vec::new();
    for route in &config.routes {
        match spec(route, &policy) {
            Ok(spec) => drop(builder.route(spec)),
            Err(fault) => faults.push(*fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    builder.build().map_err(|error| {
        let culprit = error.route.and_then(|id| config.routes.get(id.index()));
        let message = error.to_string();
        vec![match culprit {
            Some(route) => Diagnostic::error("impossible-route", message, route.name.span)
                .label(format!("in route \"{}\"", route.name)),
            None => Diagnostic::without_place(Severity::Error, "impossible-routes", message),
        }]
    })
}

/// Routes, and the chains that go before them.
pub(super) type Lowered = (Vec<Route>, Vec<Program<Filter>>);

/// The routes, by the ids of their router, and the chains of filters that listeners put before
/// them.
pub(super) fn lower(
    config: &Config,
    router: &Router,
    around: &Surroundings<'_>,
) -> Result<Lowered, Vec<Diagnostic>> {
    let names = (0..).zip(&config.routes).filter_map(|(id, route)| {
        let pattern = &router.spec(RouteId(id))?.path;
        Some(names(route, pattern))
    });
    let mut filters = Filters::new(config, around, names.collect());
    let upstreams = Upstreams::of(config);
    let mut routes = Vec::with_capacity(config.routes.len());
    let mut faults = Vec::new();
    let chains = chains::of(config);
    // What is named before there is a route has no captures.
    let anywhere = PathPattern::parse("/{rest*}");
    let mut programs = Vec::with_capacity(chains.len());
    for chain in &chains {
        let Ok(anywhere) = &anywhere else { break };
        match steps(chain, anywhere, &mut filters) {
            Ok(steps) => programs.push(Program::new(steps)),
            Err(fault) => faults.push(*fault),
        }
    }
    for (id, route) in (0..).zip(&config.routes) {
        let Some(spec) = router.spec(RouteId(id)) else {
            continue;
        };
        let made = lower_route(
            route,
            &spec.path,
            &mut filters,
            &upstreams,
            around.registry,
            &chains,
        );
        match made {
            Ok(route) => routes.push(route),
            Err(fault) => faults.push(*fault),
        }
    }
    match faults.is_empty() {
        true => Ok((routes, programs)),
        false => Err(faults),
    }
}

/// The steps through filters, in order.
fn steps(
    ids: &[Spanned<FilterId>],
    pattern: &PathPattern,
    filters: &mut Filters<'_>,
) -> Result<Vec<Step<Filter>>, Box<Diagnostic>> {
    let ids = ids.iter();
    ids.map(|id| filters.step(id.value, id.span, pattern))
        .collect()
}

/// How paths are normalised.
pub(super) fn path_policy(config: &Config) -> PathPolicy {
    PathPolicy {
        encoded_slash: match config.path.encoded_slash {
            model::EncodedSlash::Reject => path::EncodedSlash::Reject,
            model::EncodedSlash::Keep => path::EncodedSlash::Keep,
            model::EncodedSlash::Decode => path::EncodedSlash::Decode,
        },
        backslash: match config.path.backslash {
            model::Backslash::Reject => path::Backslash::Reject,
            model::Backslash::Slash => path::Backslash::Slash,
        },
        merge_slashes: match config.path.merge_slashes {
            true => path::Merge::Merge,
            false => path::Merge::Keep,
        },
        dot_segments: match config.path.dot_segments {
            model::DotSegments::Resolve => path::DotSegments::Resolve,
            model::DotSegments::Reject => path::DotSegments::Reject,
        },
    }
}

/// What the router needs of a route. Syntax was checked before; what can still fail is what
/// hangs on the path policy or on the router's own limits.
fn spec(route: &model::Route, policy: &PathPolicy) -> Result<RouteSpec, Box<Diagnostic>> {
    let pattern = PathPattern::parse_with(&route.path, policy)
        .map_err(|error| pattern_fault(&error, route.path.span))?;
    let hosts = route.hosts.iter();
    let hosts = hosts
        .map(|host| HostPattern::parse(host).map_err(|error| pattern_fault(&error, host.span)));
    let fault = |message: String, span: Span| Box::new(Diagnostic::error("route", message, span));
    let methods = match &route.methods[..] {
        [] => MethodSet::any(),
        [first, ..] => MethodSet::of(route.methods.iter().map(|method| &*method.value))
            .map_err(|error| fault(error.to_string(), first.span))?,
    };
    let headers = route.matches.headers.iter();
    let headers = headers.map(|condition| {
        HeaderPredicate::new(&condition.name, test(&condition.value))
            .map_err(|error| fault(error.to_string(), condition.value.span))
    });
    let query = route.matches.query.iter();
    let query = query.map(|condition| {
        QueryPredicate::new(condition.name.as_bytes(), test(&condition.value))
            .map_err(|error| fault(error.to_string(), condition.value.span))
    });
    let matches = &route.matches;
    let facts = [
        (Fact::Consumer, &matches.consumer),
        (Fact::Group, &matches.group),
        (Fact::Scope, &matches.scope),
    ];
    let facts = facts
        .into_iter()
        .filter_map(|(fact, value)| Some((fact, value.as_ref()?)));
    let claims = matches.claims.iter();
    let claims = claims.map(|claim| (Fact::Claim(claim.name.value.clone()), &claim.value));
    let facts = facts.chain(claims).map(|(fact, value)| {
        FactPredicate::new(fact, test(value)).map_err(|error| fault(error.to_string(), value.span))
    });
    Ok(RouteSpec {
        hosts: hosts.collect::<Result<_, _>>()?,
        path: pattern,
        methods,
        headers: headers.collect::<Result<_, _>>()?,
        query: query.collect::<Result<_, _>>()?,
        facts: facts.collect::<Result<_, _>>()?,
        priority: route.priority.value,
    })
}

fn pattern_fault(error: &PatternError, span: Span) -> Box<Diagnostic> {
    Box::new(
        Diagnostic::error("invalid-pattern", error.message.clone(), span).label("in this pattern"),
    )
}

fn test(value: &ValueMatch) -> ValueTest {
    match value {
        ValueMatch::Exact(text) => ValueTest::exact(text.as_bytes()),
        ValueMatch::Any(texts) => ValueTest::one_of(texts.iter().map(|text| text.as_bytes())),
        ValueMatch::Prefix(text) => ValueTest::prefix(text.as_bytes()),
        ValueMatch::Present => ValueTest::Present,
        ValueMatch::Absent => ValueTest::Absent,
    }
}

fn lower_route(
    route: &model::Route,
    pattern: &PathPattern,
    filters: &mut Filters<'_>,
    upstreams: &Upstreams<'_>,
    registry: &Registry,
    chains: &[&[Spanned<FilterId>]],
) -> Result<Route, Box<Diagnostic>> {
    let rewrite = route.rewrite.as_ref();
    let program = Program::new(steps(&route.filters, pattern, filters)?);
    // A route without filters of its own has those of the chain all the same.
    let chained = chains.iter().map(|chain| {
        let mut all = steps(chain, pattern, filters)?;
        all.extend(steps(&route.filters, pattern, filters)?);
        Ok(Program::new(all))
    });
    let chained = chained.collect::<Result<_, Box<Diagnostic>>>()?;
    Ok(Route {
        name: (&**route.name).into(),
        names: names(route, pattern),
        action: action(&route.action, pattern)?,
        program,
        chained,
        rewrite: rewrite
            .map(|text| template(&text.value, text.span, pattern))
            .transpose()?,
        timeout: route.timeout.map(ticks),
        body_max: route.body_max.map(bytes),
        upstream_host: match &route.upstream_host {
            model::UpstreamHost::Preserve => UpstreamHost::Preserve,
            model::UpstreamHost::Endpoint => UpstreamHost::Endpoint,
            model::UpstreamHost::Literal(host) => UpstreamHost::Fixed(host.clone()),
        },
        upgrades: match route.upgrade {
            model::Upgrade::Forbid => [].into(),
            model::Upgrade::WebSocket => ["websocket".into()].into(),
        },
        stats: registry.route(&route.name),
        policy: policies::route(upstreams, &route.policy),
        state: registry.route_state(&route.name),
    })
}

/// What keys of a route's requests are made with.
fn names(route: &model::Route, pattern: &PathPattern) -> RouteNames {
    RouteNames {
        name: (&**route.name).into(),
        captures: pattern.capture_names().into(),
    }
}

fn action(action: &model::Action, pattern: &PathPattern) -> Result<Action, Box<Diagnostic>> {
    Ok(match action {
        model::Action::Upstream(upstream) => Action::Upstream(upstream.index()),
        model::Action::Split(targets) => {
            let branches: Vec<SplitBranch> = targets.iter().map(branch).collect();
            // The configuration promises a weight above 0; one branch then takes everything.
            match Split::of(&branches) {
                Some(split) => Action::Split(split),
                None => Action::Upstream(branches.first().map_or(0, |branch| branch.upstream)),
            }
        }
        model::Action::Respond(respond) => Action::Respond(Box::new(constant(respond))),
        model::Action::Redirect(redirect) => Action::Redirect(Box::new(Redirect {
            status: redirect.status,
            to: template(&redirect.to.value, redirect.to.span, pattern)?,
        })),
    })
}

fn branch(target: &model::SplitTarget) -> SplitBranch {
    let conditions = |written: &[model::FieldMatch]| {
        let each = written.iter().map(|condition| Condition {
            name: condition.name.value.clone(),
            test: test(&condition.value),
        });
        each.collect()
    };
    SplitBranch {
        upstream: target.upstream.index(),
        weight: u32::from(target.weight),
        when: Conditions {
            headers: conditions(&target.headers),
            cookies: conditions(&target.cookies),
        },
    }
}

/// A constant answer.
pub(super) fn constant(respond: &model::Respond) -> Answer {
    let content_type = respond.content_type.iter();
    let content_type = content_type.map(|value| ("content-type".into(), value.as_bytes().into()));
    let fields = respond.headers.iter();
    let fields = fields.map(|field| (field.name.value.clone(), field.value.as_bytes().into()));
    Answer {
        status: respond.status,
        fields: content_type.chain(fields).collect(),
        body: respond.body.as_bytes().to_vec().into(),
        code: "",
    }
}

/// A template over the captures of a pattern.
pub(super) fn template(
    text: &str,
    span: Span,
    pattern: &PathPattern,
) -> Result<Template, Box<Diagnostic>> {
    Template::parse(text, pattern).map_err(|error| pattern_fault(&error, span))
}
