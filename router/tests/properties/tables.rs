//! Random tables over a small alphabet, so that routes collide, and their translation.

use proptest::prelude::*;
use ringgate_router::{
    Captures, HeaderPredicate, HostPattern, Lookup, MethodSet, PathPattern, QueryPredicate,
    Request, RouteSpec, Router, RouterBuilder, RouterOptions, ValueTest,
};

use crate::naive::{NaiveRequest, NaiveRoute, Test};

pub fn spec(route: &NaiveRoute) -> RouteSpec {
    RouteSpec {
        hosts: route
            .hosts
            .iter()
            .map(|host| HostPattern::parse(host).unwrap())
            .collect(),
        path: PathPattern::parse(&route.path).unwrap(),
        methods: if route.methods.is_empty() {
            MethodSet::any()
        } else {
            MethodSet::of(&route.methods).unwrap()
        },
        headers: route
            .headers
            .iter()
            .map(|(name, test)| HeaderPredicate::new(name, value_test(test)).unwrap())
            .collect(),
        query: route
            .query
            .iter()
            .map(|(key, test)| QueryPredicate::new(key, value_test(test)).unwrap())
            .collect(),
        facts: Vec::new(),
        priority: route.priority,
    }
}

fn value_test(test: &Test) -> ValueTest {
    match test {
        Test::Present => ValueTest::Present,
        Test::Absent => ValueTest::Absent,
        Test::Exact(value) => ValueTest::exact(value),
        Test::Prefix(prefix) => ValueTest::prefix(prefix),
        Test::OneOf(set) => ValueTest::one_of(set),
    }
}

/// Builds the router, or says why not.
pub fn router(routes: &[NaiveRoute], options: RouterOptions) -> Router {
    let mut builder = RouterBuilder::new(options);
    for route in routes {
        builder.route(spec(route));
    }
    builder.build().unwrap()
}

pub fn query_text(request: &NaiveRequest) -> String {
    let pairs: Vec<String> = request
        .query
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join("&")
}

/// The outcome of a lookup and the captures as text.
pub fn ask(router: &Router, request: &NaiveRequest) -> (Lookup, Vec<String>) {
    let query = query_text(request);
    let mut captures = Captures::new();
    let raw = Request {
        host: request.host.as_bytes(),
        path: request.path.as_bytes(),
        query: query.as_bytes(),
        method: request.method.as_bytes(),
    };
    let found = router.lookup(&raw, request.headers.as_slice(), &mut captures);
    let text = |index| String::from_utf8(captures.get(index, raw.path).unwrap().to_vec()).unwrap();
    (found, (0..captures.len()).map(text).collect())
}

pub const HOSTS: [&str; 5] = ["*", "a.org", "*.org", "*.a.org", "b.a.org"];

/// A pattern of up to four segments; `{` stands for a parameter until it is numbered.
pub fn pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec![
        "a", "a", "b", "ab", "{}", "{}", "a{}", "{}b", "a{}b", "ab{}",
    ]);
    let end = prop::sample::select(vec!["", "", "", "/", "/{*}"]);
    (prop::collection::vec(segment, 0..4), end).prop_map(|(segments, end)| {
        let mut text: String = segments
            .iter()
            .map(|segment| format!("/{segment}"))
            .collect();
        text.push_str(end);
        if text.is_empty() {
            text.push('/');
        }
        let mut numbered = String::new();
        for (number, piece) in text.split('{').enumerate() {
            if number > 0 {
                numbered.push_str(&format!("{{p{number}"));
            }
            numbered.push_str(piece);
        }
        numbered
    })
}

fn test() -> impl Strategy<Value = Test> {
    prop_oneof![
        Just(Test::Present),
        Just(Test::Absent),
        Just(Test::Exact("1")),
        Just(Test::Exact("12")),
        Just(Test::Prefix("1")),
        Just(Test::OneOf(vec!["1", "2"])),
    ]
}

/// At most one test per name, so that no route contradicts itself.
fn conditions(names: &'static [&'static str]) -> impl Strategy<Value = Vec<(&'static str, Test)>> {
    prop::sample::subsequence(names, 0..=names.len()).prop_flat_map(|names| {
        let tests = names.iter().map(|_| test()).collect::<Vec<_>>();
        tests.prop_map(move |tests| names.iter().copied().zip(tests).collect())
    })
}

pub fn methods() -> impl Strategy<Value = Vec<&'static str>> {
    let lists: Vec<Vec<&str>> = vec![
        vec![],
        vec![],
        vec!["GET"],
        vec!["POST"],
        vec!["GET", "POST"],
        vec!["HEAD"],
        vec!["PURGE"],
    ];
    prop::sample::select(lists)
}

/// `busy`: the share of routes with conditions, in percent.
pub fn route(paths: impl Strategy<Value = String>, busy: u32) -> impl Strategy<Value = NaiveRoute> {
    let plain = Just((vec![], vec![])).boxed();
    let with = (conditions(&["h", "g"]), conditions(&["q"])).boxed();
    let conditions = prop_oneof![100 - busy => plain, busy => with];
    let hosts = prop_oneof![2 => Just(vec![]), 1 => prop::sample::subsequence(&HOSTS[..], 1..=2)];
    (
        hosts,
        paths,
        methods(),
        conditions,
        prop_oneof![4 => Just(0), 1 => -1..=1],
    )
        .prop_map(
            |(hosts, path, methods, (headers, query), priority)| NaiveRoute {
                hosts,
                path,
                methods,
                headers,
                query,
                priority,
            },
        )
}

fn fields(
    name: &'static [&'static str],
) -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let field = (
        prop::sample::select(name),
        prop::sample::select(vec!["1", "2", "12", ""]),
    );
    prop::collection::vec(field, 0..3)
}

pub fn request() -> impl Strategy<Value = NaiveRequest> {
    let segment = prop::sample::select(vec!["a", "a", "b", "ab", "aab", "axb", "x", "abb"]);
    let path =
        (prop::collection::vec(segment, 0..5), any::<bool>()).prop_map(|(segments, slash)| {
            let mut text: String = segments
                .iter()
                .map(|segment| format!("/{segment}"))
                .collect();
            if slash || text.is_empty() {
                text.push('/');
            }
            text
        });
    let host = prop::sample::select(vec![
        "",
        "a.org",
        "b.a.org",
        "c.b.a.org",
        "b.org",
        "org",
        "c.net",
    ]);
    let method = prop::sample::select(vec!["GET", "HEAD", "POST", "PURGE", "BREW"]);
    (host, path, method, fields(&["h", "g"]), fields(&["q", "r"])).prop_map(
        |(host, path, method, headers, query)| NaiveRequest {
            host: host.to_owned(),
            path,
            method,
            headers,
            query,
        },
    )
}
