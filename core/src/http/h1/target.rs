//! The request target: its form, and the path, query and authority in it (RFC 9112, 3.2).

use crate::http::authority::Authority;
use crate::http::fields::Span;
use crate::http::h1::error::HeadError;
use crate::http::head::{RequestHead, TargetForm};
use crate::http::method::Method;

/// Finds path, query and authority in the target (RFC 9112, 3.2).
pub(super) fn read_target(target: &[u8], head: &mut RequestHead) -> Result<(), HeadError> {
    if head.method == Method::Connect {
        head.form = TargetForm::Authority;
        return match target.first() {
            Some(b'/' | b'*') => Err(HeadError::TargetForm),
            _ => read_authority(target, head.target, head),
        };
    }
    match target {
        [b'/', ..] => {
            head.form = TargetForm::Origin;
            read_path(target, head.target, head);
            Ok(())
        }
        b"*" if head.method == Method::Options => {
            head.form = TargetForm::Asterisk;
            head.path = head.target;
            Ok(())
        }
        _ => read_absolute(target, head),
    }
}

fn read_path(text: &[u8], span: Span, head: &mut RequestHead) {
    match memchr::memchr(b'?', text) {
        None => head.path = span,
        Some(at) => {
            head.path = span.part(0, at);
            head.query = Some(span.part(at + 1, text.len() - at - 1));
        }
    }
}

fn read_authority(text: &[u8], span: Span, head: &mut RequestHead) -> Result<(), HeadError> {
    let parts = Authority::parse(text).ok_or(HeadError::Authority)?;
    if head.form == TargetForm::Authority && parts.port.is_none() {
        // RFC 9112, 3.2.3: CONNECT names the port always.
        return Err(HeadError::Authority);
    }
    head.authority = span;
    head.host_len = parts.host_len as u32;
    head.port = parts.port;
    Ok(())
}

fn read_absolute(target: &[u8], head: &mut RequestHead) -> Result<(), HeadError> {
    let colon = memchr::memmem::find(target, b"://").ok_or(HeadError::TargetForm)?;
    let scheme = &target[..colon];
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(HeadError::Scheme);
    }
    head.form = TargetForm::Absolute;
    let start = colon + "://".len();
    let rest = &target[start..];
    let len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    read_authority(&rest[..len], head.target.part(start, len), head)?;
    let span = head.target.part(start + len, rest.len() - len);
    read_path(&rest[len..], span, head);
    if head.path.is_empty() {
        // RFC 9112, 3.2.1 and 3.2.4: an empty path is `/`, or `*` for OPTIONS.
        let path = if head.method == Method::Options && head.query.is_none() {
            head.form = TargetForm::Asterisk;
            b"*"
        } else {
            b"/"
        };
        head.path = head.fields.keep(path).ok_or(HeadError::HeadTooLarge)?;
    }
    Ok(())
}
