//! Connections of the bench: the engine's wires, with a client's choice of protocol and trust.
//!
//! As with the sockets below, a future of a wire is awaited to its end: dropping one loses bytes,
//! so what must end early is shut down instead.

pub mod serve;
mod tickets;
pub mod tls;

use std::fmt;
use std::io;
use std::rc::Rc;

use ringgate_core::block::Block;
use ringgate_core::http2::Channel;
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{Addr, Socket};
use ringgate_core::tls::{ClientTls, ServerTls};
use ringgate_core::wire::{Resumed, Session, TlsError, Wire};
use rustls::pki_types::ServerName;

pub use tls::{Alpn, Resumption, Trust};

/// Connects, and shakes hands where there is TLS; each within `deadline`.
///
/// # Errors
/// What the kernel said; [`io::ErrorKind::TimedOut`]; a [`TlsError`] or a [`NotSpoken`] inside an
/// [`io::Error`], see [`is_of_tls`].
pub async fn connect(addr: &Addr, tls: Option<&ClientTls>, deadline: Ticks) -> io::Result<Wire> {
    let session = tls.map(client).transpose()?;
    let wire = Wire::plain(Socket::connect(addr, deadline).await?);
    if let Some((tls, session)) = tls.zip(session) {
        // Boxed, so that connections do not carry the room for it as long as they last.
        Box::pin(wire.shake(session, Block::empty(), deadline)).await?;
        check_alpn(tls, &wire)?;
    }
    Ok(wire)
}

/// Takes over an accepted socket, and shakes hands where there is TLS.
///
/// # Errors
/// As [`connect`].
pub async fn accept(socket: Socket, tls: Option<&ServerTls>) -> io::Result<Wire> {
    let wire = Wire::plain(socket);
    if let Some(tls) = tls {
        let shaking = wire.shake(Session::server(tls)?, Block::empty(), tls.handshake_timeout);
        Box::pin(shaking).await?;
    }
    Ok(wire)
}

/// A wire as the `h2` crate wants it, with what was received on it already.
pub fn channel(wire: &Rc<Wire>, received: Block, stuck_after: Ticks) -> Channel {
    Channel::new(Rc::clone(wire), received, None, stuck_after)
}

/// Whether a client's handshake resumed an earlier session.
pub fn is_resumed(wire: &Wire) -> bool {
    wire.with_session(Session::resumed) == Some(Some(Resumed::Yes))
}

/// Whether an error is one of TLS.
pub fn is_of_tls(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<TlsError>() || inner.is::<NotSpoken>())
}

/// The client's end of a session.
fn client(tls: &ClientTls) -> io::Result<Session> {
    let name = tls.name.clone().unwrap_or_else(localhost);
    Ok(Session::client(tls, name)?)
}

fn localhost() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into())
}

/// Whether the server speaks what is offered: one that picked no protocol, or another one, would
/// not understand us. HTTP/1.1 is what a server speaks that agrees on nothing.
fn check_alpn(tls: &ClientTls, wire: &Wire) -> Result<(), NotSpoken> {
    let wanted = tls.config.alpn_protocols.first();
    let wanted = wanted.and_then(|name| Alpn::of(name));
    let agreed = wire.with_session(|session| session.alpn().and_then(Alpn::of));
    match (wanted, agreed.flatten()) {
        (None, _) | (Some(Alpn::Http1), None) => Ok(()),
        (Some(wanted), Some(agreed)) if wanted == agreed => Ok(()),
        (Some(wanted), agreed) => Err(NotSpoken { wanted, agreed }),
    }
}

/// The server does not speak the protocol that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSpoken {
    wanted: Alpn,
    agreed: Option<Alpn>,
}

impl fmt::Display for NotSpoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |alpn: &Alpn| String::from_utf8_lossy(alpn.name()).into_owned();
        let agreed = self.agreed.as_ref();
        write!(
            f,
            "TLS: the server does not speak {}, it picked {}",
            name(&self.wanted),
            agreed.map_or("nothing".to_owned(), name)
        )
    }
}

impl std::error::Error for NotSpoken {}

impl From<NotSpoken> for io::Error {
    fn from(error: NotSpoken) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// How long a peer may take nothing of what is sent to it, where nobody says otherwise.
pub const STUCK_AFTER: Ticks = Ticks(300);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
