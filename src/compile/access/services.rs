//! Filters that ask a service.

use std::sync::Arc;

use ringgate_config::Config;
use ringgate_config::model::{self, AuthScheme, EndpointAddr, FilterKind, KeyPart};
use ringgate_core::key::RouteNames;
use ringgate_core::stats::Registry;
use ringgate_filters::auth::forward::{Caching, ForwardAuth, Identity, OnFailure, Settings, Shown};
use ringgate_filters::auth::introspection::{self, Introspection};
use ringgate_filters::auth::jwt::Place;
use ringgate_filters::auth::{Consumers, Directory, Service};

use crate::compile::policies::prefixed;

/// What filters that ask services are made of.
pub(super) struct Services<'c> {
    pub(super) config: &'c Config,
    pub(super) registry: &'c Registry,
    /// The names of all routes, by index.
    pub(super) routes: Arc<[RouteNames]>,
    pub(super) directory: Arc<Directory>,
}

impl Services<'_> {
    /// A service; none when there is no such upstream, which the configuration was checked for.
    pub(super) fn service(&self, filter: &str, written: &model::Service) -> Option<Service> {
        let mut upstreams = self.config.upstreams.iter();
        let index = upstreams.position(|one| one.name.value == written.upstream.value)?;
        let mut endpoints = self.config.upstreams[index].endpoints.iter();
        let first = endpoints.find_map(|endpoint| match &endpoint.address.value {
            EndpointAddr::Unix(_) => None,
            address => Some(address.to_string().into()),
        });
        let host = written.host.clone().or(first);
        Some(Service {
            upstream: index,
            name: written.upstream.as_str().into(),
            host: host.unwrap_or_else(|| "localhost".into()),
            target: written.path.clone(),
            timeout: written.timeout,
            answer_max: usize::try_from(written.answer_max).unwrap_or(usize::MAX),
            stats: self.registry.asks(filter),
        })
    }

    pub(super) fn introspection(
        &self,
        filter: &str,
        written: &model::Introspection,
        hide: bool,
    ) -> Option<Introspection> {
        let (id, secret) = (&written.client_id, written.client_secret.expose());
        let places = [
            written.header.clone().map(Place::Header),
            written.cookie.clone().map(Place::Cookie),
            written.query.clone().map(Place::Query),
        ];
        let mut places: Vec<Place> = places.into_iter().flatten().collect();
        if places.is_empty() {
            places.push(Place::Bearer);
        }
        Some(Introspection::new(introspection::Settings {
            service: self.service(filter, &written.service)?,
            client: match written.client_auth {
                model::ClientCredentialsIn::Basic => introspection::Client::basic(id, secret),
                model::ClientCredentialsIn::Post => introspection::Client::post(id, secret),
            },
            places: places.into(),
            token_max: usize::try_from(written.token_max).unwrap_or(usize::MAX),
            wanted: introspection::Wanted {
                issuer: written.issuer.clone(),
                audiences: written.audiences.clone().into(),
                scopes: written.scopes.clone().into(),
                leeway_ms: written.leeway.as_millis() as u64,
            },
            active_ttl: written.active_ttl,
            refused_ttl: written.refused_ttl,
            entries_max: usize::try_from(written.entries_max).unwrap_or(usize::MAX),
            directory: Consumers(Arc::clone(&self.directory)),
            shown: shown(hide),
        }))
    }

    pub(super) fn forward(
        &self,
        filter: &str,
        written: &model::ForwardAuth,
        hide: bool,
    ) -> Option<ForwardAuth> {
        let caching = written.cache.as_ref().map(|cache| Caching {
            // Every bit of an address counts: an answer is for one client.
            key: prefixed(&cache.key, (32, 128)),
            ttl: cache.ttl,
            entries_max: usize::try_from(cache.entries_max).unwrap_or(usize::MAX),
        });
        let settings = Settings {
            service: self.service(filter, &written.service)?,
            request_fields: written.request_headers.clone().into(),
            response_fields: written.response_headers.clone().into(),
            client_fields: written.client_headers.clone().into(),
            on_failure: match written.on_failure {
                model::OnFailure::Refuse => OnFailure::Refuse,
                model::OnFailure::Allow => OnFailure::Allow,
            },
            cache: caching,
            directory: Consumers(Arc::clone(&self.directory)),
            identity: Identity {
                subject: written.subject_header.clone(),
                consumer: written.consumer_header.clone(),
                groups: written.groups_header.clone(),
            },
            shown: shown(hide),
        };
        Some(ForwardAuth::new(settings, Arc::clone(&self.routes)))
    }
}

fn shown(hide: bool) -> Shown {
    match hide {
        true => Shown::Hidden,
        false => Shown::Passed,
    }
}

/// Fields that services give to origins, and clients do not. A field that some service is to see
/// comes from clients; the filter itself takes it out.
pub(super) fn reserved(config: &Config) -> impl Iterator<Item = &Box<str>> {
    let forwards = || {
        config
            .filters
            .iter()
            .filter_map(|filter| match &filter.kind {
                FilterKind::Authentication(asked) => match &asked.scheme {
                    AuthScheme::Forward(forward) => Some(&**forward),
                    _ => None,
                },
                _ => None,
            })
    };
    let shown = move |name: &str| {
        let mut forwards = forwards();
        forwards.any(|forward| {
            let key = forward.cache.iter().flat_map(|cache| &cache.key);
            let in_key = |part: &KeyPart| matches!(part, KeyPart::Header(own) if **own == *name);
            forward.request_headers.iter().any(|own| **own == *name)
                || key.map(|part| &part.value).any(in_key)
        })
    };
    let given = config
        .filters
        .iter()
        .filter_map(|filter| match &filter.kind {
            FilterKind::Authentication(asked) => match &asked.scheme {
                AuthScheme::Forward(forward) => Some(forward.response_headers.iter()),
                _ => None,
            },
            _ => None,
        });
    given
        .flatten()
        .filter(move |name| !OF_CLIENTS.contains(&&***name) && !shown(name))
}

/// Names that clients have for themselves on routes without such a filter.
const OF_CLIENTS: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
