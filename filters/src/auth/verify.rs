//! Checking a password against its hash takes tens of milliseconds on purpose, so it is done
//! off the data plane: a filter hands the question over and its request waits.

use std::fmt;
use std::sync::Arc;

use ringgate_core::errand::Done;
use zeroize::Zeroizing;

use super::slot;

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
pub enum Checked {
    /// It is the one.
    Right,
    /// It is another one.
    Wrong,
    /// Too much had to be done, so it was not compared.
    Refused,
}

/// Where the result is put.
pub type Slot = slot::Slot<Checked>;

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
}
