//! Why a route lost, in words, and where in the configuration the deciding condition stands.

use ringgate_config::model::{FieldMatch, Route, ValueMatch};
use ringgate_config::{Config, Span, Spanned};
use ringgate_core::explain::Routed;
use ringgate_router::{HostPattern, Reason, RouteId, RouteSpec, Router};

use super::shown::CREDENTIALS;

/// A reason as people read it.
#[derive(Debug)]
pub struct Loss {
    /// One word for machines.
    pub word: &'static str,
    /// For people.
    pub text: String,
    /// The condition.
    pub span: Span,
}

/// Puts a reason into words.
pub fn loss(
    config: &Config,
    router: &Router,
    id: RouteId,
    reason: Reason,
    routed: &Routed,
) -> Loss {
    let route = &config.routes[id.index()];
    let (word, text, span) = match reason {
        Reason::Host => (
            "host",
            format!("host: it takes {}", listed(&route.hosts)),
            hull(&route.hosts).unwrap_or(route.name.span),
        ),
        Reason::Path => (
            "path",
            format!("path: it takes {}", route.path),
            route.path.span,
        ),
        Reason::Method => (
            "method",
            match router.spec(id) {
                Some(spec) => format!("method: it takes {}", spec.methods.allow_value()),
                None => "method".to_owned(),
            },
            hull(&route.methods).unwrap_or(route.name.span),
        ),
        Reason::Header(index) => {
            let (text, span) = match route.matches.headers.get(index) {
                Some(condition) => (header(condition, routed), whole(condition)),
                None => ("header".to_owned(), route.name.span),
            };
            ("header", text, span)
        }
        Reason::Query(index) => {
            let (text, span) = match route.matches.query.get(index) {
                Some(condition) => (
                    format!("query {}: {}", condition.name, wanted(condition)),
                    whole(condition),
                ),
                None => ("query".to_owned(), route.name.span),
            };
            ("query", text, span)
        }
        Reason::Fact(index) => {
            let fact = router.spec(id).and_then(|spec| spec.facts.get(index));
            let text = match fact {
                Some(fact) => format!("{}: not what the route asks for", fact.fact()),
                None => "who asks".to_owned(),
            };
            ("principal", text, route.name.span)
        }
        Reason::LessSpecific { than } => {
            let (text, span) = less_specific(config, router, id, than, &routed.host);
            ("less_specific", text, span)
        }
    };
    Loss { word, text, span }
}

fn header(condition: &FieldMatch, routed: &Routed) -> String {
    let name = &*condition.name.value;
    let given: Vec<String> = routed
        .fields
        .iter()
        .filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| format!("{:?}", String::from_utf8_lossy(value)))
        .collect();
    let given = match given.is_empty() {
        true => "has none".to_owned(),
        false => format!("has {}", given.join(", ")),
    };
    format!("header {name}: {}, the request {given}", wanted(condition))
}

fn wanted(condition: &FieldMatch) -> String {
    let is_credential = CREDENTIALS.contains(&&*condition.name.value);
    match &condition.value.value {
        ValueMatch::Present => "it must be there".to_owned(),
        ValueMatch::Absent => "it must not be there".to_owned(),
        _ if is_credential => "wants another value".to_owned(),
        ValueMatch::Exact(text) => format!("wants {text:?}"),
        ValueMatch::Any(texts) => format!("wants one of {}", quoted(texts)),
        ValueMatch::Prefix(text) => format!("wants {text:?} at its start"),
    }
}

fn quoted(texts: &[Box<str>]) -> String {
    let each: Vec<String> = texts.iter().map(|text| format!("{text:?}")).collect();
    each.join(", ")
}

fn whole(condition: &FieldMatch) -> Span {
    let (name, value) = (condition.name.span, condition.value.span);
    match name.file == value.file && name.start <= value.end {
        true => Span {
            end: value.end,
            ..name
        },
        false => value,
    }
}

fn listed(texts: &[Spanned<Box<str>>]) -> String {
    let each: Vec<&str> = texts.iter().map(|text| &*text.value).collect();
    each.join(", ")
}

/// From the first to the last of several values.
fn hull(texts: &[Spanned<Box<str>>]) -> Option<Span> {
    let (first, last) = (texts.first()?.span, texts.last()?.span);
    match first.file == last.file && first.start <= last.end {
        true => Some(Span {
            end: last.end,
            ..first
        }),
        false => Some(first),
    }
}

/// The first rule of precedence that tells two matching routes apart.
fn less_specific(
    config: &Config,
    router: &Router,
    id: RouteId,
    than: RouteId,
    host: &[u8],
) -> (String, Span) {
    let (route, winner) = (&config.routes[id.index()], &config.routes[than.index()]);
    let name = &winner.name;
    let by_order = || {
        let text = format!("comes after {name} in the file");
        (text, route.name.span)
    };
    let (Some(spec), Some(other)) = (router.spec(id), router.spec(than)) else {
        return by_order();
    };
    if host_rank(spec, host) != host_rank(other, host) {
        let hosts = match route.hosts.is_empty() {
            true => "any host".to_owned(),
            false => listed(&route.hosts),
        };
        let span = hull(&route.hosts).unwrap_or(route.path.span);
        return (format!("less specific host than {name}'s: {hosts}"), span);
    }
    if shape(spec) != shape(other) {
        let text = format!("less specific path than {name}'s: {}", route.path);
        return (text, route.path.span);
    }
    if spec.priority != other.priority {
        return (
            format!("lower priority than {name}'s {}", winner.priority),
            priority_span(route, winner),
        );
    }
    let conditions = |spec: &RouteSpec| {
        let named = spec.headers.len() + spec.query.len() + spec.facts.len();
        named + usize::from(!spec.methods.is_any())
    };
    if conditions(spec) != conditions(other) {
        let text = format!("fewer conditions than {name}, and all of those hold");
        return (text, route.name.span);
    }
    by_order()
}

/// A priority that was not written has no line of its own to show.
fn priority_span(route: &Route, winner: &Route) -> Span {
    match route.priority.value {
        0 => winner.priority.span,
        _ => route.priority.span,
    }
}

/// How closely a route's hosts name `host`: exact, then the longer wildcard, then any.
fn host_rank(spec: &RouteSpec, host: &[u8]) -> usize {
    let ranks = spec.hosts.iter().filter(|pattern| pattern.matches(host));
    let rank = |pattern: &HostPattern| match pattern {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Wildcard(suffix) => suffix.len(),
        HostPattern::Any => 0,
    };
    ranks.map(rank).max().unwrap_or(0)
}

/// The path pattern without the names of its parameters.
fn shape(spec: &RouteSpec) -> String {
    let text = spec.path.as_str();
    let mut shape = String::with_capacity(text.len());
    let mut in_name = false;
    for c in text.chars() {
        match c {
            '{' => in_name = true,
            '}' => in_name = false,
            _ => {}
        }
        if !in_name || c == '{' || c == '*' {
            shape.push(c);
        }
    }
    shape
}
