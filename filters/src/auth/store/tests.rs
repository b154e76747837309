use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use ringgate_core::chain::Verdict;

use super::*;
use crate::auth::api_key::{ApiKey, Credential, KeyPlaces};
use crate::auth::{Authenticate, Directory, Otherwise, Scheme, Settings, Tell};
use crate::testing::Exchange;

/// Knows the keys "good", "late" and "old"; is away for "away" and says nothing of "slow".
#[derive(Debug, Default)]
struct Shelf {
    serial: u64,
    asked: AtomicUsize,
}

impl Store for Shelf {
    fn find(&self, asked: [u8; 32], slot: Arc<Slot>, _done: Done) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let is = |key: &str| digest(&SHA256, key.as_bytes()).as_ref() == asked;
        let app = |begins_ms, ends_ms| {
            let consumer = Consumer {
                name: "app".into(),
                groups: ["partners".into()].into(),
                ..Consumer::default()
            };
            Found::Consumer(Arc::new(StoredConsumer {
                consumer,
                begins_ms,
                ends_ms,
            }))
        };
        slot.settle(match asked {
            _ if is("slow") => return,
            _ if is("good") => app(0, u64::MAX),
            _ if is("late") => app(5_000, u64::MAX),
            _ if is("old") => app(0, 500),
            _ if is("away") => Found::Away,
            _ => Found::Nobody,
        });
    }

    fn serial(&self) -> u64 {
        self.serial
    }
}

fn filter(shelf: &Arc<Shelf>) -> Filter {
    let terms = Terms {
        found: Duration::from_secs(60),
        nobody: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
    };
    let scheme = Scheme::ApiKey(ApiKey {
        places: KeyPlaces {
            header: Some("x-api-key".into()),
            ..KeyPlaces::default()
        },
        credential: Credential::Hidden,
        directory: Arc::new(Directory::new([])),
        verifier: Arc::new(crate::auth::verify::NoVerifier),
        store: Some(StoredConsumers::new(Arc::clone(shelf) as _, terms)),
    });
    Filter::Authenticate(Box::new(Authenticate::new(Settings {
        alternatives: [[Arc::new(scheme)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "ringgate".into(),
        tell: Tell::default(),
    })))
}

fn code(exchange: &mut Exchange, filter: &Filter, key: &str) -> &'static str {
    exchange.attributes.principal = None;
    let fields = &mut exchange.head.fields;
    fields.set("x-api-key", key.as_bytes()).unwrap();
    let verdict = match exchange.request_head(filter) {
        Verdict::Ask(errand) => {
            (errand.hand_over)(Done::unheard());
            exchange.resume(filter)
        }
        verdict => verdict,
    };
    match verdict {
        Verdict::Continue => "",
        Verdict::Respond(answer) => answer.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_asked_for_once_and_its_time_counts() {
    let shelf = Arc::<Shelf>::default();
    let filter = filter(&shelf);
    let mut exchange = Exchange::default();
    exchange.unix_ms = 1_000;
    for _ in 0..3 {
        assert_eq!(code(&mut exchange, &filter, "good"), "");
        assert_eq!(code(&mut exchange, &filter, "bad"), "invalid_credentials");
        assert_eq!(code(&mut exchange, &filter, "late"), "expired_credentials");
        assert_eq!(code(&mut exchange, &filter, "old"), "expired_credentials");
    }
    assert_eq!(shelf.asked.load(Ordering::Relaxed), 4);
    code(&mut exchange, &filter, "good");
    let proved = exchange.attributes.principal.clone().unwrap();
    assert_eq!(proved.consumer.as_deref(), Some("app"));
    assert!(proved.is_in("partners") && proved.schemes == ["api_key"]);
    exchange.unix_ms = 6_000;
    assert_eq!(code(&mut exchange, &filter, "late"), "");
    assert_eq!(shelf.asked.load(Ordering::Relaxed), 4);
    assert_eq!(code(&mut exchange, &filter, "bad"), "invalid_credentials");
    assert_eq!(shelf.asked.load(Ordering::Relaxed), 5, "that was forgotten");
    exchange.unix_ms = 61_000;
    assert_eq!(code(&mut exchange, &filter, "good"), "");
    assert_eq!(shelf.asked.load(Ordering::Relaxed), 6);
}

#[test]
fn a_store_that_is_away_lets_nobody_in() {
    let shelf = Arc::<Shelf>::default();
    let filter = filter(&shelf);
    let mut exchange = Exchange::default();
    for key in ["away", "slow", "away"] {
        assert_eq!(code(&mut exchange, &filter, key), "auth_unavailable");
    }
    assert_eq!(shelf.asked.load(Ordering::Relaxed), 3, "and is asked again");
}

#[test]
fn another_store_is_asked_anew() {
    let mut exchange = Exchange::default();
    for serial in 1..3 {
        let shelf = Arc::new(Shelf {
            serial,
            ..Shelf::default()
        });
        for _reload in 0..2 {
            assert_eq!(code(&mut exchange, &filter(&shelf), "good"), "");
        }
        assert_eq!(shelf.asked.load(Ordering::Relaxed), 1);
    }
}
