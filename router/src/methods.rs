//! Sets of request methods: well-known methods are bits, extension methods are names.
//! A set that lists GET contains HEAD too: RFC 9110, section 9.3.2 makes HEAD the same
//! request without the content, and section 9.1 asks servers to support both.

use std::fmt;

/// The methods of RFC 9110 and RFC 5789; a method's place here is its bit.
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];
const GET: u64 = 1;
const HEAD: u64 = 1 << 1;
const OPTIONS: u64 = 1 << 6;
/// Stands for every method that no route of a router names.
pub(crate) const OTHER: u64 = 1 << 63;

/// Extension methods that one router can tell apart: the bits between the known ones and
/// the one for all others.
pub(crate) const EXTENSIONS_MAX: usize = 63 - KNOWN.len();

/// The methods that a route takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MethodSet {
    known: u64,
    extensions: Vec<Box<str>>,
    every: Every,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Every {
    Listed,
    Method,
}

impl MethodSet {
    /// Every method, known or not.
    #[must_use]
    pub fn any() -> Self {
        MethodSet {
            known: 0,
            extensions: Vec::new(),
            every: Every::Method,
        }
    }

    /// The named methods, and HEAD when GET is among them. Names are case-sensitive
    /// (RFC 9110, section 9.1); any token is allowed, such as `PURGE`.
    ///
    /// # Errors
    /// An empty list, a name that is no token, and a well-known method in the wrong case.
    pub fn of<I>(names: I) -> Result<Self, MethodError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut set = MethodSet {
            known: 0,
            extensions: Vec::new(),
            every: Every::Listed,
        };
        for name in names {
            set.insert(name.as_ref())?;
        }
        if set.known == 0 && set.extensions.is_empty() {
            return Err(MethodError::Empty);
        }
        set.extensions.sort();
        set.extensions.dedup();
        Ok(set)
    }

    fn insert(&mut self, name: &str) -> Result<(), MethodError> {
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(MethodError::NotAToken(name.into()));
        }
        if let Some(bit) = known_bit(name.as_bytes()) {
            self.known |= bit;
            if bit == GET {
                self.known |= HEAD;
            }
            return Ok(());
        }
        if let Some(known) = KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            return Err(MethodError::WrongCase {
                given: name.into(),
                known,
            });
        }
        self.extensions.push(name.into());
        Ok(())
    }

    /// Whether this set takes every method.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.every == Every::Method
    }

    /// Whether a request with this method is taken.
    #[must_use]
    pub fn contains(&self, method: &[u8]) -> bool {
        self.is_any()
            || match known_bit(method) {
                Some(bit) => self.known & bit != 0,
                None => self.extensions.iter().any(|name| name.as_bytes() == method),
            }
    }

    /// The listed names, well-known ones first; none for [`MethodSet::any`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let known = KNOWN.iter().enumerate();
        known
            .filter(|(bit, _)| self.known & (1 << bit) != 0)
            .map(|(_, name)| *name)
            .chain(self.extensions.iter().map(AsRef::as_ref))
    }

    /// The value of an `Allow` field (RFC 9110, section 10.2.1), such as `GET, HEAD`.
    #[must_use]
    pub fn allow_value(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }
}

/// Why a list of methods was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MethodError {
    /// No method at all.
    Empty,
    /// Not a token (RFC 9110, section 5.6.2).
    NotAToken(String),
    /// A well-known method in another case would never match.
    WrongCase {
        /// What was written.
        given: String,
        /// What was probably meant.
        known: &'static str,
    },
}

impl fmt::Display for MethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MethodError::Empty => {
                f.write_str("an empty list takes no request; leave it out to take every method")
            }
            MethodError::NotAToken(name) => write!(f, "`{name}` is not a method name"),
            MethodError::WrongCase { given, known } => {
                write!(
                    f,
                    "method names are case-sensitive: `{given}` should be `{known}`"
                )
            }
        }
    }
}

impl std::error::Error for MethodError {}

/// The methods that a looked-up resource takes; [`crate::Router::allowed_methods`] names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed(pub(crate) u64);

/// The bits that one router gives to methods.
#[derive(Debug, Default)]
pub(crate) struct MethodTable {
    extensions: Vec<Box<str>>,
}

impl MethodTable {
    /// The bits of `set`; extension methods get theirs here. `None` when bits have run out.
    pub(crate) fn mask_interning(&mut self, set: &MethodSet) -> Option<u64> {
        if set.is_any() {
            return Some(u64::MAX);
        }
        let mut mask = set.known;
        for name in &set.extensions {
            let place = match self.extensions.iter().position(|known| known == name) {
                Some(place) => place,
                None if self.extensions.len() < EXTENSIONS_MAX => {
                    self.extensions.push(name.clone());
                    self.extensions.len() - 1
                }
                None => return None,
            };
            mask |= 1 << (KNOWN.len() + place);
        }
        Some(mask)
    }

    /// The single bit of a request's method.
    #[inline]
    pub(crate) fn bit(&self, method: &[u8]) -> u64 {
        known_bit(method).unwrap_or_else(|| {
            let place = self
                .extensions
                .iter()
                .position(|name| name.as_bytes() == method);
            place.map_or(OTHER, |place| 1 << (KNOWN.len() + place))
        })
    }

    /// A method that has exactly this bit.
    pub(crate) fn name_of_bit(&self, bit: u64) -> String {
        let place = bit.trailing_zeros() as usize;
        if let Some(name) = KNOWN.get(place) {
            return (*name).to_owned();
        }
        if let Some(name) = self.extensions.get(place - KNOWN.len()) {
            return name.to_string();
        }
        let mut name = String::from("ANY");
        while self.bit(name.as_bytes()) != OTHER {
            name.push('-');
        }
        name
    }

    pub(crate) fn set_of_mask(&self, mask: u64) -> MethodSet {
        let places = self.extensions.iter().enumerate();
        MethodSet {
            known: mask & ((1 << KNOWN.len()) - 1),
            extensions: places
                .filter(|(place, _)| mask & (1 << (KNOWN.len() + place)) != 0)
                .map(|(_, name)| name.clone())
                .collect(),
            every: Every::Listed,
        }
    }
}

/// The answer of a resource whose routes take `mask`: the gateway answers OPTIONS itself.
pub(crate) fn with_options(mask: u64) -> Allowed {
    Allowed(mask | OPTIONS)
}

pub(crate) fn is_options(bit: u64) -> bool {
    bit == OPTIONS
}

#[inline]
fn known_bit(method: &[u8]) -> Option<u64> {
    let place = match method {
        b"GET" => 0,
        b"HEAD" => 1,
        b"POST" => 2,
        b"PUT" => 3,
        b"DELETE" => 4,
        b"CONNECT" => 5,
        b"OPTIONS" => 6,
        b"TRACE" => 7,
        b"PATCH" => 8,
        _ => return None,
    };
    Some(1 << place)
}

/// `tchar` (RFC 9110, section 5.6.2).
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn get_brings_head() {
        let set = MethodSet::of(["GET", "PURGE"]).unwrap();
        assert!(set.contains(b"HEAD") && set.contains(b"PURGE") && !set.contains(b"POST"));
        assert_eq!(set.allow_value(), "GET, HEAD, PURGE");
    }

    #[test]
    fn refuses_names_that_cannot_match() {
        assert_eq!(MethodSet::of(Vec::<String>::new()), Err(MethodError::Empty));
        assert!(matches!(
            MethodSet::of(["get"]),
            Err(MethodError::WrongCase { known: "GET", .. })
        ));
        assert!(matches!(
            MethodSet::of(["A B"]),
            Err(MethodError::NotAToken(_))
        ));
    }

    #[test]
    fn table_gives_each_extension_its_bit() {
        let mut table = MethodTable::default();
        let purge = table
            .mask_interning(&MethodSet::of(["PURGE"]).unwrap())
            .unwrap();
        let both = table
            .mask_interning(&MethodSet::of(["BAN", "PURGE", "PUT"]).unwrap())
            .unwrap();
        assert_eq!(table.bit(b"PURGE"), purge);
        assert_eq!(table.set_of_mask(both).allow_value(), "PUT, PURGE, BAN");
        assert_eq!(table.bit(b"BREW"), OTHER);
        assert_eq!(table.name_of_bit(OTHER), "ANY");
        assert_eq!(table.name_of_bit(purge), "PURGE");
    }

    #[test]
    fn table_runs_out_of_bits_without_wrapping() {
        let mut table = MethodTable::default();
        for number in 0..EXTENSIONS_MAX {
            assert!(
                table
                    .mask_interning(&MethodSet::of([format!("X{number}")]).unwrap())
                    .is_some()
            );
        }
        assert!(
            table
                .mask_interning(&MethodSet::of(["ONE-TOO-MANY"]).unwrap())
                .is_none()
        );
    }
}
