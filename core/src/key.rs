//! Keys: what of a request something is counted, hashed or shared out by.

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
    /// A query parameter, not decoded.
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
}
