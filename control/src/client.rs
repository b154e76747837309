//! A small blocking client of the admin API, for the command line: one request, one
//! connection, one deadline over all of it.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::report::{ReloadRefused, ReloadReport};

/// Speaks to the admin API of one node.
#[derive(Debug, Clone, Copy)]
pub struct AdminClient {
    address: SocketAddr,
    timeout: Duration,
}

/// Asks the node at `address` to reload, waiting `timeout` at most.
///
/// # Errors
/// When no answer came; a refusal is an answer, the inner `Err`.
pub fn post_reload(
    address: SocketAddr,
    timeout: Duration,
) -> Result<Result<ReloadReport, ReloadRefused>, AdminError> {
    AdminClient::new(address, timeout).reload()
}

impl AdminClient {
    /// `timeout` covers a whole request, connecting included.
    pub fn new(address: SocketAddr, timeout: Duration) -> Self {
        Self { address, timeout }
    }

    /// `POST /reload`.
    ///
    /// # Errors
    /// When no answer came; a refusal is an answer, the inner `Err`.
    pub fn reload(&self) -> Result<Result<ReloadReport, ReloadRefused>, AdminError> {
        let answer = self.request("POST", "/reload")?;
        let parsed = match answer.status {
            200 => serde_json::from_slice(&answer.body).map(Ok),
            _ => serde_json::from_slice(&answer.body).map(Err),
        };
        parsed.map_err(|_| self.unexpected(&answer))
    }

    /// `GET path`, whatever its status.
    ///
    /// # Errors
    /// When no answer came.
    pub fn fetch(&self, path: &str) -> Result<AdminAnswer, AdminError> {
        self.request("GET", path)
    }

    /// `POST path`, whatever its status.
    ///
    /// # Errors
    /// When no answer came.
    pub fn post(&self, path: &str) -> Result<AdminAnswer, AdminError> {
        self.request("POST", path)
    }

    /// The JSON of an answer.
    ///
    /// # Errors
    /// What the node says in place of it, or that it is no node.
    pub fn json(&self, answer: &AdminAnswer) -> Result<serde_json::Value, AdminError> {
        let parsed = serde_json::from_slice(&answer.body).ok();
        let parsed = parsed.filter(|_| answer.status == 200);
        parsed.ok_or_else(|| self.unexpected(answer))
    }

    fn request(&self, method: &str, path: &str) -> Result<AdminAnswer, AdminError> {
        let deadline = Instant::now() + self.timeout;
        let raw = self
            .exchange(method, path, deadline)
            .map_err(|source| match source.kind() {
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => AdminError::Timeout {
                    address: self.address,
                    after: self.timeout,
                },
                io::ErrorKind::ConnectionRefused => AdminError::NothingListens {
                    address: self.address,
                },
                _ => AdminError::Io {
                    address: self.address,
                    source,
                },
            })?;
        parse(&raw).ok_or_else(|| AdminError::NotRinggate {
            address: self.address,
            got: excerpt(&raw),
        })
    }

    fn exchange(&self, method: &str, path: &str, deadline: Instant) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address, remaining(deadline)?)?;
        stream.set_write_timeout(Some(remaining(deadline)?))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: ringgate/{}\r\n\
             Accept: application/json\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address,
            env!("CARGO_PKG_VERSION"),
        );
        stream.write_all(request.as_bytes())?;
        let mut raw = Vec::new();
        let mut block = [0; 16 * 1024];
        loop {
            stream.set_read_timeout(Some(remaining(deadline)?))?;
            match stream.read(&mut block) {
                Ok(0) => return Ok(raw),
                Ok(n) => raw.extend_from_slice(&block[..n]),
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(cause),
            }
            if raw.len() > ANSWER_MAX {
                return Err(io::Error::other("the answer is too long"));
            }
        }
    }

    fn unexpected(&self, answer: &AdminAnswer) -> AdminError {
        let message = serde_json::from_slice::<serde_json::Value>(&answer.body)
            .ok()
            .and_then(|body| Some(body.get("error")?.as_str()?.to_owned()));
        match message {
            Some(message) => AdminError::Refused {
                address: self.address,
                status: answer.status,
                message,
            },
            None => AdminError::NotRinggate {
                address: self.address,
                got: excerpt(&answer.body),
            },
        }
    }
}

/// One answer of the admin API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminAnswer {
    /// HTTP status code.
    pub status: u16,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why the admin API gave no usable answer. The text says what to try.
#[derive(Debug)]
pub enum AdminError {
    /// The connection was refused.
    NothingListens {
        /// Where it was tried.
        address: SocketAddr,
    },
    /// No whole answer in time.
    Timeout {
        /// Who did not answer.
        address: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
    /// Connecting or reading failed otherwise.
    Io {
        /// With whom.
        address: SocketAddr,
        /// The system's words.
        source: io::Error,
    },
    /// Something else listens there.
    NotRinggate {
        /// Where.
        address: SocketAddr,
        /// The beginning of what it said.
        got: String,
    },
    /// The admin API declined the request itself.
    Refused {
        /// Who declined.
        address: SocketAddr,
        /// HTTP status code.
        status: u16,
        /// Its reason.
        message: String,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingListens { address } => write!(
                f,
                "nothing listens on {address}: is ringgate running, and is that its [admin] listen address?"
            ),
            Self::Timeout { address, after } => write!(
                f,
                "the admin API on {address} did not answer within {after:?}; the node's log says whether it is still at work"
            ),
            Self::Io { address, source } => {
                write!(f, "talking to the admin API on {address} failed: {source}")
            }
            Self::NotRinggate { address, got } => write!(
                f,
                "what listens on {address} does not answer like ringgate's admin API (it said {got:?}); check the [admin] listen address"
            ),
            Self::Refused {
                address,
                status,
                message,
            } => write!(f, "the admin API on {address} answered {status}: {message}"),
        }
    }
}

impl std::error::Error for AdminError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn remaining(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(left)
}

/// Reads an answer that ended with its connection. The admin API never sends chunks.
fn parse(raw: &[u8]) -> Option<AdminAnswer> {
    let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&raw[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?;
    let mut body = &raw[end + 4..];
    for line in lines {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return None;
        }
        if name.eq_ignore_ascii_case("content-length") {
            body = body.get(..value.trim().parse().ok()?)?;
        }
    }
    Some(AdminAnswer {
        status: status.parse().ok()?,
        body: body.to_vec(),
    })
}

fn excerpt(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(60)]).into_owned()
}

/// More than the metrics of 100,000 routes would take.
const ANSWER_MAX: usize = 512 * 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parses_status_and_body() {
        let answer = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!(
            (answer.status, answer.body.as_slice()),
            (200, b"hi".as_slice())
        );
    }

    #[test]
    fn a_cut_answer_is_no_answer() {
        for raw in [
            "",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            assert_eq!(parse(raw.as_bytes()), None, "{raw:?}");
        }
    }
}
