//! What the consumers of one core have proved with their own credentials.

use std::rc::Rc;

use ringgate_core::principal::Principal;

use super::{ConsumerIndex, Directory};

/// Principals by consumer: each is made once and shared by its requests. A consumer has one
/// place; where two have the same, the later one takes it.
#[derive(Debug, Default)]
pub(crate) struct Principals {
    /// Of which directory they are.
    serial: u64,
    slots: Vec<Option<(u32, Rc<Principal>)>>,
}

/// Principals that a core keeps at most.
const SLOTS_MAX: usize = 16_384;

impl Principals {
    /// What the consumer's own credential of this scheme proves. One of these is for one scheme.
    #[inline]
    pub(crate) fn of(
        &mut self,
        directory: &Directory,
        index: ConsumerIndex,
        scheme: &'static str,
    ) -> Option<Rc<Principal>> {
        if self.serial != directory.serial {
            self.slots.clear();
            self.slots.resize(directory.len().clamp(1, SLOTS_MAX), None);
            self.serial = directory.serial;
        }
        let place = index.0 as usize % self.slots.len();
        let slot = &mut self.slots[place];
        if let Some((known, principal)) = slot
            && *known == index.0
        {
            return Some(Rc::clone(principal));
        }
        let principal = Rc::new(directory.consumer(index)?.principal(scheme));
        *slot = Some((index.0, Rc::clone(&principal)));
        Some(principal)
    }
}
