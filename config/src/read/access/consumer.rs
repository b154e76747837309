//! `[[consumer]]`

use std::time::{SystemTime, UNIX_EPOCH};

use toml::de::DeValue;

use super::distinct;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section};
use crate::leaf;
use crate::model::{Consumer, ConsumerKey, KeyProof, Secret};
use crate::read::reader::Reader;
use crate::read::table::{Item, Table};
use crate::span::{Span, Spanned};

const GROUP: Kind = Kind::Text("a word");
const DIGEST: Kind = Kind::Secret("\"sha256:\" and the digest of a key");
const MOMENT: Kind = Kind::Text("a moment such as \"2027-01-31T23:59:59Z\"");

pub(crate) static CONSUMER: Section = Section {
    title: "[[consumer]]",
    doc: "Who may use the API: a name, what it is marked with, and what proves that it is the one.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(crate::read::upstream::NAME),
            "Unique among consumers.",
        ),
        Key::default(
            "groups",
            Kind::List(&GROUP),
            "[]",
            "What it is in: filters and routes go by it, and origins are told.",
        ),
        Key::default("tags", Kind::List(&GROUP), "[]", "What it is marked with."),
        Key::optional(
            "api_keys",
            Kind::List(&Kind::Either(&[DIGEST, Kind::Table(&STORED_KEY)])),
            "Digests of the consumer's keys, or tables of this and more. Several may be good at a \
             time, so that a key can be replaced. They are never shown.",
        ),
        Key::optional(
            "subjects",
            Kind::List(&Kind::Text("an issuer, `|` and a subject")),
            "Tokens that are its, such as \"https://issuer.example|alice\".",
        ),
        Key::optional(
            "certificates",
            Kind::List(&Kind::Text(
                "\"sha256:FINGERPRINT\", \"subject:NAME\" or \"san:NAME\"",
            )),
            "Client certificates that are its: by fingerprint, by subject such as \
             \"subject:CN=app,O=Example\", or by an alternative name, with its kind as in \
             \"san:URI:spiffe://example/app\" or without.",
        ),
        Key::optional(
            "user",
            Kind::Text("the name of a user"),
            "The user of a Basic filter that it is.",
        ),
    ],
};

static STORED_KEY: Section = Section {
    title: "an entry of `api_keys`",
    doc: "A key, as `digest` or as `hash`, and the time that it is good in.",
    keys: &[
        Key::optional("digest", DIGEST, "The SHA-256 of the key."),
        Key::optional(
            "hash",
            Kind::Secret("an argon2 hash"),
            "An argon2 hash of what stands behind the `.` in a key of the form `ID.SECRET`. It is \
             for secrets that people have chosen: comparing takes much longer.",
        ),
        Key::optional(
            "id",
            Kind::Text("a word"),
            "What the key is called; with `hash` it is needed, and stands before the `.`.",
        ),
        Key::optional("not_before", MOMENT, "The key is good from then on."),
        Key::optional("expires", MOMENT, "The key is good before then."),
    ],
};

/// Reads a consumer; what belongs to one alone is compared with the others later.
pub(crate) fn consumer(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Consumer> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let items = table.list(r, "groups");
    let groups = distinct(r, items, "group", leaf::group);
    let items = table.list(r, "tags");
    let tags = distinct(r, items, "tag", leaf::group);
    let mut api_keys = Vec::new();
    for item in table.list(r, "api_keys") {
        let key = api_key(r, &item);
        api_keys.extend(key.map(|key| Spanned::new(key, item.span())));
    }
    let mut subjects = Vec::new();
    for item in table.list(r, "subjects") {
        subjects.extend(r.parsed(&item, leaf::token_subject));
    }
    let mut certificates = Vec::new();
    for item in table.list(r, "certificates") {
        certificates.extend(r.parsed(&item, leaf::certificate_name));
    }
    let user = table.parsed(r, "user", leaf::user);
    Some(Consumer {
        name: name?,
        groups,
        tags,
        api_keys,
        subjects,
        certificates,
        user,
    })
}

fn api_key(r: &mut Reader<'_>, item: &Item<'_>) -> Option<ConsumerKey> {
    if !item.is_table() {
        let digest = r.hidden(item, leaf::key_digest)?;
        return Some(ConsumerKey {
            proof: KeyProof::Digest(digest.value),
            id: None,
            not_before: None,
            expires: None,
        });
    }
    hide_all_but(r, item, &["id", "not_before", "expires"]);
    let table = r.open(item, &STORED_KEY)?;
    let digest = table.item("digest");
    let hash = table.item("hash");
    let id = table.parsed(r, "id", leaf::key_id);
    let not_before = moment(r, &table, "not_before");
    let expires = moment(r, &table, "expires");
    check_life(r, not_before, expires);
    let proof = match (digest, hash) {
        (Some(digest), None) => KeyProof::Digest(r.hidden(&digest, leaf::key_digest)?.value),
        (None, Some(hash)) => KeyProof::Hash(Secret(r.hidden(&hash, leaf::key_hash)?.value)),
        (one, _) => {
            let code = if one.is_some() {
                "conflicting-keys"
            } else {
                "missing-key"
            };
            let message = "an API key has either `digest` or `hash`";
            r.report(
                Diagnostic::error(code, message, item.span())
                    .label("this has both or none")
                    .help("`ringgate key new` prints a line to paste"),
            );
            return None;
        }
    };
    if matches!(proof, KeyProof::Hash(_)) && table.item("id").is_none() {
        let message = "an API key with a `hash` has no `id`";
        r.report(
            Diagnostic::error("missing-key", message, item.span())
                .label("nothing says which key to compare with")
                .help("add `id`: the key is then `ID.SECRET`, with the hash of SECRET here"),
        );
        return None;
    }
    Some(ConsumerKey {
        proof,
        id: id.map(|id| id.value),
        not_before: not_before.map(|moment| moment.value),
        expires: expires.map(|moment| moment.value),
    })
}

/// Hides the values of a table before anything is said of it: under whatever key, somebody may
/// have pasted a key itself.
fn hide_all_but(r: &mut Reader<'_>, item: &Item<'_>, shown: &[&str]) {
    let DeValue::Table(entries) = item.value.get_ref() else {
        return;
    };
    for (key, value) in entries {
        if !shown.contains(&key.get_ref().as_ref()) {
            r.sources.hide(Span::new(item.file, value.span()));
        }
    }
}

/// A moment as a string, or as TOML writes it.
fn moment(r: &mut Reader<'_>, table: &Table<'_>, key: &'static str) -> Option<Spanned<u64>> {
    let item = table.item(key)?;
    let DeValue::Datetime(written) = item.value.get_ref() else {
        return r.parsed(&item, leaf::moment);
    };
    let text = written.to_string();
    match leaf::moment(&text) {
        Ok(moment) => Some(Spanned::new(moment, item.span())),
        Err(fault) => {
            r.refuse_key(&text, fault, item.span());
            None
        }
    }
}

fn check_life(r: &mut Reader<'_>, from: Option<Spanned<u64>>, until: Option<Spanned<u64>>) {
    let Some(until) = until else { return };
    if let Some(from) = from.filter(|from| from.value >= until.value) {
        let message = "this key ends before it begins";
        r.report(
            Diagnostic::error("impossible-limit", message, until.span)
                .label("not later than `not_before`")
                .related(from.span, "`not_before`"),
        );
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis());
    if u128::from(until.value) <= now {
        r.report(
            Diagnostic::warning("expired-key", "this key has expired", until.span)
                .label("nobody can use it any more")
                .help("remove it, or give the consumer a new one: `ringgate key new`"),
        );
    }
}
