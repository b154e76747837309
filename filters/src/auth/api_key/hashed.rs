//! Keys that are stored as password hashes: `id.secret`. Comparing one takes tens of
//! milliseconds, so it is done off the data plane, once for as long as a verdict holds.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::errand::{Done, Errand};

use crate::Filter;
use crate::auth::cache::Cache;
use crate::auth::consumers::{ConsumerIndex, Directory, KeyState};
use crate::auth::slot::{Asked, Pending, Place};
use crate::auth::verify::{Checked, Password, Slot, Verifier};
use crate::auth::{Finding, Refusal};

/// What one core knows of such keys, all of one directory.
#[derive(Debug)]
pub(crate) struct Memory {
    directory: u64,
    verdicts: Cache<bool>,
    pending: Pending<Checked>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            directory: 0,
            verdicts: Cache::new(VERDICTS_MAX),
            pending: Pending::new(WAITING_MAX),
        }
    }
}

/// A request whose key is being compared.
#[derive(Debug)]
pub(crate) struct Waiting {
    digest: [u8; 32],
    slot: Arc<Slot>,
    consumer: ConsumerIndex,
    _place: Place,
}

/// Verdicts that a core keeps.
const VERDICTS_MAX: usize = 4096;
/// How long they hold.
const RIGHT_MS: u64 = 5 * 60 * 1000;
const WRONG_MS: u64 = 10 * 1000;
/// Requests of a core whose keys are compared at a time.
const WAITING_MAX: usize = 64;
/// How long a request waits for that.
const TIMEOUT: Duration = Duration::from_secs(5);

/// What digests are keyed with: only this process can make them. Without random bytes there is
/// none, and nobody passes.
static KEY: LazyLock<Option<hmac::Key>> =
    LazyLock::new(|| hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new()).ok());

/// What is known of a key, now or behind an errand.
pub(super) fn check(
    key: &[u8],
    directory: &Directory,
    verifier: &Arc<dyn Verifier>,
    phase: &mut RequestPhase<'_, Filter>,
) -> Result<KeyState, Finding> {
    let Some(at) = key.iter().position(|byte| *byte == b'.') else {
        return Ok(KeyState::Unknown);
    };
    let id = std::str::from_utf8(&key[..at]).unwrap_or_default();
    let found = directory.hashed_key(id, phase.unix_ms);
    // A key whose time is not now is not worth comparing.
    let Some((hash, KeyState::Of(consumer))) = found else {
        return Ok(KeyState::Unknown);
    };
    let Some(seal) = &*KEY else {
        return Err(away("no key could be made for digests"));
    };
    let mut digest = [0; 32];
    digest.copy_from_slice(hmac::sign(seal, key).as_ref());
    let memory = &mut phase.core.auth.api_key.hashed;
    if memory.directory != directory.serial() {
        *memory = Memory {
            directory: directory.serial(),
            ..Memory::default()
        };
    }
    match memory.verdicts.get(&digest, phase.unix_ms) {
        Some(true) => return Ok(KeyState::Of(consumer)),
        Some(false) => return Ok(KeyState::Unknown),
        None => {}
    }
    let (slot, place, is_new) = match memory.pending.ask(digest) {
        Some(Asked::New(slot, place)) => (slot, place, true),
        Some(Asked::Before(slot, place)) => (slot, place, false),
        None => return Err(away("too many keys are being compared")),
    };
    let password = is_new.then(|| Password::new(&key[at + 1..]));
    phase.scratch.auth.api_key = Some(Waiting {
        digest,
        slot: Arc::clone(&slot),
        consumer,
        _place: place,
    });
    let (hash, verifier) = (Arc::clone(hash), Arc::clone(verifier));
    let hand_over = Box::new(move |done: Done| match password {
        Some(password) => verifier.verify(hash, password, slot, done),
        None => slot.wait(done),
    });
    Err(Finding::Needs(Verdict::Ask(Box::new(Errand {
        hand_over,
        timeout: TIMEOUT,
    }))))
}

/// What came of comparing; none when this request did not wait for that.
pub(super) fn resume(phase: &mut RequestPhase<'_, Filter>) -> Option<Result<KeyState, Finding>> {
    let waiting = phase.scratch.auth.api_key.take()?;
    let (memory, now) = (&mut phase.core.auth.api_key.hashed, phase.unix_ms);
    memory.pending.forget(&waiting.digest);
    let mut keep = |verdict: bool, life: u64| {
        let until = now.saturating_add(life);
        memory.verdicts.put(&waiting.digest, verdict, until, now);
    };
    Some(match waiting.slot.answer() {
        Some(Checked::Right) => {
            keep(true, RIGHT_MS);
            Ok(KeyState::Of(waiting.consumer))
        }
        Some(Checked::Wrong) => {
            keep(false, WRONG_MS);
            Ok(KeyState::Unknown)
        }
        Some(Checked::Refused) | None => Err(away("its key could not be compared in time")),
    })
}

fn away(why: &'static str) -> Finding {
    Finding::Refused(Refusal::unavailable(why))
}
