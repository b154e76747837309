//! One rule: what has to be true of a request for it to hold.

use ringgate_core::chain::Attributes;
use ringgate_core::http::RequestHead;
use ringgate_core::principal::Principal;
use ringgate_core::snapshot::TrustedNetworks;

use super::Hours;

/// What has to be true of a request. All that is written has to be; of a list, one entry.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// What `explain` calls it.
    pub name: Box<str>,
    /// Of who makes the request.
    pub who: Who,
    /// Of the request itself.
    pub what: What,
}

/// What has to be true of who makes a request.
#[derive(Clone, Debug, Default)]
pub struct Who {
    /// Whether something has to be proved at all; that of an anonymous consumer is nothing.
    pub needed: Needed,
    /// Consumers.
    pub consumers: Names,
    /// Groups.
    pub groups: Names,
    /// Scopes.
    pub scopes: Names,
    /// Scopes of which all are needed.
    pub scopes_all: Names,
    /// Claims, each with the values that it may have.
    pub claims: Box<[(Box<str>, Names)]>,
}

/// Whether a rule wants somebody to be known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Needed {
    /// Anybody will do.
    #[default]
    Nobody,
    /// Somebody who has proved something.
    Somebody,
}

/// What has to be true of a request, whoever makes it.
#[derive(Clone, Debug, Default)]
pub struct What {
    /// Networks that the client is of.
    pub addresses: Option<TrustedNetworks>,
    /// Methods.
    pub methods: Names,
    /// Times.
    pub times: Box<[Hours]>,
}

/// Names in order, so that long lists cost little. None stands for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Box<[Box<str>]>);

impl Names {
    /// Of names in any order.
    pub fn new(names: impl IntoIterator<Item = Box<str>>) -> Names {
        let mut names: Vec<Box<str>> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        Names(names.into())
    }

    fn is_any(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, name: &[u8]) -> bool {
        let found = self.0.binary_search_by(|own| own.as_bytes().cmp(name));
        found.is_ok()
    }

    fn has_one_of<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        self.is_any() || names.any(|name| self.has(name.as_bytes()))
    }
}

impl Rule {
    pub(super) fn holds(&self, head: &RequestHead, attributes: &Attributes, unix_ms: u64) -> bool {
        self.who.holds(attributes.principal.as_deref())
            && self.what.holds(head, attributes, unix_ms)
    }
}

impl Who {
    /// Whether it is said at all who has to make the request.
    pub(super) fn is_anybody(&self) -> bool {
        self.needed == Needed::Nobody
            && self.consumers.is_any()
            && self.groups.is_any()
            && self.scopes.is_any()
            && self.scopes_all.is_any()
            && self.claims.is_empty()
    }

    fn holds(&self, principal: Option<&Principal>) -> bool {
        if self.is_anybody() {
            return true;
        }
        let Some(principal) = principal else {
            return false;
        };
        (self.needed == Needed::Nobody || !principal.schemes.is_empty())
            && self
                .consumers
                .has_one_of(principal.consumer.as_deref().into_iter())
            && self
                .groups
                .has_one_of(principal.groups.iter().map(|name| &**name))
            && self
                .scopes
                .has_one_of(principal.scopes.iter().map(|name| &**name))
            && self.scopes_all.0.iter().all(|scope| principal.may(scope))
            && self.claims.iter().all(|(claim, values)| {
                let mut own = principal.claims.values(claim).peekable();
                own.peek().is_some() && values.has_one_of(own)
            })
    }
}

impl What {
    pub(super) fn holds(&self, head: &RequestHead, attributes: &Attributes, unix_ms: u64) -> bool {
        let addresses = self.addresses.as_ref();
        let times = &self.times;
        (self.methods.is_any() || self.methods.has(head.method_text()))
            && addresses.is_none_or(|nets| nets.contains(attributes.client.ip))
            && (times.is_empty() || times.iter().any(|hours| hours.contain(unix_ms)))
    }
}
