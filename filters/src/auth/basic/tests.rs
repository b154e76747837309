use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::auth::consumers::{Consumer, Registered};
use crate::auth::{Authenticate, Otherwise, Scheme, Settings, Tell};
use crate::testing::{Exchange, passes};

/// Takes a text for the hash of itself.
#[derive(Debug, Default)]
struct Plain {
    asked: AtomicUsize,
}

impl Verifier for Plain {
    fn verify(&self, hash: Arc<str>, password: Password, slot: Arc<Slot>, _done: Done) {
        self.asked.fetch_add(1, Ordering::Relaxed);
        slot.settle(match (&*hash, password.expose()) {
            ("late", _) => return,
            ("full", _) => Checked::Refused,
            (hash, password) if hash.as_bytes() == password => Checked::Right,
            _ => Checked::Wrong,
        });
    }
}

struct Gate {
    filter: Filter,
    plain: Arc<Plain>,
    exchange: Exchange,
}

fn gate(users: &[(&str, &str)]) -> Gate {
    let plain = Arc::<Plain>::default();
    Gate {
        filter: filter(users, &plain),
        plain,
        exchange: Exchange::default(),
    }
}

fn filter(users: &[(&str, &str)], plain: &Arc<Plain>) -> Filter {
    let app = Registered {
        consumer: Consumer {
            name: "app".into(),
            ..Consumer::default()
        },
        user: Some("Aladdin".into()),
        ..Registered::default()
    };
    let lifetimes = Lifetimes {
        right: Duration::from_secs(300),
        wrong: Duration::from_secs(5),
    };
    let users = users
        .iter()
        .map(|(name, hash)| ((*name).into(), (*hash).into()));
    let scheme = Scheme::Basic(Basic::new(
        users,
        &Directory::new([app]),
        lifetimes,
        Credential::Hidden,
        Arc::clone(plain) as _,
    ));
    Filter::Authenticate(Box::new(Authenticate::new(Settings {
        alternatives: [[Arc::new(scheme)].into()].into(),
        otherwise: Otherwise::Refuse,
        realm: "WallyWorld".into(),
        tell: Tell::default(),
    })))
}

impl Gate {
    fn send(&mut self, authorization: &[&str]) -> Verdict {
        self.exchange.attributes.principal = None;
        let fields = &mut self.exchange.head.fields;
        fields.remove_known(Known::Authorization);
        for value in authorization {
            fields.add("Authorization", value.as_bytes()).unwrap();
        }
        match self.exchange.request_head(&self.filter) {
            Verdict::Ask(errand) => {
                (errand.hand_over)(Done::unheard());
                self.exchange.resume(&self.filter)
            }
            verdict => verdict,
        }
    }

    fn code(&mut self, authorization: &[&str]) -> &'static str {
        match self.send(authorization) {
            Verdict::Continue => "",
            Verdict::Respond(answer) => answer.code,
            other => panic!("{other:?}"),
        }
    }

    fn asked(&self) -> usize {
        self.plain.asked.load(Ordering::Relaxed)
    }
}

/// RFC 7617, 2: "Aladdin" and "open sesame".
const ALADDIN: &str = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
/// RFC 7617, 2.1: "test" and "123£".
const POUND: &str = "Basic dGVzdDoxMjPCow==";

#[test]
fn the_examples_of_the_rfc_pass() {
    let mut gate = gate(&[("Aladdin", "open sesame"), ("test", "123£")]);
    assert_eq!(gate.code(&[ALADDIN]), "");
    let proved = gate.exchange.attributes.principal.clone().unwrap();
    assert_eq!(proved.subject.as_deref(), Some("Aladdin"));
    assert_eq!(proved.consumer.as_deref(), Some("app"));
    let fields = &gate.exchange.head.fields;
    assert!(!fields.has(Known::Authorization), "it is for the gateway");
    assert_eq!(gate.code(&[POUND]), "");
    let proved = gate.exchange.attributes.principal.clone().unwrap();
    assert_eq!(
        (proved.subject.as_deref(), &proved.consumer),
        (Some("test"), &None)
    );
}

#[test]
fn a_challenge_names_realm_and_charset() {
    let Verdict::Respond(answer) = gate(&[]).send(&[]) else {
        panic!("it passed")
    };
    assert_eq!((answer.status, answer.code), (401, "no_credentials"));
    let mut fields = answer.fields.iter();
    let challenge = fields.find(|(name, _)| &**name == "www-authenticate");
    let told = &challenge.unwrap().1;
    assert_eq!(&**told, b"Basic realm=\"WallyWorld\", charset=\"UTF-8\"");
}

#[test]
fn a_password_is_compared_once_until_its_time_is_over() {
    let mut gate = gate(&[("Aladdin", "open sesame")]);
    gate.exchange.unix_ms = 1_000;
    for _ in 0..3 {
        assert_eq!(gate.code(&[ALADDIN]), "");
    }
    assert_eq!(gate.asked(), 1);
    gate.exchange.unix_ms += 300_000;
    assert_eq!(gate.code(&[ALADDIN]), "");
    assert_eq!(gate.asked(), 2);
    // Of "open sesam".
    let wrong = "Basic QWxhZGRpbjpvcGVuIHNlc2Ft";
    for _ in 0..3 {
        assert_eq!(gate.code(&[wrong]), "invalid_credentials");
    }
    assert_eq!(gate.asked(), 3);
    gate.exchange.unix_ms += 5_000;
    assert_eq!(gate.code(&[wrong]), "invalid_credentials");
    assert_eq!(gate.asked(), 4);
}

#[test]
fn who_is_no_user_is_compared_as_well() {
    let mut gate = gate(&[("Aladdin", "open sesame")]);
    // "jinni", with the password of the only user.
    let jinni = "Basic amlubmk6b3BlbiBzZXNhbWU=";
    for _ in 0..2 {
        assert_eq!(gate.code(&[jinni]), "invalid_credentials");
    }
    assert_eq!(gate.asked(), 1);
    assert_eq!(gate.code(&[ALADDIN]), "");
    assert_eq!(gate.code(&[jinni]), "invalid_credentials");
}

#[test]
fn a_reload_keeps_what_did_not_change() {
    let mut gate = gate(&[("Aladdin", "open sesame")]);
    assert_eq!(gate.code(&[ALADDIN]), "");
    gate.filter = filter(&[("Aladdin", "open sesame"), ("b", "c")], &gate.plain);
    assert_eq!(gate.code(&[ALADDIN]), "");
    assert_eq!(gate.asked(), 1);
    gate.filter = filter(&[("Aladdin", "changed")], &gate.plain);
    assert_eq!(gate.code(&[ALADDIN]), "invalid_credentials");
    gate.filter = filter(&[], &gate.plain);
    assert_eq!(gate.code(&[ALADDIN]), "invalid_credentials");
    assert_eq!(gate.asked(), 3);
}

#[test]
fn who_cannot_be_compared_is_refused() {
    for hash in ["late", "full"] {
        let mut gate = gate(&[("Aladdin", hash)]);
        assert_eq!(gate.code(&[ALADDIN]), "auth_unavailable", "{hash}");
    }
}

#[test]
fn so_many_wait_at_most_and_nobody_behind_them_for_ever() {
    let mut gate = gate(&[("Aladdin", "open sesame")]);
    let mut held = Vec::new();
    for n in 0..WAITING_MAX {
        let digest = [n as u8; 32];
        held.push(gate.exchange.core().auth.basic.pending.ask(digest).unwrap());
    }
    assert_eq!(gate.code(&[ALADDIN]), "auth_unavailable");
    held.clear();
    assert_eq!(gate.code(&[ALADDIN]), "");
}

#[test]
fn what_is_malformed_is_never_taken_for_nothing() {
    let mut gate = gate(&[("Aladdin", "open sesame"), ("", ""), ("a", "b")]);
    let long = format!("Basic {}", "QUJD".repeat(300));
    for malformed in [
        "Basic",
        "Basic ",
        "Basic QWxhZGRpbg==",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZR==",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==QUJD",
        "Basic QWxhZGRpbjpv cGVuIHNlc2FtZQ==",
        "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==, Basic x",
        "Basic YTpi_-==",
        "Basic YTpiAA==",
        "Basic YTpiCg==",
        "Basic wqE6w6H/",
        "Basic YcKFOmI=",
        "Basic \u{a0}YTpi",
        &long,
    ] {
        assert_eq!(
            gate.code(&[malformed]),
            "invalid_credentials",
            "{malformed}"
        );
    }
    for twice in [["Bearer x", ALADDIN], [ALADDIN, ALADDIN], [ALADDIN, "x"]] {
        assert_eq!(gate.code(&twice), "invalid_credentials", "{twice:?}");
    }
    assert_eq!(gate.asked(), 0);
    for other in ["Bearer QWxhZGRpbg==", "Basics QUJD", "Basi", ""] {
        assert_eq!(gate.code(&[other]), "no_credentials", "{other}");
    }
    for same in ["bAsIc YTpi", "Basic   YTpi", "Basic\tYTpi"] {
        assert_eq!(gate.code(&[same]), "", "{same}");
    }
    assert_eq!(
        gate.code(&["Basic Og=="]),
        "",
        "a user may be called nothing"
    );
}

#[test]
fn only_its_own_credential_is_hidden() {
    let mut gate = gate(&[("a", "b")]);
    gate.code(&["Basic YTpi"]);
    assert!(!gate.exchange.head.fields.has(Known::Authorization));
    gate.code(&["Bearer x"]);
    assert!(gate.exchange.head.fields.has(Known::Authorization));
}

#[test]
fn nothing_secret_is_shown() {
    let mut gate = gate(&[("Aladdin", "open sesame")]);
    gate.code(&[ALADDIN]);
    let shown = format!("{:?} {:?}", gate.filter, gate.exchange.core());
    assert!(!shown.contains("sesame"), "{shown}");
    assert!(!passes(&gate.send(&[])));
}
