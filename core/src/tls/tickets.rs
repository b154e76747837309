//! Session tickets (RFC 8446 section 4.6.1, RFC 5077) that every worker can open: sealed with
//! AES-256-GCM under keys that live in memory only and are replaced in time. Read without a
//! lock. A ticket is never good for longer than two rotations after it was made.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::ProducesTickets;

/// The ticket keys of one listener; share them behind an `Arc` among workers and reloads.
pub struct Tickets {
    keys: ArcSwap<Keys>,
    rotation: Duration,
}

impl Tickets {
    /// Fresh keys, replaced after each `rotation`, which is clamped to what makes sense: a
    /// minute to half a week, as no ticket may live longer than a week (RFC 8446 section
    /// 4.6.1).
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(rotation: Duration) -> Result<Self, NoRandomness> {
        Ok(Self {
            keys: ArcSwap::from_pointee(Keys {
                current: Arc::new(Key::new(now())?),
                former: None,
            }),
            rotation: rotation.clamp(ROTATION_MIN, ROTATION_MAX),
        })
    }

    /// How long a key seals.
    pub fn rotation(&self) -> Duration {
        self.rotation
    }

    /// The keys at `now`, after the rotation that may be due. Where no new key can be had, the
    /// old one seals no more, and no tickets are made.
    fn keys_at(&self, now: Instant) -> Guard<Arc<Keys>> {
        let keys = self.keys.load();
        if !keys.current.is_older_than(self.rotation, now) {
            return keys;
        }
        let Ok(fresh) = Key::new(now) else {
            return keys;
        };
        let next = Arc::new(Keys {
            current: Arc::new(fresh),
            former: Some(Arc::clone(&keys.current)),
        });
        // Of the workers that see the time come, one wins; the others use its key.
        self.keys.compare_and_swap(&keys, next);
        self.keys.load()
    }

    fn seal(&self, plain: &[u8], now: Instant) -> Option<Vec<u8>> {
        let keys = self.keys_at(now);
        let key = &keys.current;
        if key.is_older_than(self.rotation, now) {
            return None;
        }
        let mut sealed = plain.to_vec();
        let nonce = key
            .sealing
            .seal_in_place_append_tag(Aad::from(&key.name), &mut sealed)
            .ok()?;
        Some([&key.name, nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.keys_at(now);
        let mut known = [Some(&keys.current), keys.former.as_ref()]
            .into_iter()
            .flatten();
        let key = known.find(|key| key.name == *name)?;
        // A quiet listener rotates late, at the first handshake after: age decides.
        if key.is_older_than(self.rotation * 2, now) {
            return None;
        }
        let mut plain = sealed.to_vec();
        let length = key
            .sealing
            .open_in_place(Nonce::from(nonce), Aad::from(&key.name), &mut plain)
            .ok()?
            .len();
        plain.truncate(length);
        Some(plain)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(self.rotation.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets")
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}

/// The system gave no random bytes for a ticket key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system gave no random bytes for a session ticket key")
    }
}

impl std::error::Error for NoRandomness {}

/// The key that seals, and the one before it, whose tickets still open.
struct Keys {
    current: Arc<Key>,
    former: Option<Arc<Key>>,
}

struct Key {
    /// Stands before every ticket, so that keys need not be tried.
    name: [u8; KEY_NAME_LEN],
    sealing: RandomizedNonceKey,
    born: Instant,
}

impl Key {
    fn new(now: Instant) -> Result<Self, NoRandomness> {
        let (mut name, mut secret) = ([0; KEY_NAME_LEN], [0; 32]);
        aws_lc_rs::rand::fill(&mut name).map_err(|_| NoRandomness)?;
        aws_lc_rs::rand::fill(&mut secret).map_err(|_| NoRandomness)?;
        Ok(Self {
            name,
            sealing: RandomizedNonceKey::new(&AES_256_GCM, &secret).map_err(|_| NoRandomness)?,
            born: now,
        })
    }

    fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.born) >= age
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "once in a handshake, and what is measured are hours"
)]
fn now() -> Instant {
    Instant::now()
}

const KEY_NAME_LEN: usize = 16;
/// Below this a client that comes back has nothing of its ticket.
const ROTATION_MIN: Duration = Duration::from_secs(60);
/// Two of these are the week of RFC 8446 section 4.6.1.
const ROTATION_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60 / 2);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn tickets() -> (Tickets, Instant) {
        let tickets = Tickets::new(HOUR).unwrap();
        let start = tickets.keys.load().current.born;
        (tickets, start)
    }

    #[test]
    fn a_ticket_opens_until_two_rotations_have_passed() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(b"session", start).unwrap();
        for (after, opens) in [(0, true), (59, true), (61, true), (119, true), (120, false)] {
            let now = start + HOUR * after / 60;
            assert_eq!(tickets.open(&ticket, now).is_some(), opens, "{after} min");
        }
    }

    #[test]
    fn a_quiet_time_does_not_prolong_a_key() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(b"session", start).unwrap();
        assert_eq!(tickets.open(&ticket, start + HOUR * 2), None);
        let (tickets, start) = self::tickets();
        let ticket = tickets.seal(b"session", start).unwrap();
        assert_eq!(
            tickets.open(&ticket, start + HOUR + HOUR / 2).unwrap(),
            b"session"
        );
    }

    #[test]
    fn every_rotation_seals_with_another_key() {
        let (tickets, start) = tickets();
        let first = tickets.seal(b"s", start).unwrap();
        let second = tickets.seal(b"s", start + HOUR / 2).unwrap();
        let third = tickets.seal(b"s", start + HOUR).unwrap();
        assert_eq!(first[..KEY_NAME_LEN], second[..KEY_NAME_LEN]);
        assert_ne!(first[..KEY_NAME_LEN], third[..KEY_NAME_LEN]);
        assert_ne!(first, second, "the nonce is another");
    }

    #[test]
    fn a_forged_or_cut_ticket_opens_nothing() {
        let (tickets, start) = tickets();
        let ticket = tickets.seal(b"session", start).unwrap();
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(tickets.open(&forged, start), None, "byte {at}");
            assert_eq!(tickets.open(&ticket[..at], start), None, "cut at {at}");
        }
        assert_eq!(self::tickets().0.open(&ticket, start), None);
    }

    #[test]
    fn the_rotation_stays_within_what_the_protocol_allows() {
        let lifetime = |secs| {
            let tickets = Tickets::new(Duration::from_secs(secs)).unwrap();
            tickets.lifetime()
        };
        assert_eq!(lifetime(0), 60);
        assert_eq!(lifetime(43_200), 43_200);
        assert_eq!(lifetime(u64::MAX), 302_400);
    }
}
