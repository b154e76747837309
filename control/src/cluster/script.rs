//! The questions that a server is asked: one call of the script for each batch of keys.

use std::time::{Duration, Instant};

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
    /// `None` before the first answer: nothing can go back yet.
    pub(super) clock: Option<Clock>,
}

/// When the server answered last, by its clock and by ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) server_us: u64,
    /// When its answer had come.
    pub(super) at: Instant,
}

impl Clock {
    /// What the server's clock showed at a moment before that, or a little less.
    fn before(&self, moment: Instant) -> u64 {
        let ago = self.at.saturating_duration_since(moment);
        self.server_us.saturating_sub(micros(ago))
    }
}

/// What a server has answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// In the order of the questions.
    pub(super) leased: Vec<Leased>,
    /// Its clock, in microseconds.
    pub(super) server_us: u64,
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
        call.arg(micros(times.lease));
        for want in &self.wants {
            // When the first of what goes back was leased, at the latest.
            let leased = want.ended.and_then(|ended| ended.checked_sub(times.lease));
            let (back, since) = match times.clock.zip(leased) {
                Some((clock, leased)) => (want.back, clock.before(leased)),
                None => (0, 0),
            };
            call.arg(want.asked).arg(back).arg(since).arg(want.debt);
        }
        call
    }

    /// What the answer says; `None` when it is none.
    pub(super) fn read(&self, answer: &[i64]) -> Option<Answer> {
        let (server, answer) = answer.split_last()?;
        let server_us = u64::try_from(*server).ok()?;
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
        let leased = leased.filter(|leased| leased.len() == self.wants.len())?;
        Some(Answer { leased, server_us })
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
        let answer = batch.read(&[5, 0, 30_000, 0, 9, 30_000, 77]).unwrap();
        let leased = &answer.leased;
        assert_eq!((leased[0].tokens, leased[1].tokens), (5, 0));
        assert_eq!(leased[1].wait, Duration::from_micros(9));
        assert_eq!(answer.server_us, 77);
        for answer in [
            &[][..],
            &[1, 2, 3],
            &[1, 2, 3, 4],
            &[1, 2, 3, 4, 5, 6],
            &[-1, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(batch.read(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn the_servers_clock_is_never_overestimated() {
        let at = Instant::now() + Duration::from_secs(60);
        let clock = Clock {
            server_us: 5_000_000,
            at,
        };
        assert_eq!(clock.before(at), 5_000_000);
        assert_eq!(clock.before(at - Duration::from_millis(3)), 4_997_000);
        assert_eq!(clock.before(at + Duration::from_secs(1)), 5_000_000);
        assert_eq!(clock.before(at - Duration::from_secs(9)), 0);
    }
}
