//! Basic: a user name and a password with every request (RFC 7617).
//!
//! A password is compared with its hash once, off the data plane; what came of it is kept by
//! each core under a keyed digest of hash, user and password, so the password itself is not. A
//! user who is not there is compared with somebody else's hash, and takes as long as one who is.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use ringgate_core::base64::Decoder;
use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::errand::{Done, Errand};
use ringgate_core::http::{Fields, Known};
use ringgate_core::principal::Principal;
use zeroize::Zeroize as _;

use super::api_key::Credential;
use super::cache::Cache;
use super::consumers::Directory;
use super::slot::{Asked, Pending, Place};
use super::verify::{Checked, Password, Slot, Verifier};
use super::{Finding, Refusal};
use crate::Filter;

/// Users, and who compares their passwords.
pub struct Basic {
    users: HashMap<Box<str>, User, ahash::RandomState>,
    /// Hashes that those who are no users are compared with; at least one.
    decoys: Box<[Arc<str>]>,
    lifetimes: Lifetimes,
    credential: Credential,
    verifier: Arc<dyn Verifier>,
}

struct User {
    hash: Arc<str>,
    principal: Arc<Principal>,
}

/// For how long a core goes by what came of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of the right one.
    pub right: Duration,
    /// Of a wrong one.
    pub wrong: Duration,
}

/// What one core remembers of passwords.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The credentials of the request at hand, wiped behind it. It never grows, which would leave
    /// a copy behind.
    text: Vec<u8>,
    /// Kept apart from the wrong ones, which anybody can make any number of.
    right: Cache<Right>,
    wrong: Cache<()>,
    pending: Pending<Checked>,
}

/// A password that was right, and whom it proves: made for the filter's principal, and anew when
/// a reload has changed that.
#[derive(Debug)]
struct Right {
    of: Arc<Principal>,
    principal: Rc<Principal>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            text: Vec::with_capacity(TEXT_BYTES_MAX),
            right: Cache::new(VERDICTS_MAX),
            wrong: Cache::new(VERDICTS_MAX),
            pending: Pending::new(WAITING_MAX),
        }
    }
}

/// A request whose password is being compared.
#[derive(Debug)]
pub(crate) struct Waiting {
    digest: [u8; 32],
    slot: Arc<Slot>,
    /// Whom it proves; nobody when there is no such user.
    principal: Option<Arc<Principal>>,
    _place: Place,
}

/// Verdicts of each kind that a core keeps.
const VERDICTS_MAX: usize = 4096;
/// Requests of a core whose passwords are compared at a time.
const WAITING_MAX: usize = 64;
/// How long a request waits for that.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longer credentials are none, in base64.
const TEXT_BYTES_MAX: usize = 1024;

const NAME: &str = "basic";

/// What digests are keyed with: only this process can make them. Without random bytes there is
/// none, and nobody passes.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok());

/// A hash that no password is known for, at the usual cost of argon2id.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$cmluZ2dhdGUtbm9ib2R5$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

impl Basic {
    /// Of users and the hashes of their passwords, which were checked when they were read. A user
    /// of the directory proves its consumer.
    pub fn new(
        users: impl IntoIterator<Item = (Box<str>, Arc<str>)>,
        directory: &Directory,
        lifetimes: Lifetimes,
        credential: Credential,
        verifier: Arc<dyn Verifier>,
    ) -> Basic {
        let users: HashMap<Box<str>, User, ahash::RandomState> = users
            .into_iter()
            .map(|(name, hash)| {
                let principal = Arc::new(principal(&name, directory));
                (name, User { hash, principal })
            })
            .collect();
        let mut decoys: Vec<Arc<str>> = users.values().map(|user| Arc::clone(&user.hash)).collect();
        // In an order that says nothing but is the same after a reload.
        decoys.sort_unstable();
        if decoys.is_empty() {
            decoys.push(NOBODY.into());
        }
        Basic {
            users,
            decoys: decoys.into(),
            lifetimes,
            credential,
            verifier,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        NAME
    }

    pub(super) fn check(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let mut text = std::mem::take(&mut phase.core.auth.basic.text);
        let finding = self.judge(phase, &mut text);
        text.zeroize();
        phase.core.auth.basic.text = text;
        finding
    }

    fn judge(&self, phase: &mut RequestPhase<'_, Filter>, text: &mut Vec<u8>) -> Finding {
        let (user, password) = match read(&phase.head.fields, text) {
            Shown::Nothing => return Finding::Absent,
            Shown::Malformed(why) => return Finding::Refused(Refusal::invalid(why)),
            Shown::Credentials { user, password } => (user, password),
        };
        let Some(key) = &*KEY else {
            return Finding::Refused(Refusal::unavailable("there are no random bytes"));
        };
        let known = self.users.get(user);
        let hash = known.map_or_else(|| self.decoy(key, user), |user| &user.hash);
        let digest = digest(key, hash, user, password);
        let (memory, now) = (&mut phase.core.auth.basic, phase.unix_ms);
        if let Some(user) = known
            && let Some(principal) = memory.recall(&digest, &user.principal, now)
        {
            return Finding::Proved(principal);
        }
        if memory.wrong.get(&digest, now).is_some() {
            return Finding::Refused(wrong());
        }
        let (slot, place, is_new) = match memory.pending.ask(digest) {
            Some(Asked::New(slot, place)) => (slot, place, true),
            Some(Asked::Before(slot, place)) => (slot, place, false),
            None => return Finding::Refused(busy()),
        };
        let password = is_new.then(|| Password::new(password));
        phase.scratch.auth.basic = Some(Waiting {
            digest,
            slot: Arc::clone(&slot),
            principal: known.map(|user| Arc::clone(&user.principal)),
            _place: place,
        });
        let (hash, verifier) = (Arc::clone(hash), Arc::clone(&self.verifier));
        let hand_over = Box::new(move |done: Done| match password {
            Some(password) => verifier.verify(hash, password, slot, done),
            None => slot.wait(done),
        });
        Finding::Needs(Verdict::Ask(Box::new(Errand {
            hand_over,
            timeout: TIMEOUT,
        })))
    }

    pub(super) fn resume(&self, phase: &mut RequestPhase<'_, Filter>) -> Finding {
        let Some(waiting) = phase.scratch.auth.basic.take() else {
            return Finding::Absent;
        };
        let (memory, now) = (&mut phase.core.auth.basic, phase.unix_ms);
        memory.pending.forget(&waiting.digest);
        let until = |life: Duration| now.saturating_add(life.as_millis() as u64);
        match (waiting.slot.answer(), waiting.principal) {
            (Some(Checked::Right), Some(of)) => {
                let principal = Rc::new((*of).clone());
                let right = Right {
                    of,
                    principal: Rc::clone(&principal),
                };
                let until = until(self.lifetimes.right);
                memory.right.put(&waiting.digest, right, until, now);
                Finding::Proved(principal)
            }
            // Somebody who is no user may know the password of another.
            (Some(Checked::Right | Checked::Wrong), _) => {
                let until = until(self.lifetimes.wrong);
                memory.wrong.put(&waiting.digest, (), until, now);
                Finding::Refused(wrong())
            }
            (Some(Checked::Refused), _) => Finding::Refused(busy()),
            (None, _) => {
                Finding::Refused(Refusal::unavailable("comparing its password took too long"))
            }
        }
    }

    /// Always the same one for a name, as with a user.
    fn decoy(&self, key: &hmac::Key, user: &str) -> &Arc<str> {
        let tag = hmac::sign(key, user.as_bytes());
        let number = tag.as_ref().iter().take(8);
        let number = number.fold(0, |all: usize, byte| all << 8 | usize::from(*byte));
        &self.decoys[number % self.decoys.len()]
    }

    pub(super) fn challenge(&self, realm: &str) -> String {
        format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")
    }

    pub(super) fn hide(&self, phase: &mut RequestPhase<'_, Filter>) {
        let fields = &mut phase.head.fields;
        if self.credential == Credential::Hidden
            && fields.values(Known::Authorization).any(is_basic)
        {
            fields.remove_known(Known::Authorization);
        }
    }

    pub(super) fn describe(&self) -> String {
        let users = self.users.len();
        let plural = if users == 1 { "" } else { "s" };
        format!("the password of a user ({users} user{plural})")
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({} users, {:?})", self.users.len(), self.lifetimes)
    }
}

impl Memory {
    fn recall(
        &mut self,
        digest: &[u8; 32],
        of: &Arc<Principal>,
        unix_ms: u64,
    ) -> Option<Rc<Principal>> {
        let right = self.right.find_mut(digest, unix_ms)?;
        if !Arc::ptr_eq(&right.of, of) {
            right.principal = Rc::new((**of).clone());
            right.of = Arc::clone(of);
        }
        Some(Rc::clone(&right.principal))
    }
}

fn principal(user: &str, directory: &Directory) -> Principal {
    let mut principal = Principal {
        schemes: vec![NAME],
        subject: Some(user.into()),
        ..Principal::default()
    };
    if let Some(consumer) = directory.by_user(user) {
        consumer.add_to(&mut principal);
    }
    principal
}

fn digest(key: &hmac::Key, hash: &str, user: &str, password: &[u8]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(key);
    // Neither a hash nor a user name has this byte in it, so nothing can be moved from one part
    // to another.
    for part in [hash.as_bytes(), b"\0", user.as_bytes(), b"\0", password] {
        context.update(part);
    }
    let tag = context.sign();
    let mut digest = [0; 32];
    digest.copy_from_slice(tag.as_ref());
    digest
}

/// The same words whoever it is: what is told must not tell who is a user.
fn wrong() -> Refusal {
    Refusal::invalid("its user name and password do not belong together")
}

fn busy() -> Refusal {
    Refusal::unavailable("too many passwords wait to be compared")
}

enum Shown<'t> {
    Nothing,
    Malformed(&'static str),
    Credentials { user: &'t str, password: &'t [u8] },
}

/// Reads the credentials of a head (RFC 7617, 2), decoded into `text`.
fn read<'t>(fields: &Fields, text: &'t mut Vec<u8>) -> Shown<'t> {
    let mut values = fields.values(Known::Authorization);
    let Some(value) = values.next() else {
        return Shown::Nothing;
    };
    if let Some(other) = values.next() {
        return match is_basic(value) || is_basic(other) || values.any(is_basic) {
            true => Shown::Malformed("it has more than one Authorization"),
            false => Shown::Nothing,
        };
    }
    if !is_basic(value) {
        return Shown::Nothing;
    }
    let token = value[SCHEME.len()..].trim_ascii();
    if let Err(why) = decode(token, text) {
        return Shown::Malformed(why);
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return Shown::Malformed("its user name and password are not UTF-8");
    };
    if text.chars().any(char::is_control) {
        return Shown::Malformed("its user name or password has a control character");
    }
    match text.split_once(':') {
        Some((user, password)) => Shown::Credentials {
            user,
            password: password.as_bytes(),
        },
        None => Shown::Malformed("it has no colon between user name and password"),
    }
}

const SCHEME: &[u8] = b"basic";

/// Whether a value is for this scheme, be the rest of it good or not.
fn is_basic(value: &[u8]) -> bool {
    let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(SCHEME) && rest.first().is_none_or(u8::is_ascii_whitespace)
}

/// Decodes a single text of base64, padded.
fn decode(token: &[u8], text: &mut Vec<u8>) -> Result<(), &'static str> {
    if token.len() > TEXT_BYTES_MAX {
        return Err("its user name and password are too long");
    }
    let end = token.len().saturating_sub(2);
    let mut decoder = Decoder::default();
    let is_text = decoder.push(token, text).is_ok() && decoder.is_between_groups();
    match is_text && !token[..end].contains(&b'=') {
        true => Ok(()),
        false => Err("its user name and password are not in base64"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
