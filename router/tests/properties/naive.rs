//! The documented precedence as a linear scan over plain text, sharing no code with the router.

use std::cmp::Reverse;

/// A route in the terms of the documentation.
#[derive(Debug, Clone)]
pub struct NaiveRoute {
    pub hosts: Vec<&'static str>,
    pub path: String,
    /// Empty: every method.
    pub methods: Vec<&'static str>,
    pub headers: Vec<(&'static str, Test)>,
    pub query: Vec<(&'static str, Test)>,
    pub priority: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    Present,
    Absent,
    Exact(&'static str),
    Prefix(&'static str),
    OneOf(Vec<&'static str>),
}

#[derive(Debug, Clone)]
pub struct NaiveRequest {
    pub host: String,
    pub path: String,
    pub method: &'static str,
    pub headers: Vec<(&'static str, &'static str)>,
    pub query: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slashes {
    Strict,
    Ignore,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Found(usize, Vec<String>),
    MethodNotAllowed(Vec<String>),
    NotFound,
}

/// One segment of a pattern; smaller sorts first, so it is the more specific.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Literal,
    Param(Reverse<usize>, Reverse<usize>),
    Rest,
}

pub fn answer(routes: &[NaiveRoute], request: &NaiveRequest, slashes: Slashes) -> Answer {
    let mut best = None;
    let mut allowed = Vec::new();
    for (id, route) in routes.iter().enumerate() {
        let Some(host) = host_rank(route, &request.host) else {
            continue;
        };
        let Some((classes, captures)) = path_match(&route.path, &request.path, slashes) else {
            continue;
        };
        if !conditions_hold(route, request) {
            continue;
        }
        if !takes_method(route, request.method) {
            allowed.extend(methods_of(route));
            continue;
        }
        let count =
            route.headers.len() + route.query.len() + usize::from(!route.methods.is_empty());
        let rank = (host, classes, Reverse(route.priority), Reverse(count), id);
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, captures));
        }
    }
    if let Some((rank, captures)) = best {
        return Answer::Found(rank.4, captures);
    }
    if allowed.is_empty() {
        return Answer::NotFound;
    }
    allowed.push("OPTIONS".to_owned());
    allowed.sort();
    allowed.dedup();
    Answer::MethodNotAllowed(allowed)
}

fn methods_of(route: &NaiveRoute) -> Vec<String> {
    let mut methods: Vec<String> = route
        .methods
        .iter()
        .map(|method| (*method).to_owned())
        .collect();
    if route.methods.contains(&"GET") {
        methods.push("HEAD".to_owned());
    }
    methods
}

fn takes_method(route: &NaiveRoute, method: &str) -> bool {
    route.methods.is_empty() || methods_of(route).iter().any(|known| known == method)
}

/// Smaller is more specific.
fn host_rank(route: &NaiveRoute, host: &str) -> Option<(u8, Reverse<usize>)> {
    if route.hosts.is_empty() {
        return Some((2, Reverse(0)));
    }
    let rank = |pattern: &&str| match pattern.strip_prefix('*') {
        Some("") => Some((2, Reverse(0))),
        Some(suffix) => (host.len() > suffix.len() && host.ends_with(suffix))
            .then_some((1, Reverse(suffix.len()))),
        None => (host == *pattern).then_some((0, Reverse(0))),
    };
    route.hosts.iter().filter_map(rank).min()
}

fn path_match(pattern: &str, path: &str, slashes: Slashes) -> Option<(Vec<Class>, Vec<String>)> {
    let strip = |text: &str| match slashes {
        Slashes::Ignore if text.len() > 1 => text.strip_suffix('/').unwrap_or(text).to_owned(),
        _ => text.to_owned(),
    };
    let (pattern, bare) = (strip(pattern), strip(path));
    let wanted: Vec<&str> = pattern[1..].split('/').collect();
    let given: Vec<&str> = bare[1..].split('/').collect();
    let mut classes = Vec::new();
    let mut captures = Vec::new();
    for (index, wanted) in wanted.iter().enumerate() {
        if wanted.ends_with("*}") {
            if index > given.len() || (index == given.len() && slashes == Slashes::Strict) {
                return None;
            }
            let before: usize = given[..index].iter().map(|segment| segment.len() + 1).sum();
            captures.push(path.get(before + 1..).unwrap_or("").to_owned());
            classes.push(Class::Rest);
            return Some((classes, captures));
        }
        let given = given.get(index)?;
        match wanted.split_once('{') {
            None if given == wanted => classes.push(Class::Literal),
            None => return None,
            Some((prefix, rest)) => {
                let (_, suffix) = rest.split_once('}').unwrap();
                let inner = given.strip_prefix(prefix)?.strip_suffix(suffix)?;
                if inner.is_empty() {
                    return None;
                }
                captures.push(inner.to_owned());
                classes.push(Class::Param(Reverse(prefix.len()), Reverse(suffix.len())));
            }
        }
    }
    (wanted.len() == given.len()).then_some((classes, captures))
}

fn conditions_hold(route: &NaiveRoute, request: &NaiveRequest) -> bool {
    let holds = |(name, test): &(&str, Test), fields: &[(&'static str, &'static str)]| {
        let mut values = fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| *value);
        match test {
            Test::Present => values.next().is_some(),
            Test::Absent => values.next().is_none(),
            Test::Exact(expected) => values.any(|value| value == *expected),
            Test::Prefix(prefix) => values.any(|value| value.starts_with(prefix)),
            Test::OneOf(set) => values.any(|value| set.contains(&value)),
        }
    };
    route
        .headers
        .iter()
        .all(|header| holds(header, &request.headers))
        && route.query.iter().all(|query| holds(query, &request.query))
}
