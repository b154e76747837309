//! What the tests of the wires share: certificates, connected sockets, and a runtime that lives
//! as long as the process.

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rcgen::generate_simple_self_signed;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::rt::wheel::Ticks;
use crate::rt::{self, Driver, Socket};
use crate::tls::{ClientTls, IdentityFields, ServerTls};
use crate::wire::{Session, Wire};

/// A certificate for `localhost` that is its own authority.
pub(crate) struct Certificate {
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

/// Whether sessions are resumed.
#[derive(Clone, Copy)]
pub(crate) enum Tickets {
    No,
    Yes,
}

impl Certificate {
    pub(crate) fn new() -> Certificate {
        let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Certificate {
            chain: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn server(&self, protocols: &[&str], tickets: Tickets) -> ServerTls {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.chain.clone()], self.key.clone_key())
            .unwrap();
        config.alpn_protocols = names(protocols);
        match tickets {
            Tickets::Yes => config.ticketer = aws_lc_rs::Ticketer::new().unwrap(),
            Tickets::No => {
                config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        ServerTls {
            config: Arc::new(config),
            handshake_timeout: DEADLINE,
            identity: IdentityFields::Off,
        }
    }

    pub(crate) fn client(&self, protocols: &[&str], tickets: Tickets) -> ClientTls {
        let mut roots = RootCertStore::empty();
        roots.add(self.chain.clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = names(protocols);
        config.resumption = match tickets {
            Tickets::Yes => Resumption::in_memory_sessions(8),
            Tickets::No => Resumption::disabled(),
        };
        ClientTls {
            config: Arc::new(config),
            name: None,
        }
    }
}

fn names(protocols: &[&str]) -> Vec<Vec<u8>> {
    let names = protocols.iter().map(|name| name.as_bytes().to_vec());
    names.collect()
}

pub(crate) fn client_session(tls: &ClientTls) -> Session {
    Session::client(tls, ServerName::try_from("localhost").unwrap()).unwrap()
}

/// A connected pair.
pub(crate) fn sockets() -> (Socket, Socket) {
    let (near, far) = streams();
    (adopt(near), adopt(far))
}

#[allow(
    clippy::disallowed_methods,
    reason = "on loopback to a socket that listens nothing is waited for"
)]
pub(crate) fn streams() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

pub(crate) fn adopt(stream: TcpStream) -> Socket {
    Socket::adopt(OwnedFd::from(stream)).unwrap()
}

/// Shakes hands as a client.
pub(crate) async fn over(socket: Socket, tls: &ClientTls, wait: Ticks) -> io::Result<Wire> {
    shaken(socket, client_session(tls), wait).await
}

/// Shakes hands as a server.
pub(crate) async fn accepted(socket: Socket, tls: &ServerTls) -> io::Result<Wire> {
    shaken(socket, Session::server(tls).unwrap(), DEADLINE).await
}

async fn shaken(socket: Socket, session: Session, wait: Ticks) -> io::Result<Wire> {
    let wire = Wire::plain(socket);
    let shaking = wire.shake(session, crate::block::Block::empty(), wait);
    shaking.await.map(|()| wire)
}

/// Both ends of a TLS connection on this thread.
pub(crate) async fn tls_pair(client: &ClientTls, server: &ServerTls) -> (Wire, Wire) {
    let (near, far) = sockets();
    let shaking = rt::join(over(near, client, DEADLINE), accepted(far, server)).await;
    (shaking.0.unwrap(), shaking.1.unwrap())
}

/// Runs what `begin` makes on a thread with a runtime, and returns what it comes to. The
/// runtime is not dropped: operations may be under way.
pub(crate) fn on_runtime<F, W, T>(begin: F) -> T
where
    F: FnOnce() -> W + Send + 'static,
    W: Future<Output = T>,
    T: Send + 'static,
{
    let (done, outcome) = channel();
    // On a thread of its own: taking a ring down interrupts what its thread does next.
    let driver = match thread::spawn(rt::probe_io_uring).join().unwrap() {
        Ok(()) => Driver::IoUring,
        Err(_) => Driver::Epoll,
    };
    thread::spawn(move || {
        rt::block_on(driver, async {
            rt::spawn(async { rt::every_tick(|| true).await.unwrap() });
            let _ = done.send(begin().await);
            std::future::pending::<()>().await;
        })
        .unwrap();
    });
    outcome.recv_timeout(Duration::from_secs(60)).unwrap()
}

pub(crate) const DEADLINE: Ticks = Ticks(200);
