//! The configuration watch: directories are watched rather than files, since editors replace
//! files by renaming and Kubernetes swaps symbolic links; contents decide, so that a touch
//! does nothing.

mod eyes;
mod footprint;

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;

use crate::node::{Cause, Node};
use crate::reload::Reloader;
use eyes::{Eyes, Mode};
use footprint::{Changed, Footprint};

/// The configuration watch, not yet running.
#[derive(Clone)]
pub(crate) struct ConfigWatch {
    node: Arc<dyn Node>,
    reloader: Arc<Reloader>,
    changed: watch::Receiver<u64>,
    at_start: Footprint,
}

impl ConfigWatch {
    /// `changed` says that the node's files may be others than before. Reads the files, so
    /// that whatever happens to them from now on counts as a change.
    pub(crate) fn new(
        node: &Arc<dyn Node>,
        reloader: &Arc<Reloader>,
        changed: watch::Receiver<u64>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            reloader: Arc::clone(reloader),
            changed,
            at_start: Footprint::take(&node.watched_files()),
        }
    }

    pub(crate) async fn run(mut self) {
        let mut eyes = Eyes::open();
        let mut known = self.at_start.clone();
        eyes.follow(&known);
        // There was no watch until now.
        let mut unwatched = true;
        // A refused reload may be mended in a file that it named and nobody watches yet.
        let mut refused = false;
        loop {
            let polls = eyes.mode() == Mode::Polling;
            let reason = tokio::select! {
                () = async {
                    if !unwatched {
                        eyes.seen().await;
                    }
                } => {
                    unwatched = false;
                    eyes.settle().await;
                    Reason::Event
                }
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                    Reason::OtherFiles
                }
                () = ready(()), if refused => Reason::OtherFiles,
                () = sleep(POLL_INTERVAL), if polls => Reason::Event,
            };
            refused = false;
            let fresh = self.look().await;
            eyes.follow(&fresh);
            let changed = fresh.changed_since(&known);
            known = fresh;
            match (reason, changed) {
                (_, Changed::Nothing) | (Reason::OtherFiles, Changed::FileList) => {}
                (Reason::Event, Changed::FileList) | (_, Changed::Content) => {
                    debug!("a watched file changed");
                    // Its result is logged where it is made.
                    refused = self.reloader.reload(Cause::FileChanged).await.is_err();
                }
            }
        }
    }

    async fn look(&self) -> Footprint {
        let files = self.node.watched_files();
        tokio::task::spawn_blocking(move || Footprint::take(&files))
            .await
            .unwrap_or_default()
    }
}

/// Why the files are looked at again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// Something happened to them.
    Event,
    /// A reload may have brought other files, which is no reason for another.
    OtherFiles,
}

/// Pace of comparing contents where there are no events.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
