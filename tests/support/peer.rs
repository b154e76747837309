//! One end of a TCP or unix-socket connection with a deadline on every wait.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::{PATIENCE, sys};

/// A connected socket.
#[derive(Debug)]
pub enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    /// Connects to `address`: `host:port` or `unix:/path`.
    pub fn connect(address: &str) -> io::Result<Self> {
        let peer = match address.strip_prefix("unix:") {
            Some(path) => Self::Unix(UnixStream::connect(path)?),
            None => Self::Tcp(TcpStream::connect(address)?),
        };
        Ok(peer.with_deadlines())
    }

    /// Bounds every read and write by the patience of the tests.
    pub fn with_deadlines(self) -> Self {
        self.patience(PATIENCE);
        if let Self::Tcp(stream) = &self {
            stream.set_nodelay(true).unwrap();
        }
        self
    }

    /// Bounds every later read and write by `wait`.
    pub fn patience(&self, wait: Duration) {
        match self {
            Self::Tcp(s) => {
                s.set_read_timeout(Some(wait)).unwrap();
                s.set_write_timeout(Some(wait)).unwrap();
            }
            Self::Unix(s) => {
                s.set_read_timeout(Some(wait)).unwrap();
                s.set_write_timeout(Some(wait)).unwrap();
            }
        }
    }

    /// Ends this side's sending. A peer that is gone already is no failure.
    pub fn finish_sending(&self) {
        let _ = match self {
            Self::Tcp(s) => s.shutdown(Shutdown::Write),
            Self::Unix(s) => s.shutdown(Shutdown::Write),
        };
    }

    /// Closes with a reset where the transport knows one.
    pub fn reset(&self) {
        if let Self::Tcp(stream) = self {
            sys::reset_on_close(stream);
        }
    }

    /// The TCP stream below, for socket options.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(_) => panic!("not a TCP connection"),
        }
    }
}

impl Read for Peer {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.read(buf),
            Self::Unix(s) => s.read(buf),
        }
    }
}

impl Write for Peer {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(s) => s.write(buf),
            Self::Unix(s) => s.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
