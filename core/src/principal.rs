//! Who makes a request, as far as filters have proved it.

use std::rc::Rc;

use ringgate_router::Fact;

/// What a credential has proved. Made once per credential and core and shared by the requests
/// that come with it, so a request holds a reference and copies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The schemes that proved it, in the order they did: `api_key`, `jwt`, ...
    pub schemes: Vec<&'static str>,
    /// The consumer of the configuration, or of the store, that the credential belongs to.
    pub consumer: Option<Box<str>>,
    /// What the credential itself calls its bearer: a token's `sub`, a user name, the subject of
    /// a certificate.
    pub subject: Option<Box<str>>,
    /// The groups that it is in.
    pub groups: Vec<Box<str>>,
    /// What the consumer is marked with.
    pub tags: Vec<Box<str>>,
    /// What a token allows (RFC 6749, 3.3).
    pub scopes: Vec<Box<str>>,
    /// What a token says, by name.
    pub claims: Claims,
}

/// What a token says: names and values as text, in the order of names. A list is a name with
/// several values, a member of an object is called by its path, as in `realm_access.roles`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(Vec<(Box<str>, Box<str>)>);

impl Claims {
    /// Of names and values in any order; values of one name stay in theirs.
    pub fn new(mut pairs: Vec<(Box<str>, Box<str>)>) -> Claims {
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        Claims(pairs)
    }

    /// The values of a name.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let begin = self.0.partition_point(|(own, _)| **own < *name);
        let same = self.0[begin..]
            .iter()
            .take_while(move |(own, _)| **own == *name);
        same.map(|(_, value)| &**value)
    }

    /// Names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl Principal {
    /// Whether it is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| **own == *group)
    }

    /// Whether it has a scope.
    pub fn may(&self, scope: &str) -> bool {
        self.scopes.iter().any(|own| **own == *scope)
    }

    /// Whether a test holds for one of its values of a fact.
    pub fn any(&self, fact: &Fact, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        let mut all = |texts: &[Box<str>]| texts.iter().any(|text| test(text.as_bytes()));
        match fact {
            Fact::Consumer => all(self.consumer.as_slice()),
            Fact::Group => all(&self.groups),
            Fact::Scope => all(&self.scopes),
            Fact::Claim(name) => {
                let mut values = self.claims.values(name);
                values.any(|value| test(value.as_bytes()))
            }
        }
    }

    /// What both have proved, when both are asked for: `self` is the earlier one, and its
    /// subject and, where claims have the same name, its claims stand.
    ///
    /// # Errors
    /// They belong to different consumers.
    pub fn with(&self, other: &Principal) -> Result<Principal, TwoConsumers> {
        if let (Some(one), Some(two)) = (&self.consumer, &other.consumer)
            && one != two
        {
            return Err(TwoConsumers);
        }
        let mut both = self.clone();
        both.schemes.extend(&other.schemes);
        both.consumer = both.consumer.or_else(|| other.consumer.clone());
        both.subject = both.subject.or_else(|| other.subject.clone());
        add(&mut both.groups, &other.groups);
        add(&mut both.tags, &other.tags);
        add(&mut both.scopes, &other.scopes);
        let news = other.claims.iter().filter(|(name, _)| {
            let mut known = self.claims.values(name);
            known.next().is_none()
        });
        let mut pairs = both.claims.0;
        pairs.extend(news.map(|(name, value)| (name.into(), value.into())));
        both.claims = Claims::new(pairs);
        Ok(both)
    }
}

/// Two credentials of one request belong to different consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwoConsumers;

fn add(to: &mut Vec<Box<str>>, more: &[Box<str>]) {
    for one in more {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

/// Who makes a request; none as long as nothing is proved.
pub type Proved = Option<Rc<Principal>>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(consumer: Option<&str>, claims: &[(&str, &str)]) -> Principal {
        let pairs = claims.iter().map(|(n, v)| ((*n).into(), (*v).into()));
        Principal {
            consumer: consumer.map(Into::into),
            claims: Claims::new(pairs.collect()),
            ..Principal::default()
        }
    }

    #[test]
    fn a_claim_may_have_several_values() {
        let one = of(None, &[("roles", "b"), ("aud", "x"), ("roles", "a")]);
        let roles: Vec<_> = one.claims.values("roles").collect();
        assert_eq!(roles, ["b", "a"]);
        assert_eq!(one.claims.values("role").count(), 0);
        assert_eq!(one.claims.values("z").count(), 0);
    }

    #[test]
    fn what_was_proved_first_is_not_overwritten() {
        let first = of(None, &[("sub", "alice")]);
        let second = of(Some("app"), &[("sub", "mallory"), ("org", "x")]);
        let both = first.with(&second).unwrap();
        assert_eq!(both.consumer.as_deref(), Some("app"));
        let subs: Vec<_> = both.claims.values("sub").collect();
        assert_eq!(subs, ["alice"]);
        assert_eq!(both.claims.values("org").next(), Some("x"));
        assert_eq!(both.with(&of(Some("other"), &[])), Err(TwoConsumers));
    }
}
