//! The heads of requests and responses: one flat type each for every HTTP version.
//!
//! What a head means for its hop (framing, connection options, upgrade) is taken out of the
//! fields when it is parsed and kept here as values.

use crate::http::fields::{Fields, Span};
use crate::http::method::{Method, Version};
use crate::http::text::every;

/// How the length of a body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyLen {
    /// There is no body, and no field that says so.
    #[default]
    None,
    /// `Content-Length`, in bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Until the peer closes; responses only.
    UntilClose,
}

impl BodyLen {
    /// Whether not a single body byte will come.
    pub const fn is_empty(self) -> bool {
        matches!(self, BodyLen::None | BodyLen::Length(0))
    }
}

/// What the peer said in `Connection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// `close`
    pub close: bool,
    /// `keep-alive`
    pub keep_alive: bool,
    /// `upgrade`, from an HTTP/1.1 peer that also sent `Upgrade`.
    pub upgrade: bool,
}

impl ConnectionOptions {
    /// Whether the peer will take another message on this connection (RFC 9112, 9.3).
    pub const fn is_persistent(self, version: Version) -> bool {
        match version {
            Version::Http11 | Version::Http2 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// The form of a request target (RFC 9112, 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TargetForm {
    /// `/path?query`
    #[default]
    Origin,
    /// `http://host/path?query`
    Absolute,
    /// `host:port`, with CONNECT only.
    Authority,
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// Whether the client takes trailers (`TE: trailers`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrailersOk {
    /// It did not say so.
    #[default]
    Unsaid,
    /// It said so.
    Yes,
}

/// The head of a request.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The fields, without those of the hop.
    pub fields: Fields,
    /// The method; see [`RequestHead::method_text`] for an extension's name.
    pub method: Method,
    /// The version the client speaks.
    pub version: Version,
    /// The form of the target.
    pub form: TargetForm,
    /// How the body's length is told.
    pub framing: BodyLen,
    /// What the client wants of the connection.
    pub connection: ConnectionOptions,
    /// Whether the client takes trailers.
    pub trailers: TrailersOk,
    /// Whether the client waits for 100 (Continue) before it sends the body.
    pub expect_continue: bool,
    pub(crate) extension: Span,
    pub(crate) target: Span,
    pub(crate) path: Span,
    pub(crate) query: Option<Span>,
    pub(crate) authority: Span,
    pub(crate) host_len: u32,
    pub(crate) port: Option<u16>,
    pub(crate) upgrade: Option<Span>,
}

impl RequestHead {
    /// Makes the head ready for the next request; keeps its memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.method = Method::Get;
        self.version = Version::Http11;
        self.form = TargetForm::Origin;
        self.framing = BodyLen::None;
        self.connection = ConnectionOptions::default();
        self.trailers = TrailersOk::Unsaid;
        self.expect_continue = false;
        self.extension = Span::default();
        self.target = Span::default();
        self.path = Span::default();
        self.query = None;
        self.authority = Span::default();
        self.host_len = 0;
        self.port = None;
        self.upgrade = None;
    }

    /// The method as sent.
    pub fn method_text(&self) -> &[u8] {
        match self.method {
            Method::Extension => self.fields.text_of(self.extension),
            known => known.name().as_bytes(),
        }
    }

    /// The whole target as sent; rewriting does not change it.
    pub fn target(&self) -> &[u8] {
        self.fields.text_of(self.target)
    }

    /// The path, not decoded: begins with `/`, or is `*`, or empty for CONNECT.
    pub fn path(&self) -> &[u8] {
        self.fields.text_of(self.path)
    }

    /// Where the path lies, for looking it up again after a rewrite.
    pub fn path_span(&self) -> Span {
        self.path
    }

    /// The query without its `?`; `None` when there was no `?`.
    pub fn query(&self) -> Option<&[u8]> {
        self.query.map(|query| self.fields.text_of(query))
    }

    /// Host and port as the client named them; empty for an HTTP/1.0 request without `Host`.
    pub fn authority(&self) -> &[u8] {
        self.fields.text_of(self.authority)
    }

    /// Where the authority lies, for looking it up again after a rewrite.
    pub fn authority_span(&self) -> Span {
        self.authority
    }

    /// The host of the authority as spelled, an IPv6 address in its brackets.
    pub fn host(&self) -> &[u8] {
        let authority = self.authority();
        authority.get(..self.host_len as usize).unwrap_or(authority)
    }

    /// The port of the authority, when one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The protocols the client would switch to; `None` when it may not or does not ask.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|upgrade| self.fields.text_of(upgrade))
    }

    /// Whether the client will take another response on this connection.
    pub const fn is_persistent(&self) -> bool {
        self.connection.is_persistent(self.version)
    }

    /// Replaces the path that the origin will see.
    pub fn set_path(&mut self, path: &[u8]) -> Result<(), InvalidTarget> {
        if path.first() != Some(&b'/') || !is_target(path) || path.contains(&b'?') {
            return Err(InvalidTarget);
        }
        self.path = self.fields.keep(path).ok_or(InvalidTarget)?;
        Ok(())
    }

    /// Replaces the query that the origin will see; `None` removes it with its `?`.
    pub fn set_query(&mut self, query: Option<&[u8]>) -> Result<(), InvalidTarget> {
        self.query = match query {
            None => None,
            Some(query) if is_target(query) => Some(self.fields.keep(query).ok_or(InvalidTarget)?),
            Some(_) => return Err(InvalidTarget),
        };
        Ok(())
    }

    /// Replaces host and port that the origin will see.
    pub fn set_authority(&mut self, authority: &[u8]) -> Result<(), InvalidTarget> {
        let parts = crate::http::authority::Authority::parse(authority).ok_or(InvalidTarget)?;
        self.authority = self.fields.keep(authority).ok_or(InvalidTarget)?;
        self.host_len = parts.host_len as u32;
        self.port = parts.port;
        Ok(())
    }
}

/// A path, query or authority that cannot be written into a start line or `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidTarget;

impl std::fmt::Display for InvalidTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a valid path, query or authority")
    }
}

impl std::error::Error for InvalidTarget {}

/// Whether the bytes may stand in a request target: visible ASCII without `#`. What else RFC
/// 3986 leaves out (`\`, `^`, `|`, `{`, `"` ...) is let through for the router's path policy.
#[inline]
pub(crate) fn is_target(bytes: &[u8]) -> bool {
    every(bytes, |b| (b > b' ') & (b < 0x7f) & (b != b'#'))
}

/// What a response is to the exchange (RFC 9110, 15.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// 1xx but 101: another response follows.
    Interim,
    /// 101: the connection changes its protocol behind this head.
    Switch,
    /// The answer.
    Final,
}

/// The head of a response.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The fields, without those of the hop.
    pub fields: Fields,
    /// The status, 100 to 999.
    pub status: u16,
    /// The version the origin speaks.
    pub version: Version,
    /// How the body's length is told.
    pub framing: BodyLen,
    /// What the origin wants of the connection.
    pub connection: ConnectionOptions,
    pub(crate) reason: Span,
    pub(crate) upgrade: Option<Span>,
}

impl ResponseHead {
    /// Makes the head ready for the next response; keeps its memory.
    pub fn clear(&mut self) {
        self.fields.clear();
        self.status = 0;
        self.version = Version::Http11;
        self.framing = BodyLen::None;
        self.connection = ConnectionOptions::default();
        self.reason = Span::default();
        self.upgrade = None;
    }

    /// The reason phrase; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.fields.text_of(self.reason)
    }

    /// The protocol a 101 switches to.
    pub fn upgrade(&self) -> Option<&[u8]> {
        self.upgrade.map(|upgrade| self.fields.text_of(upgrade))
    }

    /// What this response is to the exchange.
    pub const fn kind(&self) -> ResponseKind {
        match self.status {
            101 => ResponseKind::Switch,
            100..=199 => ResponseKind::Interim,
            _ => ResponseKind::Final,
        }
    }

    /// Whether the origin will take another request on this connection once the body ended.
    pub const fn is_persistent(&self) -> bool {
        !matches!(self.framing, BodyLen::UntilClose) && self.connection.is_persistent(self.version)
    }

    /// Whether a response with this status and method has no body, whatever its fields say
    /// (RFC 9112, 6.3).
    pub(crate) const fn is_bodiless(status: u16, method: Method) -> bool {
        matches!(status, 100..=199 | 204 | 304)
            || matches!(method, Method::Head)
            || (matches!(method, Method::Connect) && status / 100 == 2)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rewritten_targets_are_checked() {
        let mut head = RequestHead::default();
        head.set_path(b"/a%20b").unwrap();
        head.set_query(Some(b"x=1?")).unwrap();
        head.set_authority(b"a.example:80").unwrap();
        assert_eq!(head.path(), b"/a%20b");
        assert_eq!(head.query(), Some(&b"x=1?"[..]));
        assert_eq!((head.host(), head.port()), (&b"a.example"[..], Some(80)));
        for path in [
            &b"a"[..],
            b"",
            b"/a b",
            b"/a\r\n",
            b"/a#b",
            b"/a?b",
            b"/\xc3",
        ] {
            assert_eq!(head.set_path(path), Err(InvalidTarget));
        }
        assert_eq!(head.set_query(Some(b"a b")), Err(InvalidTarget));
        assert_eq!(head.set_authority(b"a\r\n"), Err(InvalidTarget));
        assert_eq!(head.path(), b"/a%20b");
    }

    #[test]
    fn persistence_follows_the_version() {
        let unsaid = ConnectionOptions::default();
        assert!(unsaid.is_persistent(Version::Http11));
        assert!(!unsaid.is_persistent(Version::Http10));
        let keep = ConnectionOptions {
            keep_alive: true,
            ..unsaid
        };
        assert!(keep.is_persistent(Version::Http10));
        let close = ConnectionOptions {
            close: true,
            ..keep
        };
        assert!(!close.is_persistent(Version::Http10) && !close.is_persistent(Version::Http11));
    }
}
