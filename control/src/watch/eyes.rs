//! The system's file events, narrowed to those that matter. What is written into a file that
//! stays open is not asked for: an access log beside the configuration would wake us at every
//! write.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_core::Stream;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::footprint::Footprint;

/// Directories under watch.
pub(super) struct Eyes {
    events: Option<EventStream<[u8; BUFFER]>>,
    watched: BTreeMap<PathBuf, WatchDescriptor>,
    interest: Footprint,
    mode: Mode,
}

/// How changes come to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The system tells.
    Events,
    /// Where inotify has no watches left, contents are compared now and then.
    Polling,
}

impl Eyes {
    /// Watches nothing yet.
    pub(super) fn open() -> Eyes {
        let mut eyes = Eyes {
            events: None,
            watched: BTreeMap::new(),
            interest: Footprint::default(),
            mode: Mode::Events,
        };
        let events = Inotify::init().and_then(|inotify| inotify.into_event_stream([0; BUFFER]));
        match events {
            Ok(events) => eyes.events = Some(events),
            Err(cause) => eyes.poll(&cause),
        }
        eyes
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    /// Watches the directories of `footprint`, and no others any more. Those watched already
    /// are watched again: one of them may be a new directory under an old name.
    pub(super) fn follow(&mut self, footprint: &Footprint) {
        self.interest.clone_from(footprint);
        let Some(events) = &self.events else {
            return;
        };
        let mut watches = events.watches();
        let mut watched = BTreeMap::new();
        let mut failure = None;
        for directory in &footprint.directories {
            match watches.add(directory, asked_for()) {
                Ok(watch) => {
                    watched.insert(directory.clone(), watch);
                }
                Err(cause) => failure = Some(cause),
            }
        }
        for (_, gone) in std::mem::replace(&mut self.watched, watched) {
            if !self.watched.values().any(|watch| *watch == gone) {
                // It fails when the directory itself is gone, which is fine.
                let _ = watches.remove(gone);
            }
        }
        match failure {
            Some(cause) => self.poll(&cause),
            None => self.mode = Mode::Events,
        }
    }

    /// Waits until something happens to what matters. Dropping the future loses nothing.
    pub(super) async fn seen(&mut self) {
        loop {
            match self.look().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(cause) => {
                    self.events = None;
                    self.poll(&cause);
                }
            }
        }
    }

    /// Waits until the files have been quiet, so that one save is one reload.
    pub(super) async fn settle(&mut self) {
        let latest = Instant::now() + SETTLE_MAX;
        while Instant::now() < latest && timeout(QUIET, self.seen()).await.is_ok() {}
    }

    /// Whether the next event matters.
    async fn look(&mut self) -> io::Result<bool> {
        let Some(events) = &mut self.events else {
            return pending().await;
        };
        match poll_fn(|cx| Pin::new(&mut *events).poll_next(cx)).await {
            Some(event) => Ok(matters(&event?, &self.watched, &self.interest)),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn poll(&mut self, cause: &io::Error) {
        if self.mode == Mode::Events {
            warn!(
                %cause,
                every_s = super::POLL_INTERVAL.as_secs(),
                "file events are not available; comparing the files now and then instead; if watches ran out, raise fs.inotify.max_user_watches"
            );
        }
        self.mode = Mode::Polling;
    }
}

fn asked_for() -> WatchMask {
    WatchMask::CLOSE_WRITE
        | WatchMask::CREATE
        | WatchMask::DELETE
        | WatchMask::MOVE
        | WatchMask::ATTRIB
        | WatchMask::DELETE_SELF
        | WatchMask::MOVE_SELF
}

fn matters(
    event: &EventOwned,
    watched: &BTreeMap<PathBuf, WatchDescriptor>,
    interest: &Footprint,
) -> bool {
    let of_a_directory =
        EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED | EventMask::Q_OVERFLOW;
    event.mask.intersects(of_a_directory)
        || event.name.as_ref().is_some_and(|name| {
            watched.iter().any(|(directory, watch)| {
                *watch == event.wd && interest.concerns(&directory.join(name))
            })
        })
}

/// Room for the events of one reading: a few dozen.
const BUFFER: usize = 4096;
/// Quiet time after the last event.
const QUIET: Duration = Duration::from_millis(200);
/// A file that never comes to rest is looked at after this.
const SETTLE_MAX: Duration = Duration::from_secs(2);
