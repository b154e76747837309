//! `type = "basic"` and `type = "mtls"`

use std::collections::BTreeMap;

use toml::de::DeValue;

use super::{ANONYMOUS, CLAIMS, HIDE, OPTIONAL, REALM, authentication};
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{AuthScheme, Basic, FilterKind, Mtls, Secret};
use crate::read::filter::TYPE;
use crate::read::reader::{Reader, quote};
use crate::read::table::{Table, entries_of};
use crate::span::Span;

const HASH: Kind = Kind::Secret("a hash of argon2 or bcrypt");

pub(crate) static BASIC: Section = Section {
    title: "[filter.NAME] of type \"basic\"",
    doc: "Asks for the name and the password of a user (RFC 7617). Passwords are compared beside \
          the data plane, and what came of it is remembered under a keyed digest. Use it over TLS \
          only.",
    keys: &[
        TYPE,
        Key::optional(
            "users",
            Kind::Map(&HASH),
            "Users and the hashes of their passwords: { alice = \"$argon2id$...\" }.",
        ),
        Key::optional(
            "htpasswd",
            Kind::Text("the path of a file"),
            "A file of lines `user:hash`, as `htpasswd -B` writes it, beside this file. The gateway \
             reloads when it changes.",
        ),
        Key::default(
            "remember",
            Kind::Duration {
                min: "0s",
                max: "1d",
            },
            "5m",
            "For how long a password that was right is not compared again; a reload that changes \
             the hash or takes the user away ends it.",
        ),
        Key::default(
            "remember_wrong",
            Kind::Duration {
                min: "0s",
                max: "5m",
            },
            "5s",
            "The same, of a password that was wrong.",
        ),
        HIDE,
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) static MTLS: Section = Section {
    title: "[filter.NAME] of type \"mtls\"",
    doc: "Asks for the certificate that the client has shown in the TLS handshake, where a \
          listener's `client_auth` has it verified. Headers that speak of certificates are never \
          believed.",
    keys: &[
        TYPE,
        Key::default(
            "require_consumer",
            Kind::Bool,
            "true",
            "Whether it has to belong to a consumer, by one of its `certificates`. If not, any \
             verified certificate says who makes the request.",
        ),
        OPTIONAL,
        ANONYMOUS,
        REALM,
        CLAIMS,
    ],
};

pub(crate) fn basic(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let users = users(r, table);
    let htpasswd = table.file(r, "htpasswd");
    if table.item("users").is_none() && table.item("htpasswd").is_none() {
        r.report(
            Diagnostic::error("missing-key", "a filter without users", table.span)
                .label("neither `users` nor `htpasswd` is written")
                .help("add for example htpasswd = \"users.htpasswd\""),
        );
        return None;
    }
    let basic = Basic {
        users,
        htpasswd,
        remember: table.duration_or_default(r, "remember"),
        remember_wrong: table.duration_or_default(r, "remember_wrong"),
    };
    Some(authentication(r, table, AuthScheme::Basic(basic)))
}

fn users(r: &mut Reader<'_>, table: &Table<'_>) -> Vec<(Box<str>, Secret)> {
    let Some(item) = table.item("users") else {
        return Vec::new();
    };
    let DeValue::Table(entries) = item.value.get_ref() else {
        r.wrong_type(&item);
        return Vec::new();
    };
    let mut seen: BTreeMap<Box<str>, Span> = BTreeMap::new();
    let mut users = Vec::new();
    for (span, entry) in entries_of(item.file, entries, &HASH) {
        let hash = r.hidden(&entry, leaf::password_hash);
        let name = match leaf::user(entry.name) {
            Ok(name) => name,
            Err(fault) => {
                r.refuse_key(entry.name, fault, span);
                continue;
            }
        };
        if let Some(first) = seen.insert(name.clone(), span) {
            let message = format!("user {} is listed twice", quote(&name));
            r.report(Diagnostic::error("duplicate-entry", message, span).related(first, "here"));
        }
        users.extend(hash.map(|hash| (name, Secret(hash.value))));
    }
    users
}

pub(crate) fn mtls(r: &mut Reader<'_>, table: &Table<'_>) -> Option<FilterKind> {
    let require_consumer = table.bool_or_default(r, "require_consumer");
    let scheme = AuthScheme::Mtls(Mtls { require_consumer });
    Some(authentication(r, table, scheme))
}
