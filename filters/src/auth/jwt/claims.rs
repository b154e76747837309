//! What a token claims (RFC 7519, 4): whether it may be used here and now, and by whom.

use ringgate_core::principal::{Claims, Principal};

use super::NAME;
use super::issuer::{Expiry, Issuer};
use super::json::{Json, Number, Object};
use crate::auth::Refusal;

/// Until when a token may be used, in milliseconds since the UNIX epoch.
pub(super) type Until = u64;

/// Whether the token may be used at a moment, by what it claims.
pub(super) fn check(
    claims: &Object,
    issuer: &Issuer,
    audiences: &[Box<str>],
    unix_ms: u64,
) -> Result<Until, Refusal> {
    let until = check_times(claims, issuer, unix_ms)?;
    if !audiences.is_empty() && !is_for(claims.member("aud"), audiences) {
        return Err(Refusal::invalid("its audience is another"));
    }
    if let Some(sub) = claims.member("sub")
        && sub.text().is_none()
    {
        return Err(Refusal::invalid("its subject is no text"));
    }
    for name in &issuer.claims_required {
        if at(claims, name).is_none_or(is_empty) {
            return Err(Refusal::invalid("a claim that is required is not in it"));
        }
    }
    Ok(until)
}

fn check_times(claims: &Object, issuer: &Issuer, unix_ms: u64) -> Result<Until, Refusal> {
    let leeway = issuer.leeway_ms;
    let time = |name: &str| match claims.member(name) {
        None => Ok(None),
        Some(value) => moment(value).map(Some).ok_or(Refusal::invalid(
            "one of its times is no number, or none of a time",
        )),
    };
    let (exp, nbf, iat) = (time("exp")?, time("nbf")?, time("iat")?);
    let mut until = u64::MAX;
    match exp {
        Some(exp) => until = exp.saturating_add(leeway),
        None if issuer.expiry == Expiry::Required => {
            return Err(Refusal::invalid("it never expires"));
        }
        None => {}
    }
    if let Some(age_max) = issuer.age_max_ms {
        let Some(iat) = iat else {
            return Err(Refusal::invalid("it does not say when it was issued"));
        };
        until = until.min(iat.saturating_add(age_max).saturating_add(leeway));
    }
    // RFC 7519, 4.1.4: not on that moment either.
    if unix_ms >= until {
        return Err(Refusal::expired("it has expired"));
    }
    let soon = unix_ms.saturating_add(leeway);
    if nbf.is_some_and(|nbf| soon < nbf) {
        return Err(Refusal::expired("it is not valid yet"));
    }
    if iat.is_some_and(|iat| soon < iat) {
        return Err(Refusal::expired("it was issued in the future"));
    }
    Ok(until)
}

/// Milliseconds since the UNIX epoch of a NumericDate: seconds, perhaps with a fraction.
pub(in crate::auth) fn moment(value: &Json) -> Option<u64> {
    match value {
        Json::Number(Number::Natural(seconds)) => Some(seconds.saturating_mul(1_000)),
        Json::Number(Number::Real(seconds)) if *seconds >= 0.0 => {
            // What is too large for the type becomes its largest value.
            Some((seconds * 1_000.0) as u64)
        }
        _ => None,
    }
}

/// RFC 7519, 4.1.3: one text, or a list of them.
pub(in crate::auth) fn is_for(aud: Option<&Json>, audiences: &[Box<str>]) -> bool {
    let known = |text: &str| audiences.iter().any(|own| **own == *text);
    match aud {
        Some(Json::Text(text)) => known(text),
        Some(Json::List(list)) => {
            list.iter().all(|one| one.text().is_some())
                && list.iter().filter_map(Json::text).any(known)
        }
        _ => false,
    }
}

fn is_empty(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Text(text) => text.is_empty(),
        Json::List(list) => list.is_empty(),
        _ => false,
    }
}

/// A claim by its name, or by the path to it: a name with points in it is looked for first, as
/// claims of URLs have some.
fn at<'c>(claims: &'c Object, path: &str) -> Option<&'c Json> {
    if let Some(value) = claims.member(path) {
        return Some(value);
    }
    let (mut object, mut rest) = (claims, path);
    while let Some((name, behind)) = rest.split_once('.') {
        object = object.member(name)?.object()?;
        rest = behind;
    }
    object.member(rest)
}

/// Who the token is of. It has been verified.
pub(super) fn principal(claims: &Object, issuer: &Issuer) -> Principal {
    let subject = claims.member("sub").and_then(Json::text);
    let mut principal = Principal {
        schemes: vec![NAME],
        subject: subject.map(Into::into),
        scopes: scopes(claims),
        claims: Claims::new(flattened(claims)),
        ..Principal::default()
    };
    if let Some(name) = &issuer.groups_claim {
        principal.groups = texts(at(claims, name));
    }
    principal
}

/// RFC 8693, 4.2 has a text with blanks between; others send a list, or call it `scp`.
pub(in crate::auth) fn scopes(claims: &Object) -> Vec<Box<str>> {
    let said = claims.member("scope").or_else(|| claims.member("scp"));
    match said {
        Some(Json::Text(text)) => text.split_ascii_whitespace().map(Into::into).collect(),
        other => texts(other),
    }
}

/// The texts of a list, or the one.
fn texts(value: Option<&Json>) -> Vec<Box<str>> {
    match value {
        Some(Json::Text(text)) => vec![text.clone()],
        Some(Json::List(list)) => {
            let texts = list.iter().filter_map(Json::text);
            texts.map(Into::into).collect()
        }
        _ => Vec::new(),
    }
}

pub(in crate::auth) fn flattened(claims: &Object) -> Vec<(Box<str>, Box<str>)> {
    let mut pairs = Vec::new();
    for (name, value) in claims.iter() {
        flatten(name, value, &mut pairs);
    }
    pairs
}

/// Depth is bounded by the reader of the token. What lies under a very long name is left out:
/// nobody asks for it, and each level would copy it.
fn flatten(path: &str, value: &Json, pairs: &mut Vec<(Box<str>, Box<str>)>) {
    if path.len() > PATH_BYTES_MAX {
        return;
    }
    let mut push = |text: &str| pairs.push((path.into(), text.into()));
    match value {
        Json::Null => {}
        Json::Bool(value) => push(match value {
            true => "true",
            false => "false",
        }),
        Json::Number(number) => push(&number.to_string()),
        Json::Text(text) => push(text),
        Json::List(list) => {
            for one in list {
                flatten(path, one, pairs);
            }
        }
        Json::Object(object) => {
            for (name, value) in object.iter() {
                flatten(&format!("{path}.{name}"), value, pairs);
            }
        }
    }
}

const PATH_BYTES_MAX: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "claims_tests.rs"]
mod tests;
