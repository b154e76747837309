//! Who takes part: the programs, with and without an access log, and what each cannot do.

use std::path::PathBuf;

use super::installed;
use super::scenarios::{Access, Limit, LogFormat, Scenario, Secure, Workers};
use crate::measure::{Calls, Upstream};

/// A program that passes requests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// Ours.
    Ringgate,
    /// nginx.
    Nginx,
    /// HAProxy.
    Haproxy,
    /// Envoy.
    Envoy,
    /// Caddy.
    Caddy,
    /// `ringgate-bench relay`: bytes and nothing else.
    Relay,
    /// `ringgate-bench stock`: a minimal proxy on monoio-http.
    Stock,
}

/// Whether requests are noted in an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// Each is.
    On,
    /// None is.
    Off,
}

/// One entry of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// As the command line and the results name it.
    pub name: &'static str,
    /// What runs.
    pub program: Program,
    /// Whether it logs.
    pub log: Log,
    /// What it is, in a few words.
    pub about: &'static str,
}

impl Peer {
    /// The peer of that name.
    pub fn named(name: &str) -> Option<&'static Peer> {
        PEERS.iter().find(|peer| peer.name == name)
    }

    /// Why it has no part in a scenario; what only the program itself can tell is not asked
    /// here.
    pub fn unable(&self, scenario: &Scenario) -> Option<String> {
        let log = self.log == Log::On;
        if scenario.log == LogFormat::Json && !log && self.program != Program::Relay {
            return Some("its access log is off".to_owned());
        }
        let why = match self.program {
            Program::Ringgate | Program::Haproxy => None,
            Program::Nginx => (scenario.access == Access::Token)
                .then_some("its open-source build verifies no tokens"),
            Program::Envoy => (scenario.limit == Limit::ManyKeys)
                .then_some("its local rate limit has no key for each client"),
            _ if scenario.access == Access::Token && self.program != Program::Envoy => {
                Some("it verifies no tokens")
            }
            Program::Caddy => match scenario.limit {
                Limit::No => None,
                Limit::OneKey | Limit::ManyKeys => Some("its standard build has no rate limit"),
            },
            Program::Relay if scenario.secure != Secure::No => Some("it speaks no TLS"),
            Program::Relay => None,
            Program::Stock if scenario.secure != Secure::No => Some("it speaks no TLS"),
            Program::Stock if scenario.calls == Calls::Grpc => Some("it speaks no HTTP/2"),
            Program::Stock if scenario.limit != Limit::No => Some("it has no rate limit"),
            Program::Stock if scenario.routes > 1 => Some("it has no routes"),
            Program::Stock => None,
        };
        let single = matches!(self.program, Program::Relay | Program::Stock);
        let several = matches!(scenario.workers, Workers::Count(count) if count > 1);
        let why = why.or((single && several).then_some("it has one thread"));
        why.map(str::to_owned)
    }

    /// How it uses connections to the origin.
    pub fn upstream(&self) -> Upstream {
        match self.program {
            Program::Relay => Upstream::PerClient,
            _ => Upstream::Pooled,
        }
    }
}

impl Program {
    /// Its file, where it is another program than this one.
    ///
    /// # Errors
    /// Why it cannot run: what to install.
    pub fn find(self, gateway: Option<&std::path::Path>) -> Result<PathBuf, String> {
        match self {
            Program::Ringgate => installed::ringgate(gateway),
            Program::Nginx => installed::find("nginx"),
            Program::Haproxy => installed::find("haproxy"),
            Program::Envoy => installed::find("envoy"),
            Program::Caddy => installed::find("caddy"),
            Program::Relay | Program::Stock => std::env::current_exe()
                .map_err(|error| format!("cannot find this program: {error}")),
        }
    }
}

/// All of them, in the order of the tables.
pub const PEERS: &[Peer] = &[
    Peer {
        name: "ringgate",
        program: Program::Ringgate,
        log: Log::On,
        about: "JSON access log, metrics, a headers filter, request id, Via, Forwarded",
    },
    Peer {
        name: "ringgate-plain",
        program: Program::Ringgate,
        log: Log::Off,
        about: "the same without access log and metrics",
    },
    Peer {
        name: "nginx",
        program: Program::Nginx,
        log: Log::Off,
        about: "proxy_pass and nothing else",
    },
    Peer {
        name: "nginx-log",
        program: Program::Nginx,
        log: Log::On,
        about: "with a buffered access log",
    },
    Peer {
        name: "haproxy",
        program: Program::Haproxy,
        log: Log::Off,
        about: "one backend and nothing else",
    },
    Peer {
        name: "haproxy-log",
        program: Program::Haproxy,
        log: Log::On,
        about: "with an access log on standard output",
    },
    Peer {
        name: "envoy",
        program: Program::Envoy,
        log: Log::Off,
        about: "the router and nothing else",
    },
    Peer {
        name: "envoy-log",
        program: Program::Envoy,
        log: Log::On,
        about: "with an access log",
    },
    Peer {
        name: "caddy",
        program: Program::Caddy,
        log: Log::Off,
        about: "reverse_proxy and nothing else",
    },
    Peer {
        name: "caddy-log",
        program: Program::Caddy,
        log: Log::On,
        about: "with a JSON access log",
    },
    Peer {
        name: "relay",
        program: Program::Relay,
        log: Log::Off,
        about: "bytes and nothing else, on Ringgate's runtime: the floor",
    },
    Peer {
        name: "stock",
        program: Program::Stock,
        log: Log::Off,
        about: "a minimal proxy on monoio-http, the same runtime's stock codec",
    },
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for peer in PEERS {
            assert_eq!(Peer::named(peer.name), Some(peer));
        }
    }

    #[test]
    fn whoever_cannot_do_something_says_why() {
        let unable = |peer: &str, scenario: &str| {
            let scenario = Scenario::named(scenario).unwrap();
            Peer::named(peer).unwrap().unable(scenario)
        };
        assert_eq!(unable("relay", "small-get-64"), None);
        assert!(unable("relay", "tls-bulk").unwrap().contains("TLS"));
        assert!(unable("nginx", "json-log").unwrap().contains("log is off"));
        assert_eq!(unable("nginx-log", "json-log"), None);
        assert!(unable("envoy", "rate-limit-million-keys").is_some());
        assert!(unable("stock", "skewed").unwrap().contains("one thread"));
        assert!(unable("stock", "grpc-unary").unwrap().contains("HTTP/2"));
        assert_eq!(unable("relay", "grpc-unary"), None);
    }

    #[test]
    fn the_peers_with_a_log_are_in_every_scenario_that_their_program_can_do() {
        for name in ["ringgate", "nginx-log", "haproxy-log"] {
            for scenario in super::super::scenarios::SCENARIOS {
                let unable = Peer::named(name).unwrap().unable(scenario);
                let no_tokens = name == "nginx-log" && scenario.access == Access::Token;
                assert_eq!(unable.is_some(), no_tokens, "{name}, {}", scenario.name);
            }
        }
    }
}
