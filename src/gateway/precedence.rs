//! The order in which routes win, for people to read: the router's rules (see its crate
//! documentation) as one list. A route with several hosts stands where its most specific one
//! does.

use std::cmp::Reverse;

use ringgate_router::{HostPattern, RouteId, RouteSpec, Router};

/// The routes' indices, those that win first.
pub fn order(router: &Router) -> Vec<usize> {
    let indices = 0..router.len();
    let mut keyed: Vec<(Key<'_>, usize)> = indices
        .filter_map(|index| Some((key(router.spec(RouteId(index as u32))?), index)))
        .collect();
    keyed.sort();
    keyed.into_iter().map(|(_, index)| index).collect()
}

/// Host, path, priority and conditions; the smaller wins.
type Key<'s> = (Host<'s>, Vec<Segment<'s>>, Reverse<i32>, Reverse<usize>);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host<'s> {
    Exact(&'s str),
    Wildcard(Reverse<usize>, &'s str),
    Any,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment<'s> {
    Literal(&'s str),
    /// Longer literals before and after the parameter win.
    Parameter(Reverse<usize>, Reverse<usize>),
    Rest,
}

fn key(spec: &RouteSpec) -> Key<'_> {
    let hosts = spec.hosts.iter().map(|host| match host {
        HostPattern::Exact(name) => Host::Exact(name),
        HostPattern::Wildcard(suffix) => Host::Wildcard(Reverse(suffix.len()), suffix),
        HostPattern::Any => Host::Any,
    });
    let segments = spec.path.as_str().split('/').skip(1).map(segment);
    let listed = usize::from(!spec.methods.is_any());
    (
        hosts.min().unwrap_or(Host::Any),
        segments.collect(),
        Reverse(spec.priority),
        Reverse(spec.headers.len() + spec.query.len() + listed),
    )
}

fn segment(text: &str) -> Segment<'_> {
    match (text.find('{'), text.find('}')) {
        (Some(_), _) if text.ends_with("*}") => Segment::Rest,
        (Some(open), Some(close)) => {
            Segment::Parameter(Reverse(open), Reverse(text.len() - close - 1))
        }
        _ => Segment::Literal(text),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ringgate_router::{MethodSet, PathPattern, RouterBuilder, RouterOptions};

    fn spec(host: &str, path: &str) -> RouteSpec {
        let mut spec = RouteSpec::new(PathPattern::parse(path).unwrap());
        spec.hosts = vec![HostPattern::parse(host).unwrap()];
        spec
    }

    #[test]
    fn the_more_specific_comes_first() {
        let listed = RouteSpec {
            methods: MethodSet::of(["GET"]).unwrap(),
            ..spec("*", "/api/{id}")
        };
        let raised = RouteSpec {
            priority: 1,
            ..spec("*", "/api/{id}")
        };
        let mut builder = RouterBuilder::new(RouterOptions::default());
        for spec in [
            spec("*", "/api/{rest*}"),
            spec("*", "/api/{id}"),
            listed,
            raised,
            spec("*", "/api/{id}.json"),
            spec("*", "/api/users"),
            spec("*.org", "/{rest*}"),
            spec("*.example.org", "/{rest*}"),
            spec("example.org", "/{rest*}"),
        ] {
            builder.route(spec);
        }
        assert_eq!(
            order(&builder.build().unwrap()),
            [8, 7, 6, 5, 4, 3, 2, 1, 0]
        );
    }
}
