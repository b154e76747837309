//! Listening sockets: one per core and address, so that the kernel spreads connections and
//! no core ever waits for another one's accept.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::readiness::Readiness;
use super::socket::into_owned;
use super::{Addr, Socket};

/// A listening socket on this thread's driver.
pub struct Listener {
    socket: socket2::Socket,
    /// The same descriptor, duplicated, registered with the driver; only its readiness is used.
    readiness: Readiness,
}

/// A connection that was just accepted; no thread's driver has it yet.
#[derive(Debug)]
pub struct Accepted {
    fd: OwnedFd,
    peer: Option<SocketAddr>,
}

impl Accepted {
    /// Takes it to this thread's driver; with the peer's address, which UNIX sockets have none
    /// of.
    ///
    /// # Errors
    /// When the driver cannot register it.
    pub fn adopt(self) -> io::Result<(Socket, Option<SocketAddr>)> {
        Ok((Socket::adopt(self.fd)?, self.peer))
    }
}

/// Binds a listening socket. TCP sockets share the port (SO_REUSEPORT), one per core; a UNIX
/// socket is bound once and its duplicates are shared. TCP_NODELAY set here is inherited.
///
/// # Errors
/// What the kernel said: the address is in use, not local, or not permitted.
pub fn bind(addr: &Addr, backlog: i32) -> io::Result<OwnedFd> {
    let socket = socket2::Socket::new(addr.domain(), socket2::Type::STREAM, None)?;
    match addr {
        Addr::Tcp(tcp) => {
            socket.set_reuse_address(true)?;
            socket.set_reuse_port(true)?;
            socket.set_tcp_nodelay(true)?;
            if tcp.is_ipv6() {
                socket.set_only_v6(true)?;
            }
        }
        Addr::Unix(path) => remove_stale(path)?,
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.to_socket2()?)?;
    socket.listen(backlog)?;
    Ok(into_owned(socket))
}

/// Removes a UNIX socket that nobody listens on any more; one that answers is left alone.
#[allow(
    clippy::disallowed_methods,
    reason = "binding is the control plane's, at start and at a reload"
)]
fn remove_stale(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path)
                }
                Err(error) => Err(error),
            }
        }
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is not a socket",
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Listener {
    /// Registers a listening descriptor with this thread's driver.
    ///
    /// # Errors
    /// When it cannot be duplicated or registered.
    pub fn adopt(fd: OwnedFd) -> io::Result<Listener> {
        let twin = fd.try_clone()?;
        Ok(Listener {
            socket: socket2::Socket::from(fd),
            readiness: Readiness::of(twin)?,
        })
    }

    /// Waits until a connection can be accepted. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the listener was shut down.
    pub async fn ready(&self) -> io::Result<()> {
        self.readiness.readable().await
    }

    /// Accepts one connection, or `None` when none waits. Descriptors are close-on-exec.
    ///
    /// # Errors
    /// What the kernel said; `EMFILE` and the like ask the caller to back off.
    pub fn accept(&self) -> io::Result<Option<Accepted>> {
        match self.socket.accept() {
            Ok((socket, addr)) => Ok(Some(Accepted {
                fd: into_owned(socket),
                peer: addr.as_socket(),
            })),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted => Ok(None),
                _ => Err(error),
            },
        }
    }

    /// Stops listening: [`Listener::ready`] returns and nothing more is accepted.
    pub fn close(&self) {
        // A listening socket that is shut down wakes who waits on it; no peer is involved.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }

    /// The address that was bound, port included.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn local_addr(&self) -> io::Result<Option<SocketAddr>> {
        Ok(self.socket.local_addr()?.as_socket())
    }
}
