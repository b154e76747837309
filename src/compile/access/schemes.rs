//! Filters that ask who makes a request: what they have in common is lowered here, and each
//! scheme in a function of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use ringgate_config::Config;
use ringgate_config::model::{
    self, AuthScheme, Authentication, Filter, FilterKind, KeyPlaces, Name, TokenFilter,
};
use ringgate_core::key::RouteNames;
use ringgate_core::principal::Principal;
use ringgate_filters::Authenticate;
use ringgate_filters::auth::api_key::{self, ApiKey, Credential};
use ringgate_filters::auth::jwt::{self, Jwt, Place};
use ringgate_filters::auth::{Directory, Otherwise, Scheme, Settings, Tell};

use super::services::{self, Services};
use super::{Issuers, consumers, identity};
use crate::compile::Surroundings;

/// What filters are made of that ask who makes a request. All of one snapshot share it.
pub(in crate::compile) struct Schemes<'c> {
    config: &'c Config,
    issuers: &'c Issuers,
    directory: Arc<Directory>,
    around: identity::Outside<'c>,
    services: Services<'c>,
    /// By the filter's name: one that stands alone and in others is the same one.
    made: RefCell<HashMap<Name, Arc<Scheme>>>,
}

impl<'c> Schemes<'c> {
    /// `routes` are the names of all routes, by index.
    pub(in crate::compile) fn new(
        config: &'c Config,
        around: &'c Surroundings<'c>,
        routes: &Arc<[RouteNames]>,
    ) -> Schemes<'c> {
        let directory = match asks(config) {
            true => consumers::directory(config),
            false => Directory::new([]),
        };
        let directory = Arc::new(directory);
        Schemes {
            config,
            issuers: around.issuers,
            services: Services {
                config,
                registry: around.registry,
                routes: Arc::clone(routes),
                directory: Arc::clone(&directory),
            },
            directory,
            around: identity::Outside {
                backends: around.backends,
                passwords: around.passwords,
            },
            made: RefCell::default(),
        }
    }

    /// The consumers, as every scheme finds them.
    #[allow(dead_code, reason = "for schemes that are still to come")]
    pub(in crate::compile) fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// A filter that asks.
    pub(in crate::compile) fn authenticate(
        &self,
        filter: &Filter,
        asked: &Authentication,
    ) -> Authenticate {
        let alternatives = match &asked.scheme {
            AuthScheme::AnyOf(members) => members
                .iter()
                .filter_map(|name| named(self.config, name))
                .map(|(member, asked)| self.alternative(member, asked))
                .collect(),
            _ => [self.alternative(filter, asked)].into(),
        };
        Authenticate::new(Settings {
            alternatives,
            otherwise: self.otherwise(&asked.otherwise),
            realm: asked.realm.clone(),
            tell: self.tell(asked),
        })
    }

    /// Schemes that all have to prove something. An alternative without any proves nothing.
    fn alternative(&self, filter: &Filter, asked: &Authentication) -> Box<[Arc<Scheme>]> {
        match &asked.scheme {
            AuthScheme::AllOf(members) => members
                .iter()
                .filter_map(|name| named(self.config, name))
                .filter_map(|(member, asked)| self.scheme(member, asked))
                .collect(),
            _ => self.scheme(filter, asked).into_iter().collect(),
        }
    }

    fn scheme(&self, filter: &Filter, asked: &Authentication) -> Option<Arc<Scheme>> {
        if let Some(made) = self.made.borrow().get(&filter.name.value) {
            return Some(Arc::clone(made));
        }
        let scheme = match &asked.scheme {
            AuthScheme::ApiKey(places) => Scheme::ApiKey(self.api_key(places, asked.hide)),
            AuthScheme::Jwt(tokens) => Scheme::Jwt(self.jwt(tokens, asked.hide)),
            AuthScheme::Basic(users) => {
                Scheme::Basic(self.around.basic(users, asked.hide, &self.directory))
            }
            AuthScheme::Mtls(written) => Scheme::Mtls(identity::mtls(*written, &self.directory)),
            AuthScheme::Introspection(written) => {
                let name = &filter.name.value;
                let asked = self.services.introspection(name, written, asked.hide)?;
                Scheme::Introspection(asked)
            }
            AuthScheme::Forward(written) => {
                let name = &filter.name.value;
                Scheme::Forward(self.services.forward(name, written, asked.hide)?)
            }
            // What is made of others is none itself.
            AuthScheme::AnyOf(_) | AuthScheme::AllOf(_) => return None,
        };
        let scheme = Arc::new(scheme);
        let name = filter.name.value.clone();
        self.made.borrow_mut().insert(name, Arc::clone(&scheme));
        Some(scheme)
    }

    fn api_key(&self, places: &KeyPlaces, hide: bool) -> ApiKey {
        ApiKey {
            places: api_key::KeyPlaces {
                header: places.header.clone(),
                prefix: places.prefix.clone(),
                query: places.query.clone(),
                cookie: places.cookie.clone(),
            },
            credential: credential(hide),
            directory: Arc::clone(&self.directory),
            store: self.around.store(self.config),
            verifier: Arc::clone(&self.around.backends.verifier),
        }
    }

    fn jwt(&self, tokens: &TokenFilter, hide: bool) -> Jwt {
        let issuers = tokens.issuers.iter();
        let issuers = issuers.filter_map(|name| self.issuers.named(&name.value));
        let header = tokens.header.as_ref().map(|name| match &**name {
            "authorization" => Place::Bearer,
            _ => Place::Header(name.clone()),
        });
        let cookie = tokens.cookie.clone().map(Place::Cookie);
        let query = tokens.query.clone().map(Place::Query);
        Jwt::new(jwt::Settings {
            issuers: issuers.cloned().collect(),
            audiences: tokens.audiences.clone().into(),
            places: header.into_iter().chain(cookie).chain(query).collect(),
            token_max: usize::try_from(tokens.token_max).unwrap_or(usize::MAX),
            cache_max: usize::try_from(tokens.cache_max).unwrap_or(usize::MAX),
            credential: credential(hide),
            directory: Arc::clone(&self.directory),
        })
    }

    fn otherwise(&self, written: &model::Otherwise) -> Otherwise {
        match written {
            model::Otherwise::Refuse => Otherwise::Refuse,
            model::Otherwise::Pass => Otherwise::Pass,
            model::Otherwise::Anonymous(name) => match self.directory.by_name(name) {
                Some(consumer) => {
                    let mut principal = Principal::default();
                    consumer.add_to(&mut principal);
                    Otherwise::Anonymous(Arc::new(principal))
                }
                // The configuration was checked for it.
                None => Otherwise::Refuse,
            },
        }
    }

    fn tell(&self, asked: &Authentication) -> Tell {
        let access = &self.config.access;
        let mut claims: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (header, claim) in claims_of(self.config, asked) {
            if claims.iter().all(|(_, known)| **known != *header) {
                claims.push((claim.into(), header.into()));
            }
        }
        Tell {
            consumer: access.consumer_header.clone(),
            subject: access.subject_header.clone(),
            groups: access.groups_header.clone(),
            scopes: access.scopes_header.clone(),
            claims: claims.into(),
        }
    }
}

/// What becomes of a credential.
pub(super) fn credential(hide: bool) -> Credential {
    match hide {
        true => Credential::Hidden,
        false => Credential::Passed,
    }
}

/// Whether any filter asks who makes a request.
fn asks(config: &Config) -> bool {
    asked(config).next().is_some()
}

fn asked(config: &Config) -> impl Iterator<Item = &Authentication> {
    config
        .filters
        .iter()
        .filter_map(|filter| match &filter.kind {
            FilterKind::Authentication(asked) => Some(&**asked),
            _ => None,
        })
}

fn named<'c>(config: &'c Config, name: &Name) -> Option<(&'c Filter, &'c Authentication)> {
    let mut filters = config.filters.iter();
    let filter = filters.find(|filter| filter.name.value == *name)?;
    match &filter.kind {
        FilterKind::Authentication(asked) => Some((filter, asked)),
        _ => None,
    }
}

/// The headers and claims of a filter: its own, then those of what it is made of.
fn claims_of<'c>(config: &'c Config, asked: &'c Authentication) -> Vec<(&'c str, &'c str)> {
    let mut claims: Vec<_> = asked
        .claims
        .iter()
        .map(|(h, c)| (&*h.value, &**c))
        .collect();
    if let AuthScheme::AnyOf(members) | AuthScheme::AllOf(members) = &asked.scheme {
        for (_, member) in members.iter().filter_map(|name| named(config, name)) {
            claims.extend(claims_of(config, member));
        }
    }
    claims
}

/// Headers by which origins are told who makes a request: nobody else's are let through. None
/// when no filter asks.
pub(in crate::compile) fn reserved(config: &Config) -> Box<[Box<str>]> {
    if !asks(config) {
        return Box::default();
    }
    let access = &config.access;
    let own = [
        &access.consumer_header,
        &access.subject_header,
        &access.groups_header,
        &access.scopes_header,
    ];
    let claims = asked(config).flat_map(|asked| asked.claims.iter().map(|(name, _)| &name.value));
    let mut names: Vec<Box<str>> = own.into_iter().flatten().chain(claims).cloned().collect();
    names.extend(services::reserved(config).cloned());
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// Query parameters that carry credentials: their values are not for logs.
pub(in crate::compile) fn secret_parameters(config: &Config) -> Box<[Box<str>]> {
    let parameters = asked(config).filter_map(|asked| match &asked.scheme {
        AuthScheme::ApiKey(places) => places.query.as_ref(),
        AuthScheme::Jwt(tokens) => tokens.query.as_ref(),
        AuthScheme::Introspection(asked) => asked.query.as_ref(),
        _ => None,
    });
    let mut names: Vec<Box<str>> = parameters.cloned().collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}
