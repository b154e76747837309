//! How the certificates stand: written by the keeper, read by the admin API and the metrics.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::certificate::Lifetime;
use super::failure::{Failure, FailureKind};
use super::{Names, Settings};
use crate::exposition::{Exposition, Kind};

/// The state of every certificate in the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Board {
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    directory: Option<String>,
    certificates: Vec<Standing>,
}

/// How one certificate stands.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    names: Names,
    /// Of the one in storage.
    pub(super) lifetime: Option<Lifetime>,
    pub(super) renews_at: Option<SystemTime>,
    pub(super) next_attempt: Option<SystemTime>,
    /// None after an attempt that went well.
    pub(super) failure: Option<(SystemTime, Failure)>,
    pub(super) issued: u64,
    pub(super) failed: u64,
}

impl Standing {
    fn new(names: &Names) -> Self {
        Self {
            names: names.clone(),
            lifetime: None,
            renews_at: None,
            next_attempt: None,
            failure: None,
            issued: 0,
            failed: 0,
        }
    }

    fn state(&self, now: SystemTime) -> &'static str {
        match self.lifetime {
            None => "missing",
            Some(lifetime) if lifetime.not_after <= now => "expired",
            Some(_) => "valid",
        }
    }

    fn to_json(&self, now: SystemTime) -> Value {
        json!({
            "name": self.names.first(),
            "names": self.names.all(),
            "state": self.state(now),
            "expires_in_seconds": self.lifetime.map(|lifetime| seconds(now, lifetime.not_after)),
            "renews_in_seconds": self.renews_at.map(|at| seconds(now, at)),
            "next_attempt_in_seconds": self.next_attempt.map(|at| seconds(now, at).max(0)),
            "issued": self.issued,
            "failed": self.failed,
            "last_error": self.failure.as_ref().map(|(at, failure)| json!({
                "kind": failure.kind.name(),
                "text": failure.text,
                "seconds_ago": seconds(*at, now),
            })),
        })
    }
}

impl Board {
    /// Shows the certificates of `settings`; those that were there before keep their counts.
    pub(super) fn adopt(&self, settings: &Settings) {
        let mut shown = self.shown();
        let former = std::mem::take(&mut shown.certificates);
        shown.directory = Some(settings.directory.clone());
        shown.certificates = settings
            .certificates
            .iter()
            .map(|names| {
                let same = former.iter().find(|standing| standing.names == *names);
                same.cloned().unwrap_or_else(|| Standing::new(names))
            })
            .collect();
    }

    /// Nothing is ordered any more.
    pub(super) fn clear(&self) {
        *self.shown() = Shown::default();
    }

    pub(super) fn change(&self, names: &Names, change: impl FnOnce(&mut Standing)) {
        let mut shown = self.shown();
        let mut standings = shown.certificates.iter_mut();
        if let Some(standing) = standings.find(|standing| standing.names == *names) {
            change(standing);
        }
    }

    /// For the admin API.
    pub(crate) fn to_json(&self, now: SystemTime) -> Value {
        let shown = self.shown();
        let each = shown.certificates.iter();
        json!({
            "directory": shown.directory,
            "certificates": each.map(|standing| standing.to_json(now)).collect::<Vec<_>>(),
        })
    }

    /// Nothing where nothing is ordered.
    pub(crate) fn write(&self, out: &mut Exposition, now: SystemTime) {
        let shown = self.shown();
        if shown.certificates.is_empty() {
            return;
        }
        out.family(
            "ringgate_acme_certificate_expires_seconds",
            Kind::Gauge,
            "Time until the certificate in storage ends, negative afterwards; absent without one.",
        );
        for standing in &shown.certificates {
            if let Some(lifetime) = standing.lifetime {
                let name = [("name", standing.names.first())];
                out.sample(&name, seconds(now, lifetime.not_after));
            }
        }
        out.family(
            "ringgate_acme_orders_total",
            Kind::Counter,
            "Orders of certificates, renewals among them, by result.",
        );
        for standing in &shown.certificates {
            let name = ("name", standing.names.first());
            out.sample(&[name, ("result", "issued")], standing.issued);
            out.sample(&[name, ("result", "failed")], standing.failed);
        }
        out.family(
            "ringgate_acme_failing",
            Kind::Gauge,
            "1 for the kind of error that the last attempt at a certificate ended with.",
        );
        for standing in &shown.certificates {
            let now_failing = standing.failure.as_ref().map(|(_, failure)| failure.kind);
            for kind in FailureKind::ALL {
                out.sample(
                    &[("name", standing.names.first()), ("error", kind.name())],
                    now_failing == Some(kind),
                );
            }
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From one time to another, negative backwards.
pub(super) fn seconds(from: SystemTime, to: SystemTime) -> i64 {
    match to.duration_since(from) {
        Ok(ahead) => ahead.as_secs() as i64,
        Err(behind) => -(behind.duration().as_secs() as i64),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::ChallengeKind;
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn settings(certificates: &[&str]) -> Settings {
        Settings {
            directory: "https://acme.example/dir".to_owned(),
            contact: Vec::new(),
            storage: PathBuf::from("/nowhere"),
            challenge: ChallengeKind::Http01,
            ca: None,
            renew_before: Duration::from_secs(1),
            certificates: certificates
                .iter()
                .map(|name| Names::new([name]).unwrap())
                .collect(),
        }
    }

    #[test]
    fn shows_what_operators_alert_on() {
        let board = Board::default();
        board.adopt(&settings(&["a.example", "b.example"]));
        board.change(&Names::new(["a.example"]).unwrap(), |standing| {
            standing.lifetime = Some(Lifetime {
                not_before: at(0),
                not_after: at(1_000),
            });
            standing.issued = 1;
        });
        board.change(&Names::new(["b.example"]).unwrap(), |standing| {
            let failure = Failure::new(FailureKind::Refused, "b.example: no such name");
            standing.failure = Some((at(90), failure));
            standing.failed = 3;
        });
        let mut out = Exposition::default();
        board.write(&mut out, at(100));
        let text = out.finish();
        for line in [
            "ringgate_acme_certificate_expires_seconds{name=\"a.example\"} 900",
            "ringgate_acme_orders_total{name=\"a.example\",result=\"issued\"} 1",
            "ringgate_acme_orders_total{name=\"b.example\",result=\"failed\"} 3",
            "ringgate_acme_failing{name=\"b.example\",error=\"refused\"} 1",
            "ringgate_acme_failing{name=\"a.example\",error=\"refused\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        let json = board.to_json(at(2_000));
        assert_eq!(json["certificates"][0]["state"], "expired");
        assert_eq!(json["certificates"][0]["expires_in_seconds"], -1_000);
        assert_eq!(json["certificates"][1]["state"], "missing");
        assert_eq!(
            json["certificates"][1]["last_error"]["text"],
            "b.example: no such name"
        );
    }

    #[test]
    fn counts_outlive_a_reload_and_nothing_is_shown_without_orders() {
        let board = Board::default();
        board.adopt(&settings(&["a.example"]));
        board.change(&Names::new(["a.example"]).unwrap(), |standing| {
            standing.issued = 2;
        });
        board.adopt(&settings(&["b.example", "a.example"]));
        assert_eq!(board.to_json(at(0))["certificates"][1]["issued"], 2);
        board.clear();
        let mut out = Exposition::default();
        board.write(&mut out, at(0));
        assert_eq!(out.as_str(), "");
    }
}
