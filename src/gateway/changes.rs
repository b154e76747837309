//! What differs between two configurations, by name and kind.

use std::collections::{BTreeMap, HashMap};

use ringgate_config::Config;
use ringgate_config::model::{Action, Name, Route};
use ringgate_control::{ObjectChanges, ReloadReport};

use crate::tls::Configured;

/// Notes in the report what is not the same in the two.
pub fn record(old: &Config, new: &Config, report: &mut ReloadReport) {
    let listeners = compare(&old.listeners, &new.listeners, |object| &object.name);
    report.record("listener", listeners);
    let upstreams = compare(&old.upstreams, &new.upstreams, |object| &object.name);
    report.record("upstream", upstreams);
    let filters = compare(&old.filters, &new.filters, |object| &object.name);
    report.record("filter", filters);
    report.record("route", routes(old, new));
    let mut settings = ObjectChanges::default();
    for (name, same) in [
        ("runtime", old.runtime == new.runtime),
        ("log", old.log == new.log),
        ("path", old.path == new.path),
        ("forwarded", old.forwarded == new.forwarded),
        ("acme", old.acme == new.acme),
        ("node", old.node == new.node),
        ("overload", old.overload == new.overload),
        ("redis", old.redis == new.redis),
        ("quotas", old.quotas == new.quotas),
    ] {
        if !same {
            settings.changed.push(name.to_owned());
        }
    }
    report.record("setting", settings);
}

/// Notes in the report what speaks TLS otherwise than before, as with a new certificate.
pub fn record_tls(old: &Configured, new: &Configured, report: &mut ReloadReport) {
    let changes = ObjectChanges {
        changed: new.changes_since(old),
        ..ObjectChanges::default()
    };
    report.record("tls", changes);
}

/// What only a restart can change, as keys of the configuration.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let admin = |config: &Config| {
        config
            .admin
            .as_ref()
            .map(|admin| admin.listen.value.clone())
    };
    [
        (
            "runtime.workers",
            old.runtime.workers == new.runtime.workers,
        ),
        ("runtime.cores", old.runtime.cores == new.runtime.cores),
        ("runtime.driver", old.runtime.driver == new.runtime.driver),
        (
            "runtime.backlog",
            old.runtime.backlog == new.runtime.backlog,
        ),
        ("admin.listen", admin(old) == admin(new)),
        ("admin.hosts", admin_hosts(old) == admin_hosts(new)),
    ]
    .into_iter()
    .filter(|(_, same)| !same)
    .map(|(key, _)| key)
    .collect()
}

fn admin_hosts(config: &Config) -> &[Box<str>] {
    config.admin.as_ref().map_or(&[], |admin| &admin.hosts)
}

fn compare<T: PartialEq>(old: &[T], new: &[T], name: fn(&T) -> &Name) -> ObjectChanges {
    let by_name = |objects: &'_ [T]| -> BTreeMap<String, usize> {
        let each = objects.iter().enumerate();
        each.map(|(index, object)| (name(object).to_string(), index))
            .collect()
    };
    let (old_names, new_names) = (by_name(old), by_name(new));
    let mut changes = ObjectChanges::default();
    for (name, index) in &new_names {
        match old_names.get(name) {
            None => changes.added.push(name.clone()),
            Some(former) if old[*former] != new[*index] => changes.changed.push(name.clone()),
            Some(_) => {}
        }
    }
    let gone = old_names
        .keys()
        .filter(|name| !new_names.contains_key(*name));
    changes.removed.extend(gone.cloned());
    changes
}

/// Routes point at upstreams and filters by index, which says nothing across configurations:
/// they are compared by the names behind.
fn routes(old: &Config, new: &Config) -> ObjectChanges {
    let old_routes: HashMap<&str, &Route> = old
        .routes
        .iter()
        .map(|route| (route.name.as_str(), route))
        .collect();
    let mut changes = ObjectChanges::default();
    let mut kept = 0;
    for route in &new.routes {
        match old_routes.get(route.name.as_str()) {
            None => changes.added.push(route.name.to_string()),
            Some(former) => {
                kept += 1;
                if !same_route(old, former, new, route) {
                    changes.changed.push(route.name.to_string());
                }
            }
        }
    }
    if kept < old.routes.len() {
        let names: std::collections::HashSet<&str> =
            new.routes.iter().map(|route| route.name.as_str()).collect();
        let gone = old.routes.iter().map(|route| route.name.as_str());
        let gone = gone.filter(|name| !names.contains(name));
        changes.removed.extend(gone.map(str::to_owned));
    }
    changes
}

fn same_route(old: &Config, former: &Route, new: &Config, route: &Route) -> bool {
    let Route {
        name: _,
        hosts,
        path,
        methods,
        priority,
        matches,
        filters,
        action,
        rewrite,
        timeout,
        body_max,
        upstream_host,
        upgrade,
        policy,
    } = route;
    let filter_names = |config: &Config, route: &Route| -> Vec<String> {
        let each = route.filters.iter();
        each.map(|id| config.filter(id.value).name.to_string())
            .collect()
    };
    *hosts == former.hosts
        && *path == former.path
        && *methods == former.methods
        && *priority == former.priority
        && *matches == former.matches
        && filters.len() == former.filters.len()
        && filter_names(old, former) == filter_names(new, route)
        && same_action(old, &former.action, new, action)
        && *rewrite == former.rewrite
        && *timeout == former.timeout
        && *body_max == former.body_max
        && *upstream_host == former.upstream_host
        && *upgrade == former.upgrade
        && *policy == former.policy
}

fn same_action(old: &Config, former: &Action, new: &Config, action: &Action) -> bool {
    match (former, action) {
        (Action::Upstream(left), Action::Upstream(right)) => {
            old.upstream(left.value).name == new.upstream(right.value).name
        }
        (Action::Split(left), Action::Split(right)) => {
            left.len() == right.len()
                && left.iter().zip(right).all(|(left, right)| {
                    let names = (
                        &old.upstream(left.upstream.value).name,
                        &new.upstream(right.upstream.value).name,
                    );
                    names.0 == names.1
                        && left.weight == right.weight
                        && left.headers == right.headers
                        && left.cookies == right.cookies
                })
        }
        (left, right) => left == right,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BASE: &str = "[[listener]]\nname = \"l\"\nlisten = \"127.0.0.1:0\"\n\
        [[upstream]]\nname = \"a\"\nendpoints = [\"127.0.0.1:1\"]\n\
        [[upstream]]\nname = \"b\"\nendpoints = [\"127.0.0.1:2\"]\n\
        [[route]]\nname = \"a\"\npath = \"/a\"\nupstream = \"a\"\n\
        [[route]]\nname = \"b\"\npath = \"/b\"\nupstream = \"b\"\n";

    fn config(text: &str) -> Config {
        let patterns = crate::compile::RouterPatterns;
        let loaded = ringgate_config::load_str("t.toml", text, &|_| None, &patterns);
        loaded.config.unwrap()
    }

    fn changes(old: &str, new: &str) -> String {
        let mut report = ReloadReport::default();
        record(&config(old), &config(new), &mut report);
        serde_json::to_string(&report.changes).unwrap()
    }

    #[test]
    fn moved_lines_are_no_change() {
        let (head, routes) = BASE.split_at(BASE.find("[[upstream]]").unwrap());
        let (first, second) = routes.split_at(routes[1..].find("[[upstream]]").unwrap() + 1);
        let (second, routes) = second.split_at(second.find("[[route]]").unwrap());
        let swapped = format!("# a comment\n{head}\n{second}{first}{routes}");
        assert_eq!(changes(BASE, &swapped), "{}");
    }

    #[test]
    fn routes_are_told_by_name() {
        let other = BASE
            .replace("name = \"b\"\npath", "name = \"c\"\npath")
            .replace("upstream = \"a\"", "upstream = \"b\"");
        let text = changes(BASE, &other);
        assert!(
            text.contains(r#""route":{"added":["c"],"removed":["b"],"changed":["a"]}"#),
            "{text}"
        );
    }

    #[test]
    fn workers_need_a_restart_and_the_grace_does_not() {
        let (old, new) = (
            config(BASE),
            format!("[runtime]\nworkers = 1\nshutdown_grace = \"1s\"\n{BASE}"),
        );
        assert_eq!(needs_restart(&old, &config(&new)), ["runtime.workers"]);
    }
}
