//! Lookups agree with the naive matcher, and explanations with lookups.

use proptest::prelude::*;
use ringgate_router::{
    Lookup, Reason, Request, RouteId, RouterBuilder, RouterOptions, STEPS_MAX, Slash,
    TrailingSlash, Verdict,
};

use crate::naive::{Answer, NaiveRequest, NaiveRoute, Slashes, answer};
use crate::tables::{ask, pattern, query_text, request, route, router, spec};

fn options(trailing_slash: TrailingSlash) -> RouterOptions {
    RouterOptions {
        trailing_slash,
        ..RouterOptions::default()
    }
}

fn check(routes: &[NaiveRoute], request: &NaiveRequest, trailing_slash: TrailingSlash) {
    let slashes = match trailing_slash {
        TrailingSlash::Ignore => Slashes::Ignore,
        _ => Slashes::Strict,
    };
    let router = router(routes, options(trailing_slash));
    let (found, captures) = ask(&router, request);
    let expected = answer(routes, request, slashes);
    let actual = match found {
        Lookup::Found(id) => Answer::Found(id.index(), captures),
        Lookup::MethodNotAllowed(allowed) | Lookup::Options(allowed) => {
            let mut names: Vec<String> = router
                .allowed_methods(allowed)
                .names()
                .map(str::to_owned)
                .collect();
            names.sort();
            Answer::MethodNotAllowed(names)
        }
        Lookup::Redirect(id, slash) => {
            assert_eq!(expected, Answer::NotFound);
            let mut other = request.clone();
            match slash {
                Slash::Add => other.path.push('/'),
                Slash::Remove => drop(other.path.pop()),
            }
            let answer = answer(routes, &other, slashes);
            assert!(
                matches!(answer, Answer::Found(winner, _) if winner == id.index()),
                "{answer:?}"
            );
            return;
        }
        Lookup::NotFound => Answer::NotFound,
    };
    assert_eq!(actual, expected);
}

fn trailing_slash() -> impl Strategy<Value = TrailingSlash> {
    prop::sample::select(vec![
        TrailingSlash::Strict,
        TrailingSlash::Ignore,
        TrailingSlash::Redirect,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn lookups_agree_with_the_naive_matcher(
        routes in prop::collection::vec(route(pattern(), 30), 0..14),
        requests in prop::collection::vec(request(), 1..12),
        trailing_slash in trailing_slash(),
    ) {
        for request in &requests {
            check(&routes, request, trailing_slash);
        }
    }

    #[test]
    fn explanations_agree_with_lookups(
        routes in prop::collection::vec(route(pattern(), 50), 0..14),
        request in request(),
        trailing_slash in trailing_slash(),
    ) {
        let router = router(&routes, options(trailing_slash));
        let query = query_text(&request);
        let raw = Request {
            host: request.host.as_bytes(),
            path: request.path.as_bytes(),
            query: query.as_bytes(),
            method: request.method.as_bytes(),
        };
        let winner = match ask(&router, &request).0 {
            Lookup::Found(id) => Some(id),
            _ => None,
        };
        let candidates = router.candidates(&raw, request.headers.as_slice());
        let won: Vec<RouteId> = candidates
            .iter()
            .filter(|candidate| candidate.verdict == Verdict::Won)
            .map(|candidate| candidate.route)
            .collect();
        prop_assert_eq!(won.first().copied(), winner);
        prop_assert!(won.len() <= 1);
        for (id, route) in routes.iter().enumerate() {
            // A table of one route matches exactly if nothing but the others was in the way.
            let mut alone = RouterBuilder::new(options(trailing_slash));
            alone.route(spec(route));
            let alone = matches!(ask(&alone.build().unwrap(), &request).0, Lookup::Found(_));
            let verdict = candidates
                .iter()
                .find(|candidate| candidate.route.index() == id)
                .map(|candidate| candidate.verdict);
            let matches = match verdict {
                Some(Verdict::Won) => true,
                Some(Verdict::Lost(Reason::LessSpecific { than })) => {
                    prop_assert_eq!(Some(than), winner);
                    true
                }
                _ => false,
            };
            prop_assert_eq!(matches, alone, "route {} was {:?}", id, verdict);
        }
    }
}

/// All patterns of `depth` segments out of a literal and a parameter, each with its own end.
fn overlapping(depth: u32) -> RouterBuilder {
    let mut builder = RouterBuilder::new(RouterOptions::default());
    for choice in 0..1_u32 << depth {
        let mut path = String::new();
        for place in 0..depth {
            path.push_str(&if choice & (1 << place) == 0 {
                "/a".to_owned()
            } else {
                format!("/{{p{place}}}")
            });
        }
        path.push_str(&format!("/end{choice}"));
        builder.route(ringgate_router::RouteSpec::new(
            ringgate_router::PathPattern::parse(&path).unwrap(),
        ));
    }
    builder
}

#[test]
fn the_work_of_a_lookup_is_bounded_when_the_table_is_built() {
    let router = overlapping(10).build().unwrap();
    assert!(router.steps_max() <= STEPS_MAX);
    assert!(
        router.steps_max() >= 1 << 10,
        "every pattern overlaps, so each may have to be tried"
    );
    assert!(
        overlapping(14).build().is_err(),
        "more than the bound is refused"
    );
}

#[test]
fn many_parameters_alone_cost_no_more_than_their_segments() {
    let mut builder = RouterBuilder::new(RouterOptions::default());
    for count in 1..=16 {
        let path: String = (0..count).map(|place| format!("/{{p{place}}}")).collect();
        builder.route(ringgate_router::RouteSpec::new(
            ringgate_router::PathPattern::parse(&path).unwrap(),
        ));
    }
    // Sixteen parameters and fifteen slashes between them, plus the first.
    assert!(builder.build().unwrap().steps_max() <= 32);
}
