//! One check of one endpoint: a connection of its own, the question, the answer, all within the
//! check's time.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::Authority;
use http::{Request, StatusCode, Version};
use http_body_util::Empty;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use super::body::Body;
use super::failure::{Failure, Late};
use super::{Address, Place, Question, Speaks, Target, Tls, grpc, http1, http2};

/// A connection's bytes, whatever carries them.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How one endpoint is asked.
pub(super) struct Probe {
    place: Place,
    question: Question,
    timeout: Duration,
    speaks: Speaks,
    prelude: &'static [u8],
    tls: Option<(TlsConnector, Option<ServerName<'static>>)>,
}

/// A connection, and what is spoken on it.
struct Line {
    io: Box<dyn Io>,
    speaks: Spoken,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spoken {
    Http1,
    Http2,
}

impl Probe {
    pub(super) fn new(target: &Target, place: &Place) -> Self {
        let tls = target.way.tls.as_ref();
        Self {
            place: place.clone(),
            question: target.check.question.clone(),
            timeout: target.check.timeout,
            speaks: match target.check.question {
                Question::Http { .. } | Question::Tcp => target.way.speaks,
                Question::Grpc { .. } => Speaks::Http2,
            },
            prelude: target.way.prelude,
            tls: tls.map(|tls| connector(tls, place, &target.check.question)),
        }
    }

    /// Asks once.
    pub(super) async fn check(&self) -> Result<(), Failure> {
        let end = Instant::now() + self.timeout;
        let late = |_| Failure::Late(Late::Connection);
        if self.question == Question::Tcp {
            return timeout_at(end, self.open()).await.map_err(late)?.map(drop);
        }
        let line = timeout_at(end, self.connect()).await.map_err(late)??;
        timeout_at(end, self.ask(line))
            .await
            .map_err(|_| Failure::Late(Late::Answer))?
    }

    /// A connection on which nothing has been said.
    async fn open(&self) -> Result<Box<dyn Io>, Failure> {
        Ok(match &self.place.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await.map_err(no_way)?;
                // Without it a check is slower, nothing else.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(no_way)?),
        })
    }

    async fn connect(&self) -> Result<Line, Failure> {
        let mut io = self.open().await?;
        io.write_all(self.prelude).await.map_err(no_way)?;
        let Some((connector, name)) = &self.tls else {
            let speaks = match self.speaks {
                Speaks::Http2 => Spoken::Http2,
                Speaks::Http1 | Speaks::Agreed => Spoken::Http1,
            };
            return Ok(Line { io, speaks });
        };
        let name = name.clone().ok_or_else(|| {
            Failure::Handshake("the endpoint has no name to verify; set `server_name`".to_owned())
        })?;
        let stream = connector
            .connect(name, io)
            .await
            .map_err(|error| Failure::Handshake(error.to_string()))?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let speaks = match (self.speaks, agreed) {
            (Speaks::Http2, false) => return Err(Failure::NoHttp2),
            (_, true) => Spoken::Http2,
            (_, false) => Spoken::Http1,
        };
        Ok(Line {
            io: Box::new(stream),
            speaks,
        })
    }

    async fn ask(&self, line: Line) -> Result<(), Failure> {
        match &self.question {
            // The connection was all.
            Question::Tcp => Ok(()),
            Question::Http { path, expect, body } => {
                let (status, read) = self.get(line, path).await?;
                let good = match expect.is_empty() {
                    true => status.is_success(),
                    false => expect.contains(&status.as_u16()),
                };
                if !good {
                    return Err(Failure::Status(status.as_u16()));
                }
                match body.as_ref().is_none_or(|text| read.contains(text)) {
                    true => Ok(()),
                    false => Err(Failure::Body),
                }
            }
            Question::Grpc { service } => {
                let millis = self.timeout.as_millis();
                let request = self
                    .request(http::Method::POST, grpc::PATH, Version::HTTP_2)
                    .header(CONTENT_TYPE, "application/grpc")
                    .header(TE, "trailers")
                    .header("grpc-timeout", format!("{millis}m"))
                    .body(())
                    .map_err(|error| Failure::Request(error.to_string()))?;
                let body = Bytes::from(grpc::request(service));
                let answer = http2::exchange(line.io, request, body, MESSAGE_BYTES_MAX).await?;
                grpc::judge(&answer)
            }
        }
    }

    async fn get(&self, line: Line, path: &str) -> Result<(StatusCode, Body), Failure> {
        let unwritable = |error: http::Error| Failure::Request(error.to_string());
        match line.speaks {
            Spoken::Http1 => {
                let request = self
                    .request(http::Method::GET, path, Version::HTTP_11)
                    .header(ACCEPT, "*/*")
                    .header(CONNECTION, "close")
                    .body(Empty::new())
                    .map_err(unwritable)?;
                http1::exchange(line.io, request, BODY_BYTES_MAX).await
            }
            Spoken::Http2 => {
                let request = self
                    .request(http::Method::GET, path, Version::HTTP_2)
                    .header(ACCEPT, "*/*")
                    .body(())
                    .map_err(unwritable)?;
                let answer =
                    http2::exchange(line.io, request, Bytes::new(), BODY_BYTES_MAX).await?;
                Ok((answer.status, answer.body))
            }
        }
    }

    fn request(
        &self,
        method: http::Method,
        path: &str,
        version: Version,
    ) -> http::request::Builder {
        let authority = &self.place.authority;
        let request = Request::builder()
            .method(method)
            .version(version)
            .header(USER_AGENT, AGENT);
        if version == Version::HTTP_11 {
            return request.uri(path).header(HOST, authority);
        }
        let scheme = match self.tls {
            Some(_) => "https",
            None => "http",
        };
        request.uri(format!("{scheme}://{authority}{path}"))
    }
}

fn no_way(error: io::Error) -> Failure {
    Failure::Connect(error.to_string())
}

/// As requests speak TLS, but with sessions of its own: a check must not use up the tickets that
/// requests resume with.
fn connector(
    tls: &Tls,
    place: &Place,
    question: &Question,
) -> (TlsConnector, Option<ServerName<'static>>) {
    let mut config = ClientConfig::clone(&tls.config);
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    if matches!(question, Question::Grpc { .. }) {
        config.alpn_protocols = vec![b"h2".to_vec()];
    }
    let name = tls.name.clone().or_else(|| name_of(&place.authority));
    (TlsConnector::from(Arc::new(config)), name)
}

/// The name that an authority's certificate is for.
fn name_of(authority: &str) -> Option<ServerName<'static>> {
    let authority: Authority = authority.parse().ok()?;
    let host = authority.host().trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned()).ok()
}

/// Drives a connection until the exchange on it has come to its end. A connection that ends
/// first may have brought the answer with it.
pub(super) async fn alongside<T>(connection: impl Future, exchange: impl Future<Output = T>) -> T {
    let mut exchange = pin!(exchange);
    tokio::select! {
        biased;
        done = &mut exchange => return done,
        _ = pin!(connection) => {}
    }
    exchange.await
}

const AGENT: &str = concat!("ringgate-health/", env!("CARGO_PKG_VERSION"));
/// What is read of a body. One that goes on is judged by its status and its begin.
const BODY_BYTES_MAX: usize = 64 << 10;
/// A health answer is seven bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Tickets kept for one endpoint.
const SESSIONS_MAX: usize = 4;
