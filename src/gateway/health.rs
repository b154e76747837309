//! Health checks between the configuration, the control plane that asks, and the states that
//! workers go by: what is asked of whom, and what came of it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ringgate_config::Config;
use ringgate_config::model::{HealthQuestion, ProxyVersion, Upstream as Written, UpstreamProtocol};
use ringgate_control::health::{
    Address, Check, Place, Question, Speaks, Standing, State, Target, Tls, Way,
};
use ringgate_core::fleet::Health;
use ringgate_core::rt::Addr;
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::Endpoint;
use ringgate_core::stats::Registry;
use serde_json::{Value, json};

use crate::compile::{self, Addresses};
use crate::tls::Configured;

/// What checks have shown, by upstream and endpoint.
pub(super) type Standings = HashMap<Box<str>, HashMap<Place, Standing>>;

/// What is asked of whom.
pub(super) fn targets(
    config: &Config,
    (addresses, registry): (&Addresses, &Registry),
    tls: &Configured,
) -> Vec<Target> {
    let checked = config.upstreams.iter();
    checked
        .filter_map(|upstream| {
            let check = upstream.health.as_ref()?;
            let mut places: Vec<Place> = compile::endpoints(upstream, addresses, registry)
                .iter()
                .map(place)
                .collect();
            places.sort_unstable();
            places.dedup();
            Some(Target {
                upstream: upstream.name.to_string(),
                check: Check {
                    question: question(&check.question),
                    interval: check.interval,
                    timeout: check.timeout,
                    unhealthy_after: check.unhealthy_after,
                    healthy_after: check.healthy_after,
                },
                way: way(upstream, tls),
                places,
            })
        })
        .collect()
}

fn question(written: &HealthQuestion) -> Question {
    match written {
        HealthQuestion::Http { path, expect, body } => Question::Http {
            path: path.to_string(),
            expect: expect.clone(),
            body: body.as_deref().map(str::to_owned),
        },
        HealthQuestion::Grpc { service } => Question::Grpc {
            service: service.to_string(),
        },
        HealthQuestion::Tcp => Question::Tcp,
    }
}

fn way(upstream: &Written, tls: &Configured) -> Way {
    Way {
        speaks: match upstream.protocol {
            UpstreamProtocol::Http1 => Speaks::Http1,
            UpstreamProtocol::Http2 => Speaks::Http2,
            UpstreamProtocol::Auto => Speaks::Agreed,
        },
        tls: tls.client(&upstream.name).map(|client| Tls {
            config: Arc::clone(&client.config),
            name: client.name.clone(),
        }),
        prelude: match upstream.proxy_protocol {
            None => b"",
            Some(ProxyVersion::V1) => b"PROXY UNKNOWN\r\n",
            Some(ProxyVersion::V2) => PROXY_LOCAL,
        },
    }
}

/// The command LOCAL of version 2: the proxy speaks for itself, which is meant for health checks.
const PROXY_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

/// What tells an endpoint from the others of its upstream.
pub(super) fn place(endpoint: &Endpoint) -> Place {
    Place {
        address: match &endpoint.addr {
            Addr::Tcp(address) => Address::Tcp(*address),
            Addr::Unix(path) => Address::Unix(path.clone()),
        },
        authority: endpoint.authority.to_string(),
    }
}

/// Has every core go by what checks say of an upstream's endpoints now; nothing of those that
/// are checked no longer.
pub(super) fn tell(
    upstream: &Written,
    (addresses, registry): (&Addresses, &Registry),
    standings: &Standings,
    now: Moment,
) {
    let mut news = false;
    for endpoint in compile::endpoints(upstream, addresses, registry).iter() {
        let standing = standing(upstream, endpoint, standings);
        let health = match standing.map(|standing| standing.state) {
            None | Some(State::Unchecked) => Health::Unknown,
            Some(State::Healthy) => Health::Good,
            Some(State::Unhealthy) => Health::Bad,
        };
        news |= endpoint.state.set_health(health, now);
    }
    if news {
        registry.upstream_state(&upstream.name).changed();
    }
}

/// What checks say of an endpoint; none of one that is not checked.
pub(super) fn standing<'s>(
    upstream: &Written,
    endpoint: &Endpoint,
    standings: &'s Standings,
) -> Option<&'s Standing> {
    upstream.health.as_ref()?;
    standings.get(&**upstream.name)?.get(&place(endpoint))
}

/// What checks say of an endpoint, as JSON; null where it is not checked.
pub(super) fn show_endpoint(standing: Option<&Standing>) -> Value {
    standing.map_or(Value::Null, |standing| {
        json!({
            "state": standing.state.as_str(),
            "why": standing.why,
            "since": rfc3339(standing.since),
        })
    })
}

/// A time as RFC 3339 has it, in UTC with milliseconds.
pub(super) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH);
    let since = since.map_or(0, |passed| passed.as_millis() as u64);
    let mut text = Vec::new();
    ringgate_core::wall::rfc3339_millis(since, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// How an upstream's endpoints are checked, as JSON; null where they are not.
pub(super) fn show_check(upstream: &Written) -> Value {
    let Some(check) = &upstream.health else {
        return Value::Null;
    };
    let mut shown = json!({
        "interval_ms": check.interval.as_millis() as u64,
        "timeout_ms": check.timeout.as_millis() as u64,
        "unhealthy_after": check.unhealthy_after,
        "healthy_after": check.healthy_after,
    });
    match &check.question {
        HealthQuestion::Http { path, expect, body } => {
            shown["type"] = json!("http");
            shown["path"] = json!(path);
            shown["expect"] = json!(expect);
            shown["body"] = json!(body);
        }
        HealthQuestion::Grpc { service } => {
            shown["type"] = json!("grpc");
            shown["service"] = json!(service);
        }
        HealthQuestion::Tcp => shown["type"] = json!("tcp"),
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn upstream(more: &str) -> Config {
        let text = format!(
            "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:1\"\n[[upstream]]\nname = \"app\"\n\
             endpoints = [\"10.0.0.1:80\", \"10.0.0.2:80\", \"later.example:80\", \"unix:/run/x\"]\n{more}\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n"
        );
        let loaded =
            ringgate_config::load_str("x.toml", &text, &|_| None, &compile::RouterPatterns);
        loaded.config.unwrap()
    }

    fn standings(out: &[&str], config: &Config) -> Standings {
        let all = compile::endpoints(
            &config.upstreams[0],
            &Addresses::default(),
            &Registry::new(1),
        );
        let known = all.iter().map(|endpoint| {
            let state = match out.contains(&&*endpoint.addr.to_string()) {
                true => State::Unhealthy,
                false => State::Healthy,
            };
            let standing = Standing {
                state,
                why: "told so".to_owned(),
                since: SystemTime::now(),
            };
            (place(endpoint), standing)
        });
        [("app".into(), known.collect())].into()
    }

    /// What the cores go by, once they are told.
    fn told(config: &Config, registry: &Registry, standings: &Standings) -> Vec<Health> {
        let around = (&Addresses::default(), registry);
        tell(&config.upstreams[0], around, standings, Moment(1));
        let endpoints = compile::endpoints(&config.upstreams[0], around.0, around.1);
        endpoints.iter().map(|e| e.state.health()).collect()
    }

    const CHECK: &str = "[upstream.health]\npath = \"/\"\n";
    const ALL: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "unix:/run/x"];

    #[test]
    fn verdicts_reach_the_states_that_cores_go_by() {
        let (config, registry) = (upstream(CHECK), Registry::new(1));
        let state = registry.upstream_state("app");
        let fresh = told(&config, &registry, &Standings::default());
        assert_eq!(fresh, [Health::Unknown; 3]);
        assert_eq!(state.changes(), 0, "no news");
        let one_out = standings(&["10.0.0.2:80"], &config);
        let expected = [Health::Good, Health::Bad, Health::Good];
        assert_eq!(told(&config, &registry, &one_out), expected);
        assert_eq!(state.changes(), 1);
        assert_eq!(told(&config, &registry, &one_out), expected);
        assert_eq!(state.changes(), 1, "no news");
    }

    #[test]
    fn verdicts_on_an_upstream_that_is_not_checked_any_more_mean_nothing() {
        let registry = Registry::new(1);
        let checked = upstream(CHECK);
        let all_out = standings(&ALL, &checked);
        assert_eq!(told(&checked, &registry, &all_out), [Health::Bad; 3]);
        let config = upstream("");
        assert_eq!(told(&config, &registry, &all_out), [Health::Unknown; 3]);
        let targets = targets(
            &config,
            (&Addresses::default(), &registry),
            &Configured::default(),
        );
        assert!(targets.is_empty());
    }

    #[test]
    fn an_address_that_a_name_has_now_is_checked() {
        let config = upstream(CHECK);
        let key = ("app".into(), "later.example".into(), 80);
        let fresh: std::net::SocketAddr = "10.0.0.9:80".parse().unwrap();
        let addresses: Addresses = [(key, vec![fresh])].into();
        let targets = targets(
            &config,
            (&addresses, &Registry::new(1)),
            &Configured::default(),
        );
        assert_eq!(targets[0].places.len(), 4);
    }
}
