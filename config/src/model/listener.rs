//! Where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Limits, Name};
use crate::Spanned;
use crate::keys::words;

/// `[[listener]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique among listeners.
    pub name: Spanned<Name>,
    /// Unique among listeners, but for port 0.
    pub listen: Spanned<ListenAddr>,
    /// What a client's FIN after its request means.
    pub half_close: HalfClose,
    /// `[limits]` with this listener's overrides applied.
    pub limits: Limits,
}

/// An address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// An IP address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What it means that a client shuts its sending side down after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HalfClose {
    /// It has gone: its request is cancelled.
    Abort,
    /// It still reads: the response is sent, then the connection closes.
    Allow,
}

words!(HalfClose { Abort = "abort", Allow = "allow" });
