//! Keys: what of a request something is counted, hashed or shared out by.
//!
//! A part that a request does not have is a value of its own, so that all requests without it
//! count together instead of not at all. Hashing allocates nothing.

mod value;

use std::fmt;

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use crate::chain::Attributes;
use crate::http::RequestHead;
use value::Value;
pub(crate) use value::cookie;

/// Parts of a request, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Never empty.
    pub parts: Box<[Part]>,
    /// Leading bits of an IPv4 client address that count.
    pub ipv4_prefix: u8,
    /// Leading bits of an IPv6 client address that count.
    pub ipv6_prefix: u8,
}

/// A part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The client's address.
    ClientIp,
    /// A request field, by its name in lower case; several lines count as one list.
    Header(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// A query parameter, the first of this name. Names and values count decoded, so `%61bc` is
    /// `abc`; a `+` is no space.
    Query(Box<str>),
    /// A capture of the route's path pattern.
    Capture(Box<str>),
    /// The route's name.
    Route,
    /// The host.
    Host,
    /// The normalised path.
    Path,
    /// The method.
    Method,
    /// The fingerprint of the client's certificate.
    Identity,
    /// The consumer that a credential belongs to.
    Consumer,
    /// What a credential calls its bearer.
    Subject,
    /// A claim of a token, by name; a list of values counts as one.
    Claim(Box<str>),
}

/// The names of one route that keys refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteNames {
    /// The route's own.
    pub name: Box<str>,
    /// Those of its captures, in the order of the pattern.
    pub captures: Box<[Box<str>]>,
}

/// The names that a request's route has; none before there is a route.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyNames<'a>(Option<&'a RouteNames>);

impl<'a> KeyNames<'a> {
    /// The names of this route.
    pub const fn new(route: &'a RouteNames) -> KeyNames<'a> {
        KeyNames(Some(route))
    }

    /// The names of a request's route, out of those of all routes by index.
    #[inline]
    pub fn of(routes: &'a [RouteNames], attributes: &Attributes) -> KeyNames<'a> {
        KeyNames(attributes.route.and_then(|route| routes.get(route)))
    }

    fn route(&self) -> Option<&'a [u8]> {
        self.0.map(|names| names.name.as_bytes())
    }

    fn capture(&self, name: &str) -> Option<usize> {
        let captures = &self.0?.captures;
        captures.iter().position(|capture| **capture == *name)
    }
}

impl Key {
    /// A hash of what the request has of this key: the same in every process for the same
    /// seed, and different for another order of parts. Never allocates.
    pub fn hash(
        &self,
        seed: u64,
        head: &RequestHead,
        attributes: &Attributes,
        names: &KeyNames<'_>,
    ) -> u64 {
        // Each part's hash seeds the next, so parts cannot run into each other.
        self.parts.iter().fold(seed, |seed, part| {
            self.value(part, head, attributes, names).hash(seed)
        })
    }

    /// Whether the request has nothing of this key: then there is nothing to keep together.
    pub fn is_missing(
        &self,
        head: &RequestHead,
        attributes: &Attributes,
        names: &KeyNames<'_>,
    ) -> bool {
        let mut parts = self.parts.iter();
        parts.all(|part| matches!(self.value(part, head, attributes, names), Value::Absent))
    }

    /// Appends what the request has of this key as text for people and stores: the values in
    /// order, `|` between them. A missing part is `-`; what is not printable ASCII, and what
    /// would be taken for such a mark, is escaped as `\xx`. Of a value longer than
    /// [`VALUE_TEXT_MAX`] bytes only the beginning is told, and a hash of the whole.
    pub fn write(
        &self,
        head: &RequestHead,
        attributes: &Attributes,
        names: &KeyNames<'_>,
        out: &mut Vec<u8>,
    ) {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                out.push(b'|');
            }
            self.value(part, head, attributes, names).write(out);
        }
    }

    /// Appends what the request has of this key, whole and so that no two requests have the same
    /// bytes unless they have the same values; for keys that something secret hangs on. `None`
    /// when the request has not all parts: what was appended then means nothing.
    pub fn write_whole(
        &self,
        head: &RequestHead,
        attributes: &Attributes,
        names: &KeyNames<'_>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        for part in &self.parts {
            let value = self.value(part, head, attributes, names);
            let begin = out.len();
            out.extend_from_slice(&[0; size_of::<u64>()]);
            match &value {
                Value::Absent => return None,
                Value::Address { octets, len, .. } => {
                    out.extend_from_slice(&octets[..usize::from(*len)]);
                }
                value => value.pieces(|piece| out.extend_from_slice(piece)),
            }
            let len = (out.len() - begin - size_of::<u64>()) as u64;
            out[begin..begin + size_of::<u64>()].copy_from_slice(&len.to_le_bytes());
        }
        Some(())
    }

    fn value<'v>(
        &self,
        part: &'v Part,
        head: &'v RequestHead,
        attributes: &'v Attributes,
        names: &KeyNames<'v>,
    ) -> Value<'v> {
        match part {
            Part::ClientIp => {
                Value::address(attributes.client.ip, self.ipv4_prefix, self.ipv6_prefix)
            }
            Part::Header(name) => Value::lines(&head.fields, name),
            Part::Cookie(name) => Value::maybe(cookie(&head.fields, name)),
            Part::Query(name) => value::query(head.query(), name),
            Part::Capture(name) => Value::maybe(names.capture(name).and_then(|index| {
                let path = head.fields.text_of(attributes.routed_path);
                attributes.captures.get(index, path)
            })),
            Part::Route => Value::maybe(names.route()),
            Part::Host => Value::host(head.fields.text_of(attributes.authority)),
            Part::Path => Value::Bytes(head.fields.text_of(attributes.routed_path)),
            Part::Method => Value::Bytes(head.method_text()),
            Part::Identity => Value::maybe(
                attributes
                    .tls
                    .as_ref()
                    .and_then(|tls| tls.identity.as_ref())
                    .map(|identity| identity.fingerprint.as_bytes()),
            ),
            Part::Consumer => {
                let principal = attributes.principal.as_ref();
                Value::maybe(
                    principal
                        .and_then(|known| known.consumer.as_deref())
                        .map(str::as_bytes),
                )
            }
            Part::Subject => {
                let principal = attributes.principal.as_ref();
                Value::maybe(
                    principal
                        .and_then(|known| known.subject.as_deref())
                        .map(str::as_bytes),
                )
            }
            Part::Claim(name) => match &attributes.principal {
                Some(principal) => Value::claim(&principal.claims, name),
                None => Value::Absent,
            },
        }
    }
}

/// Bytes of one value that [`Key::write`] tells.
pub const VALUE_TEXT_MAX: usize = 256;

impl fmt::Display for Key {
    /// As in a configuration: `client_ip, header:x-user`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            part.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::ClientIp => f.write_str("client_ip"),
            Part::Header(name) => write!(f, "header:{name}"),
            Part::Cookie(name) => write!(f, "cookie:{name}"),
            Part::Query(name) => write!(f, "query:{name}"),
            Part::Capture(name) => write!(f, "capture:{name}"),
            Part::Route => f.write_str("route"),
            Part::Host => f.write_str("host"),
            Part::Path => f.write_str("path"),
            Part::Method => f.write_str("method"),
            Part::Identity => f.write_str("identity"),
            Part::Consumer => f.write_str("consumer"),
            Part::Subject => f.write_str("subject"),
            Part::Claim(name) => write!(f, "claim:{name}"),
        }
    }
}

impl Value<'_> {
    fn hash(&self, seed: u64) -> u64 {
        /// Tells a missing value from an empty one.
        const ABSENT: u64 = 0x9e37_79b9_7f4a_7c15;
        match self {
            Value::Absent => xxh3_64_with_seed(b"absent", seed ^ ABSENT),
            Value::Bytes(bytes) => xxh3_64_with_seed(bytes, seed),
            Value::Address { octets, len, .. } => {
                xxh3_64_with_seed(&octets[..usize::from(*len)], seed)
            }
            Value::Encoded(_) | Value::Pieces(_) | Value::Values(_) | Value::Folded(_) => {
                let mut hash = Xxh3::with_seed(seed);
                self.pieces(|piece| hash.update(piece));
                hash.digest()
            }
        }
    }
}

#[cfg(test)]
mod tests;
