//! What the fields of a hop mean: framing, connection options, upgrade (RFC 9112, 6 and 9).

use crate::http::fields::{Fields, Span};
use crate::http::h1::error::HeadError;
use crate::http::head::{BodyLen, ConnectionOptions, ResponseHead};
use crate::http::known::{Known, KnownSet};
use crate::http::method::{Method, Version};
use crate::http::text::{is_token, is_word, list_members};

/// The fields of a request that [`Hop::see`] has to be shown.
pub(in crate::http) static OF_REQUEST: KnownSet = KnownSet::of(&[
    Known::Host,
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Connection,
    Known::Upgrade,
    Known::Te,
    Known::Expect,
]);

/// The same for a response.
pub(in crate::http) static OF_RESPONSE: KnownSet = KnownSet::of(&[
    Known::ContentLength,
    Known::TransferEncoding,
    Known::Connection,
    Known::Upgrade,
]);

/// What the fields seen so far say about the hop.
#[derive(Default)]
pub(in crate::http) struct Hop {
    pub(in crate::http) host: Option<Span>,
    pub(in crate::http) connection: ConnectionOptions,
    pub(in crate::http) upgrade: Option<Span>,
    pub(in crate::http) te_trailers: bool,
    pub(in crate::http) expect_continue: bool,
    /// Whether `Connection` names fields that have to go.
    pub(super) names_fields: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Hop {
    /// Takes one of the watched fields into account.
    pub(in crate::http) fn see(
        &mut self,
        known: Known,
        value: &[u8],
        span: Span,
    ) -> Result<(), HeadError> {
        match known {
            Known::Host if self.host.is_some() => return Err(HeadError::TwoHosts),
            Known::Host => self.host = Some(span),
            Known::ContentLength => self.see_length(value)?,
            Known::TransferEncoding => self.see_coding(value)?,
            Known::Connection => self.see_connection(value)?,
            Known::Upgrade if self.upgrade.is_none() && !value.is_empty() => {
                self.upgrade = Some(span);
            }
            Known::Te => {
                self.te_trailers |= list_members(value).any(|member| is_word(member, "trailers"));
            }
            Known::Expect if is_word(value, "100-continue") => self.expect_continue = true,
            Known::Expect => return Err(HeadError::Expectation),
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, 6.3 lets equal lengths be merged; a sender that repeats itself is refused.
    fn see_length(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.length.is_some() || value.contains(&b',') {
            return Err(HeadError::TwoContentLengths);
        }
        self.length = Some(parse_length(value).ok_or(HeadError::ContentLength)?);
        Ok(())
    }

    fn see_coding(&mut self, value: &[u8]) -> Result<(), HeadError> {
        if self.chunked {
            return Err(HeadError::TwoTransferEncodings);
        }
        if !is_word(value, "chunked") {
            return Err(HeadError::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    fn see_connection(&mut self, value: &[u8]) -> Result<(), HeadError> {
        for option in list_members(value) {
            if is_word(option, "keep-alive") {
                self.connection.keep_alive = true;
            } else if is_word(option, "close") {
                self.connection.close = true;
            } else if is_word(option, "upgrade") {
                self.connection.upgrade = true;
            } else if !is_token(option) {
                return Err(HeadError::Connection);
            } else if KnownSet::NOT_CONNECTION_OPTIONS.contains(Known::of(option)) {
                return Err(HeadError::ConnectionOption);
            } else {
                self.names_fields = true;
            }
        }
        Ok(())
    }

    /// RFC 9112, 6.3 for requests.
    pub(in crate::http) fn request_framing(&self, version: Version) -> Result<BodyLen, HeadError> {
        Ok(self.told_framing(version)?.unwrap_or(BodyLen::None))
    }

    /// RFC 9112, 6.3 for responses.
    pub(in crate::http) fn response_framing(
        &self,
        version: Version,
        status: u16,
        method: Method,
    ) -> Result<BodyLen, HeadError> {
        let told = self.told_framing(version)?;
        if ResponseHead::is_bodiless(status, method) {
            return Ok(BodyLen::None);
        }
        Ok(told.unwrap_or(BodyLen::UntilClose))
    }

    fn told_framing(&self, version: Version) -> Result<Option<BodyLen>, HeadError> {
        match (self.chunked, self.length) {
            (true, Some(_)) => Err(HeadError::ClAndTe),
            (true, None) if version == Version::Http10 => Err(HeadError::TeInHttp10),
            (true, None) => Ok(Some(BodyLen::Chunked)),
            (false, Some(length)) => Ok(Some(BodyLen::Length(length))),
            (false, None) => Ok(None),
        }
    }
}

/// Whether the name is a known one but for underscores in the place of hyphens. CGI and its
/// descendants cannot tell the two apart, so `X_Forwarded_For` would pass for what a gateway
/// says; such a field is dropped, as nginx drops every name with an underscore.
#[inline]
pub(in crate::http) fn is_alias(name: &[u8]) -> bool {
    memchr::memchr(b'_', name).is_some() && is_alias_of_known(name)
}

#[cold]
fn is_alias_of_known(name: &[u8]) -> bool {
    let mut hyphened = [0; Known::NAME_MAX];
    let Some(hyphened) = hyphened.get_mut(..name.len()) else {
        return false;
    };
    for (to, from) in hyphened.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    Known::of(hyphened) != Known::Other
}

/// Connection options of one head that are looked up among its fields; every look-up passes
/// over all of them, so their number is bounded.
const NAMED_MAX: usize = 32;

/// Removes the fields that `Connection` names (RFC 9110, 7.6.1).
#[cold]
pub(super) fn remove_named(fields: &mut Fields, memory: &[u8]) -> Result<(), HeadError> {
    let mut left = NAMED_MAX;
    for i in 0..fields.table().len() {
        let field = fields.table()[i];
        if field.known() == Known::Connection {
            for option in list_members(field.value_in(memory)) {
                left = left.checked_sub(1).ok_or(HeadError::TooManyFields)?;
                fields.remove_parsed(option, memory);
            }
        }
    }
    Ok(())
}

/// The number in a `Content-Length`: digits only, below 2^64.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    let mut length = 0u64;
    for &byte in value {
        if !byte.is_ascii_digit() {
            return None;
        }
        length = length
            .checked_mul(10)?
            .checked_add(u64::from(byte - b'0'))?;
    }
    Some(length)
}
