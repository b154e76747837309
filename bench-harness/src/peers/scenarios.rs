//! The scenarios: what each asks of the proxies, as a table.

use std::path::{Path, PathBuf};

use crate::measure::{Calls, Clients, Pace, Protocol, Resumption, Tls, Work};

/// One kind of work that proxies are compared at.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// As the command line names it.
    pub name: &'static str,
    /// A sentence on what is done.
    pub title: &'static str,
    /// What cost is counted by.
    pub unit: Unit,
    /// Path and query of every request; a template is one path for each number of its range.
    pub path: &'static str,
    /// The method of every request.
    pub method: &'static str,
    /// Bytes of each request body.
    pub body_bytes: u64,
    /// Connections.
    pub connections: u32,
    /// Requests under way on each.
    pub in_flight: u32,
    /// Whether a connection carries more than one request.
    pub clients: Clients,
    /// Whether connections are encrypted, and what is spoken then.
    pub secure: Secure,
    /// What requests are. Calls of gRPC are made over HTTP/2 on both sides of the proxy, without
    /// TLS by prior knowledge.
    pub calls: Calls,
    /// Routes in the configuration.
    pub routes: u32,
    /// What is limited.
    pub limit: Limit,
    /// Who is let through.
    pub access: Access,
    /// What is logged.
    pub log: LogFormat,
    /// Connections that stay open beside the load, having carried one request each.
    pub idle: u32,
    /// Worker threads or processes.
    pub workers: Workers,
}

/// What cost is counted by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Unit {
    /// One request.
    Request,
    /// One handshake, each of which carries one request.
    Handshake,
    /// 10^9 bytes of response bodies; the bytes of each.
    Gigabyte {
        /// Bytes of each response body.
        response_bytes: u32,
    },
}

/// Whether connections are encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secure {
    /// They are not, and HTTP/1.1 is spoken.
    No,
    /// TLS and HTTP/1.1.
    Http1(Resumption),
    /// TLS and HTTP/2.
    Http2,
}

/// What is limited; limits are so high that nothing is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Nothing.
    No,
    /// All requests have one key.
    OneKey,
    /// Requests have a million keys.
    ManyKeys,
}

/// Who is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Who has a token that the proxy verifies: signature, issuer, audience and expiry.
    Token,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// What the peer logs by itself, where it logs at all.
    Own,
    /// JSON, in all that log.
    Json,
}

/// Worker threads or processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workers {
    /// One for each core of the proxy.
    PerCore,
    /// So many, whatever the cores.
    Count(usize),
}

impl Unit {
    /// As results name it.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Request => "request",
            Unit::Handshake => "handshake",
            Unit::Gigabyte { .. } => "gigabyte",
        }
    }

    /// How many of it a request is.
    pub fn per_request(self) -> f64 {
        match self {
            Unit::Request | Unit::Handshake => 1.0,
            Unit::Gigabyte { response_bytes } => f64::from(response_bytes) / 1e9,
        }
    }
}

impl Scenario {
    /// The scenario of that name.
    pub fn named(name: &str) -> Option<&'static Scenario> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Whether the path stands for many.
    pub fn has_many_paths(&self) -> bool {
        self.path.contains('{')
    }

    /// A path that is asked for, to try a proxy with.
    pub fn example_path(&self) -> String {
        match (self.path.split_once('{'), self.path.split_once('}')) {
            (Some((before, _)), Some((_, after))) => format!("{before}1{after}"),
            _ => self.path.to_owned(),
        }
    }

    /// The load, as fast as it goes. `ca` is the authority's certificate; `mix` is where
    /// [`Scenario::mix`] was written to.
    pub fn work(&self, ca: &Path, mix: &Path) -> Work {
        let tls = |resumption| Tls {
            ca: ca.to_owned(),
            name: "localhost".to_owned(),
            resumption,
        };
        let (protocol, tls) = match self.secure {
            Secure::No if self.calls == Calls::Grpc => (Protocol::Http2, None),
            Secure::No => (Protocol::Http1, None),
            Secure::Http1(resumption) => (Protocol::Http1, Some(tls(resumption))),
            Secure::Http2 => (Protocol::Http2, Some(tls(Resumption::Tickets))),
        };
        Work {
            path: match self.has_many_paths() {
                true => "/".to_owned(),
                false => self.path.to_owned(),
            },
            method: self.method.to_owned(),
            headers: self.headers(),
            body_bytes: self.body_bytes,
            calls: self.calls,
            connections: self.connections,
            in_flight: self.in_flight,
            clients: self.clients,
            protocol,
            tls,
            pace: Pace::Saturating,
            requests: self.has_many_paths().then(|| PathBuf::from(mix)),
        }
    }

    /// Headers of every request.
    pub fn headers(&self) -> Vec<String> {
        let mut headers = Vec::new();
        if self.limit != Limit::No {
            headers.push("x-key: 1".to_owned());
        }
        if self.access == Access::Token {
            headers.push(format!("authorization: Bearer {TOKEN}"));
        }
        headers
    }

    /// The file of requests for the load, of a scenario with many paths.
    pub fn mix(&self) -> String {
        format!(
            "[[request]]\nmethod = \"{}\"\npath = \"{}\"\n",
            self.method, self.path
        )
    }
}

/// A token of an issuer that exists in these benches only, good until 2100. Nobody has the key that
/// it was signed with; the peers' configurations have the public one.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImJlbmNoIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5i\
    ZW5jaCIsInN1YiI6ImFsaWNlIiwiYXVkIjoiYXBpIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDAs\
    InNjb3BlIjoicmVhZCB3cml0ZSJ9.H6C2Psf0HVIA7HEw0May_rN_HHPGRSdfvAly_J7JgWD5CyK73QM3ZGvJR6c\
    i2glN_vOysrAmTfM9BWibiAInzA";

/// Small GETs on kept connections: the others say what differs.
const BASE: Scenario = Scenario {
    name: "",
    title: "",
    unit: Unit::Request,
    path: "/api/users/7",
    method: "GET",
    body_bytes: 0,
    connections: 64,
    in_flight: 1,
    clients: Clients::Kept,
    secure: Secure::No,
    calls: Calls::Http,
    routes: 1,
    limit: Limit::No,
    access: Access::Open,
    log: LogFormat::Own,
    idle: 0,
    workers: Workers::PerCore,
};

/// All of them, in the order in which they are run and shown.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "small-get-64",
        title: "GET of 47 bytes on 64 kept connections",
        ..BASE
    },
    Scenario {
        name: "small-get-1024",
        title: "GET of 47 bytes on 1,024 kept connections",
        connections: 1024,
        ..BASE
    },
    Scenario {
        name: "connection-per-request",
        title: "GET of 47 bytes, a new connection for each, 64 at a time",
        clients: Clients::New,
        ..BASE
    },
    Scenario {
        name: "post-1k",
        title: "POST of 1 KiB on 64 kept connections",
        method: "POST",
        body_bytes: 1024,
        ..BASE
    },
    Scenario {
        name: "get-64k",
        title: "GET of 64 KiB on 64 kept connections",
        path: "/api/files/7?size=65536",
        ..BASE
    },
    Scenario {
        name: "get-1m",
        title: "GET of 1 MiB on 16 kept connections",
        path: "/api/files/7?size=1048576",
        connections: 16,
        ..BASE
    },
    Scenario {
        name: "upload-10m",
        title: "POST of 10 MiB on 8 kept connections",
        method: "POST",
        body_bytes: 10 * 1024 * 1024,
        connections: 8,
        ..BASE
    },
    Scenario {
        name: "routes-10000",
        title: "GET of 47 bytes, drawn from 10,000 routes, on 64 kept connections",
        path: "/service-{0..9999}/items/7",
        routes: 10_000,
        ..BASE
    },
    Scenario {
        name: "idle-10000",
        title: "GET of 47 bytes on 64 kept connections beside 10,000 idle ones",
        idle: 10_000,
        ..BASE
    },
    Scenario {
        name: "skewed",
        title: "GET of 47 bytes on 8 kept connections, 4 workers",
        connections: 8,
        workers: Workers::Count(4),
        ..BASE
    },
    Scenario {
        name: "rate-limit-one-key",
        title: "GET of 47 bytes on 64 kept connections, limited by one key (nothing is refused)",
        path: "/api/users/7?key=1",
        limit: Limit::OneKey,
        ..BASE
    },
    Scenario {
        name: "rate-limit-million-keys",
        title: "GET of 47 bytes on 64 kept connections, limited by a million keys (nothing is refused)",
        path: "/api/users/7?key={0..999999}",
        limit: Limit::ManyKeys,
        ..BASE
    },
    Scenario {
        name: "jwt",
        title: "GET of 47 bytes on 64 kept connections with a token (JWT, ES256) that is verified",
        access: Access::Token,
        ..BASE
    },
    Scenario {
        name: "json-log",
        title: "GET of 47 bytes on 64 kept connections, access log in JSON",
        log: LogFormat::Json,
        ..BASE
    },
    Scenario {
        name: "tls-handshake-full",
        title: "full TLS 1.3 handshakes, ECDSA P-256, one GET of 47 bytes each, 64 at a time",
        unit: Unit::Handshake,
        clients: Clients::New,
        secure: Secure::Http1(Resumption::Off),
        ..BASE
    },
    Scenario {
        name: "tls-handshake-resumed",
        title: "TLS handshakes resumed by ticket, one GET of 47 bytes each, 64 at a time",
        unit: Unit::Handshake,
        clients: Clients::New,
        secure: Secure::Http1(Resumption::Tickets),
        ..BASE
    },
    Scenario {
        name: "tls-bulk",
        title: "GET of 1 MiB over TLS on 16 kept connections",
        unit: Unit::Gigabyte {
            response_bytes: 1_048_576,
        },
        path: "/api/files/7?size=1048576",
        connections: 16,
        secure: Secure::Http1(Resumption::Tickets),
        ..BASE
    },
    Scenario {
        name: "tls-get-64",
        title: "GET of 47 bytes over TLS on 64 kept connections",
        secure: Secure::Http1(Resumption::Tickets),
        ..BASE
    },
    Scenario {
        name: "h2-get",
        title: "GET of 47 bytes over HTTP/2 and TLS, 8 connections with 20 streams each",
        connections: 8,
        in_flight: 20,
        secure: Secure::Http2,
        ..BASE
    },
    Scenario {
        name: "h2-skewed",
        title: "GET of 47 bytes over HTTP/2 and TLS, 3 connections with 32 streams each, 2 workers",
        connections: 3,
        in_flight: 32,
        secure: Secure::Http2,
        workers: Workers::Count(2),
        ..BASE
    },
    Scenario {
        name: "grpc-unary",
        title: "unary gRPC calls with messages of 64 and 47 bytes, 8 connections with 20 streams each",
        path: "/bench.Users/Find",
        method: "POST",
        body_bytes: 64,
        connections: 8,
        in_flight: 20,
        calls: Calls::Grpc,
        ..BASE
    },
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_words_for_a_command_line() {
        let names: BTreeSet<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), SCENARIOS.len());
        for name in names {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(!name.is_empty() && name.chars().all(plain), "{name}");
            assert_eq!(Scenario::named(name).unwrap().name, name);
        }
    }

    #[test]
    fn a_gigabyte_is_counted_by_the_size_that_is_asked_for() {
        for scenario in SCENARIOS {
            if let Unit::Gigabyte { response_bytes } = scenario.unit {
                assert!(scenario.path.ends_with(&format!("size={response_bytes}")));
            }
        }
    }

    #[test]
    fn handshakes_are_counted_where_each_request_has_one() {
        for scenario in SCENARIOS {
            let handshakes = scenario.secure != Secure::No && scenario.clients == Clients::New;
            assert_eq!(
                scenario.unit == Unit::Handshake,
                handshakes,
                "{}",
                scenario.name
            );
        }
    }

    #[test]
    fn many_routes_are_all_asked_for() {
        let scenario = Scenario::named("routes-10000").unwrap();
        assert_eq!(scenario.example_path(), "/service-1/items/7");
        assert!(
            scenario
                .path
                .contains(&format!("{{0..{}}}", scenario.routes - 1))
        );
        assert!(
            scenario
                .work(Path::new(""), Path::new("/mix.toml"))
                .requests
                .is_some()
        );
    }
}
