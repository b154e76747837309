//! Consumers that are kept in Redis or Valkey: the data plane asks for whose a key is, and a
//! session on the control thread asks the server, many questions at a time.
//!
//! Every question is answered, and soon: while the server is away at once, and when it is slow
//! after the time that one exchange may take. What cannot be asked is never taken for an answer.

mod record;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use crate::cluster::Url;
use crate::exposition::{Exposition, Kind};
use crate::node::Node;
pub use record::Record;
use session::Session;

/// Where consumers are kept, and who asks for them.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Where it is.
    pub url: Url,
    /// What stands before a key's digest in the names of entries.
    pub prefix: Box<str>,
    /// For one exchange.
    pub timeout: Duration,
    /// Where questions come.
    pub desk: Arc<Desk>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.url, &self.prefix, self.timeout)
            == (&other.name, &other.url, &other.prefix, other.timeout)
            && Arc::ptr_eq(&self.desk, &other.desk)
    }
}

/// Whose a key is.
pub struct Question {
    /// The SHA-256 of the key.
    pub digest: [u8; 32],
    /// Is told once; a question that is dropped is answered by whoever made this.
    pub answer: Box<dyn FnOnce(Answer) + Send>,
}

/// What the server says of a key.
#[derive(Debug)]
pub enum Answer {
    /// It is this one's.
    Consumer(Record),
    /// It is nobody's.
    Nobody,
    /// The server does not answer, or what it says is no consumer.
    Away,
}

/// Where questions wait: as many as there is place for. It outlives sessions.
#[derive(Debug)]
pub struct Desk {
    questions: mpsc::Sender<Question>,
    asked: Mutex<mpsc::Receiver<Question>>,
    counts: Counts,
}

/// What became of questions.
#[derive(Debug, Default)]
struct Counts {
    found: AtomicU64,
    nobody: AtomicU64,
    invalid: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    answers: AtomicBool,
}

impl Default for Desk {
    fn default() -> Self {
        let (questions, asked) = mpsc::channel(WAITING_MAX);
        Self {
            questions,
            asked: Mutex::new(asked),
            counts: Counts::default(),
        }
    }
}

impl Desk {
    /// Has a question answered, and returns at once: for the data plane. One that there is no
    /// place for is answered here.
    pub fn ask(&self, question: Question) {
        if let Err(error) = self.questions.try_send(question) {
            self.counts.refused.fetch_add(1, Relaxed);
            let (mpsc::error::TrySendError::Full(question)
            | mpsc::error::TrySendError::Closed(question)) = error;
            (question.answer)(Answer::Away);
        }
    }

    /// Writes what became of questions.
    pub fn write(&self, out: &mut Exposition) {
        let counts = &self.counts;
        out.family(
            "ringgate_consumer_lookups_total",
            Kind::Counter,
            "Questions for consumers in Redis: whose key it is was found, it is nobody's, the entry is no consumer, the server did not answer, or too many waited.",
        );
        for (result, count) in [
            ("found", &counts.found),
            ("nobody", &counts.nobody),
            ("invalid", &counts.invalid),
            ("failed", &counts.failed),
            ("refused", &counts.refused),
        ] {
            out.sample(&[("result", result)], count.load(Relaxed));
        }
        out.family(
            "ringgate_consumer_store_up",
            Kind::Gauge,
            "Whether the server that keeps consumers answers.",
        );
        out.sample(&[], u64::from(counts.answers.load(Relaxed)));
    }
}

/// Questions that wait at most.
const WAITING_MAX: usize = 4096;

/// The session of the configuration in force, not yet running.
#[derive(Clone)]
pub(crate) struct Keeper {
    node: Arc<dyn Node>,
    changed: watch::Receiver<u64>,
}

impl Keeper {
    /// `changed` says that the configuration may be another.
    pub(crate) fn new(node: &Arc<dyn Node>, changed: watch::Receiver<u64>) -> Self {
        Self {
            node: Arc::clone(node),
            changed,
        }
    }

    pub(crate) async fn run(mut self) {
        // Dropping it ends the session.
        let mut running = JoinSet::new();
        let mut source = None;
        loop {
            let now = self.node.consumer_source();
            if now != source {
                running.shutdown().await;
                if let Some(source) = &now {
                    running.spawn(Session::new(source.clone()).run());
                }
                source = now;
            }
            tokio::select! {
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return;
                    }
                }
                Some(ended) = running.join_next() => {
                    // A panic is one of this task, which is logged and started again.
                    if let Err(failure) = ended
                        && let Ok(panic) = failure.try_into_panic()
                    {
                        std::panic::resume_unwind(panic);
                    }
                    source = None;
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn what_there_is_no_place_for_is_answered_at_once() {
        let desk = Desk::default();
        let (told, answers) = channel();
        for _ in 0..=WAITING_MAX {
            let told = told.clone();
            desk.ask(Question {
                digest: [0; 32],
                answer: Box::new(move |answer| told.send(answer).unwrap()),
            });
        }
        assert!(matches!(answers.try_recv(), Ok(Answer::Away)));
        assert!(answers.try_recv().is_err());
    }
}
