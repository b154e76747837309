//! Health checks between the configuration, the control plane that asks, and the workers that
//! send requests: what is asked of whom, and which endpoints are left.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use ringgate_config::Config;
use ringgate_config::model::{HealthQuestion, ProxyVersion, Upstream as Written, UpstreamProtocol};
use ringgate_control::health::{
    Address, Check, Place, Question, Speaks, Standing, State, Target, Tls, Way,
};
use ringgate_core::rt::Addr;
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
        HealthQuestion::Http { path, expect } => Question::Http {
            path: path.to_string(),
            expect: expect.clone(),
        },
        HealthQuestion::Grpc { service } => Question::Grpc {
            service: service.to_string(),
        },
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

fn place(endpoint: &Endpoint) -> Place {
    Place {
        address: match &endpoint.addr {
            Addr::Tcp(address) => Address::Tcp(*address),
            Addr::Unix(path) => Address::Unix(path.clone()),
        },
        authority: endpoint.authority.to_string(),
    }
}

/// The endpoints that requests are sent to: those that checks let through, or all of them where
/// checks let none through.
pub(super) fn usable(
    upstream: &Written,
    (addresses, registry): (&Addresses, &Registry),
    standings: &Standings,
) -> Arc<[Endpoint]> {
    let all = compile::endpoints(upstream, addresses, registry);
    let Some(known) = known(upstream, standings) else {
        return all;
    };
    let usable = |endpoint: &&Endpoint| {
        let standing = known.get(&place(endpoint));
        standing.is_none_or(|standing| standing.state.is_usable())
    };
    let left: Arc<[Endpoint]> = all.iter().filter(usable).cloned().collect();
    match left.is_empty() {
        true => all,
        false => left,
    }
}

/// What is known of an upstream's endpoints; nothing of one that is not checked.
fn known<'s>(upstream: &Written, standings: &'s Standings) -> Option<&'s HashMap<Place, Standing>> {
    upstream.health.as_ref()?;
    standings.get(&**upstream.name)
}

/// How an endpoint stands, as JSON; null where it is not checked.
pub(super) fn show_endpoint(
    upstream: &Written,
    endpoint: &Endpoint,
    standings: &Standings,
) -> Value {
    let standing = known(upstream, standings).and_then(|known| known.get(&place(endpoint)));
    let Some(standing) = standing else {
        return Value::Null;
    };
    let since = standing.since.duration_since(UNIX_EPOCH);
    let since = since.map_or(0, |passed| passed.as_millis() as u64);
    let mut text = Vec::new();
    ringgate_core::wall::rfc3339_millis(since, &mut text);
    json!({
        "state": standing.state.as_str(),
        "why": standing.why,
        "since": String::from_utf8_lossy(&text),
    })
}

/// How an upstream's endpoints are checked, as JSON; null where they are not.
pub(super) fn show_check(upstream: &Written, all: &[Endpoint], standings: &Standings) -> Value {
    let Some(check) = &upstream.health else {
        return Value::Null;
    };
    let known = known(upstream, standings);
    let is_out = |endpoint: &Endpoint| {
        let standing = known.and_then(|known| known.get(&place(endpoint)));
        standing.is_some_and(|standing| standing.state == State::Unhealthy)
    };
    let mut shown = json!({
        "interval_ms": check.interval.as_millis() as u64,
        "timeout_ms": check.timeout.as_millis() as u64,
        "unhealthy_after": check.unhealthy_after,
        "healthy_after": check.healthy_after,
        "panic": !all.is_empty() && all.iter().all(is_out),
    });
    match &check.question {
        HealthQuestion::Http { path, expect } => {
            shown["type"] = json!("http");
            shown["path"] = json!(path);
            shown["expect"] = json!(expect);
        }
        HealthQuestion::Grpc { service } => {
            shown["type"] = json!("grpc");
            shown["service"] = json!(service);
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::SystemTime;

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

    fn used(config: &Config, standings: &Standings) -> Vec<String> {
        let usable = usable(
            &config.upstreams[0],
            (&Addresses::default(), &Registry::new(1)),
            standings,
        );
        usable.iter().map(|e| e.addr.to_string()).collect()
    }

    const CHECK: &str = "[upstream.health]\npath = \"/\"\n";
    const ALL: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "unix:/run/x"];

    #[test]
    fn endpoints_that_are_out_get_no_requests() {
        let config = upstream(CHECK);
        let standings = standings(&["10.0.0.2:80"], &config);
        assert_eq!(used(&config, &standings), ["10.0.0.1:80", "unix:/run/x"]);
    }

    #[test]
    fn all_are_used_when_all_are_out() {
        let config = upstream(CHECK);
        assert_eq!(used(&config, &standings(&ALL, &config)), ALL);
    }

    #[test]
    fn verdicts_on_an_upstream_that_is_not_checked_any_more_mean_nothing() {
        let config = upstream("");
        assert_eq!(used(&config, &standings(&["10.0.0.2:80"], &config)), ALL);
        let targets = targets(
            &config,
            (&Addresses::default(), &Registry::new(1)),
            &Configured::default(),
        );
        assert!(targets.is_empty());
    }

    #[test]
    fn an_address_that_a_name_has_now_is_checked_and_used() {
        let config = upstream(CHECK);
        let key = ("app".into(), "later.example".into(), 80);
        let fresh: std::net::SocketAddr = "10.0.0.9:80".parse().unwrap();
        let addresses: Addresses = [(key, vec![fresh])].into();
        let standings = standings(&ALL, &config);
        let usable = usable(
            &config.upstreams[0],
            (&addresses, &Registry::new(1)),
            &standings,
        );
        assert_eq!(usable.len(), 1, "the only one that is not out");
        assert_eq!(usable[0].addr, Addr::Tcp(fresh));
        let targets = targets(
            &config,
            (&addresses, &Registry::new(1)),
            &Configured::default(),
        );
        assert_eq!(targets[0].places.len(), 4);
    }
}
