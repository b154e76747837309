//! Why routes won or lost a request: the answers of `ringgate explain`, from the same
//! patterns and predicates that lookups use.

use crate::capture::Captures;
use crate::lookup::{Lookup, Request};
use crate::pattern::PathPattern;
use crate::predicate::Probe;
use crate::router::{RouteId, RouteSpec, Router};

/// A route that a request concerns, and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The route.
    pub route: RouteId,
    /// Whether it won.
    pub verdict: Verdict,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The request goes there.
    Won,
    /// It does not, for this reason, the first that applies.
    Lost(Reason),
}

/// Why a candidate lost. Indices are those of the lists in [`RouteSpec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The path matches, the host does not.
    Host,
    /// The host matches, the path nearly: it differs in one segment or in the trailing slash.
    Path,
    /// The method is not among the route's.
    Method,
    /// This header condition does not hold.
    Header(usize),
    /// This query condition does not hold.
    Query(usize),
    /// The condition at this index on who makes the request does not hold.
    Fact(usize),
    /// All of it matches, but the winner takes precedence.
    LessSpecific {
        /// The winner.
        than: RouteId,
    },
}

/// Near misses by host and by path that are listed, each.
const NEAR_MAX: usize = 32;

impl Router {
    /// The routes that `request` concerns: the winner first, then in configuration order all
    /// whose host and path match, and the first 32 each that only miss the host or nearly
    /// match the path. Looks at every route: for people, not for the hot path.
    pub fn candidates<P: Probe + ?Sized>(
        &self,
        request: &Request<'_>,
        probe: &P,
    ) -> Vec<Candidate> {
        let winner = match self.search(request, probe, &mut Captures::new()) {
            Lookup::Found(route) => Some(route),
            _ => None,
        };
        let mut candidates = Vec::new();
        let (mut hosts_missed, mut paths_missed) = (0, 0);
        for (id, spec) in self.specs.iter().enumerate() {
            let route = RouteId(id as u32);
            if Some(route) == winner {
                let verdict = Verdict::Won;
                candidates.insert(0, Candidate { route, verdict });
                continue;
            }
            let Some(reason) = self.reason(spec, request, probe, winner) else {
                continue;
            };
            let listed = match reason {
                Reason::Host => &mut hosts_missed,
                Reason::Path => &mut paths_missed,
                _ => &mut 0,
            };
            *listed += 1;
            if *listed <= NEAR_MAX {
                let verdict = Verdict::Lost(reason);
                candidates.push(Candidate { route, verdict });
            }
        }
        candidates
    }

    fn reason<P: Probe + ?Sized>(
        &self,
        spec: &RouteSpec,
        request: &Request<'_>,
        probe: &P,
        winner: Option<RouteId>,
    ) -> Option<Reason> {
        let hosts = spec.distinct_hosts();
        let host = hosts.iter().any(|host| host.matches(request.host));
        let path = spec.path.matches(request.path, self.options.trailing_slash);
        if !path {
            return (host && is_near(&spec.path, request.path)).then_some(Reason::Path);
        }
        if !host {
            return Some(Reason::Host);
        }
        if !spec.methods.contains(request.method) {
            return Some(Reason::Method);
        }
        let header = spec.headers.iter().position(|header| !header.holds(probe));
        if let Some(index) = header {
            return Some(Reason::Header(index));
        }
        let parameter = spec
            .query
            .iter()
            .position(|query| !query.holds(request.query));
        if let Some(index) = parameter {
            return Some(Reason::Query(index));
        }
        let fact = spec.facts.iter().position(|fact| !fact.holds(probe));
        if let Some(index) = fact {
            return Some(Reason::Fact(index));
        }
        debug_assert!(winner.is_some(), "a route matches, so one must win");
        winner.map(|than| Reason::LessSpecific { than })
    }
}

/// Whether `path` differs from what `pattern` takes in one segment, or in the trailing slash.
fn is_near(pattern: &PathPattern, path: &[u8]) -> bool {
    let wanted: Vec<&[u8]> = pattern
        .as_str()
        .as_bytes()
        .split(|&byte| byte == b'/')
        .collect();
    let mut given: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let slash_differs = wanted.len().abs_diff(given.len()) == 1;
    if slash_differs && (wanted.last() == Some(&&b""[..]) || given.last() == Some(&&b""[..])) {
        given.resize(wanted.len(), b"");
        return wanted
            .iter()
            .zip(&given)
            .all(|(wanted, given)| segment_matches(wanted, given));
    }
    if wanted.last().is_some_and(|last| last.ends_with(b"*}")) {
        given.truncate(wanted.len());
    }
    let misses = wanted
        .iter()
        .zip(&given)
        .filter(|(wanted, given)| !segment_matches(wanted, given))
        .count();
    wanted.len() == given.len() && wanted.len() > 2 && misses == 1
}

fn segment_matches(wanted: &[u8], given: &[u8]) -> bool {
    let braces = (memchr::memchr(b'{', wanted), memchr::memchr(b'}', wanted));
    let (Some(open), Some(close)) = braces else {
        return wanted == given;
    };
    let (prefix, suffix) = (&wanted[..open], &wanted[close + 1..]);
    wanted.ends_with(b"*}")
        || (given.len() > prefix.len() + suffix.len()
            && given.starts_with(prefix)
            && given.ends_with(suffix))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        HeaderPredicate, HostPattern, MethodSet, QueryPredicate, RouterBuilder, RouterOptions,
        ValueTest,
    };

    #[test]
    fn each_loser_names_its_first_reason() {
        let route = |path: &str| RouteSpec::new(PathPattern::parse(path).unwrap());
        let mut builder = RouterBuilder::new(RouterOptions::default());
        builder.route(route("/api/{rest*}"));
        builder.route(RouteSpec {
            methods: MethodSet::of(["POST"]).unwrap(),
            ..route("/api/users/{id}")
        });
        builder.route(RouteSpec {
            headers: vec![HeaderPredicate::new("x-version", ValueTest::exact("2")).unwrap()],
            ..route("/api/users/{id}")
        });
        builder.route(RouteSpec {
            query: vec![QueryPredicate::new("preview", ValueTest::Present).unwrap()],
            ..route("/api/users/{id}")
        });
        builder.route(RouteSpec {
            hosts: vec![HostPattern::parse("other.example").unwrap()],
            ..route("/api/users/7")
        });
        builder.route(route("/api/users/{id}/"));
        builder.route(route("/api/orders/{id}"));
        builder.route(route("/elsewhere"));
        let winner = builder.route(route("/api/users/{id}"));
        let router = builder.build().unwrap();
        let request = Request {
            host: b"api.example.com",
            path: b"/api/users/7",
            query: b"",
            method: b"GET",
        };
        let found: Vec<(u32, Verdict)> = router
            .candidates(&request, &())
            .into_iter()
            .map(|candidate| (candidate.route.0, candidate.verdict))
            .collect();
        let lost = Verdict::Lost;
        assert_eq!(
            found,
            [
                (8, Verdict::Won),
                (0, lost(Reason::LessSpecific { than: winner })),
                (1, lost(Reason::Method)),
                (2, lost(Reason::Header(0))),
                (3, lost(Reason::Query(0))),
                (4, lost(Reason::Host)),
                (5, lost(Reason::Path)),
                (6, lost(Reason::Path)),
            ]
        );
    }
}
