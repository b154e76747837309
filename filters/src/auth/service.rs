//! Services that are asked about credentials, and what one core remembers of each filter that
//! asks one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use ringgate_core::chain::{Call, Calls, Verdict};
use ringgate_core::http::Method;
use ringgate_core::stats::AskStats;

use super::Directory;

/// A service that is asked through an upstream.
#[derive(Clone, Debug)]
pub struct Service {
    /// Index of the upstream in the snapshot.
    pub upstream: usize,
    /// The upstream's name.
    pub name: Box<str>,
    /// The value of `Host`.
    pub host: Box<str>,
    /// Path and query.
    pub target: Box<str>,
    /// For the answer, and for the wait for one that another request asks for.
    pub timeout: Duration,
    /// Bytes of the answer's body that are taken at most; a longer answer is none.
    pub answer_max: usize,
    /// What is counted.
    pub stats: Arc<AskStats>,
}

impl PartialEq for Service {
    /// Whether answers of the one are answers of the other.
    fn eq(&self, other: &Service) -> bool {
        let all = |service: &Service| (service.upstream, service.timeout, service.answer_max);
        let texts = |service: &Service| {
            let texts = [&service.name, &service.host, &service.target];
            texts.map(Clone::clone)
        };
        all(self) == all(other) && texts(self) == texts(other)
    }
}

/// The consumers that services name.
#[derive(Clone, Debug)]
pub struct Consumers(pub Arc<Directory>);

impl PartialEq for Consumers {
    /// Whether what is known of the ones holds for the others.
    fn eq(&self, other: &Consumers) -> bool {
        let nobody = self.0.is_empty() && other.0.is_empty();
        nobody || Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Service {
    /// The question. Names of fields are in lower case.
    pub(super) fn ask(
        &self,
        method: Method,
        fields: Vec<(Box<str>, Box<[u8]>)>,
        body: Bytes,
    ) -> Verdict {
        count(&self.stats.asked);
        let call = Call {
            upstream: self.upstream,
            method,
            target: self.target.clone(),
            host: self.host.clone(),
            fields,
            body,
            response_max: self.answer_max,
        };
        Verdict::Call(Box::new(Calls {
            calls: vec![call],
            timeout: self.timeout.into(),
        }))
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What one core remembers of the filters of one kind: as long as a filter's settings stay the
/// same, over reloads as well.
#[derive(Debug)]
pub(crate) struct Kept<S, M>(Vec<(Arc<S>, M)>);

impl<S, M> Default for Kept<S, M> {
    fn default() -> Kept<S, M> {
        Kept(Vec::new())
    }
}

impl<S: PartialEq, M> Kept<S, M> {
    /// What is remembered of a filter; made by `fresh` where there is nothing yet.
    pub(super) fn of(&mut self, settings: &Arc<S>, fresh: impl FnOnce(&S) -> M) -> &mut M {
        let known = |(own, _): &(Arc<S>, M)| Arc::ptr_eq(own, settings);
        let place = match self.0.iter().position(known) {
            Some(place) => place,
            None => self.adopt(settings, fresh),
        };
        &mut self.0[place].1
    }

    #[cold]
    fn adopt(&mut self, settings: &Arc<S>, fresh: impl FnOnce(&S) -> M) -> usize {
        if let Some(place) = self.0.iter().position(|(own, _)| **own == **settings) {
            self.0[place].0 = Arc::clone(settings);
            return place;
        }
        // Settings that nobody else holds are of a snapshot that has gone.
        self.0.retain(|(own, _)| Arc::strong_count(own) > 1);
        self.0.push((Arc::clone(settings), fresh(settings)));
        self.0.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_outlives_a_reload_that_changes_nothing() {
        let mut kept = Kept::default();
        let (first, same, other) = (Arc::new(1), Arc::new(1), Arc::new(2));
        *kept.of(&first, |_| 0) = 7;
        assert_eq!(*kept.of(&same, |_| 0), 7);
        assert_eq!(*kept.of(&other, |_| 0), 0);
        assert_eq!(kept.0.len(), 2);
        drop((first, same));
        assert_eq!(*kept.of(&Arc::new(3), |_| 0), 0);
        assert_eq!(kept.0.len(), 2, "what nobody has any more is forgotten");
    }
}
