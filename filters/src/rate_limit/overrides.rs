//! Limits of some consumers in place of those of everybody.

use std::collections::HashMap;

use ringgate_core::principal::Proved;

use super::RateLimit;

/// Limits that take the place of a filter's own, each with ledgers of its own.
#[derive(Debug, Default)]
pub struct Overrides {
    limits: Box<[RateLimit]>,
    /// By consumer.
    consumers: HashMap<Box<str>, usize, ahash::RandomState>,
    /// By group; the first that the principal is in counts.
    groups: Box<[(Box<str>, usize)]>,
}

/// Whose limits they are.
#[derive(Clone, Debug, Default)]
pub struct Whose {
    /// Names of consumers.
    pub consumers: Box<[Box<str>]>,
    /// Groups, for consumers that are not named.
    pub groups: Box<[Box<str>]>,
}

impl Overrides {
    /// Of limits in their order: of two that are for the same one, the first counts.
    pub fn new(overrides: impl IntoIterator<Item = (Whose, RateLimit)>) -> Overrides {
        let (mut limits, mut groups) = (Vec::new(), Vec::new());
        let mut consumers = HashMap::default();
        for (index, (whose, limit)) in overrides.into_iter().enumerate() {
            for name in whose.consumers {
                consumers.entry(name).or_insert(index);
            }
            groups.extend(whose.groups.into_iter().map(|group| (group, index)));
            limits.push(limit);
        }
        Overrides {
            limits: limits.into(),
            consumers,
            groups: groups.into(),
        }
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &RateLimit> {
        self.limits.iter()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.limits.is_empty()
    }

    /// Those of whoever makes a request.
    pub(super) fn of(&self, principal: &Proved) -> Option<&RateLimit> {
        let principal = principal.as_deref()?;
        let named = principal.consumer.as_ref();
        let named = named.and_then(|name| self.consumers.get(name).copied());
        let index = named.or_else(|| {
            let mut groups = self.groups.iter();
            let (_, index) = groups.find(|(group, _)| principal.is_in(group))?;
            Some(*index)
        });
        self.limits.get(index?)
    }
}
