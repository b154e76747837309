//! Upstreams that filters ask.

use super::Index;
use crate::model::{AuthScheme, Filter, FilterKind, Service};
use crate::read::{Reader, Text};
use crate::span::Spanned;

/// Whether the upstreams are there through which services are asked.
pub(super) fn check(r: &mut Reader<'_>, filters: &[Filter], upstreams: &mut Index<'_>) {
    for filter in filters {
        let FilterKind::Authentication(asked) = &filter.kind else {
            continue;
        };
        if let Some(service) = service(&asked.scheme) {
            let written = r.sources.snippet(service.upstream.span).trim_matches('"');
            let text = Text {
                value: service.upstream.as_str().into(),
                written: written.contains("${").then(|| written.into()),
            };
            upstreams.resolve(r, &Spanned::new(text, service.upstream.span));
        }
    }
}

fn service(scheme: &AuthScheme) -> Option<&Service> {
    match scheme {
        AuthScheme::Forward(forward) => Some(&forward.service),
        _ => None,
    }
}
