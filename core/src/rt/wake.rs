//! Waking a data-plane thread from another one: a byte through a socket pair, so that it
//! works the same on a ring and on epoll.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use super::Socket;
use crate::block::{Block, BlockClass};

/// The side that other threads hold.
#[derive(Debug)]
pub struct WakeHandle(UnixStream);

/// The side that the woken thread turns into a socket on its own runtime.
#[derive(Debug)]
pub struct WakeSource(UnixStream);

/// A connected pair.
///
/// # Errors
/// When no descriptors are left.
pub fn wake_pair() -> io::Result<(WakeHandle, WakeSource)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    Ok((WakeHandle(near), WakeSource(far)))
}

impl WakeHandle {
    /// Wakes the other side. A full pipe means that a wake-up is pending already.
    pub fn wake(&self) {
        let _ = (&self.0).write(&[1]);
    }
}

impl WakeSource {
    /// Calls `on_wake` after each burst of wake-ups, until the handle is dropped or
    /// `on_wake` says `false`. Runs on the thread that is to be woken.
    ///
    /// # Errors
    /// When the socket cannot be registered with this thread's driver.
    pub async fn run(self, mut on_wake: impl FnMut() -> bool) -> io::Result<()> {
        let socket = Socket::adopt(OwnedFd::from(self.0))?;
        let mut block = Block::new(BlockClass::Head);
        loop {
            block.clear();
            let (result, back) = socket.recv(block).await;
            block = back;
            if result? == 0 || !on_wake() {
                return Ok(());
            }
        }
    }
}
