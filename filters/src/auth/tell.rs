//! What origins are told of a principal: fields that no client can send, as they are taken out
//! of every request before any filter sees it.

use std::rc::Rc;

use ringgate_core::chain::RequestPhase;
use ringgate_core::principal::Principal;

use crate::Filter;

/// Names of fields, in lower case. What has none is not told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tell {
    /// Has the consumer's name.
    pub consumer: Option<Box<str>>,
    /// Has what the credential calls its bearer.
    pub subject: Option<Box<str>>,
    /// Has the groups, with commas between them.
    pub groups: Option<Box<str>>,
    /// Has the scopes, with blanks between them.
    pub scopes: Option<Box<str>>,
    /// Claims, and the fields that have their values, with commas between several.
    pub claims: Box<[(Box<str>, Box<str>)]>,
}

impl Tell {
    /// The names of all its fields.
    pub fn names(&self) -> impl Iterator<Item = &Box<str>> {
        let own = [&self.consumer, &self.subject, &self.groups, &self.scopes];
        let own = own.into_iter().flatten();
        own.chain(self.claims.iter().map(|(_, field)| field))
    }

    /// Puts the fields into the request's head. A value that no field can have is left out: an
    /// origin then finds none, and none from the client either.
    pub(super) fn put(&self, principal: &Rc<Principal>, phase: &mut RequestPhase<'_, Filter>) {
        let fields = &mut phase.head.fields;
        let text = &mut phase.core.text;
        for (name, value) in [
            (&self.consumer, &principal.consumer),
            (&self.subject, &principal.subject),
        ] {
            if let (Some(name), Some(value)) = (name, value) {
                let _ = fields.set(name, value.as_bytes());
            }
        }
        let mut list = |name: &str, values: &mut dyn Iterator<Item = &str>, between: &[u8]| {
            text.clear();
            for value in values {
                if !text.is_empty() {
                    text.extend_from_slice(between);
                }
                text.extend_from_slice(value.as_bytes());
            }
            if !text.is_empty() {
                let _ = fields.set(name, text);
            }
        };
        if let Some(name) = &self.groups {
            list(name, &mut principal.groups.iter().map(|g| &**g), b",");
        }
        if let Some(name) = &self.scopes {
            list(name, &mut principal.scopes.iter().map(|s| &**s), b" ");
        }
        for (claim, name) in &self.claims {
            list(name, &mut principal.claims.values(claim), b",");
        }
    }
}
