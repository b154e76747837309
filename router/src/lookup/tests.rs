//! Behaviour of lookups, by example.

use super::*;
use crate::{HeaderPredicate, HostPattern, MethodSet, PathPattern, QueryPredicate, RouteSpec};
use crate::{RouterBuilder, RouterOptions, ValueTest};

fn route(path: &str) -> RouteSpec {
    RouteSpec::new(PathPattern::parse(path).unwrap())
}

fn with_methods(path: &str, methods: &[&str]) -> RouteSpec {
    RouteSpec {
        methods: MethodSet::of(methods).unwrap(),
        ..route(path)
    }
}

fn with_hosts(path: &str, hosts: &[&str]) -> RouteSpec {
    RouteSpec {
        hosts: hosts
            .iter()
            .map(|host| HostPattern::parse(host).unwrap())
            .collect(),
        ..route(path)
    }
}

fn router_with(trailing_slash: TrailingSlash, routes: Vec<RouteSpec>) -> Router {
    let mut builder = RouterBuilder::new(RouterOptions {
        trailing_slash,
        ..RouterOptions::default()
    });
    for spec in routes {
        builder.route(spec);
    }
    builder.build().unwrap()
}

fn router(routes: Vec<RouteSpec>) -> Router {
    router_with(TrailingSlash::Strict, routes)
}

/// Looks up `METHOD host/path?query`; returns the outcome and the captures.
fn ask(router: &Router, line: &str, fields: &[(&str, &str)]) -> (Lookup, Vec<String>) {
    let (method, target) = line.split_once(' ').unwrap();
    let (host, path) = target.split_at(target.find('/').unwrap());
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let request = Request {
        host: host.as_bytes(),
        path: path.as_bytes(),
        query: query.as_bytes(),
        method: method.as_bytes(),
    };
    let mut captures = Captures::new();
    let found = router.lookup(&request, fields, &mut captures);
    let text =
        |index| String::from_utf8(captures.get(index, request.path).unwrap().to_vec()).unwrap();
    (found, (0..captures.len()).map(text).collect())
}

fn found(router: &Router, line: &str) -> Option<u32> {
    match ask(router, line, &[]).0 {
        Lookup::Found(route) => Some(route.0),
        _ => None,
    }
}

#[test]
fn literal_beats_parameter_beats_rest_with_backtracking() {
    let router = router(vec![
        route("/{all*}"),
        route("/{a}/b"),
        route("/x/{b}"),
        route("/x/y"),
        route("/x/{b}/z"),
        route("/{a}/{b}/w"),
        route("/x/{f}.json"),
        route("/x/v{f}.json"),
    ]);
    for (line, expected) in [
        ("GET /x/y", 3),
        ("GET /x/b", 2),
        ("GET /q/b", 1),
        ("GET /x/q/z", 4),
        ("GET /x/q/w", 5),
        ("GET /x/y/w", 5),
        ("GET /x/q/v", 0),
        ("GET /", 0),
        ("GET /x/a.json", 6),
        ("GET /x/v1.json", 7),
        ("GET /x/v.json", 6),
        ("GET /x/.json", 2),
    ] {
        assert_eq!(found(&router, line), Some(expected), "{line}");
    }
}

#[test]
fn captures_are_those_of_the_winner() {
    let router = router(vec![
        route("/{a}/{b}/end"),
        route("/x/{c}/other"),
        route("/{d}/{rest*}"),
    ]);
    assert_eq!(ask(&router, "GET /x/1/end", &[]).1, ["x", "1"]);
    assert_eq!(ask(&router, "GET /x/1/other", &[]).1, ["1"]);
    assert_eq!(ask(&router, "GET /x/1/2/3/", &[]).1, ["x", "1/2/3/"]);
    assert_eq!(ask(&router, "GET /x/", &[]).1, ["x", ""]);
}

#[test]
fn hosts_go_from_exact_over_wildcards_to_any() {
    let router = router(vec![
        route("/a"),
        with_hosts("/a", &["*.example.org"]),
        with_hosts("/a", &["*.b.example.org"]),
        with_hosts("/a", &["x.b.example.org"]),
        with_hosts("/only-wild", &["*.example.org"]),
    ]);
    for (line, expected) in [
        ("GET X.b.example.org/a", Some(3)),
        ("GET y.b.example.org./a", Some(2)),
        ("GET b.example.org/a", Some(1)),
        ("GET example.org/a", Some(0)),
        ("GET /a", Some(0)),
        ("GET x.b.example.org/only-wild", Some(4)),
        ("GET example.org/only-wild", None),
    ] {
        assert_eq!(found(&router, line), expected, "{line}");
    }
}

#[test]
fn ties_go_to_priority_then_predicates_then_order() {
    let header = |name| HeaderPredicate::new(name, ValueTest::Present).unwrap();
    let router = router(vec![
        route("/a/{x}"),
        RouteSpec {
            headers: vec![header("h")],
            ..route("/a/{y}")
        },
        RouteSpec {
            headers: vec![header("h")],
            query: vec![QueryPredicate::new("q", ValueTest::exact("1")).unwrap()],
            ..route("/a/{x}")
        },
        RouteSpec {
            headers: vec![header("urgent")],
            priority: 1,
            ..route("/a/{x}")
        },
        with_methods("/a/{x}", &["GET"]),
    ]);
    let who = |line, fields: &[(&str, &str)]| ask(&router, line, fields).0;
    assert_eq!(who("POST /a/1", &[]), Lookup::Found(RouteId(0)));
    assert_eq!(who("GET /a/1", &[]), Lookup::Found(RouteId(4)));
    assert_eq!(who("GET /a/1", &[("H", "")]), Lookup::Found(RouteId(1)));
    assert_eq!(who("GET /a/1?q=1", &[("H", "")]), Lookup::Found(RouteId(2)));
    assert_eq!(
        who("GET /a/1?q=1", &[("h", ""), ("urgent", "")]),
        Lookup::Found(RouteId(3))
    );
}

#[test]
fn other_methods_are_reported_when_everything_else_matches() {
    let router = router(vec![
        with_methods("/a", &["GET"]),
        with_methods("/{x}", &["PURGE"]),
        RouteSpec {
            headers: vec![HeaderPredicate::new("h", ValueTest::Present).unwrap()],
            ..with_methods("/a", &["PUT"])
        },
        with_methods("/o", &["OPTIONS"]),
    ]);
    let allow = |line, fields: &[(&str, &str)]| match ask(&router, line, fields).0 {
        Lookup::MethodNotAllowed(allowed) => router.allowed_methods(allowed).allow_value(),
        Lookup::Options(allowed) => {
            format!("options {}", router.allowed_methods(allowed).allow_value())
        }
        other => format!("{other:?}"),
    };
    assert_eq!(allow("POST /a", &[]), "GET, HEAD, OPTIONS, PURGE");
    assert_eq!(
        allow("POST /a", &[("h", "")]),
        "GET, HEAD, PUT, OPTIONS, PURGE"
    );
    assert_eq!(
        allow("OPTIONS /a", &[]),
        "options GET, HEAD, OPTIONS, PURGE"
    );
    assert_eq!(allow("POST /b", &[]), "OPTIONS, PURGE");
    assert_eq!(allow("HEAD /a", &[]), "Found(RouteId(0))");
    assert_eq!(allow("PURGE /a", &[]), "Found(RouteId(1))");
    assert_eq!(allow("OPTIONS /o", &[]), "Found(RouteId(3))");
    assert_eq!(allow("GET /a/b", &[]), "NotFound");
}

#[test]
fn trailing_slashes_follow_the_policy() {
    let table = || {
        vec![
            route("/a"),
            route("/b/"),
            route("/c/{rest*}"),
            route("/d/{x}"),
            route("/"),
        ]
    };
    let strict = router(table());
    assert_eq!(found(&strict, "GET /a/"), None);
    assert_eq!(found(&strict, "GET /c"), None);

    let ignore = router_with(TrailingSlash::Ignore, table());
    for (line, expected) in [
        ("GET /a/", 0),
        ("GET /b", 1),
        ("GET /b/", 1),
        ("GET /c", 2),
        ("GET /c/", 2),
        ("GET /d/1/", 3),
        ("GET /", 4),
    ] {
        assert_eq!(found(&ignore, line), Some(expected), "{line}");
    }
    assert_eq!(ask(&ignore, "GET /c/x/", &[]).1, ["x/"]);
    assert_eq!(ask(&ignore, "GET /c/", &[]).1, [""]);

    let redirect = router_with(TrailingSlash::Redirect, table());
    assert_eq!(
        ask(&redirect, "GET /a/", &[]).0,
        Lookup::Redirect(RouteId(0), Slash::Remove)
    );
    assert_eq!(
        ask(&redirect, "GET /b", &[]).0,
        Lookup::Redirect(RouteId(1), Slash::Add)
    );
    assert_eq!(
        ask(&redirect, "GET /c", &[]).0,
        Lookup::Redirect(RouteId(2), Slash::Add)
    );
    assert_eq!(ask(&redirect, "GET /zz", &[]).0, Lookup::NotFound);
}

#[test]
fn long_labels_and_wide_nodes_are_found() {
    let mut routes = Vec::new();
    for c in b'!'..=b'~' {
        if c.is_ascii_alphanumeric() {
            routes.push(route(&format!("/{}", char::from(c))));
        }
    }
    let long = format!("/{}", "long".repeat(30));
    routes.push(route(&long));
    let router = router(routes);
    for (id, spec) in router.specs.iter().enumerate() {
        assert_eq!(
            found(&router, &format!("GET {}", spec.path)),
            Some(id as u32)
        );
    }
    assert_eq!(found(&router, &format!("GET {}", &long[..100])), None);
    assert_eq!(found(&router, "GET /~"), None);
}
