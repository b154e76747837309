//! Routes that can never win, each with a request that proves it.

use ringgate_config::{Config, Diagnostic};
use ringgate_router::{
    Captures, Conflict, ConflictKind, Lookup, Probe, Request, RouteId, Router, Witness,
};

/// Findings for the routes that can never win: an error for a route that repeats another, a
/// warning for one whose requests others take.
pub fn conflicts(config: &Config, router: &Router) -> Vec<Diagnostic> {
    let found = router.conflicts();
    found
        .iter()
        .map(|conflict| diagnostic(config, router, conflict))
        .collect()
}

/// The proof with a method that people use, if it proves as much: where no route cares, the
/// router takes a method that nobody has heard of.
fn with_usual_method(router: &Router, conflict: &Conflict) -> Witness {
    let mut usual = conflict.witness.clone();
    usual.method = "GET".to_owned();
    let request = Request {
        host: usual.host.as_bytes(),
        path: usual.path.as_bytes(),
        query: usual.query.as_bytes(),
        method: usual.method.as_bytes(),
    };
    let matches = router
        .spec(conflict.route)
        .is_some_and(|spec| spec.methods.contains(b"GET"));
    match router.lookup(&request, &Fields(&usual.headers), &mut Captures::new()) {
        Lookup::Found(winner) if matches && conflict.by.contains(&winner) => usual,
        _ => conflict.witness.clone(),
    }
}

struct Fields<'a>(&'a [(String, Vec<u8>)]);

impl Probe for Fields<'_> {
    fn any_header(&self, lower_name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let mut fields = self.0.iter();
        fields.any(|(name, value)| name == lower_name && test(value))
    }
}

fn diagnostic(config: &Config, router: &Router, conflict: &Conflict) -> Diagnostic {
    let route = &config.routes[conflict.route.index()];
    let winners = names(config, &conflict.by);
    let witness = with_usual_method(router, conflict);
    let proof = format!("for example {witness} goes to {winners}");
    let finding = match conflict.kind {
        ConflictKind::Duplicate => Diagnostic::error(
            "duplicate-route",
            format!(
                "route \"{}\" matches exactly the requests of {winners}, so it never answers",
                route.name
            ),
            route.path.span,
        )
        .help("remove one of the two, or give them different conditions or a `priority`"),
        ConflictKind::Shadowed => Diagnostic::warning(
            "shadowed-route",
            format!(
                "route \"{}\" never answers: {winners} take{} all its requests",
                route.name,
                if conflict.by.len() == 1 { "s" } else { "" },
            ),
            route.path.span,
        )
        .help("narrow the other, raise this one's `priority`, or remove it"),
    };
    let finding = finding.label(proof);
    conflict.by.iter().fold(finding, |finding, other| {
        let other = &config.routes[other.index()];
        finding.related(other.path.span, format!("route \"{}\" is here", other.name))
    })
}

fn names(config: &Config, routes: &[RouteId]) -> String {
    let name = |id: &RouteId| format!("\"{}\"", config.routes[id.index()].name);
    match routes {
        [] => "another route".to_owned(),
        [only] => format!("route {}", name(only)),
        [rest @ .., last] => {
            let rest: Vec<String> = rest.iter().map(name).collect();
            format!("routes {} and {}", rest.join(", "), name(last))
        }
    }
}
