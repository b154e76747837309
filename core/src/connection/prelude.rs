//! What comes before a connection's first request: a PROXY protocol header, a TLS handshake;
//! and connections that never have one, because they are passed on as they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;

use super::Connection;
use crate::arrivals::Excess;
use rustls::pki_types::UnixTime;

use crate::block::{Block, BlockClass};
use crate::chain::{Filter, PeerAddr, TlsFacts};
use crate::client_hello::{self, Hello};
use crate::error::Fault;
use crate::halves::Deadline;
use crate::http::h1::{self, SimpleResponse};
use crate::passing;
use crate::proxy_protocol::{self, Read};
use crate::rt::wheel::Due;
use crate::rt::{CHUNK_TAILROOM, Likely};
use crate::snapshot::{Carries, Listener};
use crate::tls::{ClientIdentity, ServerTls, is_in_time};
use crate::wire::{Resumed, Session, TlsError};
use crate::worker::{Activity, Installed};

/// The address of a peer that has none.
pub(super) const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// How a connection goes on behind its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Begun {
    /// With requests of HTTP/1.
    Requests,
    /// With streams.
    Http2,
    /// Not at all: it has been served, or refused.
    Over,
}

impl<F: Filter> Connection<F> {
    /// Sees a connection to its first request, or to its end.
    pub(super) async fn begin(&mut self, installed: Rc<Installed<F>>) -> Begun {
        let Some(listener) = installed.snapshot.listeners.get(self.client.listener) else {
            return Begun::Over;
        };
        let begun = match self.begin_on(&installed, listener).await {
            Ok(begun) => begun,
            Err((fault, told)) => {
                self.client.book(fault, &told);
                Begun::Over
            }
        };
        if begun == Begun::Over {
            self.close().await;
        }
        begun
    }

    async fn begin_on(
        &mut self,
        installed: &Installed<F>,
        listener: &Listener,
    ) -> Result<Begun, (Fault, String)> {
        let mut received = Block::empty();
        if listener.proxies.contains(self.client.peer.ip) {
            received = self.read_proxy_header().await?;
            if let Err(excess) = self.count_told(listener) {
                let client = &self.client;
                let worker = &client.worker;
                worker.refuse(client.listener, Some(client.peer.ip), excess);
                return Ok(Begun::Over);
            }
        }
        match &listener.carries {
            Carries::Http => {}
            Carries::Tcp(upstream) => {
                passing::pass(&self.client, installed, *upstream, (received, "")).await;
                return Ok(Begun::Over);
            }
            Carries::Tls(upstreams) => {
                let (received, name) = self.read_server_name(received).await?;
                let told = name.as_deref().unwrap_or_default();
                let upstream = upstreams.find(name.as_deref());
                let upstream = upstream.ok_or_else(|| (Fault::NoServerName, told.to_owned()))?;
                passing::pass(&self.client, installed, upstream, (received, told)).await;
                return Ok(Begun::Over);
            }
        }
        let Some(tls) = &listener.tls else {
            self.ahead = (!received.is_empty()).then_some(received);
            return Ok(Begun::Requests);
        };
        self.shake(tls, received).await
    }

    /// Receives what a trusted balancer says first: whom it speaks for. Returns what was
    /// received behind it.
    async fn read_proxy_header(&mut self) -> Result<Block, (Fault, String)> {
        let mut block = Block::new(BlockClass::Head);
        let header = loop {
            match proxy_protocol::read(&block) {
                Ok(Read::Complete { len, header }) => {
                    block.advance(len);
                    break header;
                }
                Ok(Read::Partial) => {}
                Err(error) => return Err((Fault::ProxyHeader, error.to_string())),
            }
            block = self.receive_first(block, Fault::ProxyHeader).await?;
        };
        self.client.ends.source = header.source;
        self.client.ends.destination = header.destination;
        if let Some(source) = header.source {
            self.client.peer = PeerAddr::new(source.ip());
        }
        Ok(block)
    }

    /// Counts the connection for the address that its header tells; a balancer's own
    /// connections, such as its health checks, tell none and are not bounded.
    fn count_told(&self, listener: &Listener) -> Result<(), Excess> {
        match self.client.ends.source {
            Some(source) => self.place.belongs_to(source.ip(), &listener.caps),
            None => Ok(()),
        }
    }

    /// Receives the first message of TLS, and tells the name that it asks for.
    async fn read_server_name(
        &self,
        mut block: Block,
    ) -> Result<(Block, Option<Box<str>>), (Fault, String)> {
        loop {
            match client_hello::server_name(&block) {
                Hello::Complete(asked) => return Ok((block, asked.name)),
                Hello::Partial => {}
                Hello::NotTls => return Err((Fault::TlsHandshake, "no TLS".to_owned())),
                Hello::Malformed => {
                    let told = "a malformed first message of TLS";
                    return Err((Fault::TlsHandshake, told.to_owned()));
                }
            }
            block = self.receive_first(block, Fault::TlsHandshake).await?;
        }
    }

    /// Adds to what was received of a connection's first bytes.
    async fn receive_first(&self, block: Block, fault: Fault) -> Result<Block, (Fault, String)> {
        let mut block = match block.tailroom() > CHUNK_TAILROOM {
            true => block,
            false => {
                let class = BlockClass::fitting(block.len() * 2).unwrap_or(BlockClass::Large);
                let mut larger = Block::new(class);
                larger.append(&block);
                larger
            }
        };
        if block.tailroom() <= CHUNK_TAILROOM {
            return Err((fault, "too long".to_owned()));
        }
        let wire = &self.client.wire;
        let wait = self.client.limits.header_timeout;
        let passed = || (fault, "not in time".to_owned());
        if self.head_deadline.has_passed() {
            return Err(passed());
        }
        wire.recv_timer()
            .arm(self.head_deadline.within(wait), Due::ShutBoth);
        let (result, back) = wire.recv(block).await;
        block = back;
        match result {
            _ if wire.recv_timer().end() => Err(passed()),
            Ok(1..) => Ok(block),
            _ => Err((fault, "closed before".to_owned())),
        }
    }

    async fn shake(
        &mut self,
        tls: &Arc<ServerTls>,
        received: Block,
    ) -> Result<Begun, (Fault, String)> {
        let (wait, by) = (
            tls.handshake_timeout,
            Deadline::after(tls.handshake_timeout),
        );
        let received = match received.is_empty() {
            false => received,
            true => match self.first_record(by).await {
                Some(received) => received,
                // A connection that never said a word is nobody's fault.
                None => return Ok(Begun::Over),
            },
        };
        if looks_plain(&received) {
            self.refuse_plain().await;
            let line = received.split(|b| *b == b'\r').next().unwrap_or_default();
            let told = String::from_utf8_lossy(line).into_owned();
            return Err((Fault::PlainOnTls, told));
        }
        self.place.mark(Activity::Busy);
        let told = |error: TlsError| (Fault::TlsHandshake, error.to_string());
        let session = Session::server(tls).map_err(told)?;
        let stats = self.client.worker.stats();
        let wire = Rc::clone(&self.client.wire);
        let shaken = wire.shake(session, received, by.within(wait)).await;
        if let Err(error) = shaken {
            return Err(match (error.kind(), TlsError::of(&error)) {
                (io::ErrorKind::TimedOut, _) => (Fault::TlsTimeout, error.to_string()),
                (_, Some(tls)) if tls.is_unlisted_name() => {
                    let name = wire.with_session(|session| {
                        format!("{:?}", session.server_name().unwrap_or_default())
                    });
                    let name = name.unwrap_or_default();
                    let told = format!("TLS: strict_sni, and no certificate for {name}");
                    (Fault::TlsHandshake, told)
                }
                _ => (Fault::TlsHandshake, error.to_string()),
            });
        }
        if wire.with_session(is_outdated) == Some(true) {
            let told = "the certificate of a resumed session is out of its time";
            return Err((Fault::TlsHandshake, told.to_owned()));
        }
        let facts = wire.with_session(|session| facts(session, tls));
        self.client.tls = facts.map(Rc::new);
        match wire.with_session(Session::resumed).flatten() {
            Some(Resumed::Yes) => stats.tls_resumed.add(1),
            _ => stats.tls_full.add(1),
        }
        self.head_deadline = Deadline::after(self.client.limits.header_timeout);
        Ok(match wire.with_session(|session| next_of(session.alpn())) {
            Some(begun) => begun,
            None => Begun::Over,
        })
    }

    /// Waits for a client's first record.
    async fn first_record(&self, by: Deadline) -> Option<Block> {
        let wire = &self.client.wire;
        let timer = wire.recv_timer();
        let wait = by.within(self.client.limits.header_timeout);
        timer.arm(wait, Due::ShutBoth);
        self.place.mark(Activity::Idle);
        let (result, block) = wire.recv_block(BlockClass::Small, Likely::Now).await;
        self.place.mark(Activity::Busy);
        timer.end();
        matches!(result, Ok(1..)).then_some(block)
    }

    /// Tells somebody who speaks plain what is spoken here.
    async fn refuse_plain(&self) {
        let mut answer = Vec::new();
        h1::encode_simple_response(
            &SimpleResponse {
                status: 400,
                content_type: b"text/plain",
                body: b"400 Bad Request\nplain HTTP on a port that speaks TLS; use https://\n",
                connection: h1::Connection::Close,
                ..SimpleResponse::default()
            },
            &mut answer,
        );
        let wait = self.client.limits.send_timeout;
        let sent = self.client.wire.send(Block::from_slice(&answer), || wait);
        // Who does not read it is not served any worse.
        let _ = sent.await;
        self.linger().await;
    }
}

/// What is spoken behind a handshake.
fn next_of(alpn: Option<&[u8]>) -> Begun {
    match alpn {
        Some(b"h2") => Begun::Http2,
        // Its handshake was all that an ACME authority wanted (RFC 8737, 3).
        Some(b"acme-tls/1") => Begun::Over,
        _ => Begun::Requests,
    }
}

fn facts(session: &Session, tls: &ServerTls) -> TlsFacts {
    let certificate = session.peer_certificates().first();
    TlsFacts {
        server_name: session.server_name().map(Into::into),
        version: session.version(),
        identity: certificate.and_then(|certificate| ClientIdentity::of(certificate)),
        tell: tls.identity,
    }
}

/// Whether a resumed session stands on a certificate that would not do any more: only a full
/// handshake looks at it.
fn is_outdated(session: &Session) -> bool {
    let mut certificates = session.peer_certificates().iter().take(1);
    session.resumed() == Some(Resumed::Yes)
        && certificates.any(|certificate| !is_in_time(certificate, UnixTime::now()))
}

/// Whether these are the first bytes of a plain request: a record of a handshake begins with 22.
fn looks_plain(received: &[u8]) -> bool {
    received.first().is_some_and(u8::is_ascii_uppercase)
}
