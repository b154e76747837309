//! The configuration watch: directories are watched rather than files, since editors replace
//! files by renaming and Kubernetes swaps symbolic links; contents decide, so that a touch
//! does nothing.

mod footprint;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::node::{Cause, Node};
use crate::reload::Reloader;
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
        eyes.wake.notify_one();
        loop {
            let reason = tokio::select! {
                () = eyes.wake.notified() => {
                    eyes.settle().await;
                    Reason::Event
                }
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                    Reason::OtherFiles
                }
                () = sleep(POLL_INTERVAL), if eyes.mode == Mode::Polling => Reason::Event,
            };
            let fresh = self.look().await;
            eyes.follow(&fresh);
            let changed = fresh.changed_since(&known);
            known = fresh;
            match (reason, changed) {
                (_, Changed::Nothing) | (Reason::OtherFiles, Changed::FileList) => {}
                (Reason::Event, Changed::FileList) | (_, Changed::Content) => {
                    debug!("a watched file changed");
                    // Its result is logged where it is made.
                    let _ = self.reloader.reload(Cause::FileChanged).await;
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
    /// A reload was applied and may have brought other files, which is no reason for another.
    OtherFiles,
}

/// The system's file events, narrowed to those that matter.
struct Eyes {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    interest: Arc<Mutex<Footprint>>,
    wake: Arc<Notify>,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Events,
    /// Where inotify has no watches left, contents are compared now and then.
    Polling,
}

impl Eyes {
    fn open() -> Self {
        let interest = Arc::new(Mutex::new(Footprint::default()));
        let wake = Arc::new(Notify::new());
        let (seen, bell) = (Arc::clone(&interest), Arc::clone(&wake));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let interest = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| matters(&event, &interest)) {
                bell.notify_one();
            }
        });
        let mut eyes = Self {
            watcher: None,
            watched: BTreeSet::new(),
            interest,
            wake,
            mode: Mode::Events,
        };
        match watcher {
            Ok(watcher) => eyes.watcher = Some(watcher),
            Err(cause) => eyes.poll(&cause),
        }
        eyes
    }

    /// Watches the directories of `footprint`, and no others any more. Those watched already
    /// are watched again: one of them may be a new directory under an old name.
    fn follow(&mut self, footprint: &Footprint) {
        *self.interest.lock().unwrap_or_else(PoisonError::into_inner) = footprint.clone();
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.watched.difference(&footprint.directories) {
            // It fails when the directory itself is gone, which is fine.
            let _ = watcher.unwatch(gone);
        }
        let mut failure = None;
        for directory in &footprint.directories {
            if let Err(cause) = watcher.watch(directory, RecursiveMode::NonRecursive) {
                failure = Some(cause);
            }
        }
        self.watched.clone_from(&footprint.directories);
        match failure {
            Some(cause) => self.poll(&cause),
            None => self.mode = Mode::Events,
        }
    }

    fn poll(&mut self, cause: &notify::Error) {
        if self.mode == Mode::Events {
            warn!(
                %cause,
                every_s = POLL_INTERVAL.as_secs(),
                "file events are not available; comparing the files now and then instead; if watches ran out, raise fs.inotify.max_user_watches"
            );
        }
        self.mode = Mode::Polling;
    }

    /// Waits until the files have been quiet, so that one save is one reload.
    async fn settle(&self) {
        let latest = Instant::now() + SETTLE_MAX;
        while Instant::now() < latest && timeout(QUIET, self.wake.notified()).await.is_ok() {}
    }
}

fn matters(event: &notify::Event, interest: &Footprint) -> bool {
    // Our own reading must not wake us.
    let reading = matches!(
        event.kind,
        EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write)
    );
    !reading && (event.need_rescan() || event.paths.iter().any(|path| interest.concerns(path)))
}

/// Quiet time after the last event.
const QUIET: Duration = Duration::from_millis(200);
/// A file that never comes to rest is looked at after this.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Pace of comparing contents where there are no events.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
