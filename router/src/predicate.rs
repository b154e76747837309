//! Conditions on header fields and query parameters, beyond host, path and method.
//!
//! A field that occurs several times satisfies a test when any of its values does; list
//! values (`a, b`) are not taken apart. A query parameter likewise.

use std::fmt;

use crate::methods::is_token_byte;
use crate::path::decode_at;

/// A condition on the values of one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueTest {
    /// It occurs, with whatever value.
    Present,
    /// It does not occur.
    Absent,
    /// One of its values is exactly this.
    Exact(Box<[u8]>),
    /// One of its values starts with this.
    Prefix(Box<[u8]>),
    /// One of its values is in this set.
    OneOf(Box<[Box<[u8]>]>),
}

impl ValueTest {
    /// A test for exactly `value`.
    pub fn exact(value: impl AsRef<[u8]>) -> Self {
        ValueTest::Exact(value.as_ref().into())
    }

    /// A test for values that start with `prefix`.
    pub fn prefix(prefix: impl AsRef<[u8]>) -> Self {
        ValueTest::Prefix(prefix.as_ref().into())
    }

    /// A test for any of `values`.
    pub fn one_of<I>(values: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        ValueTest::OneOf(
            values
                .into_iter()
                .map(|value| value.as_ref().into())
                .collect(),
        )
    }

    /// Whether a value satisfies the test; for `Absent` no value does.
    pub fn accepts(&self, value: &[u8]) -> bool {
        match self {
            ValueTest::Present => true,
            ValueTest::Absent => false,
            ValueTest::Exact(expected) => value == &**expected,
            ValueTest::Prefix(prefix) => value.starts_with(prefix),
            ValueTest::OneOf(set) => set.binary_search_by(|item| (**item).cmp(value)).is_ok(),
        }
    }

    /// The same for a raw query value, without decoding it into a buffer.
    fn accepts_encoded(&self, raw: &[u8]) -> bool {
        match self {
            ValueTest::Present => true,
            ValueTest::Absent => false,
            ValueTest::Exact(expected) => decoded(raw).eq(expected.iter().copied()),
            ValueTest::Prefix(prefix) => {
                let mut value = decoded(raw);
                prefix.iter().all(|&byte| value.next() == Some(byte))
            }
            ValueTest::OneOf(set) => set
                .binary_search_by(|item| item.iter().copied().cmp(decoded(raw)))
                .is_ok(),
        }
    }

    /// Sorts a set for binary search, and refuses tests that nothing can satisfy.
    fn checked(self) -> Result<Self, PredicateError> {
        let ValueTest::OneOf(set) = self else {
            return Ok(self);
        };
        let mut set = set.into_vec();
        set.sort();
        set.dedup();
        if set.is_empty() {
            return Err(PredicateError::EmptySet);
        }
        Ok(ValueTest::OneOf(set.into()))
    }

    fn literals(&self) -> &[Box<[u8]>] {
        match self {
            ValueTest::Present | ValueTest::Absent => &[],
            ValueTest::Exact(value) | ValueTest::Prefix(value) => std::slice::from_ref(value),
            ValueTest::OneOf(set) => set,
        }
    }
}

/// A test of a header field.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HeaderPredicate {
    name: Box<str>,
    test: ValueTest,
}

impl HeaderPredicate {
    /// Tests the field `name`, in any case; values are compared byte by byte.
    ///
    /// # Errors
    /// A name that is no token, an empty set, a value that no field can have.
    pub fn new(name: &str, test: ValueTest) -> Result<Self, PredicateError> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(PredicateError::NotAToken(name.into()));
        }
        let test = test.checked()?;
        for literal in test.literals() {
            let is_prefix = matches!(test, ValueTest::Prefix(_));
            let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
            let untrimmed = blank(literal.first()) || (!is_prefix && blank(literal.last()));
            let control = literal
                .iter()
                .any(|&byte| byte != b'\t' && byte.is_ascii_control());
            if untrimmed || control {
                return Err(PredicateError::ImpossibleValue(
                    String::from_utf8_lossy(literal).into_owned(),
                ));
            }
        }
        Ok(HeaderPredicate {
            name: name.to_ascii_lowercase().into(),
            test,
        })
    }

    /// The field name in lower case.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is tested.
    #[must_use]
    pub fn test(&self) -> &ValueTest {
        &self.test
    }

    pub(crate) fn holds<P: Probe + ?Sized>(&self, probe: &P) -> bool {
        match &self.test {
            ValueTest::Absent => !probe.any_header(&self.name, |_| true),
            test => probe.any_header(&self.name, |value| test.accepts(value)),
        }
    }
}

/// A test of a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct QueryPredicate {
    key: Box<[u8]>,
    test: ValueTest,
}

impl QueryPredicate {
    /// Tests the parameter `key`. Key and values are given decoded; a request's query is
    /// decoded (`%XX`, and `+` as a space) while it is compared. A parameter without `=` has
    /// an empty value.
    ///
    /// # Errors
    /// An empty set.
    pub fn new(key: impl AsRef<[u8]>, test: ValueTest) -> Result<Self, PredicateError> {
        Ok(QueryPredicate {
            key: key.as_ref().into(),
            test: test.checked()?,
        })
    }

    /// The decoded key.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// What is tested.
    #[must_use]
    pub fn test(&self) -> &ValueTest {
        &self.test
    }

    pub(crate) fn holds(&self, query: &[u8]) -> bool {
        let mut values = parameters(query)
            .filter(|(key, _)| decoded(key).eq(self.key.iter().copied()))
            .map(|(_, value)| value);
        match &self.test {
            ValueTest::Absent => values.next().is_none(),
            test => values.any(|value| test.accepts_encoded(value)),
        }
    }
}

/// What is known of the principal who makes a request, once filters in front of the router have
/// proved it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Fact {
    /// The name of the consumer.
    Consumer,
    /// A group that the principal is in.
    Group,
    /// A scope of its token.
    Scope,
    /// A claim of its token, by name.
    Claim(Box<str>),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Consumer => f.write_str("consumer"),
            Fact::Group => f.write_str("group"),
            Fact::Scope => f.write_str("scope"),
            Fact::Claim(name) => write!(f, "claim `{name}`"),
        }
    }
}

/// A test of a fact. A request whose principal is not known has no facts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FactPredicate {
    fact: Fact,
    test: ValueTest,
}

impl FactPredicate {
    /// Tests the values of a fact, byte by byte.
    ///
    /// # Errors
    /// An empty set.
    pub fn new(fact: Fact, test: ValueTest) -> Result<Self, PredicateError> {
        let test = test.checked()?;
        Ok(FactPredicate { fact, test })
    }

    /// What is looked at.
    #[must_use]
    pub fn fact(&self) -> &Fact {
        &self.fact
    }

    /// What is tested.
    #[must_use]
    pub fn test(&self) -> &ValueTest {
        &self.test
    }

    pub(crate) fn holds<P: Probe + ?Sized>(&self, probe: &P) -> bool {
        match &self.test {
            ValueTest::Absent => !probe.any_fact(&self.fact, |_| true),
            test => probe.any_fact(&self.fact, |value| test.accepts(value)),
        }
    }
}

/// Why a predicate was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PredicateError {
    /// The field name is no token (RFC 9110, section 5.6.2).
    NotAToken(String),
    /// A set without members.
    EmptySet,
    /// A value with control characters or outer blanks; a parsed field never has those.
    ImpossibleValue(String),
}

impl fmt::Display for PredicateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PredicateError::NotAToken(name) => write!(f, "`{name}` is not a header field name"),
            PredicateError::EmptySet => f.write_str("an empty set of values never matches"),
            PredicateError::ImpossibleValue(value) => write!(
                f,
                "no field value can be `{}`: control characters and outer blanks are not allowed",
                value.escape_debug()
            ),
        }
    }
}

impl std::error::Error for PredicateError {}

/// What predicates see of a request besides the target.
pub trait Probe {
    /// Whether `test` holds for a value of any field line called `lower_name`. Stops at the
    /// first that does. Values come without outer blanks.
    fn any_header(&self, lower_name: &str, test: impl FnMut(&[u8]) -> bool) -> bool;

    /// Whether `test` holds for a value of a fact. Nothing is known of a principal unless this
    /// says so.
    fn any_fact(&self, fact: &Fact, test: impl FnMut(&[u8]) -> bool) -> bool {
        let _ = (fact, test);
        false
    }
}

/// A request without header fields.
impl Probe for () {
    fn any_header(&self, _: &str, _: impl FnMut(&[u8]) -> bool) -> bool {
        false
    }
}

/// Header fields as pairs of name and value; names in any case.
impl<N: AsRef<[u8]>, V: AsRef<[u8]>> Probe for [(N, V)] {
    fn any_header(&self, lower_name: &str, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        self.iter().any(|(name, value)| {
            name.as_ref().eq_ignore_ascii_case(lower_name.as_bytes()) && test(value.as_ref())
        })
    }
}

/// The raw keys and values of a query; empty parts are skipped.
fn parameters(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    query
        .split(|&byte| byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match memchr::memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        })
}

/// The bytes of a form-encoded piece of a query. A `%` that starts no encoding stands for
/// itself, as browsers and servers have it.
fn decoded(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let &byte = raw.get(at)?;
        if byte == b'%'
            && let Some(value) = decode_at(raw, at)
        {
            at += 3;
            return Some(value);
        }
        at += 1;
        Some(if byte == b'+' { b' ' } else { byte })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn query(key: &str, test: ValueTest, text: &str) -> bool {
        QueryPredicate::new(key, test)
            .unwrap()
            .holds(text.as_bytes())
    }

    #[test]
    fn query_values_are_decoded_before_they_are_compared() {
        assert!(query("q", ValueTest::exact("a b"), "q=a+b"));
        assert!(query("q", ValueTest::exact("a b"), "x=1&%71=a%20b"));
        assert!(query("q", ValueTest::exact("50%"), "q=50%"));
        assert!(query("q", ValueTest::prefix("a b"), "q=a%20bc"));
        assert!(!query("q", ValueTest::prefix("a b"), "q=a"));
        assert!(query("q", ValueTest::one_of(["z", "é"]), "q=%C3%A9"));
        assert!(!query("q", ValueTest::exact("a"), "Q=a"));
    }

    #[test]
    fn any_of_the_repeated_parameters_may_match() {
        assert!(query("q", ValueTest::exact("2"), "q=1&q=2"));
        assert!(query("q", ValueTest::Present, "&&q"));
        assert!(query("q", ValueTest::exact(""), "q"));
        assert!(query("q", ValueTest::Absent, "qq=1"));
        assert!(!query("q", ValueTest::Absent, "a=1&q"));
    }

    #[test]
    fn any_of_the_repeated_fields_may_match() {
        let fields = [("X-Version", "1"), ("x-version", "2")];
        let holds = |test| {
            HeaderPredicate::new("X-VERSION", test)
                .unwrap()
                .holds(&fields[..])
        };
        assert!(holds(ValueTest::exact("2")));
        assert!(holds(ValueTest::one_of(["0", "1"])));
        assert!(!holds(ValueTest::Absent));
        assert!(!holds(ValueTest::prefix("3")));
    }

    #[test]
    fn refuses_predicates_that_never_hold() {
        assert!(HeaderPredicate::new("a b", ValueTest::Present).is_err());
        assert!(HeaderPredicate::new("a", ValueTest::exact(" b")).is_err());
        assert!(HeaderPredicate::new("a", ValueTest::exact("b\r")).is_err());
        assert!(QueryPredicate::new("a", ValueTest::one_of(Vec::<&str>::new())).is_err());
    }
}
