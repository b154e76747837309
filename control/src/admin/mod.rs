//! The admin API's connections: HTTP/1 with bounded heads, times and number. What is answered
//! is in `routes`, who is let in in `guard`.

mod guard;
mod limits;
mod routes;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use crate::acme::Board;
use crate::counters::Counters;
use crate::node::Node;
use crate::plane::AdminOptions;
use crate::reload::Reloader;

/// The admin API, ready to run. A new run after a panic goes on with the same listener.
pub(crate) struct Admin {
    listener: TcpListener,
    app: Router,
    counters: Arc<Counters>,
    slots: Arc<Semaphore>,
}

impl Admin {
    /// Needs a tokio runtime entered.
    pub(crate) fn new(
        options: AdminOptions,
        node: &Arc<dyn Node>,
        reloader: &Arc<Reloader>,
        counters: &Arc<Counters>,
        board: &Arc<Board>,
    ) -> io::Result<Arc<Self>> {
        options.listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(options.listener)?;
        let address = listener.local_addr()?;
        if address.ip().is_loopback() {
            info!(%address, "admin API listens");
        } else {
            warn!(%address, "admin API listens beyond loopback without authentication; keep its port behind a firewall");
        }
        let api = routes::Api::new(node, reloader, counters, board);
        Ok(Arc::new(Self {
            listener,
            app: routes::router(api, guard::Guard::new(options.hosts)),
            counters: Arc::clone(counters),
            slots: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        }))
    }

    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => match Arc::clone(&self.slots).try_acquire_owned() {
                    Ok(slot) => {
                        tokio::spawn(serve(stream, self.app.clone(), slot));
                    }
                    Err(_) => {
                        self.counters.admin_refused.fetch_add(1, Relaxed);
                        debug!(%peer, "admin connection refused: {CONNECTIONS_MAX} are open");
                        refuse(&stream);
                    }
                },
                Err(cause) => {
                    warn!(%cause, "the admin API cannot accept a connection; it tries again in a second");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, app: Router, slot: OwnedSemaphorePermit) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    // Errors are the peer's: a broken head, a timeout, a reset. They say nothing of ours.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = tokio::time::sleep(CONNECTION_AGE_MAX) => {
            connection.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(HEAD_TIMEOUT, connection).await;
        }
    }
    drop(slot);
}

/// A short answer, if the socket takes it at once.
fn refuse(stream: &TcpStream) {
    let body = format!(
        "{{\"error\":\"too many admin connections ({CONNECTIONS_MAX} at most); close some and try again\"}}\n"
    );
    let _ = stream.try_write(
        format!(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nRetry-After: 5\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .as_bytes(),
    );
}

/// Monitoring needs a handful; more is a leak or an attack.
const CONNECTIONS_MAX: usize = 64;
/// A whole head must arrive within this, and an idle connection is closed after it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of head and read buffer per connection.
const HEAD_MAX: usize = 16 * 1024;
/// A peer that reads its answer too slowly loses its slot at last.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// After a failed accept, most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
