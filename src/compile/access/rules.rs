//! Rules of who may do what.

use ringgate_config::model;
use ringgate_core::snapshot::TrustedNetworks;
use ringgate_filters::Authorize;
use ringgate_filters::authorize::{Days, Hours, Names, Needed, Rule, What, Who};

/// `type = "authorize"`
pub(in crate::compile) fn authorize(written: &model::Authorize) -> Authorize {
    let allow = written.allow.as_ref();
    Authorize {
        allow: allow.map(|rules| named(rules, "allow")),
        deny: named(&written.deny, "deny"),
    }
}

fn named(rules: &[model::Rule], list: &str) -> Box<[Rule]> {
    let each = rules.iter().enumerate();
    each.map(|(place, written)| Rule {
        name: match &written.name {
            Some(name) => format!("{list} rule {name}").into(),
            None => format!("{list}[{place}]").into(),
        },
        who: who(written),
        what: what(written),
    })
    .collect()
}

fn who(written: &model::Rule) -> Who {
    let claims = written.claims.iter();
    Who {
        needed: match written.authenticated {
            true => Needed::Somebody,
            false => Needed::Nobody,
        },
        consumers: Names::new(written.consumers.iter().map(|name| name.as_str().into())),
        groups: names(&written.groups),
        scopes: names(&written.scopes),
        scopes_all: names(&written.scopes_all),
        claims: claims
            .map(|(claim, values)| (claim.clone(), names(values)))
            .collect(),
    }
}

fn what(written: &model::Rule) -> What {
    let networks = written.addresses.iter();
    let networks = networks.map(|net| (net.addr(), net.prefix_len()));
    let times = written.times.iter().map(|hours| Hours {
        days: Days(hours.days),
        from: hours.from,
        to: hours.to,
        offset: hours.offset,
    });
    What {
        addresses: (!written.addresses.is_empty()).then(|| TrustedNetworks::new(networks)),
        methods: names(&written.methods),
        times: times.collect(),
    }
}

fn names(names: &[Box<str>]) -> Names {
    Names::new(names.iter().cloned())
}
