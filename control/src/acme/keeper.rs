//! The task that keeps the certificates: it sleeps until one is due, orders it, puts it into
//! storage and has it served. What fails is tried again after a growing pause; what is served
//! stays served meanwhile.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

use super::authority::{Authority, blocking};
use super::failure::{Failure, FailureKind};
use super::order::{self, Wanted};
use super::schedule::{Patience, Suggestion, look_again_after, renewal};
use super::status::{Board, seconds};
use super::storage::{Found, Kept, Storage, Turn};
use super::{Names, Settings};
use crate::backoff::jittered;
use crate::node::{Cause, Node};
use crate::reload::Reloader;

/// The task, not yet running.
#[derive(Clone)]
pub(crate) struct Keeper {
    node: Arc<dyn Node>,
    reloader: Arc<Reloader>,
    board: Arc<Board>,
    changed: watch::Receiver<u64>,
}

impl Keeper {
    /// `changed` says that the node's settings may be others than before, and that it has
    /// read the storage again.
    pub(crate) fn new(
        node: &Arc<dyn Node>,
        reloader: &Arc<Reloader>,
        board: &Arc<Board>,
        changed: watch::Receiver<u64>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            reloader: Arc::clone(reloader),
            board: Arc::clone(board),
            changed,
        }
    }

    pub(crate) async fn run(mut self) {
        loop {
            let going = match self.settings() {
                Some(settings) => self.keep(&settings).await,
                None => {
                    self.board.clear();
                    match self.changed.changed().await {
                        Ok(()) => ControlFlow::Continue(()),
                        Err(_) => ControlFlow::Break(()),
                    }
                }
            };
            if going.is_break() {
                return;
            }
        }
    }

    fn settings(&self) -> Option<Settings> {
        let settings = self.node.acme();
        settings.filter(|settings| !settings.certificates.is_empty())
    }

    /// Keeps the certificates until the settings are others, or for good.
    async fn keep(&mut self, settings: &Settings) -> ControlFlow<()> {
        self.board.adopt(settings);
        let mut tended: Vec<_> = settings.certificates.iter().map(Tended::new).collect();
        loop {
            for one in &mut tended {
                if one.due <= SystemTime::now() {
                    self.tend(settings, one).await;
                }
            }
            let due = tended.iter().map(|one| one.due).min();
            let nap = due.and_then(|due| due.duration_since(SystemTime::now()).ok());
            tokio::select! {
                // In steps, since the machine's clock may be set meanwhile.
                () = tokio::time::sleep(nap.unwrap_or_default().min(NAP_MAX)) => {}
                alive = self.changed.changed() => {
                    if alive.is_err() {
                        return ControlFlow::Break(());
                    }
                    if self.settings().as_ref() != Some(settings) {
                        return ControlFlow::Continue(());
                    }
                    for one in &mut tended {
                        one.served = one.stored.clone();
                    }
                }
            }
        }
    }

    async fn tend(&self, settings: &Settings, one: &mut Tended) {
        let names = one.names.clone();
        let tended = Box::pin(self.try_tend(settings, one)).await;
        let now = SystemTime::now();
        match tended {
            Ok(due) => {
                one.due = due;
                self.board.change(&names, |standing| {
                    standing.next_attempt = Some(due);
                    standing.failure = None;
                });
            }
            Err(failure) => {
                let pause = one.patience.after(&failure);
                one.due = now + pause;
                if failure.kind == FailureKind::Account {
                    forget_account(settings).await;
                }
                one.tell(&failure, pause, now);
                self.board.change(&names, |standing| {
                    standing.next_attempt = Some(one.due);
                    standing.failed += u64::from(failure.kind != FailureKind::NotServed);
                    standing.failure = Some((now, failure));
                });
            }
        }
    }

    /// Looks after one certificate; returns when to look again.
    async fn try_tend(&self, settings: &Settings, one: &mut Tended) -> Result<SystemTime, Failure> {
        let storage = Storage::new(&settings.storage);
        let mut kept = self.look(&storage, settings, one).await?;
        if one.wants_order(settings, kept.as_ref()) {
            let Turn::Ours(_turn) = blocking(&storage, Storage::take_turn).await? else {
                debug!(
                    name = one.names.first(),
                    "another process orders into acme.storage"
                );
                return Ok(SystemTime::now() + jittered(ANOTHERS_TURN));
            };
            // The other process may have ordered this one just now.
            kept = self.look(&storage, settings, one).await?;
            if one.wants_order(settings, kept.as_ref()) {
                self.order(&storage, settings, one, kept.as_ref()).await?;
                kept = self.look(&storage, settings, one).await?;
            }
        }
        let Some(kept) = kept else {
            let text = format!(
                "{}: the certificate was written to acme.storage and is not there",
                one.names.first()
            );
            return Err(Failure::new(FailureKind::Storage, text));
        };
        if one.served != one.stored {
            self.serve(one).await?;
        }
        self.consult(&storage, settings, one, &kept).await;
        let renews_at = one.renews_at(settings, &kept);
        self.board.change(&one.names, |standing| {
            standing.renews_at = Some(renews_at);
        });
        Ok(renews_at.min(one.consult_at))
    }

    async fn look(
        &self,
        storage: &Storage,
        settings: &Settings,
        one: &mut Tended,
    ) -> Result<Option<Kept>, Failure> {
        let names = one.names.clone();
        let kept = blocking(storage, move |storage| storage.certificate(&names)).await?;
        one.saw(kept.as_ref());
        self.board.change(&one.names, |standing| {
            standing.lifetime = kept.as_ref().map(|kept| kept.leaf.lifetime);
            standing.renews_at = kept.as_ref().map(|kept| one.renews_at(settings, kept));
        });
        Ok(kept)
    }

    async fn order(
        &self,
        storage: &Storage,
        settings: &Settings,
        one: &mut Tended,
        kept: Option<&Kept>,
    ) -> Result<(), Failure> {
        let names = &one.names;
        info!(
            name = names.first(),
            names = names.all().join(" "),
            directory = settings.directory,
            "ordering a certificate"
        );
        let authority = Authority::enter(settings, storage).await?;
        // Only an authority that told its window wants to know, and only once: after a failure
        // it is an order like any other.
        let told = one.suggestion.is_some() && one.replacement == Replacement::Untried;
        one.replacement = Replacement::Tried;
        let replaces = kept.filter(|_| told).map(|kept| &kept.leaf);
        let wanted = Wanted {
            names,
            challenge: settings.challenge,
            replaces,
        };
        let issued = order::place(&authority, wanted, &self.node).await?;
        let valid_for_s = seconds(SystemTime::now(), issued.leaf.lifetime.not_after);
        let (kept_as, directory) = (names.clone(), settings.directory.clone());
        blocking(storage, move |storage| {
            storage.keep(&kept_as, &issued.chain, &issued.key, &directory)
        })
        .await?;
        one.suggestion = None;
        one.replacement = Replacement::Untried;
        one.consult_at = SystemTime::now() + jittered(CONSULT_AFTER_ISSUE);
        self.board.change(names, |standing| standing.issued += 1);
        info!(
            name = names.first(),
            valid_for_s, "certificate obtained and put into acme.storage"
        );
        Ok(())
    }

    /// Has the node serve what lies in storage.
    async fn serve(&self, one: &mut Tended) -> Result<(), Failure> {
        // Its result is logged where it is made.
        if self.reloader.reload(Cause::Certificate).await.is_err() {
            let text =
                "the certificate lies in acme.storage and is not served, as the reload was refused";
            return Err(Failure::new(FailureKind::NotServed, text));
        }
        one.served = one.stored.clone();
        one.patience = Patience::new();
        Ok(())
    }

    /// Asks the authority when it would have the certificate renewed, if it is time to.
    async fn consult(&self, storage: &Storage, settings: &Settings, one: &mut Tended, kept: &Kept) {
        let now = SystemTime::now();
        if now < one.consult_at {
            return;
        }
        one.consult_at = now + jittered(CONSULT_INTERVAL);
        let told = async {
            match Authority::known(settings, storage).await? {
                Some(authority) => authority.window(&kept.leaf).await,
                None => Ok(None),
            }
        };
        match told.await {
            Ok(Some((window, again))) => {
                one.consult_at = now + look_again_after(again);
                one.suggestion = Some(Suggestion::of(window, one.suggestion));
            }
            Ok(None) => one.suggestion = None,
            // A suggestion is a favour; the certificate is renewed by its own dates without.
            Err(error) => {
                debug!(%error, name = one.names.first(), "the authority did not say when to renew");
            }
        }
    }
}

/// One certificate that is kept.
struct Tended {
    names: Names,
    due: SystemTime,
    patience: Patience,
    suggestion: Option<Suggestion>,
    replacement: Replacement,
    consult_at: SystemTime,
    /// What lay in storage at the last look.
    stored: Option<CertificateDer<'static>>,
    /// What lay there when the node last read it.
    served: Option<CertificateDer<'static>>,
    /// When what lies in storage ends.
    ends_at: Option<SystemTime>,
    looked: Looked,
}

/// Whether an order that names the certificate it replaces was made for it already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replacement {
    Untried,
    Tried,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Looked {
    Never,
    Before,
}

impl Tended {
    /// Due at once, for a look into storage.
    fn new(names: &Names) -> Self {
        let now = SystemTime::now();
        Self {
            names: names.clone(),
            due: now,
            patience: Patience::new(),
            suggestion: None,
            replacement: Replacement::Untried,
            consult_at: now,
            stored: None,
            served: None,
            ends_at: None,
            looked: Looked::Never,
        }
    }

    fn saw(&mut self, kept: Option<&Kept>) {
        self.stored = kept.map(|kept| kept.leaf.der.clone());
        self.ends_at = kept.map(|kept| kept.leaf.lifetime.not_after);
        // The node read the storage just before the first look.
        let looked = std::mem::replace(&mut self.looked, Looked::Before);
        if looked == Looked::Never && kept.is_some_and(|kept| kept.found == Found::InPlace) {
            self.served = self.stored.clone();
        }
    }

    fn wants_order(&self, settings: &Settings, kept: Option<&Kept>) -> bool {
        kept.is_none_or(|kept| {
            let elsewhere = kept.directory.as_ref();
            elsewhere.is_some_and(|directory| *directory != settings.directory)
                || self.renews_at(settings, kept) <= SystemTime::now()
        })
    }

    fn renews_at(&self, settings: &Settings, kept: &Kept) -> SystemTime {
        let own = renewal(kept.leaf.lifetime, settings.renew_before);
        match self.suggestion {
            Some(suggestion) => own.min(suggestion.at),
            None => own,
        }
    }

    fn tell(&self, failure: &Failure, pause: Duration, now: SystemTime) {
        let name = self.names.first();
        let kind = failure.kind.name();
        let retry_in_s = pause.as_secs();
        match self.ends_at {
            Some(end) if end > now => {
                let in_use_for_s = seconds(now, end);
                warn!(name, error = %failure, kind, retry_in_s, in_use_for_s, "a certificate could not be renewed; the one in storage stays in use, and it is tried again");
            }
            Some(_) => {
                error!(name, error = %failure, kind, retry_in_s, "a certificate has ended and could not be renewed: clients refuse it; it is tried again");
            }
            None => {
                error!(name, error = %failure, kind, retry_in_s, "a certificate could not be obtained, and there is none to serve; it is tried again");
            }
        }
    }
}

/// The next attempt makes another account.
async fn forget_account(settings: &Settings) {
    let url = settings.directory.clone();
    let storage = Storage::new(&settings.storage);
    warn!(
        directory = url,
        "the certificate authority does not know the account in acme.storage; another is made"
    );
    if let Err(error) = blocking(&storage, move |storage| storage.set_account_aside(&url)).await {
        warn!(%error, "the account could not be put aside");
    }
}

/// The longest sleep in one piece.
const NAP_MAX: Duration = Duration::from_secs(60 * 60);
/// While another process orders into the same storage.
const ANOTHERS_TURN: Duration = Duration::from_secs(60);
/// Where the authority does not say how often.
const CONSULT_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// A fresh certificate is not for renewal.
const CONSULT_AFTER_ISSUE: Duration = Duration::from_secs(6 * 60 * 60);
