//! A route is reported as dead exactly if it wins no request of a small universe, which holds
//! a representative of everything that the tables here can tell apart.

use proptest::prelude::*;
use ringgate_router::path::Merge;
use ringgate_router::{
    Captures, ConflictKind, Lookup, Request, RouterBuilder, RouterOptions, TrailingSlash,
};

use crate::naive::{NaiveRequest, NaiveRoute};
use crate::tables::{ask, route, router, spec};

fn options() -> impl Strategy<Value = RouterOptions> {
    let slashes = vec![
        TrailingSlash::Strict,
        TrailingSlash::Ignore,
        TrailingSlash::Redirect,
    ];
    let merges = vec![Merge::Merge, Merge::Keep];
    (prop::sample::select(slashes), prop::sample::select(merges)).prop_map(
        |(trailing_slash, merge_slashes)| RouterOptions {
            trailing_slash,
            merge_slashes,
        },
    )
}

/// Patterns of at most three segments.
fn pattern() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "/",
        "/a",
        "/{x}",
        "/{y}",
        "/a{x}",
        "/{x}b",
        "/{r*}",
        "/a/",
        "/a/{r*}",
        "/a/b",
        "/a/{x}",
        "/{x}/b",
        "/{x}/{y}",
        "/{x}/{r*}",
        "/{x}/",
        "/a/{x}/{r*}",
        "/{x}/{y}/",
        "/{x}/{y}/{r*}",
        "/a/{x}/c",
    ])
    .prop_map(str::to_owned)
}

fn paths(merge: Merge) -> Vec<String> {
    let mut segments = vec!["a", "b", "c", "zz", "azz", "zzb"];
    if merge == Merge::Keep {
        segments.push("");
    }
    let mut paths = vec![String::new()];
    let mut all = vec!["/".to_owned()];
    for depth in 1..=4 {
        // Three deep, every value matters; beyond that only the length does.
        let tails = if depth <= 3 { &segments[..] } else { &["zz"] };
        paths = paths
            .iter()
            .flat_map(|path| tails.iter().map(move |segment| format!("{path}/{segment}")))
            .collect();
        all.extend(paths.iter().cloned());
        if merge == Merge::Merge {
            all.extend(paths.iter().map(|path| format!("{path}/")));
        }
    }
    if merge == Merge::Keep {
        all.extend(paths.iter().map(|path| format!("{path}/")));
    }
    all
}

type Fields = Vec<(&'static str, &'static str)>;

fn field_sets(name: &'static str) -> Vec<Fields> {
    let values = ["1", "2", "12", "1z", "z"];
    let mut sets = vec![vec![]];
    sets.extend(values.map(|value| vec![(name, value)]));
    sets
}

/// Whether each route wins any request of the universe.
fn winners(routes: &[NaiveRoute], paths: &[String], options: RouterOptions) -> Vec<bool> {
    let router = router(routes, options);
    let mut wins = vec![false; routes.len()];
    let uses = |name: &str| {
        routes.iter().any(|route| {
            route
                .headers
                .iter()
                .chain(&route.query)
                .any(|(known, _)| *known == name)
        })
    };
    let sets = |name| {
        if uses(name) {
            field_sets(name)
        } else {
            vec![vec![]]
        }
    };
    let hosts = if routes.iter().all(|route| route.hosts.is_empty()) {
        vec![""]
    } else {
        vec!["", "a.org", "b.a.org", "z.a.org", "z.org"]
    };
    for path in paths {
        for host in &hosts {
            for method in ["GET", "HEAD", "POST", "PURGE", "BREW"] {
                for h in sets("h") {
                    for g in sets("g") {
                        for q in sets("q") {
                            let request = NaiveRequest {
                                host: (*host).to_owned(),
                                path: path.clone(),
                                method,
                                headers: [h.clone(), g.clone()].concat(),
                                query: q,
                            };
                            if let Lookup::Found(id) = ask(&router, &request).0 {
                                wins[id.index()] = true;
                            }
                        }
                    }
                }
            }
        }
    }
    wins
}

fn check(routes: &[NaiveRoute], paths: &[String], options: RouterOptions) {
    let router = router(routes, options);
    let conflicts = router.conflicts();
    let wins = winners(routes, paths, options);
    for (id, wins) in wins.iter().enumerate() {
        let reported = conflicts
            .iter()
            .any(|conflict| conflict.route.index() == id);
        assert_eq!(reported, !wins, "route {id} of {routes:#?}");
    }
    for conflict in &conflicts {
        let witness = &conflict.witness;
        let request = Request {
            host: witness.host.as_bytes(),
            path: witness.path.as_bytes(),
            query: witness.query.as_bytes(),
            method: witness.method.as_bytes(),
        };
        let fields = witness.headers.as_slice();
        let mut captures = Captures::new();
        let Lookup::Found(winner) = router.lookup(&request, fields, &mut captures) else {
            panic!("nothing wins {witness}");
        };
        assert_ne!(winner, conflict.route, "{witness}");
        assert!(conflict.by.contains(&winner), "{witness}");
        let mut alone = RouterBuilder::new(options);
        let own = alone.route(spec(&routes[conflict.route.index()]));
        let found = alone
            .build()
            .unwrap()
            .lookup(&request, fields, &mut captures);
        assert_eq!(found, Lookup::Found(own), "{witness}");
        assert!(conflict.kind == ConflictKind::Shadowed || conflict.by.len() == 1);
        assert!(!conflict.by.contains(&conflict.route));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn dead_routes_by_path_and_method_are_found(
        routes in prop::collection::vec(route(pattern(), 0), 2..9),
        options in options(),
    ) {
        check(&routes, &paths(options.merge_slashes), options);
    }

    #[test]
    fn dead_routes_by_conditions_are_found(
        mut routes in prop::collection::vec(route(prop::sample::select(vec!["/a", "/{x}"]).prop_map(str::to_owned), 80), 2..7),
    ) {
        for route in &mut routes {
            route.hosts.clear();
        }
        check(&routes, &["/a".to_owned(), "/zz".to_owned()], RouterOptions::default());
    }
}
