//! Upstreams that filters ask, and clients whose tokens they send.

use super::Index;
use crate::model::{AuthScheme, Filter, FilterKind, Name, OauthClient, Service};
use crate::read::{Reader, Text};
use crate::span::Spanned;

/// Whether the upstreams are there through which services are asked.
pub(super) fn check(r: &mut Reader<'_>, filters: &[Filter], upstreams: &mut Index<'_>) {
    for filter in filters {
        let FilterKind::Authentication(asked) = &filter.kind else {
            continue;
        };
        if let Some(service) = service(&asked.scheme) {
            resolve(r, &service.upstream, upstreams);
        }
    }
}

/// The clients by name.
pub(super) fn clients<'a>(r: &mut Reader<'_>, clients: &'a [OauthClient]) -> Index<'a> {
    let names = clients.iter().map(|client| &client.name);
    Index::new(r, "oauth_client", names)
}

/// Whether the clients are there whose tokens are sent.
pub(super) fn check_clients(r: &mut Reader<'_>, filters: &[Filter], clients: &mut Index<'_>) {
    for filter in filters {
        if let FilterKind::OriginToken(token) = &filter.kind {
            resolve(r, &token.client, clients);
        }
    }
}

fn resolve(r: &mut Reader<'_>, name: &Spanned<Name>, index: &mut Index<'_>) {
    let written = r.sources.snippet(name.span).trim_matches('"');
    let text = Text {
        value: name.as_str().into(),
        written: written.contains("${").then(|| written.into()),
    };
    index.resolve(r, &Spanned::new(text, name.span));
}

fn service(scheme: &AuthScheme) -> Option<&Service> {
    match scheme {
        AuthScheme::Forward(forward) => Some(&forward.service),
        AuthScheme::Introspection(asked) => Some(&asked.service),
        _ => None,
    }
}
