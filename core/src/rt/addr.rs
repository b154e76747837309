//! Addresses of listeners and endpoints: TCP or a UNIX socket's path.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a listener accepts or an endpoint answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Addr {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The path of a UNIX stream socket.
    Unix(PathBuf),
}

impl Addr {
    /// The address as the socket library takes it.
    ///
    /// # Errors
    /// When a UNIX path is longer than the kernel allows (107 bytes).
    pub(crate) fn to_socket2(&self) -> std::io::Result<socket2::SockAddr> {
        match self {
            Addr::Tcp(addr) => Ok((*addr).into()),
            Addr::Unix(path) => socket2::SockAddr::unix(path),
        }
    }

    pub(crate) fn domain(&self) -> socket2::Domain {
        match self {
            Addr::Tcp(SocketAddr::V4(_)) => socket2::Domain::IPV4,
            Addr::Tcp(SocketAddr::V6(_)) => socket2::Domain::IPV6,
            Addr::Unix(_) => socket2::Domain::UNIX,
        }
    }

    /// The path of a UNIX address.
    pub fn unix_path(&self) -> Option<&Path> {
        match self {
            Addr::Tcp(_) => None,
            Addr::Unix(path) => Some(path),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Addr::Tcp(addr) => addr.fmt(f),
            Addr::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
