//! Opening listeners: one socket for each worker, so that the kernel spreads connections.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use ringgate_core::rt::{self, Addr};
use ringgate_core::snapshot::Listener;
use ringgate_core::worker::OpenListener;

use super::{StartError, occupant};

/// Opened sockets, by worker.
pub struct Opened {
    by_worker: Vec<Vec<OpenListener>>,
}

impl Opened {
    /// Nothing yet, for so many workers.
    pub fn none(workers: usize) -> Opened {
        Opened {
            by_worker: (0..workers).map(|_| Vec::new()).collect(),
        }
    }

    /// Opens a listener for every worker. One on port 0 gets the address that the system chose.
    ///
    /// # Errors
    /// Names the listener, the address, the cause and what to do.
    pub fn open(
        &mut self,
        listener: &mut Listener,
        backlog: u32,
        sharing: Sharing,
    ) -> Result<(), StartError> {
        let explain = |error| explain(listener, &error);
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        if let (Addr::Tcp(address), Sharing::Forbidden) = (&listener.addr, sharing) {
            // Ours share their port among each other, so a stranger's that shares it too would
            // silently take a part of the connections. One that does not share tells.
            TcpListener::bind(address).map_err(explain)?;
        }
        let first = rt::bind(&listener.addr, backlog).map_err(explain)?;
        let addr = match &listener.addr {
            Addr::Tcp(_) => Addr::Tcp(local_addr(&first).map_err(explain)?),
            Addr::Unix(_) => listener.addr.clone(),
        };
        let mut descriptors = vec![first];
        for _ in 1..self.by_worker.len() {
            let next = match &addr {
                Addr::Tcp(_) => rt::bind(&addr, backlog),
                Addr::Unix(_) => descriptors[0].try_clone(),
            };
            descriptors.push(next.map_err(explain)?);
        }
        for (worker, fd) in self.by_worker.iter_mut().zip(descriptors) {
            let addr = addr.clone();
            worker.push(OpenListener { addr, fd });
        }
        listener.addr = addr;
        Ok(())
    }

    /// The sockets, by worker.
    pub fn into_inner(self) -> Vec<Vec<OpenListener>> {
        self.by_worker
    }
}

/// Whether a port may be shared with sockets that are open already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// Somebody else's socket there is an error.
    Forbidden,
    /// This process has the port already, under another address.
    Own,
}

/// Opens the admin API's socket.
///
/// # Errors
/// Names the address, the cause and what to do.
pub fn open_admin(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .map_err(|error| explain_tcp("the admin API ([admin] listen)", address, &error))
}

fn local_addr(fd: &OwnedFd) -> io::Result<SocketAddr> {
    TcpListener::from(fd.try_clone()?).local_addr()
}

fn explain(listener: &Listener, error: &io::Error) -> StartError {
    let name = format!("listener \"{}\"", listener.name);
    match &listener.addr {
        Addr::Tcp(address) => explain_tcp(&name, *address, error),
        Addr::Unix(path) => {
            let what = format!("{name} cannot listen on unix:{}: {error}", path.display());
            let help = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another process answers there: stop it, or use another path"
                }
                io::ErrorKind::NotFound => {
                    "create the directory, for example with RuntimeDirectory= of systemd"
                }
                io::ErrorKind::PermissionDenied => {
                    "let this user write to the directory, or use another path"
                }
                io::ErrorKind::AlreadyExists => {
                    "the path is taken by something that is no socket: use another path"
                }
                _ => "use another path",
            };
            StartError::new(what).help(help)
        }
    }
}

fn explain_tcp(name: &str, address: SocketAddr, error: &io::Error) -> StartError {
    let (cause, help) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            match occupant::of(address) {
                Some(who) => format!("the address is in use by {who}"),
                None => "the address is in use".to_owned(),
            },
            "stop the other process, or listen on another address",
        ),
        io::ErrorKind::PermissionDenied if address.port() < 1024 => (
            "ports below 1024 are privileged".to_owned(),
            "grant CAP_NET_BIND_SERVICE (AmbientCapabilities= of systemd, or setcap on the binary), or use a port from 1024 on",
        ),
        io::ErrorKind::AddrNotAvailable => (
            "no interface of this machine has this address".to_owned(),
            "correct the address, or listen on 0.0.0.0 or [::]",
        ),
        _ => (error.to_string(), "listen on another address"),
    };
    StartError::new(format!("{name} cannot listen on {address}: {cause}")).help(help)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn listener(addr: Addr) -> Listener {
        let file = std::env::temp_dir().join(format!("ringgate-open-{}.toml", std::process::id()));
        let text = "[[listener]]\nname = \"public\"\nlisten = \"127.0.0.1:0\"\n\
                    [[route]]\nname = \"r\"\npath = \"/\"\nrespond = { status = 204 }\n";
        std::fs::write(&file, text).unwrap();
        let checked = crate::checked::check(&file, crate::references::Commands::Leave);
        let _ = std::fs::remove_file(&file);
        let listener = checked.ok().unwrap().snapshot.listeners.remove(0);
        Listener {
            addr,
            connections: Arc::default(),
            ..listener
        }
    }

    fn local(port: u16) -> Addr {
        Addr::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_port_that_was_chosen() {
        let mut public = listener(local(0));
        let mut opened = Opened::none(3);
        opened.open(&mut public, 16, Sharing::Forbidden).unwrap();
        assert_ne!(public.addr, local(0));
        for worker in opened.into_inner() {
            assert_eq!(Addr::Tcp(local_addr(&worker[0].fd).unwrap()), public.addr);
        }
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_who_has_it() {
        let taken = rt::bind(&local(0), 16).unwrap();
        let address = local_addr(&taken).unwrap();
        let mut public = listener(Addr::Tcp(address));
        let error = Opened::none(1)
            .open(&mut public, 16, Sharing::Forbidden)
            .unwrap_err()
            .to_string();
        for part in ["\"public\"", &address.to_string(), "in use by", "try:"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn a_missing_directory_is_an_error_that_says_so() {
        let mut public = listener(Addr::Unix("/nowhere/at/all.sock".into()));
        let error = Opened::none(1)
            .open(&mut public, 16, Sharing::Forbidden)
            .unwrap_err()
            .to_string();
        assert!(error.contains("create the directory"), "{error}");
    }
}
