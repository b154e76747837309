//! Dead routes by example; the property is in `tests/properties`.

use super::*;
use crate::{Captures, HeaderPredicate, Lookup, MethodSet, PathPattern, QueryPredicate, Request};
use crate::{RouterBuilder, RouterOptions, TrailingSlash, ValueTest};

fn route(path: &str) -> RouteSpec {
    RouteSpec::new(PathPattern::parse(path).unwrap())
}

fn of(path: &str, methods: &[&str]) -> RouteSpec {
    RouteSpec {
        methods: MethodSet::of(methods).unwrap(),
        ..route(path)
    }
}

fn when(path: &str, header: &str, test: ValueTest) -> RouteSpec {
    RouteSpec {
        headers: vec![HeaderPredicate::new(header, test).unwrap()],
        ..route(path)
    }
}

fn build(options: RouterOptions, routes: Vec<RouteSpec>) -> Router {
    let mut builder = RouterBuilder::new(options);
    for spec in routes {
        builder.route(spec);
    }
    builder.build().unwrap()
}

/// Dead routes with their kind and those that take their requests; each witness is checked.
fn dead(routes: Vec<RouteSpec>) -> Vec<(u32, ConflictKind, Vec<u32>)> {
    let router = build(RouterOptions::default(), routes);
    let conflicts = router.conflicts();
    for conflict in &conflicts {
        let witness = &conflict.witness;
        let request = Request {
            host: witness.host.as_bytes(),
            path: witness.path.as_bytes(),
            query: witness.query.as_bytes(),
            method: witness.method.as_bytes(),
        };
        let won = router.lookup(&request, witness.headers.as_slice(), &mut Captures::new());
        let Lookup::Found(winner) = won else {
            panic!("{witness} is lost: {won:?}")
        };
        assert!(
            conflict.by.contains(&winner),
            "{witness} is won by {winner:?}"
        );
        let mut alone = RouterBuilder::new(RouterOptions::default());
        let own = alone.route(router.spec(conflict.route).unwrap().clone());
        let alone = alone.build().unwrap();
        let won = alone.lookup(&request, witness.headers.as_slice(), &mut Captures::new());
        assert_eq!(won, Lookup::Found(own), "{witness}");
    }
    let ids = |by: Vec<RouteId>| by.into_iter().map(|id| id.0).collect();
    conflicts
        .into_iter()
        .map(|conflict| (conflict.route.0, conflict.kind, ids(conflict.by)))
        .collect()
}

use ConflictKind::{Duplicate, Shadowed};

#[test]
fn names_of_parameters_make_no_difference() {
    assert_eq!(
        dead(vec![route("/a/{x}"), route("/a/{y}")]),
        [(1, Duplicate, vec![0])]
    );
    assert_eq!(
        dead(vec![route("/a/{x}"), route("/a/{x*}"), route("/a/b")]),
        []
    );
}

#[test]
fn methods_may_be_covered_by_several_routes() {
    let routes = vec![
        of("/a", &["GET"]),
        of("/a", &["POST"]),
        of("/a", &["GET", "POST"]),
    ];
    assert_eq!(dead(routes), [(2, Shadowed, vec![0, 1])]);
    // Methods that nobody lists remain.
    assert_eq!(dead(vec![of("/a", &["GET"]), route("/a")]), []);
    assert_eq!(
        dead(vec![of("/a", &["GET"]), of("/a", &["HEAD"])]),
        [(1, Shadowed, vec![0])]
    );
}

#[test]
fn a_rest_is_dead_when_every_length_of_it_is_taken() {
    let table = || {
        vec![
            route("/a/"),
            route("/a/{x}"),
            route("/a/{x}/{rest*}"),
            route("/a/{rest*}"),
        ]
    };
    assert_eq!(dead(table()), [(3, Shadowed, vec![0, 1, 2])]);
    assert_eq!(dead(table()[1..].to_vec()), []);
    // With empty segments kept, `/a//` remains.
    let options = RouterOptions {
        merge_slashes: Merge::Keep,
        ..RouterOptions::default()
    };
    assert_eq!(build(options, table()).conflicts(), []);
}

#[test]
fn sets_of_values_may_be_covered_by_their_members() {
    let table = |last: &[&str]| {
        vec![
            when("/a", "h", ValueTest::exact("1")),
            when("/a", "h", ValueTest::prefix("2")),
            when("/a", "h", ValueTest::one_of(last)),
        ]
    };
    assert_eq!(dead(table(&["1", "22"])), [(2, Shadowed, vec![0, 1])]);
    assert_eq!(dead(table(&["1", "32"])), []);
}

#[test]
fn present_and_absent_cover_everything() {
    let routes = vec![
        when("/a", "h", ValueTest::Present),
        when("/a", "h", ValueTest::Absent),
        route("/a"),
    ];
    assert_eq!(dead(routes), [(2, Shadowed, vec![0, 1])]);
}

#[test]
fn query_witnesses_are_encoded() {
    let query = |value: &str| RouteSpec {
        query: vec![QueryPredicate::new("a b", ValueTest::exact(value)).unwrap()],
        ..route("/a")
    };
    assert_eq!(
        dead(vec![query("&=%"), query("&=%")]),
        [(1, Duplicate, vec![0])]
    );
}

#[test]
fn hosts_are_judged_each_by_itself() {
    let on = |hosts: &[&str], path: &str| RouteSpec {
        hosts: hosts
            .iter()
            .map(|host| HostPattern::parse(host).unwrap())
            .collect(),
        ..route(path)
    };
    assert_eq!(
        dead(vec![on(&["a.org"], "/"), on(&["a.org", "b.org"], "/")]),
        []
    );
    let both = vec![
        on(&["a.org"], "/"),
        on(&["b.org"], "/"),
        on(&["a.org", "b.org"], "/"),
    ];
    assert_eq!(dead(both), [(2, Shadowed, vec![0, 1])]);
    assert_eq!(
        dead(vec![on(&["a.org", "*.a.org"], "/"), on(&["*"], "/")]),
        []
    );
}

#[test]
fn ignored_slashes_make_duplicates() {
    let options = RouterOptions {
        trailing_slash: TrailingSlash::Ignore,
        ..RouterOptions::default()
    };
    let found = build(
        options,
        vec![route("/a"), route("/a/"), route("/b/{r*}"), route("/b")],
    )
    .conflicts();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].route, RouteId(1));
}

#[test]
fn large_groups_are_judged_like_small_ones() {
    let mut routes: Vec<RouteSpec> = (0..100)
        .map(|number| when("/a", "tenant", ValueTest::exact(format!("t{number}"))))
        .collect();
    routes.push(when("/a", "tenant", ValueTest::exact("t7")));
    routes.push(when("/a", "tenant", ValueTest::one_of(["t7", "t9"])));
    routes.push(when("/a", "tenant", ValueTest::one_of(["t7", "t101"])));
    assert_eq!(
        dead(routes),
        [(100, Duplicate, vec![7]), (101, Shadowed, vec![7, 9])]
    );
}
