//! Routes that can never win, each with a request that proves it.

use ringgate_config::{Config, Diagnostic};
use ringgate_router::{Conflict, ConflictKind, RouteId, Router};

/// Findings for the routes that can never win: an error for a route that repeats another, a
/// warning for one whose requests others take.
pub fn conflicts(config: &Config, router: &Router) -> Vec<Diagnostic> {
    let found = router.conflicts();
    found
        .iter()
        .map(|conflict| diagnostic(config, conflict))
        .collect()
}

fn diagnostic(config: &Config, conflict: &Conflict) -> Diagnostic {
    let route = &config.routes[conflict.route.index()];
    let winners = names(config, &conflict.by);
    let proof = format!("for example {} goes to {winners}", conflict.witness);
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
