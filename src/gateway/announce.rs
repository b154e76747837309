//! Telling whoever started the process that it is ready: a line of JSON on an inherited
//! descriptor (`RINGGATE_READY_FD`), and systemd's notification socket (sd_notify(3)).

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The environment variable that names the descriptor.
pub const READY_FD: &str = "RINGGATE_READY_FD";

/// What is told to systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Listeners are open.
    Ready,
    /// A reload has begun; [`Notice::Ready`] ends it.
    Reloading,
    /// A shutdown has begun.
    Stopping,
}

/// Writes one line to the descriptor that the starter named, if it named one.
///
/// # Errors
/// When it names no descriptor of ours, or nobody reads it.
pub fn write_ready(line: &serde_json::Value) -> io::Result<()> {
    let Some(number) = std::env::var_os(READY_FD) else {
        return Ok(());
    };
    let number: u32 = number
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not a number"))?;
    // Opened by its path: the descriptor itself belongs to the starter.
    let mut pipe = OpenOptions::new()
        .write(true)
        .open(format!("/proc/self/fd/{number}"))?;
    pipe.write_all(format!("{line}\n").as_bytes())
}

/// Tells systemd, if it started this process and wants to know. Failing costs nothing but its
/// patience, so nothing is made of it.
pub fn notify(notice: Notice) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let text: &[u8] = match notice {
        Notice::Ready => b"READY=1",
        Notice::Reloading => b"RELOADING=1",
        Notice::Stopping => b"STOPPING=1",
    };
    let send = || {
        let path = path.as_encoded_bytes();
        let address = match path.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(std::path::Path::new(
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(path),
            ))?,
        };
        UnixDatagram::unbound()?.send_to_addr(text, &address)
    };
    let _: io::Result<usize> = send();
}
