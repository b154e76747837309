//! Rate limits and quotas, as their filters want them. The names of routes come later.

use std::sync::Arc;
use std::time::Duration;

use ringgate_config::model;
use ringgate_config::{Config, Spanned};
use ringgate_core::key::Key;
use ringgate_filters::rate_limit::{
    Algorithm, Cluster, Enforcement, Limit, Period, ResponseFields, Settings, Weight, Whose,
};

use super::policies::prefixed;

/// `type = "rate_limit"`
pub(super) fn rate_limit(name: &str, written: &model::RateLimit, config: &Config) -> Settings {
    let limits = rates(&written.limits, written.algorithm, written.reconcile);
    let cluster = written.redis.as_ref().and_then(|store| {
        let mut known = config.redis.iter();
        let redis = known.find(|redis| *redis.name.value == *store.value)?;
        Some(Cluster {
            store: store.value.as_str().into(),
            nodes: redis.nodes,
            heaviest: weight(&written.weight).heaviest(),
        })
    });
    Settings {
        name: name.into(),
        key: key(&written.key),
        routes: Arc::default(),
        limits,
        weight: weight(&written.weight),
        keys_max: written.key.keys_max as usize,
        enforcement: enforcement(written.dry_run),
        fields: fields(written.fields),
        status: written.status,
        cluster,
    }
}

fn rates(
    written: &[Spanned<model::Rate>],
    algorithm: model::Algorithm,
    reconcile: Duration,
) -> Box<[Limit]> {
    let limits = written.iter().map(|rate| Limit {
        limit: rate.limit,
        burst: rate.burst,
        period: Period::Span(rate.per),
        algorithm: match algorithm {
            model::Algorithm::TokenBucket => Algorithm::TokenBucket,
            model::Algorithm::FixedWindow => Algorithm::FixedWindow,
            model::Algorithm::SlidingWindow => Algorithm::SlidingWindow,
        },
        reconcile,
    });
    limits.collect()
}

/// Limits of some consumers: as those of everybody, but for their numbers and their ledgers.
pub(super) fn rate_overrides(
    everybody: &Settings,
    written: &model::RateLimit,
) -> Vec<(Whose, Settings)> {
    let each = written.overrides.iter().map(|one| {
        let limits = rates(&one.limit.limits, one.limit.algorithm, written.reconcile);
        (whose(one), theirs(everybody, one, limits))
    });
    each.collect()
}

/// Quotas of some consumers, likewise.
pub(super) fn quota_overrides(
    everybody: &Settings,
    written: &model::Quota,
) -> Vec<(Whose, Settings)> {
    let each = written.overrides.iter().map(|one| {
        let limits = everybody.limits.iter().map(|limit| Limit {
            limit: one.limit,
            ..limit.clone()
        });
        (whose(one), theirs(everybody, one, limits.collect()))
    });
    each.collect()
}

fn whose<L>(written: &model::Override<L>) -> Whose {
    let consumers = written.consumers.iter();
    Whose {
        consumers: consumers.map(|name| name.as_str().into()).collect(),
        groups: written.groups.clone().into(),
    }
}

/// The ledgers' name tells whose they are: by the first consumer or group, so that they are
/// found again when overrides change places. No filter's name has a `@`.
fn theirs<L>(everybody: &Settings, written: &model::Override<L>, limits: Box<[Limit]>) -> Settings {
    let first = match (written.consumers.first(), written.groups.first()) {
        (Some(consumer), _) => consumer.to_string(),
        (None, Some(group)) => format!("@{group}"),
        (None, None) => String::new(),
    };
    Settings {
        name: format!("{}@{first}", everybody.name).into(),
        limits,
        ..everybody.clone()
    }
}

/// `type = "quota"`
pub(super) fn quota(name: &str, written: &model::Quota) -> Settings {
    let limit = Limit {
        limit: written.limit,
        burst: 0,
        period: match written.per {
            model::Period::Day => Period::Day,
            model::Period::Month => Period::Month,
        },
        algorithm: Algorithm::FixedWindow,
        reconcile: QUOTA_RECONCILE,
    };
    Settings {
        name: name.into(),
        key: key(&written.key),
        routes: Arc::default(),
        limits: [limit].into(),
        weight: weight(&written.weight),
        keys_max: written.key.keys_max as usize,
        enforcement: enforcement(written.dry_run),
        fields: fields(written.fields),
        status: written.status,
        cluster: None,
    }
}

fn key(written: &model::LimiterKey) -> Key {
    prefixed(&written.parts, (written.ipv4_prefix, written.ipv6_prefix))
}

fn weight(written: &model::Weight) -> Weight {
    let methods = written.methods.iter();
    Weight {
        methods: methods
            .map(|(method, weight)| (method.value.clone(), *weight))
            .collect(),
        header: written.header.clone(),
        max: written.max,
    }
}

fn enforcement(dry_run: bool) -> Enforcement {
    match dry_run {
        true => Enforcement::DryRun,
        false => Enforcement::Enforce,
    }
}

fn fields(told: bool) -> ResponseFields {
    match told {
        true => ResponseFields::Told,
        false => ResponseFields::Silent,
    }
}

/// How long a core keeps tokens of a quota to itself: a day is long, and a reset should not
/// have to wait.
const QUOTA_RECONCILE: Duration = Duration::from_millis(100);
