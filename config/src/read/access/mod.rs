//! Access control: consumers, what origins are told, and what all filters have in common that
//! ask who makes a request.

mod authorize;
mod basic;
mod consumer;
mod forward;
mod introspection;
mod issuer;
mod keys;
mod store;
mod token;

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::reader::{Reader, quote};
use super::table::{Item, Table, entries_of, no_entries};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Access, AuthScheme, Authentication, FilterKind, HeaderName, Name, Otherwise};
use crate::span::{Span, Spanned};

pub(crate) use authorize::{AUTHORIZE, authorize};
pub(crate) use basic::{BASIC, MTLS, basic, mtls};
pub(crate) use consumer::{CONSUMER, consumer};
pub(crate) use forward::{FORWARD_AUTH, forward_auth};
pub(crate) use introspection::{INTROSPECTION, introspection};
pub(crate) use issuer::{ISSUER, issuer};
pub(crate) use keys::{API_KEY, api_key};
pub(crate) use store::{CONSUMERS, consumers};
pub(crate) use token::{JWT, jwt};

const HEADER: Kind = Kind::Text("a header name, or \"\" for none");

pub(crate) static ACCESS: Section = Section {
    title: "[access]",
    doc: "How origins are told who makes a request. Where any filter asks for that, these headers \
          are taken out of what clients send.",
    keys: &[
        Key::default(
            "consumer_header",
            HEADER,
            "x-consumer",
            "Has the consumer's name.",
        ),
        Key::default(
            "subject_header",
            HEADER,
            "x-subject",
            "Has what the credential calls its bearer: a token's `sub`, a user's name.",
        ),
        Key::default(
            "groups_header",
            HEADER,
            "x-consumer-groups",
            "Has the groups, with commas between them.",
        ),
        Key::default(
            "scopes_header",
            HEADER,
            "x-scopes",
            "Has what a token allows, with spaces between.",
        ),
    ],
};

/// Reads `[access]`, or what holds without it.
pub(super) fn access(r: &mut Reader<'_>, table: Option<Table<'_>>) -> Access {
    let mut read = |key: &'static str| {
        let usual = || Some(Box::from(ACCESS.default_text(key)));
        let Some(item) = table.as_ref().and_then(|table| table.item(key)) else {
            return usual();
        };
        let text = r.text(&item)?;
        if text.value.value.is_empty() {
            return None;
        }
        let name = r.parsed(&item, leaf::header_name)?;
        super::filter::is_touchable(r, &name).then_some(name.value)
    };
    Access {
        consumer_header: read("consumer_header"),
        subject_header: read("subject_header"),
        groups_header: read("groups_header"),
        scopes_header: read("scopes_header"),
    }
}

/// Of every filter that asks who makes a request.
pub(crate) const OPTIONAL: Key = Key::default(
    "optional",
    Kind::Bool,
    "false",
    "Whether requests without a credential pass; a bad one is refused nevertheless.",
);

/// Of every filter that asks who makes a request.
pub(crate) const ANONYMOUS: Key = Key::optional(
    "anonymous",
    Kind::Text("the name of a consumer"),
    "Requests without a credential pass as those of this consumer.",
);

/// Of every filter that asks who makes a request.
pub(crate) const REALM: Key = Key::default(
    "realm",
    Kind::Text("visible ASCII characters and spaces without quotes"),
    "ringgate",
    "What `WWW-Authenticate` calls the protected space.",
);

/// Of every filter that asks who makes a request.
pub(crate) const CLAIMS: Key = Key::optional(
    "claims",
    Kind::Map(&CLAIM),
    "Headers for the origin, and the claims whose values they have: { x-tenant = \"tenant\" }. \
     They are taken out of what clients send.",
);

const CLAIM: Kind = Kind::Text("the name of a claim");

/// Of filters whose credential is for the gateway alone.
pub(crate) const HIDE: Key = Key::default(
    "hide",
    Kind::Bool,
    "true",
    "Whether the credential is taken out of what the origin gets.",
);

/// Of filters whose credential an origin may want to see.
pub(crate) const SHOW: Key = Key::default(
    "hide",
    Kind::Bool,
    "false",
    "Whether the credential is taken out of what the origin gets.",
);

pub(crate) static ANY_OF: Section = Section {
    title: "[filter.NAME] of type \"any_of\"",
    doc: "Asks for any of several credentials, in the order of `filters`: the first good one says \
          who makes the request. A bad one does no harm where another is good.",
    keys: &[
        super::filter::TYPE,
        Key::required(
            "filters",
            Kind::List(&Kind::Text("the name of a filter")),
            "Filters that ask for a credential, or of type \"all_of\". Of those only what they ask \
             for counts, and `hide` and `claims`.",
        ),
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) static ALL_OF: Section = Section {
    title: "[filter.NAME] of type \"all_of\"",
    doc: "Asks for several credentials at once; they must not belong to different consumers.",
    keys: &[
        super::filter::TYPE,
        Key::required(
            "filters",
            Kind::List(&Kind::Text("the name of a filter")),
            "Filters that ask for a credential. Of those only what they ask for counts, and `hide` \
             and `claims`.",
        ),
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) fn any_of(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let members = members(r, table);
    Some(authentication(r, table, AuthScheme::AnyOf(members?)))
}

pub(crate) fn all_of(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let members = members(r, table);
    Some(authentication(r, table, AuthScheme::AllOf(members?)))
}

fn members(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<Spanned<Name>>> {
    let item = table.required(r, "filters")?;
    let mut members = Vec::new();
    for entry in r.list(&item)? {
        let Some(name) = r.name(&entry) else { continue };
        super::table::add_distinct(r, &mut members, name, "filter");
    }
    if members.is_empty() {
        no_entries(r, &item, "asks for nothing", "name at least one filter");
        return None;
    }
    Some(members)
}

/// A filter of a scheme, with the keys that all of them have: [`OPTIONAL`], [`ANONYMOUS`],
/// [`REALM`] and [`CLAIMS`], and [`HIDE`] or [`SHOW`] where the section has one.
pub(crate) fn authentication(
    r: &mut Reader<'_>,
    table: &Table<'_>,
    scheme: AuthScheme,
) -> FilterKind {
    let optional = table.bool_or_default(r, "optional");
    let anonymous = table.item("anonymous").and_then(|item| r.name(&item));
    let otherwise = match (anonymous, optional) {
        (Some(name), false) => Otherwise::Anonymous(name),
        (Some(name), true) => {
            let message = "`optional` and `anonymous` exclude each other";
            let span = table.span_of("optional");
            r.report(
                Diagnostic::error("conflicting-keys", message, span)
                    .label("requests without a credential are nobody's, or")
                    .help("remove one of the two")
                    .related(name.span, "those of this consumer"),
            );
            Otherwise::Anonymous(name)
        }
        (None, true) => Otherwise::Pass,
        (None, false) => Otherwise::Refuse,
    };
    let usual = || Box::from(table.section.default_text("realm"));
    let realm = table.parsed(r, "realm", leaf::realm);
    let hide = table.section.key("hide").is_some() && table.bool_or_default(r, "hide");
    FilterKind::Authentication(Box::new(Authentication {
        scheme,
        otherwise,
        realm: realm.map_or_else(usual, |realm| realm.value),
        hide,
        claims: claims(r, table),
    }))
}

fn claims(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<(Spanned<HeaderName>, Box<str>)> {
    let Some(item) = table.item("claims") else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut seen: BTreeMap<HeaderName, Span> = BTreeMap::new();
    let mut claims = Vec::new();
    for (span, entry) in entries_of(item.file, entries, &CLAIM) {
        let name = match leaf::header_name(entry.name) {
            Ok(name) => Spanned::new(name, span),
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        if let Some(first) = seen.insert(name.value.clone(), span) {
            let message = format!("header {} is written twice", quote(&name));
            r.report(
                Diagnostic::error("duplicate-header", message, span)
                    .label("header names do not depend on case")
                    .related(first, "also here"),
            );
        }
        let claim = r.parsed(&entry, leaf::claim);
        if super::filter::is_touchable(r, &name)
            && let Some(claim) = claim
        {
            claims.push((name, claim.value));
        }
    }
    claims
}

/// A list of texts, none twice.
fn distinct(
    r: &mut Reader<'_>,
    items: Vec<Item<'_>>,
    what: &str,
    parse: fn(&str) -> Result<Box<str>, leaf::Fault>,
) -> Vec<Box<str>> {
    let mut list = Vec::new();
    for item in items {
        if let Some(text) = r.parsed(&item, parse) {
            super::table::add_distinct(r, &mut list, text, what);
        }
    }
    list.into_iter().map(|text| text.value).collect()
}
