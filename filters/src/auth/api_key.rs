//! API keys: a text that a consumer sends, of which the gateway knows only the digest.

mod hashed;

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use ringgate_core::chain::RequestPhase;
use ringgate_core::http::query::{decoded, halves, is_named, parameters};
use ringgate_core::http::{Fields, Known, RequestHead};

use super::consumers::{Directory, KeyState, Principals};
use super::store::StoredConsumers;
use super::verify::Verifier;
use super::{Finding, Refusal};
use crate::Filter;

/// Where keys come, and whose they are.
#[derive(Debug)]
pub struct ApiKey {
    /// Where they are looked for; the order does not matter, as all of them have to agree.
    pub places: KeyPlaces,
    /// Whether origins get them.
    pub credential: Credential,
    /// Whose they are.
    pub directory: Arc<Directory>,
    /// Who is asked for keys that the directory does not have.
    pub store: Option<StoredConsumers>,
    /// Compares keys that are stored as password hashes.
    pub verifier: Arc<dyn Verifier>,
}

/// Where keys come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPlaces {
    /// A field's name in lower case.
    pub header: Option<Box<str>>,
    /// What stands in the field before the key, such as `Bearer `, in any case; a field without
    /// it has no key. Empty for nothing.
    pub prefix: Box<str>,
    /// A query parameter.
    pub query: Option<Box<str>>,
    /// A cookie.
    pub cookie: Option<Box<str>>,
}

/// What becomes of a credential that was good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// It is taken out of the request.
    Hidden,
    /// The origin gets it as it came.
    Passed,
}

/// What one core remembers of API keys.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The key of the request at hand; only its capacity is kept.
    text: Vec<u8>,
    principals: Principals,
    hashed: hashed::Memory,
}

/// Longer keys are none.
const KEY_BYTES_MAX: usize = 512;

pub(crate) use hashed::Waiting;

const NAME: &str = "api_key";

impl ApiKey {
    pub(super) fn name(&self) -> &'static str {
        NAME
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let memory = &mut phase.core.auth.api_key;
        match self.places.read(phase.head, &mut memory.text) {
            Shown::Nothing => return Finding::Absent,
            Shown::Differing => {
                let why = "it carries two different keys";
                return Finding::Refused(Refusal::invalid(why));
            }
            Shown::One => {}
        }
        let digest = match memory.text.len() {
            1..=KEY_BYTES_MAX => sha256(&memory.text),
            _ => None,
        };
        let Some(digest) = digest else {
            return self.found(KeyState::Unknown, phase);
        };
        match self.directory.key(&digest, phase.unix_ms) {
            KeyState::Unknown => self.elsewhere(&digest, phase),
            known => self.found(known, phase),
        }
    }

    /// A key whose digest the directory does not have: it may have its hash, or a store the key.
    #[cold]
    fn elsewhere(&self, digest: &[u8; 32], phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let text = std::mem::take(&mut phase.core.auth.api_key.text);
        let state = hashed::check(&text, &self.directory, &self.verifier, phase);
        phase.core.auth.api_key.text = text;
        match (state, &self.store) {
            (Ok(KeyState::Unknown), Some(store)) => store.find(digest, phase),
            (Ok(state), _) => self.found(state, phase),
            (Err(finding), _) => finding,
        }
    }

    fn found(&self, state: KeyState, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let unknown = || Finding::Refused(Refusal::invalid("its key is nobody's"));
        let index = match state {
            KeyState::Of(index) => index,
            KeyState::Unknown => return unknown(),
            KeyState::Early => {
                return Finding::Refused(Refusal::expired("the time of its key has not come"));
            }
            KeyState::Expired => {
                return Finding::Refused(Refusal::expired("the time of its key is over"));
            }
        };
        let principals = &mut phase.core.auth.api_key.principals;
        match principals.of(&self.directory, index, NAME) {
            Some(principal) => Finding::Proved(principal),
            None => unknown(),
        }
    }

    pub(super) fn resume(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        match hashed::resume(phase) {
            Some(Ok(state)) => return self.found(state, phase),
            Some(Err(finding)) => return finding,
            None => {}
        }
        match &self.store {
            Some(store) => store.resume(NAME, phase),
            None => Finding::Absent,
        }
    }

    /// A challenge is what RFC 9110 asks for; a key of `Authorization` has a scheme of its own.
    pub(super) fn challenge(&self, realm: &str, refusal: Option<&Refusal>) -> Option<String> {
        let scheme = match self.places.header.as_deref() {
            Some("authorization") if !self.places.prefix.is_empty() => self.places.prefix.trim(),
            _ => "ApiKey",
        };
        let error = refusal.map_or("", |refusal| refusal.error);
        Some(match error {
            // Only Bearer has a word for it (RFC 6750, 3).
            error if !error.is_empty() && scheme.eq_ignore_ascii_case("bearer") => {
                format!("{scheme} realm=\"{realm}\", error=\"{error}\"")
            }
            _ => format!("{scheme} realm=\"{realm}\""),
        })
    }

    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        if self.credential == Credential::Passed {
            return;
        }
        let (head, text) = (&mut *phase.head, &mut phase.core.text);
        if let Some(name) = &self.places.header
            && head.fields.value_of(name).is_some()
        {
            head.fields.remove(name);
        }
        if let Some(name) = &self.places.cookie {
            hide_cookie(&mut head.fields, name, text);
        }
        if let Some(name) = &self.places.query {
            hide_parameter(head, name, text);
        }
    }

    pub(super) fn describe(&self) -> String {
        let places = &self.places;
        let named = [
            ("header", &places.header),
            ("query parameter", &places.query),
            ("cookie", &places.cookie),
        ];
        let named = named.into_iter();
        let named: Vec<String> = named
            .filter_map(|(kind, name)| Some(format!("{kind} {}", name.as_ref()?)))
            .collect();
        format!("API key in {}", named.join(", "))
    }
}

/// What a request shows of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Nothing,
    /// One, as often as it likes.
    One,
    /// Two that are not the same: whoever looks at the other one would take it for somebody
    /// else.
    Differing,
}

impl KeyPlaces {
    /// Reads the key into `key`; of one that is too long, somewhat more than the longest.
    fn read(&self, head: &RequestHead, key: &mut Vec<u8>) -> Shown {
        key.clear();
        let mut shown = Shown::Nothing;
        if let Some(name) = &self.header {
            for value in head.fields.values_of(name) {
                if let Some(value) = behind(value, self.prefix.as_bytes()) {
                    shown = shown.and(value.iter().copied(), key);
                }
            }
        }
        if let Some(name) = &self.query {
            for (_, value) in parameters(head.query(), name) {
                shown = shown.and(decoded(value), key);
            }
        }
        if let Some(name) = &self.cookie {
            for (_, value) in cookies(&head.fields, name) {
                shown = shown.and(value.iter().copied(), key);
            }
        }
        shown
    }
}

impl Shown {
    fn and(self, bytes: impl Iterator<Item = u8>, key: &mut Vec<u8>) -> Shown {
        match self {
            Shown::Nothing => {
                key.extend(bytes.take(KEY_BYTES_MAX + 1));
                Shown::One
            }
            Shown::One if bytes.eq(key.iter().copied()) => Shown::One,
            Shown::One | Shown::Differing => Shown::Differing,
        }
    }
}

/// What stands behind a prefix in a field's value; a prefix with nothing behind it has an empty
/// key, which is nobody's.
fn behind<'v>(value: &'v [u8], prefix: &[u8]) -> Option<&'v [u8]> {
    if value.len() < prefix.len() {
        let bare = prefix.trim_ascii_end();
        return value.eq_ignore_ascii_case(bare).then_some(b"");
    }
    let (front, key) = value.split_at(prefix.len());
    front
        .eq_ignore_ascii_case(prefix)
        .then(|| key.trim_ascii_start())
}

fn cookies<'f>(fields: &'f Fields, name: &str) -> impl Iterator<Item = (&'f [u8], &'f [u8])> {
    let pairs = fields
        .values(Known::Cookie)
        .flat_map(|line| line.split(|b| *b == b';'));
    pairs.filter_map(move |pair| {
        let pair = pair.trim_ascii();
        let (said, value) = halves(pair);
        (said.trim_ascii_end() == name.as_bytes()).then(|| (pair, unquoted(value.trim_ascii())))
    })
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .unwrap_or(value)
}

fn hide_parameter(head: &mut RequestHead, name: &str, text: &mut Vec<u8>) {
    if parameters(head.query(), name).next().is_none() {
        return;
    }
    text.clear();
    let mut pairs = 0;
    for pair in head.query().unwrap_or_default().split(|b| *b == b'&') {
        let (said, _) = halves(pair);
        if is_named(said, name) {
            continue;
        }
        if pairs > 0 {
            text.push(b'&');
        }
        pairs += 1;
        text.extend_from_slice(pair);
    }
    let left = (pairs > 0).then_some(&text[..]);
    if head.set_query(left).is_err() {
        // Parts of a query that was valid make a valid one; without it no key is told either.
        let _ = head.set_query(None);
    }
}

fn hide_cookie(fields: &mut Fields, name: &str, text: &mut Vec<u8>) {
    if cookies(fields, name).next().is_none() {
        return;
    }
    text.clear();
    let lines = fields.values(Known::Cookie);
    for pair in lines.flat_map(|line| line.split(|b| *b == b';')) {
        let pair = pair.trim_ascii();
        let (said, _) = halves(pair);
        if pair.is_empty() || said.trim_ascii_end() == name.as_bytes() {
            continue;
        }
        if !text.is_empty() {
            text.extend_from_slice(b"; ");
        }
        text.extend_from_slice(pair);
    }
    if text.is_empty() || fields.set("cookie", text).is_err() {
        fields.remove_known(Known::Cookie);
    }
}

fn sha256(key: &[u8]) -> Option<[u8; 32]> {
    digest(&SHA256, key).as_ref().try_into().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
