//! nginx as the rival and as the origin, with configurations of its own in scratch
//! directories: nothing of an installed nginx is read or touched.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cores::Core;
use crate::fault::{Fault, Result};
use crate::http;
use crate::interrupt;
use crate::process::{self, Plan, Process};

/// The program.
#[derive(Debug)]
pub struct Nginx {
    program: PathBuf,
}

/// A running nginx: a master and one worker.
#[derive(Debug)]
pub struct Server {
    /// The master.
    pub process: Process,
    /// Where it serves.
    pub address: SocketAddr,
    /// What it was told.
    pub config: String,
    status: SocketAddr,
}

/// Counters of `ngx_http_stub_status_module` since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Connections that were accepted.
    pub accepted: u64,
    /// Requests that came.
    pub requests: u64,
}

/// Which configuration a server runs on.
#[derive(Debug, Clone, Copy)]
pub enum Role<'a> {
    /// Answers everything with a small constant.
    Origin,
    /// Passes everything on.
    Proxy {
        /// Where to.
        origin: SocketAddr,
        /// Where it notes each request.
        access_log: &'a Path,
    },
}

impl Nginx {
    /// Finds it.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn find() -> Result<Nginx> {
        let program = process::find("nginx", "nginx-light")?;
        Ok(Nginx { program })
    }

    /// What it says of itself.
    pub fn version(&self) -> String {
        process::version(&self.program, "-v")
    }

    /// Starts it on one core and waits until it serves. `directory` must exist.
    ///
    /// # Errors
    /// When it does not come up, which it tries on several ports.
    pub fn start(&self, role: Role<'_>, core: Core, directory: &Path) -> Result<Server> {
        let mut attempts_left = ATTEMPTS;
        loop {
            attempts_left -= 1;
            // A port that was free a moment ago may be taken by the time it is used.
            match self.attempt(role, core, directory) {
                Err(Fault::Setup(_)) if attempts_left > 0 => {}
                outcome => return outcome,
            }
        }
    }

    fn attempt(&self, role: Role<'_>, core: Core, directory: &Path) -> Result<Server> {
        let (address, status) = free_addresses()?;
        let config = render(role, address, status, directory);
        let file = directory.join("nginx.conf");
        fs::write(&file, &config).map_err(|error| Fault::io("write nginx.conf", &error))?;
        let plan = Plan {
            name: "nginx",
            program: &self.program,
            arguments: vec!["-p".into(), directory.into(), "-c".into(), file.into()],
            environment: Vec::new(),
            core: Some(core),
            directory,
        };
        let mut server = Server {
            process: plan.start()?,
            address,
            config,
            status,
        };
        let ready = interrupt::wait(READY_MAX, || {
            if !server.process.is_running() {
                return Err(server.process.failed("ended"));
            }
            Ok(http::fetch(status, STATUS_PATH).is_ok().then_some(()))
        })?;
        match ready {
            Some(()) => Ok(server),
            None => Err(server.process.failed("does not serve")),
        }
    }
}

impl Server {
    /// Asks for its counters. The question itself is a connection and a request.
    ///
    /// # Errors
    /// When there is no sensible answer.
    pub fn status(&self) -> Result<Status> {
        let answer = http::fetch(self.status, STATUS_PATH)
            .map_err(|error| Fault::io("ask nginx for its counters", &error))?;
        let text = String::from_utf8_lossy(&answer.body);
        Status::parse(&text)
            .ok_or_else(|| Fault::Setup(format!("nginx said something unexpected:\n{text}")))
    }
}

impl Status {
    /// What happened between two questions, without the second question.
    pub fn since(self, earlier: Status) -> Status {
        Status {
            accepted: self.accepted.saturating_sub(earlier.accepted + 1),
            requests: self.requests.saturating_sub(earlier.requests + 1),
        }
    }

    fn parse(text: &str) -> Option<Status> {
        let mut lines = text.lines();
        lines.find(|line| line.trim() == "server accepts handled requests")?;
        let mut numbers = lines.next()?.split_whitespace().map(str::parse);
        let mut number = || numbers.next()?.ok();
        let (accepted, _, requests) = (number()?, number()?, number()?);
        Some(Status { accepted, requests })
    }
}

/// Both use connections for as long as the other side does, so that opening them is not part
/// of what is measured, and log only what a figure needs.
fn render(role: Role<'_>, address: SocketAddr, status: SocketAddr, directory: &Path) -> String {
    let directory = directory.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {directory}/{kind};\n"))
        .concat();
    let (log, body) = match role {
        Role::Origin => (
            "off".to_owned(),
            format!(
                "    server {{
        listen {address} backlog=4096;
        location / {{
            default_type application/json;
            return 200 '{ORIGIN_BODY}';
        }}
    }}"
            ),
        ),
        Role::Proxy { origin, access_log } => (
            format!("{} combined buffer=64k flush=1s", access_log.display()),
            format!(
                "    upstream origin {{
        server {origin};
        keepalive 256;
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen {address} backlog=4096;
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}"
            ),
        ),
    };
    format!(
        "daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{
    worker_connections 8192;
}}
http {{
    access_log {log};
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
{temporary}{body}
    server {{
        listen {status};
        access_log off;
        location = {STATUS_PATH} {{
            stub_status;
        }}
    }}
}}
"
    )
}

fn free_addresses() -> Result<(SocketAddr, SocketAddr)> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let pair = || {
        // Both are held until both are known, or they might be the same.
        let (first, second) = (bind()?, bind()?);
        Ok((first.local_addr()?, second.local_addr()?))
    };
    pair().map_err(|error| Fault::io("find a free port", &error))
}

/// What the origin answers: small, as most answers of an API are.
pub const ORIGIN_BODY: &str = r#"{"id":7,"name":"Ada","email":"ada@example.com"}"#;

const STATUS_PATH: &str = "/status";
const READY_MAX: Duration = Duration::from_secs(10);
const ATTEMPTS: u32 = 3;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "Active connections: 2 \nserver accepts handled requests\n \
                        31 31 4711 \nReading: 0 Writing: 1 Waiting: 1 \n";

    #[test]
    fn counters_are_read() {
        let status = Status::parse(TEXT).unwrap();
        assert_eq!((status.accepted, status.requests), (31, 4711));
        assert_eq!(Status::parse("<html>"), None);
    }

    #[test]
    fn the_second_question_does_not_count() {
        let at = |accepted, requests| Status { accepted, requests };
        assert_eq!(at(66, 1001).since(at(1, 1)), at(64, 999));
        assert_eq!(at(2, 2).since(at(1, 1)), at(0, 0));
    }

    #[test]
    fn the_proxy_keeps_its_connections_and_logs() {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let role = Role::Proxy {
            origin: address,
            access_log: Path::new("/tmp/x/access.log"),
        };
        let text = render(role, address, address, Path::new("/tmp/x"));
        for line in [
            "access_log /tmp/x/access.log combined buffer=64k flush=1s;",
            "keepalive 256;",
            "proxy_http_version 1.1;",
            "proxy_set_header Connection \"\";",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
