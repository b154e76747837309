//! The talk with one server: every `reconcile`, one pipelined question for all keys that ask.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Pipeline, Script};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};

use super::limit::Limit;
use super::link::{Failure, Link};
use super::question::Asked;
use super::script::{Batch, Clock, Leased, Origin, Times, script};
use super::{Cluster, Grant, Terms, Want};
use crate::backoff::{Backoff, random_fraction};
use crate::counters::Counters;

/// One server's session, not yet running.
pub(super) struct Session {
    cluster: Cluster,
    /// What the configuration says now.
    changes: watch::Receiver<Cluster>,
    counters: Arc<Counters>,
    script: Script,
    limits: Vec<Limit>,
    /// `None` before the first answer of a connection.
    clock: Option<Clock>,
    called: Instant,
    pause: Pause,
}

/// What a change of the configuration asks of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// It can stay.
    Limits,
    /// Another one.
    Server,
}

/// Whether a pause comes before an attempt to connect.
enum Pause {
    /// Before all but the first one.
    Wanted,
    None,
}

/// What a turn came to.
enum Turn {
    /// Nothing had to be asked.
    Quiet,
    Answered,
}

impl Session {
    pub(super) fn new(changes: watch::Receiver<Cluster>, counters: Arc<Counters>) -> Self {
        let cluster = changes.borrow().clone();
        let now = Instant::now();
        let supplies = cluster.supplies.iter();
        let limits = supplies.map(|supply| Limit::new(&**supply, cluster.nodes, now));
        Self {
            limits: limits.collect(),
            cluster,
            changes,
            counters,
            script: script(),
            clock: None,
            called: now,
            pause: Pause::None,
        }
    }

    /// Talks with the server for as long as it is configured.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(PAUSE_MIN, PAUSE_MAX);
        loop {
            let mut link = self.wait_for_link(&mut backoff).await;
            self.clock = None;
            let now = Instant::now();
            self.limits.iter_mut().for_each(|limit| limit.meet(now));
            let failure = match self.settle(&mut link).await {
                Ok(()) => {
                    self.counters.clusters.answers(&self.cluster.name);
                    self.talk(&mut link, &mut backoff).await
                }
                Err(failure) => failure,
            };
            self.counters
                .clusters
                .away(&self.cluster.name, failure.to_string());
        }
    }

    /// Hands out shares until there is a connection.
    async fn wait_for_link(&mut self, backoff: &mut Backoff) -> Link {
        let script = &self.script.clone();
        let mut pause = std::mem::replace(&mut self.pause, Pause::Wanted).before(backoff);
        loop {
            let (url, timeout) = (&self.cluster.url.clone(), self.cluster.timeout);
            let attempt = async move {
                sleep(pause).await;
                Link::open(url, timeout, script).await
            };
            let mut attempt = std::pin::pin!(attempt);
            let outcome = loop {
                let due = self.next_turn();
                tokio::select! {
                    outcome = &mut attempt => break Some(outcome),
                    cluster = changed(&mut self.changes) => {
                        if self.adopt(cluster) == Change::Server {
                            break None;
                        }
                    }
                    () = sleep_until(due.into()) => {
                        let batches = self.gather();
                        self.share_out(&batches);
                        self.show();
                    }
                }
            };
            match outcome {
                Some(Ok(link)) => return link,
                None => {
                    pause = Duration::ZERO;
                    continue;
                }
                Some(Err(failure)) => {
                    let why = failure.to_string();
                    self.counters.clusters.away(&self.cluster.name, why);
                }
            }
            pause = Pause::Wanted.before(backoff);
        }
    }

    /// Asks until that fails.
    async fn talk(&mut self, link: &mut Link, backoff: &mut Backoff) -> Failure {
        loop {
            let due = self.next_turn();
            tokio::select! {
                () = sleep_until(due.into()) => {}
                cluster = changed(&mut self.changes) => {
                    if self.adopt(cluster) == Change::Server {
                        self.begin_shares();
                        self.pause = Pause::None;
                        return Failure("the configuration names another server".to_owned());
                    }
                    continue;
                }
            }
            match self.turn(link).await {
                Ok(Turn::Quiet) => {}
                Ok(Turn::Answered) => backoff.reset(),
                Err(failure) => return failure,
            }
        }
    }

    /// Goes on by another configuration. What keys have used and owe stays known, be the server
    /// there or not.
    fn adopt(&mut self, cluster: Cluster) -> Change {
        let now = Instant::now();
        let mut former = std::mem::take(&mut self.limits);
        let limits = cluster.supplies.iter().map(|supply| {
            let mut limit = Limit::new(&**supply, cluster.nodes, now);
            if let Some(place) = former.iter().position(|former| limit.succeeds(former)) {
                limit.inherit(former.swap_remove(place), cluster.nodes, now);
            }
            limit
        });
        self.limits = limits.collect();
        let server = |cluster: &Cluster| (cluster.url.clone(), cluster.timeout);
        let change = match server(&self.cluster) == server(&cluster) {
            true => Change::Limits,
            false => Change::Server,
        };
        self.cluster = cluster;
        self.show();
        change
    }

    /// When the next limit has its turn.
    fn next_turn(&self) -> Instant {
        let due = self.limits.iter().map(|limit| limit.due).min();
        due.unwrap_or_else(|| Instant::now() + PING_AFTER)
    }

    /// Tells the server what was used while it was away, before anything is leased from it.
    async fn settle(&mut self, link: &mut Link) -> Result<(), Failure> {
        let now = Instant::now();
        let mut batches = Vec::new();
        for (index, limit) in self.limits.iter_mut().enumerate() {
            let owed = limit.shares.settle(now);
            batches.extend(cut(index, limit.terms, Origin::Shares, &owed));
        }
        let mut batches = batches.into_iter().peekable();
        while batches.peek().is_some() {
            let some = batches.by_ref().take(SETTLED_AT_ONCE_MAX).collect();
            if let Err(failure) = self.ask(link, some).await {
                // They stay owed.
                self.share_out(&batches.collect::<Vec<_>>());
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Asks for the limits whose turn it is.
    async fn turn(&mut self, link: &mut Link) -> Result<Turn, Failure> {
        let batches = self.gather();
        if !batches.is_empty() {
            self.ask(link, batches).await?;
            return Ok(Turn::Answered);
        }
        if self.called.elapsed() < PING_AFTER {
            return Ok(Turn::Quiet);
        }
        let mut ping = Pipeline::new();
        ping.cmd("PING");
        let began = Instant::now();
        let (url, script) = (&self.cluster.url, &self.script);
        match link.ask::<()>(url, script, &ping).await {
            Ok(()) => {
                self.answered(began);
                Ok(Turn::Answered)
            }
            Err(failure) => {
                self.begin_shares();
                Err(failure)
            }
        }
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
            let wants = limit.gather(&*self.cluster.supplies[index], now);
            batches.extend(cut(index, limit.terms, Origin::Ledger, &wants));
        }
        batches
    }

    /// Asks for all batches at once, and hands out what comes of it.
    async fn ask(&mut self, link: &mut Link, batches: Vec<Batch>) -> Result<(), Failure> {
        let mut calls = Pipeline::with_capacity(batches.len());
        for batch in &batches {
            let times = Times {
                lease: self.limits[batch.supply].lease(),
                clock: self.clock,
            };
            let supply = &self.cluster.supplies[batch.supply];
            let name = (supply.policy(), supply.position());
            calls.add_command(batch.call(&self.script, name, times));
        }
        let began = Instant::now();
        let (url, script) = (&self.cluster.url, &self.script);
        let asked = Asked {
            supplies: &self.cluster.supplies,
            batches,
        };
        let answer = link.ask::<Vec<Vec<i64>>>(url, script, &calls).await;
        let batches = asked.take();
        let leased = answer.and_then(|answers| {
            let read = batches.iter().zip(&answers);
            let read: Option<Vec<_>> = read.map(|(batch, answer)| batch.read(answer)).collect();
            read.filter(|read| read.len() == batches.len())
                .ok_or_else(|| Failure("no proper answer to the script".to_owned()))
        });
        match leased {
            Ok(answers) => {
                self.answered(began);
                for (batch, answer) in batches.iter().zip(answers) {
                    self.clock = Some(Clock {
                        server_us: answer.server_us,
                        at: self.called,
                    });
                    self.hand_out(batch, &answer.leased, began);
                }
                self.show();
                Ok(())
            }
            Err(failure) => {
                self.begin_shares();
                self.share_out(&batches);
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
        for (want, leased) in batch.wants.iter().zip(leased) {
            if batch.origin == Origin::Ledger {
                let until = began + leased.good;
                if want.is_question() {
                    supply.grant(Grant {
                        hash: want.hash,
                        tokens: leased.tokens,
                        debt: want.debt,
                        until,
                        next: now + leased.wait,
                    });
                }
                if leased.tokens > 0 {
                    limit.note_grant(want.hash, until);
                }
                let taken = leased.tokens.saturating_add(want.debt);
                limit.tally.note(want.hash, taken, want.back, now);
            }
            let figures = &mut limit.figures;
            figures.leased = figures.leased.saturating_add(leased.tokens);
            figures.back = figures.back.saturating_add(want.back);
            figures.debt = figures.debt.saturating_add(want.debt);
        }
    }

    fn begin_shares(&mut self) {
        let now = Instant::now();
        for limit in &mut self.limits {
            limit.shares.begin(now);
        }
    }

    /// Answers out of the node's own share. What the questions owe is kept: if the server has
    /// heard of it after all, it counts it twice, which errs to the side of the limit; what
    /// should have gone back is lost, likewise.
    fn share_out(&mut self, batches: &[Batch]) {
        let now = Instant::now();
        for batch in batches {
            let limit = &mut self.limits[batch.supply];
            let good = limit.lease();
            for want in batch.wants.iter().filter(|want| want.is_question()) {
                if batch.origin == Origin::Shares {
                    limit.shares.owe(want.hash, want.debt, now);
                    continue;
                }
                let tokens = limit.shares.grant(want, now);
                self.cluster.supplies[batch.supply].grant(Grant {
                    hash: want.hash,
                    tokens,
                    debt: want.debt,
                    until: now + good,
                    next: now + limit.reconcile,
                });
                let taken = tokens.saturating_add(want.debt);
                limit.tally.note(want.hash, taken, 0, now);
            }
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

/// The next configuration of the server. Without one the session is about to be ended.
async fn changed(changes: &mut watch::Receiver<Cluster>) -> Cluster {
    if changes.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    changes.borrow_and_update().clone()
}

/// Wants of one limit, cut into questions.
fn cut(supply: usize, terms: Terms, origin: Origin, wants: &[Want]) -> impl Iterator<Item = Batch> {
    wants.chunks(BATCH_MAX).map(move |wants| Batch {
        supply,
        terms,
        origin,
        wants: wants.to_vec(),
    })
}

impl Pause {
    /// Anywhere in the second half of the step: nodes that lost a server together do not
    /// return as one.
    fn before(self, backoff: &mut Backoff) -> Duration {
        match self {
            Self::Wanted => backoff.step().mul_f64(0.5 + random_fraction() / 2.0),
            Self::None => Duration::ZERO,
        }
    }
}

/// Keys of one call: the server does nothing else for the fraction of a millisecond it takes.
const BATCH_MAX: usize = 256;
/// Questions of one call while debts are settled.
const SETTLED_AT_ONCE_MAX: usize = 32;
/// A server that nobody asks is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(1);
/// The first pause before a new attempt to connect, and the longest.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
