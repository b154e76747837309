//! The configuration of each program for a scenario, from the templates in `bench-harness/peers`.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use super::certificate::Certificate;
use super::lineup::{Log, Peer, Program};
use super::scenarios::{Access, Limit, LogFormat, Scenario, Secure, Workers};
use super::template::Filling;
use crate::cores::Cores;
use crate::measure::Calls;

/// What a configuration depends on beside peer and scenario.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'a> {
    /// Where the proxy is to serve; those that choose a port themselves do not look at it.
    pub address: SocketAddr,
    /// Where the origin serves.
    pub origin: SocketAddr,
    /// Where the proxy runs.
    pub cores: &'a Cores,
    /// A directory of its own.
    pub directory: &'a Path,
    /// Where it logs.
    pub access_log: &'a Path,
    /// The certificate of the scenarios with TLS.
    pub certificate: &'a Certificate,
    /// Descriptors that it may open.
    pub descriptors: u64,
}

/// The configuration; empty for those that have none.
pub fn render(peer: &Peer, scenario: &Scenario, setting: Setting<'_>) -> String {
    let template = match peer.program {
        Program::Ringgate => include_str!("../../peers/ringgate.toml"),
        Program::Nginx => include_str!("../../peers/nginx.conf"),
        Program::Haproxy => include_str!("../../peers/haproxy.cfg"),
        Program::Envoy => include_str!("../../peers/envoy.yaml"),
        Program::Caddy => include_str!("../../peers/Caddyfile"),
        Program::Relay | Program::Stock => return String::new(),
    };
    let mut filling = Filling::default();
    conditions(&mut filling, peer, scenario, setting.cores);
    words(&mut filling, scenario, setting);
    addresses(&mut filling, peer, scenario, setting);
    if scenario.routes > 1 {
        filling.word(
            "routes",
            routes(peer.program, scenario.routes, setting.origin),
        );
    }
    filling.fill(template)
}

/// How many workers a proxy has.
pub fn workers(scenario: &Scenario, cores: &Cores) -> usize {
    match scenario.workers {
        Workers::PerCore => cores.count(),
        Workers::Count(count) => count,
    }
}

/// The map of HAProxy's routes, which it reads from a file of its own; of a scenario with many.
pub fn haproxy_map(scenario: &Scenario) -> String {
    (0..scenario.routes).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "/service-{number}/ origin");
        text
    })
}

/// Where that file is.
pub const HAPROXY_MAP: &str = "routes.map";

/// The file of the key that tokens are verified with, for those that read it from one.
pub const TOKEN_KEY: &str = "token.pem";

/// What is in it.
pub const TOKEN_KEY_PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKrqhyyMCOKgKUPpaKQnI+pOvjWOC
HS9OtifYoWTmwC0LOE2K8pXLTYZAlrtkqFvVz+KoHbr5XVyA0aPcEO5buA==
-----END PUBLIC KEY-----
";

fn conditions(filling: &mut Filling, peer: &Peer, scenario: &Scenario, cores: &Cores) {
    let workers = workers(scenario, cores);
    filling
        .condition("log", peer.log == Log::On)
        .condition("json", scenario.log == LogFormat::Json)
        .condition("tls", scenario.secure != Secure::No)
        .condition("grpc", scenario.calls == Calls::Grpc)
        .condition("limit", scenario.limit != Limit::No)
        .condition("token", scenario.access == Access::Token)
        .condition("many_routes", scenario.routes > 1)
        .condition("many_workers", workers > 1)
        // One core needs no distribution: the process as a whole is pinned to it.
        .condition("pinned", workers > 1 && workers == cores.count());
}

fn words(filling: &mut Filling, scenario: &Scenario, setting: Setting<'_>) {
    let Setting {
        cores, directory, ..
    } = setting;
    let workers = workers(scenario, cores);
    let reuseport = if workers > 1 { " reuseport" } else { "" };
    let certificate = setting.certificate;
    filling
        .word("workers", workers)
        .word("cores", ringgate_cores(workers, cores))
        .word("cpumask", mask(cores))
        .word("reuseport", reuseport)
        .word("directory", directory.display())
        .word("access_log", setting.access_log.display())
        .word("descriptors", setting.descriptors)
        .word(
            "connections",
            connections_max(scenario, setting.descriptors),
        )
        .word("routes_file", directory.join(HAPROXY_MAP).display())
        .word("token_key", directory.join(TOKEN_KEY).display())
        .word("cert", certificate.cert.display())
        .word("key", certificate.key.display())
        .word("pem", certificate.both.display());
}

fn addresses(filling: &mut Filling, peer: &Peer, scenario: &Scenario, setting: Setting<'_>) {
    let Setting {
        address, origin, ..
    } = setting;
    let h2 = scenario.secure == Secure::Http2 || scenario.calls == Calls::Grpc;
    let alpn = match (peer.program, h2) {
        (Program::Ringgate | Program::Envoy, true) => r#""h2", "http/1.1""#,
        (Program::Ringgate | Program::Envoy, false) => r#""http/1.1""#,
        (Program::Caddy, true) => "h2 http/1.1",
        (_, true) => "h2,http/1.1",
        (_, false) => "http/1.1",
    };
    let scheme = match scenario.secure {
        Secure::No => "http",
        Secure::Http1(_) | Secure::Http2 => "https",
    };
    filling
        .word("address", address)
        .word("host", address.ip())
        .word("port", address.port())
        .word("site", format!("{scheme}://:{}", address.port()))
        .word("origin", origin)
        .word("origin_host", origin.ip())
        .word("origin_port", origin.port())
        .word("alpn", alpn)
        .word(
            "proto",
            if scenario.calls == Calls::Grpc {
                " proto h2"
            } else {
                ""
            },
        )
        .word("h2", if h2 { " http2" } else { "" });
}

/// Each connection has a second descriptor on the way to the origin, but the idle ones do not.
fn connections_max(scenario: &Scenario, descriptors: u64) -> u64 {
    match scenario.idle {
        0 => descriptors / 2 - SPARE_CONNECTIONS,
        _ => descriptors - 10 * SPARE_CONNECTIONS,
    }
}

/// One core for each worker; some of them again where there are fewer cores.
fn ringgate_cores(workers: usize, cores: &Cores) -> String {
    match workers == cores.count() {
        true => cores.to_string(),
        false => "auto".to_owned(),
    }
}

/// A mask of cores as nginx writes it, the highest first.
fn mask(cores: &Cores) -> String {
    let numbers = cores.numbers();
    let last = numbers.last().copied().unwrap_or(0);
    let bits = (0..=last).rev();
    bits.map(|core| if numbers.contains(&core) { '1' } else { '0' })
        .collect()
}

/// Routes by prefix, all to the same origin.
fn routes(program: Program, count: u32, origin: SocketAddr) -> String {
    let mut text = String::new();
    for number in 0..count {
        let prefix = format!("/service-{number}/");
        // Writing to a string cannot fail.
        let _ = match program {
            Program::Ringgate => writeln!(
                text,
                "[[route]]\nname = \"s{number}\"\npath = \"{prefix}{{rest*}}\"\n\
                 filters = [\"mark\"]\nupstream = \"origin\"\n"
            ),
            Program::Nginx => writeln!(
                text,
                "        location {prefix} {{ proxy_pass http://origin; }}"
            ),
            Program::Envoy => writeln!(
                text,
                "                      \"{prefix}\": {{ action: {{ name: route, typed_config: {{ \
                 \"@type\": type.googleapis.com/envoy.config.route.v3.Route, \
                 match: {{ prefix: \"{prefix}\" }}, \
                 route: {{ cluster: origin, timeout: 0s }} }} }} }}"
            ),
            Program::Caddy => writeln!(
                text,
                "\thandle {prefix}* {{\n\t\treverse_proxy {origin} {{\n\t\t\ttransport http {{\n\
                 \t\t\t\tversions 1.1\n\t\t\t\tcompression off\n\t\t\t\tkeepalive 1h\n\
                 \t\t\t\tkeepalive_idle_conns 2048\n\t\t\t\tkeepalive_idle_conns_per_host 2048\n\
                 \t\t\t}}\n\t\t}}\n\t}}"
            ),
            Program::Haproxy | Program::Relay | Program::Stock => Ok(()),
        };
    }
    text.truncate(text.trim_end().len());
    text
}

const SPARE_CONNECTIONS: u64 = 100;

/// A configuration as results keep it: of one with thousands of routes only the begin.
pub fn shortened(config: &str) -> String {
    if config.len() <= CONFIG_MAX {
        return config.to_owned();
    }
    let begin = &config[..config.floor_char_boundary(CONFIG_MAX)];
    format!(
        "{begin}\n... and {} bytes more\n",
        config.len() - begin.len()
    )
}

/// Bytes of a configuration that results keep.
const CONFIG_MAX: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::lineup::PEERS;
    use super::super::scenarios::SCENARIOS;
    use super::*;

    #[test]
    fn a_long_configuration_is_kept_by_its_begin() {
        assert_eq!(shortened("short"), "short");
        let long = "é".repeat(CONFIG_MAX);
        let kept = shortened(&long);
        assert!(kept.len() < CONFIG_MAX + 40, "{}", kept.len());
        assert!(kept.ends_with("bytes more\n"));
    }

    fn rendered(peer: &str, scenario: &Scenario, cores: &str) -> String {
        let certificate = Certificate {
            cert: "/x/cert.pem".into(),
            key: "/x/key.pem".into(),
            both: "/x/both.pem".into(),
        };
        let setting = Setting {
            address: "127.0.0.1:1111".parse().unwrap(),
            origin: "127.0.0.1:2222".parse().unwrap(),
            cores: &cores.parse().unwrap(),
            directory: Path::new("/x"),
            access_log: Path::new("/x/access.log"),
            certificate: &certificate,
            descriptors: 20_000,
        };
        render(Peer::named(peer).unwrap(), scenario, setting)
    }

    fn named(scenario: &str) -> &'static Scenario {
        Scenario::named(scenario).unwrap()
    }

    #[test]
    fn every_word_of_every_template_is_filled_in() {
        for scenario in SCENARIOS {
            let few = Scenario {
                routes: scenario.routes.min(3),
                ..*scenario
            };
            for peer in PEERS {
                let text = rendered(peer.name, &few, "2-5");
                assert!(!text.contains("{{"), "{} {}: {text}", peer.name, few.name);
                let left = text.lines().any(|line| line.trim().starts_with("#@"));
                assert!(!left, "{} {}: {text}", peer.name, few.name);
            }
        }
    }

    #[test]
    fn ringgate_and_what_is_not_measured_beside_it_are_valid_toml() {
        for scenario in SCENARIOS {
            for peer in ["ringgate", "ringgate-plain"] {
                let text = rendered(peer, scenario, "0");
                let table = text.parse::<toml::Table>();
                assert!(table.is_ok(), "{}: {table:?}", scenario.name);
            }
        }
    }

    #[test]
    fn the_access_log_follows_the_peer_and_its_format_the_scenario() {
        let plain = rendered("nginx", named("small-get-64"), "0");
        assert!(plain.contains("access_log off;"), "{plain}");
        let log = rendered("nginx-log", named("small-get-64"), "0");
        assert!(log.contains("access_log /x/access.log combined buffer=64k"));
        let json = rendered("nginx-log", named("json-log"), "0");
        assert!(json.contains("access_log /x/access.log json buffer=64k"));
    }

    #[test]
    fn workers_are_as_many_as_the_cores_and_stay_on_them() {
        let one = rendered("nginx", named("small-get-64"), "3");
        assert!(one.contains("worker_processes 1;") && !one.contains("cpu_affinity"));
        let four = rendered("nginx", named("small-get-64"), "2-5");
        assert!(four.contains("worker_processes 4;"), "{four}");
        assert!(four.contains("worker_cpu_affinity auto 111100;"), "{four}");
        let four = rendered("haproxy", named("small-get-64"), "2-5");
        assert!(four.contains("cpu-map auto:1/1-4 2-5"), "{four}");
    }

    #[test]
    fn each_route_is_there() {
        for (peer, start) in [
            ("ringgate", "path = \"/service-"),
            ("nginx", "location /service-"),
            ("envoy", "\"/service-"),
            ("caddy", "handle /service-"),
        ] {
            let text = rendered(peer, named("routes-10000"), "0");
            let count = text.lines().filter(|l| l.trim().starts_with(start)).count();
            assert_eq!(count, 10_000, "{peer}");
        }
        assert_eq!(haproxy_map(named("routes-10000")).lines().count(), 10_000);
    }
}
