//! Spreading fresh connections over workers. The kernel draws a worker by the connection's
//! addresses, which is fair for many of them; a few that carry much each may all fall to one. So
//! a worker that has more than another hands a fresh connection over, before a byte is read.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::accept::Handed;
use super::mailbox::{Command, Mailbox};
use crate::chain::Filter;
use crate::stats::{CoreIndex, Registry};

/// The other workers, as one of them knows them.
pub(super) struct Peers<F: Filter> {
    own: CoreIndex,
    /// By core; empty where there is one worker, or until the others have started.
    mailboxes: RefCell<Arc<[Mailbox<F>]>>,
}

/// Connections that are on their way to a worker.
#[derive(Debug, Default)]
pub(super) struct UnderWay(AtomicU64);

impl UnderWay {
    fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sub(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker keeps a connection unless another one has fewer by more than this share of its own:
/// many connections spread well enough by themselves, and a hand-over is not free.
const TOLERATED_SHARE: u64 = 8;

impl<F: Filter> Peers<F> {
    pub(super) fn new(own: CoreIndex) -> Peers<F> {
        Peers {
            own,
            mailboxes: RefCell::new(Arc::new([])),
        }
    }

    pub(super) fn meet(&self, mailboxes: Arc<[Mailbox<F>]>) {
        *self.mailboxes.borrow_mut() = mailboxes;
    }

    /// The worker that a fresh connection is better off with.
    pub(super) fn better(&self, registry: &Registry) -> Option<CoreIndex> {
        let mailboxes = self.mailboxes.borrow();
        let load = |core: usize| {
            let open = registry
                .workers
                .of(CoreIndex(core as u32))
                .connections
                .value();
            open + mailboxes[core].under_way.value()
        };
        let least = (0..mailboxes.len()).map(|core| (load(core), core)).min()?;
        is_better(least.0, load(self.own.0 as usize)).then_some(CoreIndex(least.1 as u32))
    }

    /// Tells another worker something.
    pub(super) fn tell(&self, to: CoreIndex, command: Command<F>) {
        if let Some(mailbox) = self.mailboxes.borrow().get(to.0 as usize) {
            mailbox.send(command);
        }
    }

    /// Hands a connection over.
    pub(super) fn hand(&self, to: CoreIndex, handed: Handed) {
        if let Some(mailbox) = self.mailboxes.borrow().get(to.0 as usize) {
            mailbox.under_way.add();
            mailbox.send(Command::Adopt(handed));
        }
    }
}

fn is_better(least: u64, own: u64) -> bool {
    own > least + own / TOLERATED_SHARE
}

#[cfg(test)]
mod tests {
    use super::is_better;

    #[test]
    fn few_connections_spread_exactly_and_many_within_their_share() {
        assert!(is_better(0, 1), "two connections take a worker each");
        assert!(!is_better(1, 1) && !is_better(2, 1));
        assert!(is_better(6, 7));
        assert!(!is_better(790, 800) && is_better(600, 800));
    }

    #[test]
    fn a_few_heavy_connections_end_up_level_wherever_they_arrive() {
        // All arrive at the first of four workers.
        let mut open = [0u64; 4];
        for _ in 0..10 {
            let (least, at) = (0..4)
                .map(|core| (open[core], core))
                .min()
                .unwrap_or_default();
            let at = if is_better(least, open[0]) { at } else { 0 };
            open[at] += 1;
        }
        assert_eq!(open.iter().max().zip(open.iter().min()), Some((&3, &2)));
    }
}
