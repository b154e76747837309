//! JSON Web Key Sets (RFC 7517): which keys of one may verify tokens here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::{Algorithm, Algorithms};
use super::json::{Bounds, Json, Object};
use super::key::{Key, KeyError};
use super::token::KID_BYTES_MAX;

/// What a key set has that can be used, and how many keys it has that cannot.
#[derive(Debug, Default)]
pub struct Loaded {
    /// In the order of the document.
    pub keys: Vec<Key>,
    /// Keys that are for other things, of other kinds, or not good (RFC 7517, 5 has readers
    /// leave them out), with the reasons.
    pub left_out: Vec<&'static str>,
}

/// The keys of a document.
///
/// # Errors
/// Why it is no key set.
pub fn read(document: &[u8]) -> Result<Loaded, &'static str> {
    let set = Object::parse(document, SET).map_err(|_| "it is no JSON object within the bounds")?;
    let keys = set.member("keys").and_then(Json::list);
    let keys = keys.ok_or("it has no list `keys`")?;
    if keys.len() > KEYS_MAX {
        return Err("it has more than 100 keys");
    }
    let mut loaded = Loaded::default();
    for key in keys {
        match key.object().ok_or("no object").and_then(one) {
            Ok(key) => loaded.keys.push(key),
            Err(why) => loaded.left_out.push(why),
        }
    }
    Ok(loaded)
}

fn one(key: &Object) -> Result<Key, &'static str> {
    // Not even its public part is to be believed: whoever could read the document has the key.
    if ["d", "k"]
        .into_iter()
        .any(|name| key.member(name).is_some())
    {
        return Err("it is a secret or private key, which a key set must not show");
    }
    if !is_for_signatures(key) {
        return Err("it is not for verifying signatures");
    }
    let kid = match key.member("kid") {
        None => None,
        Some(Json::Text(kid)) if kid.len() <= KID_BYTES_MAX => Some(&**kid),
        Some(_) => return Err("its `kid` is no short text"),
    };
    let made = match key.member("kty").and_then(Json::text) {
        Some("RSA") => {
            let (n, e) = (bytes(key, "n")?, bytes(key, "e")?);
            Key::rsa(kid, algorithms(key, &RSA_ALGORITHMS)?, &n, &e)
        }
        Some("EC") => {
            let (list, len) = match key.member("crv").and_then(Json::text) {
                Some("P-256") => (&[Algorithm::Es256], 32),
                Some("P-384") => (&[Algorithm::Es384], 48),
                Some("P-521") => (&[Algorithm::Es512], 66),
                _ => return Err("its curve is not known here"),
            };
            let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
            // RFC 7518, 6.2.1.2: as long as the curve's field.
            if x.len() != len || y.len() != len {
                return Err("its point is not as long as the curve has it");
            }
            let point = [&[4], &*x, &*y].concat();
            Key::point(kid, algorithms(key, list)?, &point)
        }
        Some("OKP") => {
            if key.member("crv").and_then(Json::text) != Some("Ed25519") {
                return Err("its curve is not known here");
            }
            let x = bytes(key, "x")?;
            if x.len() != 32 {
                return Err("its point is not as long as the curve has it");
            }
            Key::point(kid, algorithms(key, &EDWARDS)?, &x)
        }
        _ => return Err("its kind is not known here"),
    };
    made.map_err(|error| match error {
        KeyError::Unreadable => "it cannot be read as a key of its kind",
        KeyError::RsaSize => "it has less than 2048 or more than 8192 bits",
        KeyError::WeakSecret | KeyError::Unused => "it is for no algorithm that is known here",
    })
}

/// What a key of these algorithms may be used for, when it says itself what for.
fn algorithms(key: &Object, family: &[Algorithm]) -> Result<Algorithms, &'static str> {
    let all = family.iter().copied();
    match key.member("alg") {
        None => Ok(Algorithms::new(all)),
        Some(alg) => {
            let named = alg.text().and_then(Algorithm::of);
            let named = named.filter(|named| family.contains(named));
            let named = named.ok_or("its algorithm is none of its kind that is known here")?;
            Ok(Algorithms::new([named]))
        }
    }
}

/// RFC 7517, 4.2 and 4.3.
fn is_for_signatures(key: &Object) -> bool {
    let by_use = key
        .member("use")
        .is_none_or(|used| used.text() == Some("sig"));
    let by_operations = match key.member("key_ops") {
        None => true,
        Some(Json::List(operations)) => {
            let mut each = operations.iter();
            each.any(|one| one.text() == Some("verify"))
        }
        Some(_) => false,
    };
    by_use && by_operations
}

fn bytes(key: &Object, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = key.member(name).and_then(Json::text);
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.ok_or("a part of it is missing, or not base64url")
}

const RSA_ALGORITHMS: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

const EDWARDS: [Algorithm; 2] = [Algorithm::EdDsa, Algorithm::Ed25519];

/// Keys of one set.
pub const KEYS_MAX: usize = 100;

const SET: Bounds = Bounds {
    depth_max: 8,
    values_max: 100 * KEYS_MAX,
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "jwks_tests.rs"]
mod tests;
