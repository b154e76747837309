//! Signals: SIGHUP reloads, SIGUSR1 opens log files again, the first SIGTERM or SIGINT shuts
//! down in order and the second ends the process.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Mutex;
use tracing::{error, info, warn};

use crate::node::{Cause, Node, Shutdown};
use crate::reload::Reloader;

/// The signal streams. They outlive a panic of the task that reads them, and so does the
/// memory of a shutdown already asked for.
pub(crate) struct Signals {
    streams: Mutex<Streams>,
    shutting_down: AtomicBool,
}

struct Streams {
    hangup: Signal,
    user1: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from their default action. Needs a tokio runtime entered.
    pub(crate) fn register() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            streams: Mutex::new(Streams {
                hangup: signal(SignalKind::hangup())?,
                user1: signal(SignalKind::user_defined1())?,
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
            }),
            shutting_down: AtomicBool::new(false),
        }))
    }

    pub(crate) async fn run(self: Arc<Self>, node: Arc<dyn Node>, reloader: Arc<Reloader>) {
        let mut streams = self.streams.lock().await;
        let Streams {
            hangup,
            user1,
            interrupt,
            terminate,
        } = &mut *streams;
        loop {
            tokio::select! {
                Some(()) = hangup.recv() => {
                    // Not awaited: a slow reload must not delay a shutdown.
                    let reloader = Arc::clone(&reloader);
                    tokio::spawn(async move { reloader.reload(Cause::Signal).await });
                }
                Some(()) = user1.recv() => reopen_logs(&node),
                Some(()) = interrupt.recv() => self.shutdown(&*node, Shutdown::Interrupt),
                Some(()) = terminate.recv() => self.shutdown(&*node, Shutdown::Terminate),
                else => return,
            }
        }
    }

    fn shutdown(&self, node: &dyn Node, cause: Shutdown) {
        if self.shutting_down.swap(true, Relaxed) {
            warn!(signal = %cause, "second signal: ending at once, requests in flight are lost");
            node.exit(cause.exit_code());
        } else {
            info!(signal = %cause, "shutting down: requests in flight may finish; a second signal ends at once");
            node.shutdown(cause);
        }
    }
}

fn reopen_logs(node: &Arc<dyn Node>) {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || match node.reopen_logs() {
        Ok(()) => info!("log files opened again"),
        Err(cause) => {
            error!(%cause, "log files could not be opened again; check their directory and its permissions, then send SIGUSR1 again");
        }
    });
}
