//! TLS without I/O: received records in, plaintext out; plaintext in, records to send out.
//!
//! Nothing here waits. Whoever drives it sends [`Session::outgoing`] after every call that may
//! have made some, and takes the end of the stream before [`Session::has_ended`] for truncation.

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConnection, Connection, HandshakeKind, ServerConnection};

use crate::block::{Block, BlockClass, HEADROOM};
use crate::tls::{ClientTls, ServerTls};

/// One end of a TLS connection.
#[derive(Debug)]
pub struct Session {
    tls: Connection,
    /// The peer has said that it sends nothing more.
    ended: bool,
    /// Decrypted bytes that were not read yet.
    plaintext: usize,
    /// About how much waits to be sent.
    pending: usize,
}

/// Why a TLS stream is of no use any more.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsError {
    /// What the peer sent, or what it said about what we sent.
    Protocol(rustls::Error),
    /// The stream ended without the peer's close_notify: somebody may have cut it (RFC 8446,
    /// 6.1).
    Truncated,
}

impl TlsError {
    /// Whether the peer's certificate did not prove what it had to.
    pub fn is_untrusted(&self) -> bool {
        use rustls::Error;
        matches!(
            self,
            TlsError::Protocol(
                Error::InvalidCertificate(_)
                    | Error::NoCertificatesPresented
                    | Error::UnsupportedNameType
                    | Error::InvalidCertRevocationList(_)
            )
        )
    }

    /// Whether the peer spoke of no protocol that is spoken here (RFC 7301, 3.2).
    pub fn is_other_protocol(&self) -> bool {
        use rustls::{AlertDescription, Error};
        matches!(
            self,
            TlsError::Protocol(
                Error::AlertReceived(AlertDescription::NoApplicationProtocol)
                    | Error::NoApplicationProtocol
            )
        )
    }

    /// Whether no certificate was found for a client, which rustls tells by this text alone.
    pub fn is_unlisted_name(&self) -> bool {
        matches!(self, TlsError::Protocol(rustls::Error::General(told))
            if told == "no server certificate chain resolved")
    }

    /// The error inside an error of I/O.
    pub fn of(error: &io::Error) -> Option<&TlsError> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Protocol(error) => write!(f, "TLS: {error}"),
            TlsError::Truncated => f.write_str("TLS: the stream ended without close_notify"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> io::Error {
        let kind = match error {
            TlsError::Truncated => io::ErrorKind::UnexpectedEof,
            TlsError::Protocol(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

impl Session {
    /// The client's end, toward the server of this name; its first flight waits in
    /// [`Session::outgoing`].
    ///
    /// # Errors
    /// When the configuration cannot begin a handshake.
    pub fn client(tls: &ClientTls, name: ServerName<'static>) -> Result<Session, TlsError> {
        let connection = ClientConnection::new(Arc::clone(&tls.config), name);
        Ok(Session::over(
            connection.map_err(TlsError::Protocol)?.into(),
        ))
    }

    /// The server's end.
    ///
    /// # Errors
    /// As [`Session::client`].
    pub fn server(tls: &ServerTls) -> Result<Session, TlsError> {
        let connection = ServerConnection::new(Arc::clone(&tls.config));
        Ok(Session::over(
            connection.map_err(TlsError::Protocol)?.into(),
        ))
    }

    fn over(mut tls: Connection) -> Session {
        // Senders bound themselves: they wait for the records to be sent.
        tls.set_buffer_limit(None);
        Session {
            tls,
            ended: false,
            plaintext: 0,
            pending: FLIGHT,
        }
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Takes received bytes until the handshake is over; what is left belongs to
    /// [`Session::open`].
    ///
    /// # Errors
    /// [`TlsError::Protocol`]; an alert for the peer then waits in [`Session::outgoing`].
    pub fn shake(&mut self, received: &mut Block) -> Result<(), TlsError> {
        while self.is_handshaking() && self.take(received)? {}
        Ok(())
    }

    /// Decrypts received bytes into the free space behind the payload of `plain`, until either is
    /// used up.
    ///
    /// # Errors
    /// As [`Session::shake`].
    pub fn open(&mut self, received: &mut Block, plain: &mut Block) -> Result<(), TlsError> {
        loop {
            self.read(plain);
            if plain.tailroom() <= crate::rt::CHUNK_TAILROOM || !self.take(received)? {
                return Ok(());
            }
        }
    }

    /// Takes received bytes and tells how much plaintext waits to be read.
    ///
    /// # Errors
    /// As [`Session::shake`].
    pub fn look(&mut self, received: &mut Block) -> Result<usize, TlsError> {
        while self.plaintext == 0 && self.take(received)? {}
        Ok(self.plaintext)
    }

    /// Feeds some received bytes; false when there were none.
    fn take(&mut self, received: &mut Block) -> Result<bool, TlsError> {
        if received.is_empty() {
            return Ok(false);
        }
        let mut bytes = &received[..];
        match self.tls.read_tls(&mut bytes) {
            // Behind close_notify nothing counts.
            Ok(0) => received.advance(received.len()),
            Ok(taken) => received.advance(taken),
            // Its buffer is full: the callers read first, so records are longer than allowed.
            Err(_) => return Err(TlsError::Protocol(rustls::Error::General(FULL.to_owned()))),
        }
        let state = self.tls.process_new_packets();
        let state = state.map_err(|error| {
            self.pending += FLIGHT;
            TlsError::Protocol(error)
        })?;
        self.plaintext = state.plaintext_bytes_to_read();
        self.pending = self.pending.max(state.tls_bytes_to_write());
        self.ended |= state.peer_has_closed();
        Ok(true)
    }

    fn read(&mut self, plain: &mut Block) {
        while self.plaintext > 0 && plain.tailroom() > crate::rt::CHUNK_TAILROOM {
            let window = plain.window();
            let end = plain.capacity() - crate::rt::CHUNK_TAILROOM;
            let room = &mut plain.memory_mut()[window.end..end];
            match self.tls.reader().read(room) {
                // The end, which `has_ended` tells, or nothing is decrypted.
                Ok(0) | Err(_) => self.plaintext = 0,
                Ok(count) => {
                    plain.set_window(window.start..window.end + count);
                    self.plaintext = self.plaintext.saturating_sub(count);
                }
            }
        }
    }

    /// Whether plaintext waits to be read.
    pub fn has_plaintext(&self) -> bool {
        self.plaintext > 0
    }

    /// Whether the peer has said that it sends nothing more, and everything it sent was read.
    pub fn has_ended(&self) -> bool {
        self.ended && self.plaintext == 0
    }

    /// Encrypts; the records wait in [`Session::outgoing`].
    ///
    /// # Errors
    /// When the connection has failed, or so many records were sent that the key is used up.
    pub fn seal(&mut self, plain: &[u8]) -> Result<(), TlsError> {
        let written = self.tls.writer().write_all(plain);
        written.map_err(|error| TlsError::Protocol(rustls::Error::General(error.to_string())))?;
        let records = plain.len().div_ceil(RECORD_PLAINTEXT_MAX);
        self.pending += plain.len() + records * RECORD_OVERHEAD_MAX;
        Ok(())
    }

    /// Says close_notify.
    pub fn say_close(&mut self) {
        self.tls.send_close_notify();
        self.pending += RECORD_OVERHEAD_MAX;
    }

    /// Whether records wait to be sent.
    pub fn wants_send(&self) -> bool {
        self.tls.wants_write()
    }

    /// The next block of records to send, as many as fit; `None` when there are none.
    pub fn outgoing(&mut self) -> Option<Block> {
        if !self.tls.wants_write() {
            self.pending = 0;
            return None;
        }
        let class = BlockClass::fitting(self.pending).unwrap_or(BlockClass::Large);
        let mut records = Into(Block::new(class));
        while self.tls.wants_write() && records.0.tailroom() > 0 {
            // Writing into memory does not fail.
            if self.tls.write_tls(&mut records).unwrap_or(0) == 0 {
                break;
            }
        }
        self.pending = self.pending.saturating_sub(records.0.len());
        Some(records.0)
    }

    /// The protocol that was agreed on, if any was.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// The name that the client asked for, if this is the server's end.
    pub fn server_name(&self) -> Option<&str> {
        match &self.tls {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        }
    }

    /// The peer's certificates, its own first; none where it showed none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// Whether the handshake resumed an earlier session; `None` while it goes on.
    pub fn resumed(&self) -> Option<Resumed> {
        Some(match self.tls.handshake_kind()? {
            HandshakeKind::Resumed => Resumed::Yes,
            HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest => Resumed::No,
        })
    }

    /// `TLSv1.2` or `TLSv1.3`, once that is agreed on.
    pub fn version(&self) -> &'static str {
        match self.tls.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "",
        }
    }
}

/// What a handshake came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It was a full one, with certificates.
    No,
    /// It resumed an earlier session.
    Yes,
}

/// Takes written bytes into a block as far as they fit.
struct Into(Block);

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.0.append(bytes))
    }

    fn write_vectored(&mut self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let mut total = 0;
        for piece in pieces {
            let count = self.0.append(piece);
            total += count;
            if count < piece.len() {
                break;
            }
        }
        Ok(total)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Plaintext of one record (RFC 8446, 5.1).
pub const RECORD_PLAINTEXT_MAX: usize = 16 << 10;

/// What a record adds to its plaintext: header, content type, tag, and the explicit nonce of
/// TLS 1.2.
const RECORD_OVERHEAD_MAX: usize = 64;

/// About the size of a flight of a handshake.
const FLIGHT: usize = 1200;

const FULL: &str = "a message is longer than TLS allows";

const _: () = assert!(
    7 * (RECORD_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX) + HEADROOM <= BlockClass::Large.size()
);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
