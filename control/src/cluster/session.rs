//! The talk with one server: every `reconcile`, one pipelined question for all keys that ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Pipeline, Script};
use tokio::time::{sleep, sleep_until};

use super::board::Figures;
use super::link::{Failure, Link};
use super::script::{Batch, Leased, Times, script};
use super::tally::Tally;
use super::{Cluster, Grant, LEASE_TURNS, Presence, Terms, Want};
use crate::backoff::{Backoff, random_fraction};
use crate::counters::Counters;

/// One server's session, not yet running.
pub(super) struct Session {
    cluster: Cluster,
    counters: Arc<Counters>,
    script: Script,
    limits: Vec<Limit>,
    /// What was used without a lease and could not be told yet: by limit and key.
    debts: HashMap<(usize, u64), u64>,
    called: Instant,
}

/// What is known of one limit.
struct Limit {
    terms: Terms,
    reconcile: Duration,
    due: Instant,
    tally: Tally,
    figures: Figures,
}

impl Session {
    pub(super) fn new(cluster: Cluster, counters: Arc<Counters>) -> Self {
        let now = Instant::now();
        let limits = cluster.supplies.iter().map(|supply| {
            let terms = supply.terms();
            Limit {
                terms,
                reconcile: supply.reconcile().max(RECONCILE_MIN),
                due: now,
                tally: Tally::new(terms.per, now),
                figures: Figures {
                    policy: supply.policy().into(),
                    position: supply.position(),
                    bounds: [Presence::Answers, Presence::Away]
                        .map(|presence| terms.bound(cluster.nodes, presence)),
                    ..Figures::default()
                },
            }
        });
        Self {
            limits: limits.collect(),
            cluster,
            counters,
            script: script(),
            debts: HashMap::new(),
            called: now,
        }
    }

    /// Talks with the server for as long as it is configured.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        loop {
            let why = self.talk(&mut backoff).await;
            self.tell(Presence::Away);
            self.counters.clusters.away(&self.cluster.name, why.0);
            self.show();
            // Anywhere in the second half: nodes that lost a server together do not return as one.
            let pause = backoff.step();
            sleep(pause.mul_f64(0.5 + random_fraction() / 2.0)).await;
        }
    }

    /// Connects and asks, until that fails.
    async fn talk(&mut self, backoff: &mut Backoff) -> Failure {
        let (url, timeout) = (self.cluster.url.clone(), self.cluster.timeout);
        let mut link = match Link::open(&url, timeout, &self.script).await {
            Ok(link) => link,
            Err(failure) => return failure,
        };
        if let Err(failure) = self.settle(&mut link).await {
            return failure;
        }
        backoff.reset();
        self.tell(Presence::Answers);
        self.counters.clusters.answers(&self.cluster.name);
        loop {
            let Some(due) = self.limits.iter().map(|limit| limit.due).min() else {
                // Nothing is shared through it; a changed configuration ends this session.
                std::future::pending::<()>().await;
                continue;
            };
            sleep_until(due.into()).await;
            if let Err(failure) = self.turn(&mut link).await {
                return failure;
            }
        }
    }

    /// Tells the server what was used while it was away, before anything is leased from it.
    async fn settle(&mut self, link: &mut Link) -> Result<(), Failure> {
        for _ in 0..SETTLEMENTS_MAX {
            for limit in &mut self.limits {
                limit.due = Instant::now();
            }
            let batches = self.gather();
            let owed = batches.iter().flat_map(|batch| &batch.wants);
            if owed.map(|want| want.debt).sum::<u64>() == 0 {
                return Ok(());
            }
            self.ask(link, batches).await?;
        }
        Ok(())
    }

    /// Asks for the limits whose turn it is.
    async fn turn(&mut self, link: &mut Link) -> Result<(), Failure> {
        let batches = self.gather();
        if !batches.is_empty() {
            return self.ask(link, batches).await;
        }
        if self.called.elapsed() >= PING_AFTER {
            let mut ping = Pipeline::new();
            ping.cmd("PING");
            let began = Instant::now();
            let (url, script) = (&self.cluster.url, &self.script);
            link.ask::<()>(url, script, &ping).await?;
            self.answered(began);
        }
        Ok(())
    }

    /// Takes out what the keys of the limits that are due ask for.
    fn gather(&mut self) -> Vec<Batch> {
        let now = Instant::now();
        let mut batches: Vec<Batch> = Vec::new();
        for (index, limit) in self.limits.iter_mut().enumerate() {
            if limit.due > now {
                continue;
            }
            // A turn that comes late is not made up for.
            limit.due = now + limit.reconcile;
            let debts = &mut self.debts;
            let mut wants = Vec::new();
            self.cluster.supplies[index].wants(WANTS_MAX, &mut |mut want| {
                let owed = debts.remove(&(index, want.hash));
                want.debt = want.debt.saturating_add(owed.unwrap_or(0));
                wants.push(want);
            });
            let others = debts.extract_if(|(of, _), _| *of == index);
            wants.extend(others.map(|((_, hash), debt)| Want {
                hash,
                debt,
                ..Want::default()
            }));
            batches.extend(wants.chunks(BATCH_MAX).map(|wants| Batch {
                supply: index,
                terms: limit.terms,
                wants: wants.to_vec(),
            }));
        }
        batches
    }

    /// Asks for all batches at once, and hands out what comes of it.
    async fn ask(&mut self, link: &mut Link, batches: Vec<Batch>) -> Result<(), Failure> {
        let mut calls = Pipeline::with_capacity(batches.len());
        for batch in &batches {
            let lease = self.limits[batch.supply].reconcile * LEASE_TURNS;
            let times = Times {
                lease,
                hold: lease * 2 + self.cluster.timeout,
            };
            let supply = &self.cluster.supplies[batch.supply];
            let name = (supply.policy(), supply.position());
            calls.add_command(batch.call(&self.script, name, times));
        }
        let began = Instant::now();
        let (url, script) = (&self.cluster.url, &self.script);
        let answer = link.ask::<Vec<Vec<i64>>>(url, script, &calls).await;
        let leased = answer.and_then(|answers| {
            let read = batches.iter().zip(&answers);
            let read: Option<Vec<_>> = read.map(|(batch, answer)| batch.read(answer)).collect();
            read.filter(|read| read.len() == batches.len())
                .ok_or_else(|| Failure("no proper answer to the script".to_owned()))
        });
        match leased {
            Ok(leased) => {
                self.answered(began);
                for (batch, leased) in batches.iter().zip(leased) {
                    self.hand_out(batch, &leased, began);
                }
                self.show();
                Ok(())
            }
            Err(failure) => {
                self.keep_debts(&batches);
                Err(failure)
            }
        }
    }

    fn answered(&mut self, began: Instant) {
        self.called = Instant::now();
        let took = began.elapsed();
        self.counters.clusters.answered(&self.cluster.name, took);
    }

    fn hand_out(&mut self, batch: &Batch, leased: &[Leased], began: Instant) {
        let now = Instant::now();
        let supply = &self.cluster.supplies[batch.supply];
        let limit = &mut self.limits[batch.supply];
        let figures = &mut limit.figures;
        for (want, leased) in batch.wants.iter().zip(leased) {
            supply.grant(Grant {
                hash: want.hash,
                tokens: leased.tokens,
                debt: want.debt,
                until: began + leased.good,
                next: now + leased.wait,
            });
            let taken = leased.tokens.saturating_add(want.debt);
            limit.tally.note(want.hash, taken, want.back, now);
            figures.leased = figures.leased.saturating_add(leased.tokens);
            figures.back = figures.back.saturating_add(want.back);
            figures.debt = figures.debt.saturating_add(want.debt);
        }
    }

    /// What was owed stays owed. If the server has heard of it after all, it counts it twice,
    /// which errs to the side of the limit; what should have gone back is lost, likewise.
    fn keep_debts(&mut self, batches: &[Batch]) {
        for batch in batches {
            for want in batch.wants.iter().filter(|want| want.debt > 0) {
                let key = (batch.supply, want.hash);
                if self.debts.len() < DEBTS_MAX || self.debts.contains_key(&key) {
                    let owed = self.debts.entry(key).or_default();
                    *owed = owed.saturating_add(want.debt);
                }
            }
        }
    }

    fn tell(&self, presence: Presence) {
        for supply in &self.cluster.supplies {
            supply.set_presence(presence);
        }
    }

    fn show(&mut self) {
        let now = Instant::now();
        let figures = self.limits.iter_mut().map(|limit| {
            limit.figures.observed = limit.tally.most(now);
            limit.figures.clone()
        });
        let figures = figures.collect();
        self.counters.clusters.figures(&self.cluster.name, figures);
    }
}

/// Keys of one call: the server does nothing else for the fraction of a millisecond it takes.
const BATCH_MAX: usize = 256;
/// Keys of one limit and turn; the others wait for the next one.
const WANTS_MAX: usize = 8_192;
/// Keys whose debts are kept for a server that is away. What the data plane has not told yet is
/// kept there.
const DEBTS_MAX: usize = 100_000;
/// Questions that only settle debts, before leasing begins; further debts go along with it.
const SETTLEMENTS_MAX: usize = 64;
/// A server that nobody asks is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(1);
/// Nothing is settled more often.
const RECONCILE_MIN: Duration = Duration::from_millis(1);
/// The first pause before a new attempt to connect, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
