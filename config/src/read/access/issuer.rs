//! `[[issuer]]`

use super::distinct;
use crate::diagnostic::Diagnostic;
use crate::keys::{Key, Kind, Section, Word};
use crate::leaf;
use crate::model::{
    Issuer, IssuerKey, IssuerKeys, KeyFetch, KeyMaterial, Secret, TokenAlgorithm, TokenExpiry,
};
use crate::read::listener::PEM;
use crate::read::reader::Reader;
use crate::read::table::{Item, Table, add_distinct, no_entries};
use crate::span::Spanned;

const ALGORITHM: Kind = Kind::Choice(TokenAlgorithm::WORDS);
const CLAIM: Kind = Kind::Text("the name of a claim, or the path to one");

pub(crate) static ISSUER: Section = Section {
    title: "[[issuer]]",
    doc: "Who issues tokens (JWT), what is asked of them, and where the keys are that verify them: \
          in `keys`, `jwks_file` or `jwks_url`, or where `discovery` finds them.",
    keys: &[
        Key::required(
            "name",
            Kind::Text(crate::read::upstream::NAME),
            "Unique among issuers.",
        ),
        Key::required(
            "issuer",
            Kind::Text("an issuer such as \"https://issuer.example\""),
            "The `iss` of its tokens, to the last character.",
        ),
        Key::required(
            "algorithms",
            Kind::List(&ALGORITHM),
            "What its tokens may be signed with. No token has a say in it.",
        ),
        Key::default(
            "audiences",
            Kind::List(&Kind::Text("an audience")),
            "[]",
            "The `aud` of a token has to be, or to have, one of these. Without any, tokens for \
             everybody are taken, those for other services too.",
        ),
        Key::optional(
            "keys",
            Kind::List(&Kind::Table(&KEY)),
            "Keys that are written here.",
        ),
        Key::optional(
            "jwks_file",
            Kind::Text("the path of a file"),
            "A key set (RFC 7517) in a file. It is watched.",
        ),
        Key::optional(
            "jwks_url",
            Kind::Text("an https:// URL"),
            "The address of the key set.",
        ),
        Key::default(
            "discovery",
            Kind::Bool,
            "false",
            "Whether the address of the key set is asked for at \
             ISSUER/.well-known/openid-configuration.",
        ),
        Key::optional(
            "ca",
            PEM,
            "The authorities that the certificate of the keys' server may come from; the system's \
             without it.",
        ),
        Key::default(
            "insecure_http",
            Kind::Bool,
            "false",
            "Whether keys may be fetched over http:// from other machines. Whoever is on the way \
             can then let anybody in.",
        ),
        Key::default(
            "refresh",
            Kind::Duration {
                min: "10s",
                max: "24h",
            },
            "10m",
            "How often keys are fetched, where the answer has no `Cache-Control: max-age`; one \
             counts from 1 minute to 24 hours.",
        ),
        Key::default(
            "refetch_min",
            Kind::Duration {
                min: "1s",
                max: "1h",
            },
            "30s",
            "Tokens whose key is not known have the keys fetched again, once in this time at most.",
        ),
        Key::default(
            "timeout",
            Kind::Duration {
                min: "100ms",
                max: "30s",
            },
            "5s",
            "For a whole answer with keys, and for requests that wait for one.",
        ),
        Key::default(
            "leeway",
            Kind::Duration {
                min: "0s",
                max: "10m",
            },
            "30s",
            "By how much clocks may differ, for `exp`, `nbf` and `iat`.",
        ),
        Key::default(
            "expiry",
            Kind::Choice(TokenExpiry::WORDS),
            "required",
            "Whether tokens have to say when they expire.",
        ),
        Key::optional(
            "age_max",
            Kind::Duration {
                min: "1s",
                max: "365d",
            },
            "How long after `iat` a token is good at most; it then has to have one.",
        ),
        Key::optional(
            "types",
            Kind::List(&Kind::Text("a type such as \"at+jwt\"")),
            "What `typ` may be, in any case; a token then has to have one. Without it, `typ` is \
             \"JWT\", \"at+jwt\" or not there. Issuers that also make ID tokens should have \
             [\"at+jwt\"] here, if they can.",
        ),
        Key::default(
            "claims_required",
            Kind::List(&CLAIM),
            "[]",
            "Claims that a token must have, with something in them.",
        ),
        Key::optional(
            "groups_claim",
            CLAIM,
            "The claim that has the groups: a text, or a list of them, such as \
             \"realm_access.roles\".",
        ),
    ],
};

static KEY: Section = Section {
    title: "an entry of `keys`",
    doc: "A key: one of `pem`, `file` and `secret`.",
    keys: &[
        Key::optional(
            "kid",
            Kind::Text("a text"),
            "The name that tokens call it by. A key without one is tried for all of its algorithm.",
        ),
        Key::required(
            "alg",
            ALGORITHM,
            "What it is used for; one of `algorithms`.",
        ),
        Key::optional(
            "pem",
            Kind::Text("a public key or certificate in PEM"),
            "The key itself.",
        ),
        Key::optional("file", PEM, "A file with the key. It is watched."),
        Key::optional(
            "secret",
            Kind::Secret("a secret, best \"${env:NAME}\""),
            "For HS256, HS384 and HS512: at least 32, 48 or 64 bytes, as text or, behind \
             \"base64:\", as base64. Whoever has it can also make tokens.",
        ),
    ],
};

/// Reads an issuer; its keys are looked at when they are loaded.
pub(crate) fn issuer(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Issuer> {
    let name = table.required(r, "name").and_then(|item| r.name(&item));
    let issuer = table.required(r, "issuer");
    let issuer = issuer.and_then(|item| r.parsed(&item, leaf::token_issuer));
    let algorithms = algorithms(r, table);
    let items = table.list(r, "audiences");
    let audiences = distinct(r, items, "audience", leaf::claim);
    let keys = keys(r, table);
    let types = table.list(r, "types");
    let types = distinct(r, types, "type", leaf::token_type);
    let required = table.list(r, "claims_required");
    let claims_required = distinct(r, required, "claim", leaf::claim);
    let groups_claim = table.parsed(r, "groups_claim", leaf::claim);
    // One with errors keeps its name, so that its filters do not seem wrong as well.
    Some(Issuer {
        leeway: table.duration_or_default(r, "leeway"),
        expiry: table.word_or_default(r, "expiry"),
        age_max: table.duration(r, "age_max"),
        name: name?,
        issuer: issuer.unwrap_or_else(|| Spanned::new(Box::default(), table.span)),
        algorithms: algorithms.unwrap_or_default(),
        audiences,
        keys: keys.unwrap_or(IssuerKeys::Written(Vec::new())),
        types,
        claims_required,
        groups_claim: groups_claim.map(|claim| claim.value),
    })
}

fn algorithms(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<Spanned<TokenAlgorithm>>> {
    let item = table.required(r, "algorithms")?;
    let mut algorithms = Vec::new();
    for entry in r.list(&item)? {
        if let Some(algorithm) = r.word(&entry) {
            add_distinct(r, &mut algorithms, algorithm, "algorithm");
        }
    }
    if algorithms.is_empty() {
        let help = "name what the issuer signs with, such as [\"RS256\"] or [\"ES256\"]";
        no_entries(r, &item, "no token could be signed", help);
        return None;
    }
    Some(algorithms)
}

/// Where keys are said to be; exactly one of these.
const PLACES: [&str; 4] = ["keys", "jwks_file", "jwks_url", "discovery"];

fn keys(r: &mut Reader<'_>, table: &Table<'_>) -> Option<IssuerKeys> {
    let discovers = table.bool_or_default(r, "discovery");
    let is_there = |key| table.item(key).is_some() && (key != "discovery" || discovers);
    let there: Vec<&str> = PLACES.into_iter().filter(|key| is_there(key)).collect();
    let [place] = there[..] else {
        let (code, label) = match there.is_empty() {
            true => ("missing-key", "nothing says where its keys are"),
            false => ("conflicting-keys", "its keys are in more than one place"),
        };
        let message = "an issuer has one of `keys`, `jwks_file`, `jwks_url` and `discovery`";
        r.report(
            Diagnostic::error(code, message, table.span)
                .label(label)
                .help("with OpenID Connect, `discovery = true` is enough"),
        );
        return None;
    };
    match place {
        "keys" => written(r, table).map(IssuerKeys::Written),
        "jwks_file" => table.file(r, "jwks_file").map(IssuerKeys::File),
        place => fetched(r, table, place),
    }
}

fn written(r: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<Spanned<IssuerKey>>> {
    let item = table.item("keys")?;
    let mut keys = Vec::new();
    for entry in r.list(&item)? {
        let Some(table) = r.open(&entry, &KEY) else {
            continue;
        };
        let key = key(r, &table, &entry);
        keys.extend(key.map(|key| Spanned::new(key, entry.span())));
    }
    if r.list(&item)?.is_empty() {
        no_entries(
            r,
            &item,
            "no token could be verified",
            "write at least one key",
        );
        return None;
    }
    Some(keys)
}

fn key(r: &mut Reader<'_>, table: &Table<'_>, entry: &Item<'_>) -> Option<IssuerKey> {
    let kid = table.parsed(r, "kid", leaf::token_kid);
    let algorithm = table.required(r, "alg");
    let algorithm = algorithm.and_then(|item| r.word::<TokenAlgorithm>(&item))?;
    let pem = table.item("pem");
    let file = table.item("file");
    let secret = table.item("secret");
    let wants_secret = algorithm.value.is_symmetric();
    let material = match (pem, file, secret) {
        (Some(pem), None, None) if !wants_secret => {
            // Somebody may have pasted the private key.
            KeyMaterial::Pem(r.hidden(&pem, leaf::public_pem)?)
        }
        (None, Some(_), None) if !wants_secret => KeyMaterial::File(table.file(r, "file")?),
        (None, None, Some(secret)) if wants_secret => {
            let secret = r.hidden(&secret, leaf::token_secret)?;
            KeyMaterial::Secret(secret.map(Secret))
        }
        _ => {
            let wants = match wants_secret {
                true => "a `secret`",
                false => "either `pem` or `file`",
            };
            let message = format!("a key for {} has {wants}", algorithm.value);
            let span = entry.span();
            r.report(
                Diagnostic::error("missing-key", message, span)
                    .label("this has something else, or more, or nothing")
                    .help("the public key of an issuer is never a secret of an HMAC"),
            );
            return None;
        }
    };
    Some(IssuerKey {
        kid: kid.map(|kid| kid.value),
        algorithm: algorithm.value,
        material,
    })
}

fn fetched(r: &mut Reader<'_>, table: &Table<'_>, place: &str) -> Option<IssuerKeys> {
    let insecure_http = table.bool_or_default(r, "insecure_http");
    let parse = match insecure_http {
        true => leaf::any_http_url,
        false => leaf::keys_url,
    };
    let url = match place {
        "jwks_url" => Some(table.parsed(r, "jwks_url", parse)?),
        _ => {
            // The address of the description is made of it.
            table.parsed(r, "issuer", parse)?;
            None
        }
    };
    let refresh = table.duration_or_default(r, "refresh");
    let refetch_min = table.duration_or_default(r, "refetch_min");
    Some(IssuerKeys::Fetched(Box::new(KeyFetch {
        url,
        ca: table.file(r, "ca"),
        insecure_http,
        refresh,
        refetch_min,
        timeout: table.duration_or_default(r, "timeout"),
    })))
}
