//! Questions on their way.

use std::sync::Arc;
use std::time::Instant;

use super::script::{Batch, Origin};
use super::{Grant, Supply};

/// Questions that are out. A session that ends meanwhile answers them, or their keys would wait
/// for ever, and could not ask the next session.
pub(super) struct Asked<'a> {
    pub(super) supplies: &'a [Arc<dyn Supply>],
    pub(super) batches: Vec<Batch>,
}

impl Asked<'_> {
    /// They are answered otherwise.
    pub(super) fn take(mut self) -> Vec<Batch> {
        std::mem::take(&mut self.batches)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        let batches = self.batches.iter();
        for batch in batches.filter(|batch| batch.origin == Origin::Ledger) {
            for want in batch.wants.iter().filter(|want| want.is_question()) {
                self.supplies[batch.supply].grant(Grant {
                    hash: want.hash,
                    tokens: 0,
                    debt: 0,
                    until: now,
                    next: now,
                });
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::cluster::{Algorithm, Terms, Want};

    #[derive(Default)]
    struct Answers(Mutex<Vec<(u64, u64)>>);

    impl Supply for Answers {
        fn policy(&self) -> &str {
            "calls"
        }

        fn position(&self) -> usize {
            0
        }

        fn identity(&self) -> usize {
            0
        }

        fn terms(&self) -> Terms {
            Terms {
                algorithm: Algorithm::FixedWindow,
                limit: 9,
                per: Duration::from_secs(1),
                burst: 0,
            }
        }

        fn reconcile(&self) -> Duration {
            Duration::from_millis(1)
        }

        fn credit(&self) -> u64 {
            1
        }

        fn end_grant(&self, _: u64) {}

        fn wants(&self, _: &mut dyn FnMut(Want)) {}

        fn grant(&self, grant: Grant) {
            self.0.lock().unwrap().push((grant.hash, grant.tokens));
        }
    }

    #[test]
    fn a_session_that_ends_answers_what_it_has_asked() {
        let answers = Arc::new(Answers::default());
        let supplies = [Arc::clone(&answers) as Arc<dyn Supply>];
        let asked = |origin, hash| Asked {
            supplies: &supplies,
            batches: vec![Batch {
                supply: 0,
                terms: answers.terms(),
                origin,
                wants: vec![Want {
                    hash,
                    asked: 1,
                    ..Want::default()
                }],
            }],
        };
        assert_eq!(asked(Origin::Ledger, 5).take().len(), 1);
        drop(asked(Origin::Ledger, 6));
        drop(asked(Origin::Shares, 7));
        assert_eq!(*answers.0.lock().unwrap(), [(6, 0)]);
    }
}
