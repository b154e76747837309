//! Checking a password against its hash takes tens of milliseconds on purpose, so it is done
//! off the data plane: a filter hands the question over and its request waits.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering, fence};

use crossbeam::queue::SegQueue;
use ringgate_core::errand::Done;
use zeroize::Zeroizing;

/// Whoever compares passwords with hashes.
pub trait Verifier: Send + Sync + fmt::Debug {
    /// Has the password compared with the hash, and returns at once: it is called on the data
    /// plane. The result is put into the slot before `done` is dropped. When there is more to do
    /// than is good, the slot says so at once.
    fn verify(&self, hash: Arc<str>, password: Password, slot: Arc<Slot>, done: Done);
}

/// What somebody says is the password. It is never shown, and wiped when it is dropped.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// A copy of these bytes.
    pub fn new(bytes: &[u8]) -> Password {
        Password(Zeroizing::new(bytes.to_vec()))
    }

    /// The bytes, for whoever hashes them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// What came of comparing a password with a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Checked {
    /// It is the one.
    Right = 1,
    /// It is another one.
    Wrong = 2,
    /// Too much had to be done, so it was not compared.
    Refused = 3,
}

/// Where the result is put, and who waits for it. A request that is given up lets go of its
/// slot: when nobody else has it, there is nothing to do any more.
#[derive(Debug, Default)]
pub struct Slot {
    /// 0 as long as nothing is known.
    checked: AtomicU8,
    waiting: SegQueue<Done>,
}

impl Slot {
    /// The result, once there is one.
    pub fn checked(&self) -> Option<Checked> {
        match self.checked.load(Ordering::Acquire) {
            1 => Some(Checked::Right),
            2 => Some(Checked::Wrong),
            3 => Some(Checked::Refused),
            _ => None,
        }
    }

    /// Puts the result in and wakes those who [wait](Slot::wait).
    pub fn settle(&self, checked: Checked) {
        self.checked.store(checked as u8, Ordering::Release);
        self.wake();
    }

    /// Wakes one more request when the result is there.
    pub fn wait(&self, done: Done) {
        self.waiting.push(done);
        if self.is_settled() {
            self.wake();
        }
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        while let Some(done) = self.waiting.pop() {
            drop(done);
        }
    }

    /// Whoever waits looks behind having come, and whoever settles looks for them behind having
    /// put the result in: with fences between, one of the two sees the other.
    fn is_settled(&self) -> bool {
        fence(Ordering::SeqCst);
        self.checked().is_some()
    }
}

/// One that compares nothing, for where nothing is run: it leaves every slot empty.
#[derive(Clone, Copy, Debug)]
pub struct NoVerifier;

impl Verifier for NoVerifier {
    fn verify(&self, _: Arc<str>, _: Password, _: Arc<Slot>, _: Done) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        let password = Password::new(b"hunter2");
        assert_eq!(format!("{password:?}"), "(hidden)");
        assert_eq!(password.expose(), b"hunter2");
    }

    #[test]
    fn a_slot_keeps_nobody_who_comes_late() {
        let slot = Slot::default();
        assert_eq!(slot.checked(), None);
        slot.wait(Done::unheard());
        assert_eq!(slot.waiting.len(), 1);
        slot.settle(Checked::Wrong);
        assert_eq!(slot.checked(), Some(Checked::Wrong));
        slot.wait(Done::unheard());
        assert!(slot.waiting.is_empty());
    }
}
