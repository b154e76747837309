//! What the load does: the flags of `ringgate-bench load`, typed.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cores::Cores;

/// One kind of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Path and query that is asked for: `/api/users/7?size=65536`.
    pub path: String,
    /// `GET`, `POST` ...
    pub method: String,
    /// Further request fields, `name: value`.
    pub headers: Vec<String>,
    /// Bytes of each request body.
    pub body_bytes: u64,
    /// What requests are.
    pub calls: Calls,
    /// Connections.
    pub connections: u32,
    /// Requests under way on each: pipelined, or as streams.
    pub in_flight: u32,
    /// Whether a connection carries more than one request.
    pub clients: Clients,
    /// What is spoken.
    pub protocol: Protocol,
    /// Encryption; none when `None`.
    pub tls: Option<Tls>,
    /// When requests are sent.
    pub pace: Pace,
    /// A mix of requests, in place of path, method, headers and body.
    pub requests: Option<PathBuf>,
}

/// What requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Requests of HTTP.
    Http,
    /// Unary calls of gRPC, the body being the message.
    Grpc,
}

/// Whether a connection carries more than one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    /// It stays open.
    Kept,
    /// There is a new one for each request.
    New,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificate of the authority that the server's certificate comes from, in PEM.
    pub ca: PathBuf,
    /// The name in the server's certificate.
    pub name: String,
    /// Whether later handshakes build on earlier ones.
    pub resumption: Resumption,
}

/// Whether later handshakes build on earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// They do, by tickets.
    Tickets,
    /// Each is a full one.
    Off,
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// As soon as the one before on the same connection was answered: a closed loop.
    Saturating,
    /// So many per second, answered or not: an open loop.
    Rate(f64),
}

impl Work {
    /// GET of a path on kept connections, as fast as it goes, without encryption.
    #[cfg(test)]
    pub fn get(path: &str, connections: u32) -> Work {
        Work {
            path: path.to_owned(),
            method: "GET".to_owned(),
            headers: Vec::new(),
            body_bytes: 0,
            calls: Calls::Http,
            connections,
            in_flight: 1,
            clients: Clients::Kept,
            protocol: Protocol::Http1,
            tls: None,
            pace: Pace::Saturating,
            requests: None,
        }
    }

    /// The same at another pace.
    pub fn at(&self, pace: Pace) -> Work {
        Work {
            pace,
            ..self.clone()
        }
    }

    /// Requests that may be under way at once.
    pub fn under_way_max(&self) -> u64 {
        u64::from(self.connections) * u64::from(self.in_flight)
    }

    /// Where the load goes.
    pub fn target(&self, address: SocketAddr) -> String {
        match &self.tls {
            // The port is the server's, the name the certificate's.
            Some(_) => format!("https://{address}{}", self.path),
            None => format!("http://{address}{}", self.path),
        }
    }

    /// The arguments of `ringgate-bench load`, but for how long it takes and where it reports.
    pub fn arguments(&self, address: SocketAddr, cores: &Cores) -> Vec<OsString> {
        let mut words = vec![self.target(address)];
        let mut flag = |name: &str, value: String| words.push(format!("--{name}={value}"));
        // More threads than connections would have nothing to do.
        let threads = cores.count().min(self.connections as usize).max(1);
        flag("connections", self.connections.to_string());
        flag("threads", threads.to_string());
        flag("cores", cores.to_string());
        if self.in_flight > 1 {
            flag("in-flight", self.in_flight.to_string());
        }
        if let Pace::Rate(rate) = self.pace {
            flag("rate", format!("{rate:.1}"));
        }
        if self.protocol == Protocol::Http2 {
            flag("protocol", "h2".to_owned());
        }
        if let Some(tls) = &self.tls {
            flag("ca", tls.ca.display().to_string());
            flag("server-name", tls.name.clone());
        }
        match &self.requests {
            Some(file) => flag("requests", file.display().to_string()),
            None => {
                // A call is a POST anyway.
                if self.method != "GET" && self.calls == Calls::Http {
                    flag("method", self.method.clone());
                }
                self.headers
                    .iter()
                    .for_each(|field| flag("header", field.clone()));
                if self.body_bytes > 0 {
                    flag("body-size", self.body_bytes.to_string());
                }
            }
        }
        if self.calls == Calls::Grpc && self.requests.is_none() {
            words.push("--grpc".to_owned());
        }
        if self.clients == Clients::New {
            words.push("--new-connections".to_owned());
        }
        let full = |tls: &Tls| tls.resumption == Resumption::Off;
        if self.tls.as_ref().is_some_and(full) {
            words.push("--no-resumption".to_owned());
        }
        words.into_iter().map(OsString::from).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn words(work: &Work) -> Vec<String> {
        let address = "127.0.0.1:80".parse().unwrap();
        let arguments = work.arguments(address, &"2-3".parse().unwrap());
        arguments
            .into_iter()
            .map(|word| word.into_string().unwrap())
            .collect()
    }

    #[test]
    fn a_plain_work_needs_few_flags() {
        assert_eq!(
            words(&Work::get("/x?size=1", 64)),
            [
                "http://127.0.0.1:80/x?size=1",
                "--connections=64",
                "--threads=2",
                "--cores=2-3"
            ]
        );
    }

    #[test]
    fn everything_else_has_its_flag() {
        let mut work = Work::get("/x", 1).at(Pace::Rate(1234.56));
        work.method = "POST".to_owned();
        work.body_bytes = 1024;
        work.headers = vec!["x-key: 7".to_owned()];
        work.clients = Clients::New;
        work.protocol = Protocol::Http2;
        work.in_flight = 20;
        work.tls = Some(Tls {
            ca: "/ca.pem".into(),
            name: "localhost".to_owned(),
            resumption: Resumption::Off,
        });
        let words = words(&work);
        for word in [
            "https://127.0.0.1:80/x",
            "--threads=1",
            "--rate=1234.6",
            "--method=POST",
            "--body-size=1024",
            "--header=x-key: 7",
            "--new-connections",
            "--protocol=h2",
            "--in-flight=20",
            "--ca=/ca.pem",
            "--server-name=localhost",
            "--no-resumption",
        ] {
            assert!(words.iter().any(|found| found == word), "{word}: {words:?}");
        }
    }
}
