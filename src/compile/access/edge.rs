//! Address rules, CORS, the origin check against CSRF, security headers.

use std::sync::Arc;

use ringgate_config::model::{self, OriginPattern, OriginPort, WithoutOrigin};
use ringgate_config::{Diagnostic, Span};
use ringgate_core::http::FieldLine;
use ringgate_filters::{
    Address, Cors, Credentials, Csrf, Every, Hosts, Networks, OriginRegex, Origins, Others, Port,
    Present, PrivateNetwork, Referer, SecurityHeaders, Software, Unlisted, Unmarked,
};

use crate::networks::NetworkFiles;

pub(in crate::compile) fn address(written: &model::AddressFilter, files: &NetworkFiles) -> Address {
    let lists = |lists: &model::NetworkLists| -> Vec<Arc<Networks>> {
        let inline = lists.inline.iter();
        let inline: Arc<Networks> = inline.map(|net| (net.addr(), net.prefix_len())).collect();
        let read = lists.files.iter().map(|path| files.list(path));
        std::iter::once(inline).chain(read).collect()
    };
    let unlisted = match written.only_allowed {
        true => Unlisted::Refuse,
        false => Unlisted::Pass,
    };
    Address::new(&lists(&written.allow), &lists(&written.block), unlisted)
}

pub(in crate::compile) fn cors(written: &model::Cors, span: Span) -> Result<Cors, Box<Diagnostic>> {
    let exposed = written.expose_headers.join(", ");
    Ok(Cors {
        origins: origins(&written.origins, span)?,
        methods: written.methods.join(", ").into(),
        headers: written.headers.join(", ").into(),
        expose_headers: match exposed.is_empty() {
            true => None,
            // Names of fields with commas between them are a valid value.
            false => FieldLine::new("access-control-expose-headers", &exposed).ok(),
        },
        credentials: match written.credentials {
            true => Credentials::Include,
            false => Credentials::Omit,
        },
        max_age: written.max_age.as_secs(),
        private_network: match written.private_network {
            true => PrivateNetwork::Allow,
            false => PrivateNetwork::Refuse,
        },
        others: match written.refuse {
            true => Others::Refuse,
            false => Others::Pass,
        },
    })
}

pub(in crate::compile) fn csrf(written: &model::Csrf, span: Span) -> Result<Csrf, Box<Diagnostic>> {
    Ok(Csrf {
        origins: origins(&written.origins, span)?,
        referer: match written.referer {
            true => Referer::Asked,
            false => Referer::Ignored,
        },
        unmarked: match written.without_origin {
            WithoutOrigin::NoCookie => Unmarked::WithoutCookie,
            WithoutOrigin::Pass => Unmarked::Pass,
            WithoutOrigin::Refuse => Unmarked::Refuse,
        },
    })
}

pub(in crate::compile) fn security_headers(written: &model::SecurityHeaders) -> SecurityHeaders {
    // Names and values were checked when the configuration was read: none is left out here.
    let lines = |fields: &[(Box<str>, Box<str>)]| {
        let each = fields.iter();
        each.filter_map(|(name, value)| FieldLine::new(name, value).ok())
            .collect()
    };
    let hsts = written.hsts.as_ref();
    SecurityHeaders {
        set: lines(&written.fields),
        beside: lines(&written.beside),
        hsts: hsts.and_then(|value| FieldLine::new("strict-transport-security", value).ok()),
        present: match written.keep {
            true => Present::Kept,
            false => Present::Replaced,
        },
        software: match written.hide_server {
            true => Software::Hidden,
            false => Software::Told,
        },
    }
}

fn origins(written: &model::Origins, span: Span) -> Result<Origins, Box<Diagnostic>> {
    let mut every = Every::Listed;
    let (mut exact, mut hosts) = (Vec::new(), Vec::new());
    for origin in &written.listed {
        match &origin.value {
            OriginPattern::Any => every = Every::Any,
            OriginPattern::Null => exact.push(b"null".as_slice().into()),
            OriginPattern::Exact(text) => exact.push(text.as_bytes().into()),
            OriginPattern::Hosts(pattern) => hosts.push(self::hosts(pattern)),
        }
    }
    let regex = written.regex.as_ref().map(|regex| OriginRegex::new(regex));
    let regex = regex.transpose().map_err(|why| {
        // The same judge took it when the configuration was read.
        Box::new(Diagnostic::error("invalid-pattern", why, span))
    })?;
    Ok(Origins {
        every,
        exact: exact.into(),
        hosts: hosts.into(),
        regex,
    })
}

fn hosts(pattern: &model::OriginHosts) -> Hosts {
    let dot = if pattern.subdomains { "." } else { "" };
    Hosts {
        scheme: format!("{}://", pattern.scheme).into_bytes().into(),
        host: format!("{dot}{}", pattern.host).into_bytes().into(),
        port: match pattern.port {
            OriginPort::Usual => Port::Usual,
            OriginPort::Number(number) => Port::Is(number.to_string().into_bytes().into()),
            OriginPort::Any => Port::Any,
        },
    }
}
