//! Filters, made once each and shared by the routes that name them.

use std::collections::HashMap;
use std::sync::Arc;

use ringgate_config::model::{self, FilterId, FilterKind};
use ringgate_config::{Config, Diagnostic, Span};
use ringgate_core::chain::Step;
use ringgate_core::http::FieldLine;
use ringgate_core::key::{Key, RouteNames};
use ringgate_core::rt::clock::Moment;
use ringgate_core::snapshot::TrustedNetworks;
use ringgate_filters::rate_limit::{Overrides, RateLimit, Settings, Whose};
use ringgate_filters::{
    BodyLimit, ConcurrencyLimit, Enabled, Fault, Filter, GrpcWeb, HeaderEdits, Headers,
    Maintenance, OriginToken, Page, Rewrite,
};
use ringgate_router::PathPattern;

use super::Surroundings;
use super::access::{Schemes, edge, rules};
use super::limits;
use super::policies::prefixed;
use super::routes::template;

/// The filters, made once each and shared by the routes that name them.
pub(super) struct Filters<'c> {
    config: &'c Config,
    around: &'c Surroundings<'c>,
    schemes: Schemes<'c>,
    /// The names of all routes, by index: what keys are made with.
    routes: Arc<[RouteNames]>,
    /// A template is bound to the captures of a pattern; other filters have no captures here.
    made: HashMap<(FilterId, Vec<Box<str>>), Arc<Filter>>,
}

impl<'c> Filters<'c> {
    pub(super) fn new(
        config: &'c Config,
        around: &'c Surroundings<'c>,
        routes: Arc<[RouteNames]>,
    ) -> Self {
        Filters {
            config,
            around,
            schemes: Schemes::new(config, around, &routes),
            routes,
            made: HashMap::new(),
        }
    }

    /// A route's step through a filter; `span` is where the route names it.
    pub(super) fn step(
        &mut self,
        id: FilterId,
        span: Span,
        pattern: &PathPattern,
    ) -> Result<Step<Filter>, Box<Diagnostic>> {
        let filter = self.config.filter(id);
        let captures = match &filter.kind {
            FilterKind::Rewrite(model::PathRewrite::Template(_)) => {
                pattern.capture_names().to_vec()
            }
            _ => Vec::new(),
        };
        let key = (id, captures);
        let made = match self.made.get(&key) {
            Some(made) => Arc::clone(made),
            None => {
                let made = Arc::new(self.make(filter, span, pattern)?);
                self.made.insert(key, Arc::clone(&made));
                made
            }
        };
        Ok(Step {
            name: (&**filter.name).into(),
            filter: made,
            stats: self.around.registry.filter(&filter.name),
        })
    }

    fn make(
        &self,
        filter: &model::Filter,
        span: Span,
        pattern: &PathPattern,
    ) -> Result<Filter, Box<Diagnostic>> {
        Ok(match &filter.kind {
            FilterKind::Headers(headers) => Filter::Headers(Headers {
                request: edits(&headers.request),
                response: edits(&headers.response),
            }),
            FilterKind::Rewrite(model::PathRewrite::Template(text)) => {
                Filter::Rewrite(Rewrite::Template {
                    template: template(&text.value, text.span, pattern)?,
                    text: text.value.clone(),
                })
            }
            FilterKind::Rewrite(model::PathRewrite::Prefix { strip, add }) => {
                Filter::Rewrite(Rewrite::Prefix {
                    strip: strip.clone(),
                    add: add.clone(),
                })
            }
            FilterKind::BodyLimit(limit) => Filter::BodyLimit(BodyLimit { max: limit.max }),
            FilterKind::GrpcWeb => Filter::GrpcWeb(GrpcWeb),
            FilterKind::RateLimit(limit) => {
                let settings = limits::rate_limit(&filter.name, limit, self.config);
                let overrides = limits::rate_overrides(&settings, limit);
                Filter::RateLimit(Box::new(self.limit(settings, overrides)))
            }
            FilterKind::Quota(quota) => {
                let settings = limits::quota(&filter.name, quota);
                let overrides = limits::quota_overrides(&settings, quota);
                Filter::RateLimit(Box::new(self.limit(settings, overrides)))
            }
            FilterKind::ConcurrencyLimit(limit) => {
                Filter::ConcurrencyLimit(self.concurrency_limit(&filter.name, limit))
            }
            FilterKind::Fault(fault) => Filter::Fault(Fault {
                delay: fault.delay.map(|delay| (delay, fault.delay_share)),
                abort: fault.abort.map(|status| (status, fault.abort_share)),
                header: fault.header.clone(),
            }),
            FilterKind::Maintenance(written) => Filter::Maintenance(maintenance(written)),
            FilterKind::Authentication(asked) => {
                Filter::Authenticate(Box::new(self.schemes.authenticate(filter, asked)))
            }
            FilterKind::OriginToken(written) => Filter::OriginToken(OriginToken {
                client: (&**written.client).into(),
                field: written.header.clone(),
                place: self.around.backends.tokens.of(&written.client),
            }),
            FilterKind::Authorize(rules) => Filter::Authorize(rules::authorize(rules)),
            FilterKind::Invalid => return Err(invalid(filter, span)),
            FilterKind::Address(written) => {
                Filter::Address(edge::address(written, self.around.networks))
            }
            FilterKind::Cors(written) => Filter::Cors(Box::new(edge::cors(written, span)?)),
            FilterKind::Csrf(written) => Filter::Csrf(Box::new(edge::csrf(written, span)?)),
            FilterKind::SecurityHeaders(written) => {
                Filter::SecurityHeaders(edge::security_headers(written))
            }
        })
    }

    fn limit(&self, settings: Settings, overrides: Vec<(Whose, Settings)>) -> RateLimit {
        let made = |settings: Settings| {
            let settings = Settings {
                routes: Arc::clone(&self.routes),
                ..settings
            };
            RateLimit::new(settings, self.around.ledgers, Moment::now())
        };
        let overrides = overrides.into_iter();
        let overrides = overrides.map(|(whose, settings)| (whose, made(settings)));
        made(settings).with_overrides(Overrides::new(overrides))
    }

    fn concurrency_limit(&self, name: &str, limit: &model::ConcurrencyLimit) -> ConcurrencyLimit {
        ConcurrencyLimit {
            key: counted(&limit.key),
            routes: Arc::clone(&self.routes),
            max: limit.max,
            counts: self.around.registry.counts(name, keys_max(&limit.key)),
            status: limit.status,
        }
    }
}

fn invalid(filter: &model::Filter, span: Span) -> Box<Diagnostic> {
    let message = format!("filter {} could not be read", filter.name);
    Box::new(Diagnostic::error("invalid-filter", message, span))
}

fn edits(edits: &model::HeaderEdits) -> HeaderEdits {
    // Names and values were checked when the configuration was read: none is left out here.
    let lines = |fields: &[model::Field]| {
        let each = fields.iter();
        each.filter_map(|field| FieldLine::new(&field.name.value, &field.value.value).ok())
            .collect()
    };
    HeaderEdits {
        remove: edits.remove.iter().map(|name| name.value.clone()).collect(),
        set: lines(&edits.set),
        add: lines(&edits.add),
    }
}

fn counted(key: &model::LimiterKey) -> Key {
    prefixed(&key.parts, (key.ipv4_prefix, key.ipv6_prefix))
}

fn keys_max(key: &model::LimiterKey) -> usize {
    usize::try_from(key.keys_max).unwrap_or(usize::MAX)
}

fn maintenance(written: &model::Maintenance) -> Maintenance {
    let enabled = match written.enabled {
        true => Enabled::Yes,
        false => Enabled::No,
    };
    let networks = written.allow.iter();
    let networks = TrustedNetworks::new(networks.map(|net| (net.addr(), net.prefix_len())));
    let pass = written.header.as_ref();
    let pass = pass.map(|pass| (pass.name.value.clone(), pass.value.as_bytes().into()));
    let body = (!written.body.is_empty()).then(|| written.body.as_bytes().to_vec().into());
    let page = Page {
        retry_after: written.retry_after,
        body,
        content_type: written.content_type.clone(),
    };
    Maintenance::new(enabled, networks, pass, page)
}
