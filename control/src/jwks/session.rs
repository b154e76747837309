//! The keys of one place: fetched at once, then again and again, and when somebody asks.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tracing::{info, warn};

use super::fetch::{self, Failure};
use super::{KeyFacts, Loaded, Source};
use crate::backoff::{Backoff, jittered};
use crate::counters::Counters;
use crate::node::Node;

/// What a session goes by.
pub(super) struct Session {
    pub(super) node: Arc<dyn Node>,
    pub(super) counters: Arc<Counters>,
    pub(super) source: watch::Receiver<Source>,
}

/// How the last look ended.
#[derive(Default)]
struct Before {
    keys: Option<Vec<KeyFacts>>,
    failing: bool,
}

impl Session {
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut before = Before::default();
        loop {
            let source = self.source.borrow_and_update().clone();
            let pause = match self.look(&source).await {
                Ok((loaded, max_age)) => {
                    backoff.reset();
                    before.note(&source, loaded);
                    let max_age = max_age.map(|age| age.clamp(MAX_AGE_MIN, MAX_AGE_MAX));
                    jittered(max_age.unwrap_or(source.refresh))
                }
                Err(failure) => {
                    let pause = jittered(backoff.step().min(source.refresh));
                    before.fail(&source, &failure);
                    self.counters.jwks.failed(&source.place, failure.0);
                    pause
                }
            };
            let next = SystemTime::now() + pause;
            self.counters.jwks.next(&source.place, next);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = source.wanted.notified() => {}
                changed = self.source.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn look(&self, source: &Source) -> Result<(Loaded, Option<Duration>), Failure> {
        let fetched = fetch::fetch(source).await;
        let document = match fetched {
            Ok(document) => document,
            Err(failure) => {
                self.node.keys_missed(&source.place);
                return Err(failure);
            }
        };
        match self.node.keys_fetched(&source.place, &document.body) {
            Ok(loaded) => {
                let counters = &self.counters.jwks;
                counters.loaded(&source.place, loaded.keys.len(), loaded.left_out);
                Ok((loaded, document.max_age))
            }
            Err(why) => {
                self.node.keys_missed(&source.place);
                Err(Failure(format!("{}: {why}", source.place)))
            }
        }
    }
}

impl Before {
    fn note(&mut self, source: &Source, loaded: Loaded) {
        let issuers = source.issuers.join(", ");
        if std::mem::take(&mut self.failing) {
            info!(issuers, "the issuer's keys can be fetched again");
        }
        if self.keys.as_ref() != Some(&loaded.keys) {
            let names: Vec<String> = loaded.keys.iter().map(ToString::to_string).collect();
            let (keys, left_out) = (names.join(", "), loaded.left_out);
            match &self.keys {
                None => info!(issuers, keys, left_out, "the issuer's keys are there"),
                Some(_) => info!(issuers, keys, left_out, "the issuer's keys have changed"),
            }
            if loaded.keys.is_empty() {
                warn!(
                    issuers,
                    "the issuer has no key that can be used: its tokens are refused"
                );
            }
        }
        self.keys = Some(loaded.keys);
    }

    fn fail(&mut self, source: &Source, failure: &Failure) {
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        let issuers = source.issuers.join(", ");
        let why = failure.to_string();
        match self.keys {
            Some(_) => warn!(
                issuers,
                why, "the issuer's keys cannot be fetched: those that are there stay in use"
            ),
            None => warn!(
                issuers,
                why, "the issuer's keys cannot be fetched: its tokens get 503 until they can"
            ),
        }
    }
}

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// What answers say of themselves counts within these.
const MAX_AGE_MIN: Duration = Duration::from_secs(60);
const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 60 * 60);
