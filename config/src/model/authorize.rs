//! Rules of who may do what.

use ipnet::IpNet;

use super::Name;
use crate::Spanned;

/// What an `authorize` filter goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authorize {
    /// One of them has to hold; `None` allows all that no rule denies.
    pub allow: Option<Vec<Rule>>,
    /// None of them may hold.
    pub deny: Vec<Rule>,
}

/// What has to be true of a request: all that is written, and of each list one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What `explain` calls it.
    pub name: Option<Box<str>>,
    /// Whether somebody has to be known.
    pub authenticated: bool,
    /// Consumers; they exist, unless consumers are kept in Redis.
    pub consumers: Vec<Spanned<Name>>,
    /// Groups.
    pub groups: Vec<Box<str>>,
    /// Scopes.
    pub scopes: Vec<Box<str>>,
    /// Scopes, all of which are needed.
    pub scopes_all: Vec<Box<str>>,
    /// Claims with the values that they may have; without values any will do.
    pub claims: Vec<(Box<str>, Vec<Box<str>>)>,
    /// Networks that clients are of.
    pub addresses: Vec<IpNet>,
    /// Methods.
    pub methods: Vec<Box<str>>,
    /// Times.
    pub times: Vec<Hours>,
}

impl Rule {
    /// Whether it says who has to make the request.
    #[must_use]
    pub fn is_about_somebody(&self) -> bool {
        self.authenticated
            || !self.consumers.is_empty()
            || !self.groups.is_empty()
            || !self.scopes.is_empty()
            || !self.scopes_all.is_empty()
            || !self.claims.is_empty()
    }
}

/// A stretch of some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Bit 0 is Monday.
    pub days: u8,
    /// Minutes since midnight, below 1440.
    pub from: u16,
    /// Minutes since midnight, at most 1440; not after `from` is on the next day.
    pub to: u16,
    /// Minutes ahead of UTC.
    pub offset: i16,
}
