//! The questions that a server is asked: one call of the script for each batch of keys.

use std::time::Duration;

use redis::Script;

use super::{Algorithm, Terms, Want};

/// The keys of one limit that are asked for together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Which of the server's limits.
    pub(super) supply: usize,
    pub(super) terms: Terms,
    pub(super) origin: Origin,
    pub(super) wants: Vec<Want>,
}

/// Where questions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Keys that wait for an answer.
    Ledger,
    /// Shares that were handed out already, and are owed.
    Shares,
}

/// What the answer says of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leased {
    pub(super) tokens: u64,
    /// Until there may be more.
    pub(super) wait: Duration,
    /// For how long the tokens are good.
    pub(super) good: Duration,
}

/// Times that a question depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// How long leased tokens are good.
    pub(super) lease: Duration,
    /// How long after a lease its tokens may come back at the latest.
    pub(super) hold: Duration,
}

pub(super) fn script() -> Script {
    Script::new(include_str!("limits.lua"))
}

impl Batch {
    /// The call, by the script's digest.
    pub(super) fn call(
        &self,
        script: &Script,
        (policy, position): (&str, usize),
        times: Times,
    ) -> redis::Cmd {
        let Terms {
            algorithm,
            limit,
            per,
            ..
        } = self.terms;
        let (word, letter) = match algorithm {
            Algorithm::TokenBucket => ("bucket", 'b'),
            Algorithm::FixedWindow => ("fixed", 'f'),
            Algorithm::SlidingWindow => ("sliding", 's'),
        };
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.get_hash()).arg(self.wants.len());
        for Want { hash, .. } in &self.wants {
            // In braces: a server that is one of many keeps a policy's keys together.
            let per = per.as_millis();
            call.arg(format!(
                "ringgate:{{{policy}}}:{position}:{letter}{per}:{hash:016x}"
            ));
        }
        call.arg(word).arg(limit).arg(micros(per));
        call.arg(capacity(&self.terms, times.lease));
        call.arg(micros(times.lease)).arg(micros(times.hold));
        for want in &self.wants {
            call.arg(want.asked).arg(want.back).arg(want.debt);
        }
        call
    }

    /// What the answer says, key by key; `None` when it is none.
    pub(super) fn read(&self, answer: &[i64]) -> Option<Vec<Leased>> {
        let leased = answer.chunks_exact(3).map(|numbers| {
            let [tokens, wait, good] = numbers else {
                return None;
            };
            Some(Leased {
                tokens: u64::try_from(*tokens).ok()?,
                wait: Duration::from_micros(u64::try_from(*wait).ok()?),
                good: Duration::from_micros(u64::try_from(*good).ok()?),
            })
        });
        let leased: Option<Vec<_>> = leased.collect();
        leased.filter(|leased| leased.len() == self.wants.len())
    }
}

/// What fits the bucket: the burst without what may be leased and unused, so that both together
/// stay within it. One token at least.
fn capacity(terms: &Terms, lease: Duration) -> u64 {
    let per = terms.per.as_nanos().max(1);
    let unused = (u128::from(terms.limit) * lease.as_nanos()).div_ceil(per);
    let unused = u64::try_from(unused).unwrap_or(u64::MAX);
    terms.burst.saturating_sub(unused).max(1)
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        algorithm: Algorithm::TokenBucket,
        limit: 100,
        per: Duration::from_secs(1),
        burst: 50,
    };

    #[test]
    fn what_is_leased_is_kept_back_from_the_burst() {
        assert_eq!(capacity(&TERMS, Duration::from_millis(30)), 47);
        assert_eq!(capacity(&TERMS, Duration::from_millis(31)), 46);
        assert_eq!(capacity(&TERMS, Duration::from_secs(60)), 1);
        assert_eq!(capacity(&Terms { burst: 0, ..TERMS }, Duration::ZERO), 1);
    }

    #[test]
    fn an_answer_of_another_length_is_none() {
        let batch = Batch {
            supply: 0,
            terms: TERMS,
            origin: Origin::Ledger,
            wants: vec![Want::default(); 2],
        };
        let leased = batch.read(&[5, 0, 30_000, 0, 9, 30_000]).unwrap();
        assert_eq!((leased[0].tokens, leased[1].tokens), (5, 0));
        assert_eq!(leased[1].wait, Duration::from_micros(9));
        for answer in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5], &[-1, 0, 0, 0, 0, 0]] {
            assert_eq!(batch.read(answer), None, "{answer:?}");
        }
    }
}
