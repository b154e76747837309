//! Rate limits and quotas, as their filters want them. The names of routes come later.

use std::sync::Arc;

use ringgate_config::Config;
use ringgate_config::model;
use ringgate_core::key::Key;
use ringgate_filters::rate_limit::{
    Algorithm, Cluster, Enforcement, Limit, Period, ResponseFields, Settings, Weight,
};

use super::policies::prefixed;

/// `type = "rate_limit"`
pub(super) fn rate_limit(name: &str, written: &model::RateLimit, config: &Config) -> Settings {
    let limits = written.limits.iter().map(|rate| Limit {
        limit: rate.limit,
        burst: rate.burst,
        period: Period::Span(rate.per),
        algorithm: match written.algorithm {
            model::Algorithm::TokenBucket => Algorithm::TokenBucket,
            model::Algorithm::FixedWindow => Algorithm::FixedWindow,
            model::Algorithm::SlidingWindow => Algorithm::SlidingWindow,
        },
        reconcile: written.reconcile,
    });
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
        limits: limits.collect(),
        weight: weight(&written.weight),
        keys_max: written.key.keys_max as usize,
        enforcement: enforcement(written.dry_run),
        fields: fields(written.fields),
        status: written.status,
        cluster,
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
const QUOTA_RECONCILE: std::time::Duration = std::time::Duration::from_millis(100);
