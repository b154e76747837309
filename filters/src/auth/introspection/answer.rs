//! The server's answer (RFC 7662, 2.2), read strictly: what is not clearly said is not said.

use std::rc::Rc;

use ringgate_core::principal::{Claims, Principal};

use super::{NAME, Settings};
use crate::auth::Refusal;
use crate::auth::jwt::claims::{flattened, is_for, moment, scopes};
use crate::auth::jwt::json::{Bounds, Json, Object};

/// What it says.
#[derive(Debug)]
pub(super) enum Answer {
    /// The token is good until then, in milliseconds since the UNIX epoch.
    Active(Rc<Principal>, u64),
    /// It is not.
    Refused(Refusal),
}

/// Reads an answer.
///
/// # Errors
/// Why it says nothing of use.
pub(super) fn read(body: &[u8], settings: &Settings, unix_ms: u64) -> Result<Answer, &'static str> {
    let object = Object::parse(body, BOUNDS).map_err(|_| "its answer is no JSON object")?;
    match object.member("active") {
        Some(Json::Bool(true)) => {}
        Some(Json::Bool(false)) => {
            return Ok(Answer::Refused(Refusal::invalid("its token is not active")));
        }
        _ => return Err("its answer does not say whether the token is active"),
    }
    let ends_ms = match times(&object, settings.wanted.leeway_ms, unix_ms)? {
        Ok(ends_ms) => ends_ms,
        Err(refusal) => return Ok(Answer::Refused(refusal)),
    };
    let text = |name: &str| match object.member(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::Text(text)) => Ok(Some(&**text)),
        Some(_) => Err("its answer has a name that is no text"),
    };
    let (issuer, subject) = (text("iss")?, text("sub")?);
    let (client, user) = (text("client_id")?, text("username")?);
    let wanted = &settings.wanted;
    if wanted.issuer.is_some() && issuer != wanted.issuer.as_deref() {
        return refused("its issuer is another");
    }
    if !wanted.audiences.is_empty() && !is_for(object.member("aud"), &wanted.audiences) {
        return refused("its audience is another");
    }
    let scopes = scopes(&object);
    if !wanted.scopes.iter().all(|scope| scopes.contains(scope)) {
        return Ok(Answer::Refused(Refusal {
            code: "forbidden",
            status: 403,
            error: "insufficient_scope",
            ..Refusal::invalid("its token lacks a scope")
        }));
    }
    let mut principal = Principal {
        schemes: vec![NAME],
        subject: subject.or(user).or(client).map(Into::into),
        scopes,
        claims: Claims::new(flattened(&object)),
        ..Principal::default()
    };
    let names = [subject, client].into_iter().flatten();
    let mut names = names.zip(std::iter::repeat(issuer.unwrap_or_default()));
    let directory = &settings.directory.0;
    if let Some(consumer) = names.find_map(|(name, issuer)| directory.by_subject(issuer, name)) {
        consumer.add_to(&mut principal);
    }
    Ok(Answer::Active(Rc::new(principal), ends_ms))
}

fn refused(why: &'static str) -> Result<Answer, &'static str> {
    Ok(Answer::Refused(Refusal::invalid(why)))
}

/// When the token ends, if it is good now.
fn times(
    object: &Object,
    leeway_ms: u64,
    unix_ms: u64,
) -> Result<Result<u64, Refusal>, &'static str> {
    let time = |name: &str| match object.member(name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => moment(value)
            .map(Some)
            .ok_or("its answer has a time that is none"),
    };
    let (exp, nbf) = (time("exp")?, time("nbf")?);
    let ends_ms = exp.map_or(u64::MAX, |exp| exp.saturating_add(leeway_ms));
    if unix_ms >= ends_ms {
        return Ok(Err(Refusal::expired("its token has expired")));
    }
    if nbf.is_some_and(|nbf| unix_ms.saturating_add(leeway_ms) < nbf) {
        return Ok(Err(Refusal::expired("its token is not valid yet")));
    }
    Ok(Ok(ends_ms))
}

/// Answers have a dozen members; some servers add all they know of a user.
const BOUNDS: Bounds = Bounds {
    depth_max: 8,
    values_max: 1024,
};
