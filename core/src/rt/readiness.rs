//! Waiting for a descriptor that is not received from: a listener, a timer, a connect.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use monoio::net::TcpStream;

use super::Driver;
use super::ring;
use super::socket::driver;

/// A descriptor on this thread's driver.
pub(super) enum Readiness {
    /// Asked of the ring.
    Ring(OwnedFd),
    /// Registered with epoll. Any descriptor that can be polled will do for a stream.
    Epoll(TcpStream),
}

impl Readiness {
    /// Takes the descriptor over.
    ///
    /// # Errors
    /// When it cannot be registered.
    pub(super) fn of(fd: OwnedFd) -> io::Result<Readiness> {
        Ok(match driver() {
            Driver::IoUring => Readiness::Ring(fd),
            Driver::Epoll => Readiness::Epoll(TcpStream::from_std(std::net::TcpStream::from(fd))?),
        })
    }

    /// Waits until it can be read from. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            Readiness::Ring(fd) => ring::ready(fd.as_raw_fd(), libc::POLLIN).await,
            Readiness::Epoll(stream) => stream.readable(false).await,
        }
    }
}
