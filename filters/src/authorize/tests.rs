use std::rc::Rc;

use super::*;
use crate::testing::{Exchange, passes};
use ringgate_core::chain::{Filter as _, PeerAddr};
use ringgate_core::http::Method;
use ringgate_core::principal::{Claims, Principal};
use ringgate_core::snapshot::TrustedNetworks;

fn names(names: &[&str]) -> Names {
    Names::new(names.iter().map(|name| (*name).into()))
}

fn who(who: Who) -> Rule {
    Rule {
        who,
        ..Rule::default()
    }
}

fn allow(rules: impl IntoIterator<Item = Rule>) -> Filter {
    rules_of(Some(rules.into_iter().collect()), [])
}

fn rules_of(allow: Option<Box<[Rule]>>, deny: impl IntoIterator<Item = Rule>) -> Filter {
    Filter::Authorize(Authorize {
        allow,
        deny: deny.into_iter().collect(),
    })
}

fn alice() -> Principal {
    let claims = [("org", "b"), ("org", "c"), ("sub", "1")];
    Principal {
        schemes: vec!["jwt"],
        consumer: Some("alice".into()),
        groups: vec!["staff".into(), "admins".into()],
        scopes: vec!["read".into(), "write".into()],
        claims: Claims::new(claims.map(|(n, v)| (n.into(), v.into())).into()),
        ..Principal::default()
    }
}

fn by(principal: Principal) -> Exchange {
    let mut exchange = Exchange::default();
    exchange.attributes.principal = Some(Rc::new(principal));
    exchange
}

fn outcome(verdict: &Verdict) -> (u16, &'static str) {
    match verdict {
        Verdict::Continue => (200, ""),
        Verdict::Respond(answer) => (answer.status, answer.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rule_holds_when_all_that_it_says_is_true() {
    let claims = |claim: &str, values: &[&str]| Who {
        claims: [(claim.into(), names(values))].into(),
        ..Who::default()
    };
    let scopes_all = |scopes: &[&str]| Who {
        scopes_all: names(scopes),
        ..Who::default()
    };
    for (rule, holds) in [
        (
            Who {
                consumers: names(&["bob", "alice"]),
                ..Who::default()
            },
            true,
        ),
        (
            Who {
                consumers: names(&["Alice"]),
                ..Who::default()
            },
            false,
        ),
        (
            Who {
                groups: names(&["guests", "admins"]),
                ..Who::default()
            },
            true,
        ),
        (
            Who {
                groups: names(&["guests"]),
                ..Who::default()
            },
            false,
        ),
        (
            Who {
                scopes: names(&["admin", "write"]),
                ..Who::default()
            },
            true,
        ),
        (
            Who {
                scopes: names(&["admin"]),
                ..Who::default()
            },
            false,
        ),
        (scopes_all(&["read", "write"]), true),
        (scopes_all(&["read", "admin"]), false),
        (claims("org", &["a", "c"]), true),
        (claims("org", &["a"]), false),
        (claims("tenant", &["a"]), false),
        (claims("tenant", &[]), false),
        (claims("sub", &[]), true),
        (
            Who {
                consumers: names(&["alice"]),
                groups: names(&["guests"]),
                ..Who::default()
            },
            false,
        ),
        (
            Who {
                needed: Needed::Somebody,
                ..Who::default()
            },
            true,
        ),
    ] {
        let said = format!("{rule:?}");
        let verdict = by(alice()).request_head(&allow([who(rule)]));
        assert_eq!(passes(&verdict), holds, "{said}");
    }
}

#[test]
fn rules_may_speak_of_the_request() {
    let rule = Rule {
        what: What {
            addresses: Some(TrustedNetworks::new([("10.0.0.0".parse().unwrap(), 8)])),
            methods: names(&["GET", "PURGE"]),
            times: [Hours {
                days: Days(1),
                from: 0,
                to: 60,
                offset: 0,
            }]
            .into(),
        },
        ..Rule::default()
    };
    let filter = allow([rule]);
    let monday = 1_767_571_200_000;
    let ask = |address: &str, method: Method, unix_ms| {
        let mut exchange = Exchange::default();
        exchange.attributes.client = PeerAddr::new(address.parse().unwrap());
        exchange.head.method = method;
        exchange.unix_ms = unix_ms;
        outcome(&exchange.request_head(&filter))
    };
    assert_eq!(ask("10.1.2.3", Method::Get, monday), (200, ""));
    for refused in [
        ask("192.0.2.1", Method::Get, monday),
        ask("10.1.2.3", Method::Post, monday),
        ask("10.1.2.3", Method::Head, monday),
        ask("10.1.2.3", Method::Get, monday + 3_600_000),
    ] {
        assert_eq!(refused, (403, "forbidden"));
    }
}

#[test]
fn a_rule_that_denies_wins() {
    let staff = || {
        who(Who {
            groups: names(&["staff"]),
            ..Who::default()
        })
    };
    let both = rules_of(Some([staff()].into()), [staff()]);
    assert_eq!(
        outcome(&by(alice()).request_head(&both)),
        (403, "forbidden")
    );
    let deny = rules_of(None, [staff()]);
    assert_eq!(
        outcome(&by(alice()).request_head(&deny)),
        (403, "forbidden")
    );
    assert!(passes(&Exchange::default().request_head(&deny)));
}

#[test]
fn nothing_is_allowed_by_no_rule() {
    let nothing = allow([]);
    assert_eq!(
        outcome(&by(alice()).request_head(&nothing)),
        (403, "forbidden")
    );
    assert_eq!(
        outcome(&Exchange::default().request_head(&nothing)),
        (403, "forbidden")
    );
}

#[test]
fn an_anonymous_consumer_has_proved_nothing() {
    let somebody = allow([who(Who {
        needed: Needed::Somebody,
        ..Who::default()
    })]);
    let anonymous = Principal {
        schemes: Vec::new(),
        ..alice()
    };
    let verdict = by(anonymous).request_head(&somebody);
    assert_eq!(
        outcome(&verdict),
        (403, "forbidden"),
        "nobody asks who it is"
    );
}

#[test]
fn which_rule_it_was_is_explained_and_not_told() {
    let named = |name: &str, groups: &[&str]| Rule {
        name: name.into(),
        ..who(Who {
            groups: names(groups),
            ..Who::default()
        })
    };
    let filter = rules_of(
        Some([named("allow[0]", &["x"]), named("allow[1]", &["staff"])].into()),
        [named("deny[0]", &["banned"])],
    );
    let told = |groups: &[&str]| {
        let mut exchange = by(Principal {
            groups: groups.iter().map(|group| (*group).into()).collect(),
            ..alice()
        });
        if let Verdict::Respond(answer) = exchange.request_head(&filter) {
            let body = String::from_utf8_lossy(&answer.body);
            assert!(!body.contains("[0]") && !body.contains("banned"), "{body}");
        }
        exchange.tell(&filter).unwrap()
    };
    assert_eq!(told(&["staff"]), "allow[1] allows it");
    assert_eq!(told(&["staff", "banned"]), "deny[0] denies it");
    assert_eq!(told(&[]), "no rule allows it to who makes it");
    let said = filter.describe();
    assert_eq!(
        said,
        "authorize: what one of 2 rules allows, but not what 1 rule denies"
    );
}
