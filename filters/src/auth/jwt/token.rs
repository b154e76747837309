//! The compact form of a signed token (RFC 7515, 7.1), taken apart without believing any of it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::algorithm::Algorithm;
use super::json::{Bounds, Json, Object};

/// A token whose form is right. Nothing of it is verified.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    /// What is signed: the first two parts and the point between them.
    pub(super) signed: &'t [u8],
    pub(super) signature: Signature,
    pub(super) algorithm: Algorithm,
    /// Which key the token says it is signed with: something to compare, and nothing else.
    pub(super) kid: Option<Box<str>>,
    pub(super) typ: Option<Box<str>>,
    pub(super) payload: Object,
}

/// The bytes of a signature, as many as the largest key makes.
#[derive(Debug)]
pub(super) struct Signature {
    bytes: [u8; SIGNATURE_BYTES_MAX],
    len: usize,
}

impl Signature {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Why a text is no token: for `explain`, so it holds nothing of the text.
pub(super) type Malformed = &'static str;

impl<'t> Unverified<'t> {
    /// Takes a text apart that is no longer than tokens may be.
    pub(super) fn parse(text: &'t [u8]) -> Result<Unverified<'t>, Malformed> {
        let (header, payload, signature) = parts(text).ok_or("it has not exactly three parts")?;
        let signed = &text[..header.len() + 1 + payload.len()];
        let header = decoded(header).ok_or("its header is not base64url")?;
        let header = Object::parse(&header, HEADER).map_err(|_| "its header is no JSON object")?;
        let header = Header::of(&header)?;
        let signature = read_signature(signature)?;
        let payload = decoded(payload).ok_or("its payload is not base64url")?;
        let payload =
            Object::parse(&payload, PAYLOAD).map_err(|_| "its payload is no JSON object")?;
        Ok(Unverified {
            signed,
            signature,
            algorithm: header.algorithm,
            kid: header.kid,
            typ: header.typ,
            payload,
        })
    }
}

fn parts(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut parts = text.split(|byte| *byte == b'.');
    let (header, payload, signature) = (parts.next()?, parts.next()?, parts.next()?);
    parts
        .next()
        .is_none()
        .then_some((header, payload, signature))
}

/// Base64url without padding and in its one canonical form: what is left of the last character
/// is zero.
fn decoded(part: &[u8]) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

struct Header {
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    typ: Option<Box<str>>,
}

impl Header {
    fn of(header: &Object) -> Result<Header, Malformed> {
        for (name, _) in header.iter() {
            match name {
                // RFC 7515, 4.1.11: not understanding one of them means refusing, and there is none
                // that is understood. RFC 7797's `b64` needs it.
                "crit" | "b64" => return Err("its header has extensions that must be understood"),
                // A token does not bring the key that it is verified with.
                "jwk" | "jku" | "x5u" | "x5c" => {
                    return Err("its header brings a key or a way to one");
                }
                _ => {}
            }
        }
        let algorithm = header.member("alg").and_then(Json::text);
        let algorithm = algorithm.and_then(Algorithm::of);
        let algorithm = algorithm.ok_or("its header has no algorithm that is known")?;
        let text = |name: &str, max: usize| match header.member(name) {
            None => Ok(None),
            Some(value) => match value.text() {
                Some(text) if text.len() <= max => Ok(Some(Box::from(text))),
                _ => Err(()),
            },
        };
        let kid = text("kid", KID_BYTES_MAX).map_err(|()| "its `kid` is no short text")?;
        let typ = text("typ", TYP_BYTES_MAX).map_err(|()| "its `typ` is no short text")?;
        Ok(Header {
            algorithm,
            kid,
            typ,
        })
    }
}

fn read_signature(part: &[u8]) -> Result<Signature, Malformed> {
    if part.is_empty() {
        return Err("its signature is empty");
    }
    let mut bytes = [0; SIGNATURE_BYTES_MAX];
    let len = URL_SAFE_NO_PAD.decode_slice(part, &mut bytes);
    let len = len.map_err(|_| "its signature is not base64url, or too long")?;
    Ok(Signature { bytes, len })
}

/// An RSA key of 8192 bits makes the longest ones; a multiple of three, as the decoder asks for
/// room for whole groups.
const SIGNATURE_BYTES_MAX: usize = 1026;

/// Longer than any key's name.
pub(super) const KID_BYTES_MAX: usize = 256;

const TYP_BYTES_MAX: usize = 64;

const HEADER: Bounds = Bounds {
    depth_max: 4,
    values_max: 64,
};

const PAYLOAD: Bounds = Bounds {
    depth_max: 12,
    values_max: 2_048,
};

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str, signature: &str) -> String {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{signature}", encode(header), encode(payload))
    }

    fn why(text: &str) -> Malformed {
        Unverified::parse(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_token_is_taken_apart() {
        let text = token(
            r#"{"alg":"ES256","kid":"k","typ":"JWT","x5t":"ignored"}"#,
            r#"{"iss":"me"}"#,
            "AQID",
        );
        let token = Unverified::parse(text.as_bytes()).unwrap();
        assert_eq!(token.algorithm, Algorithm::Es256);
        assert_eq!(token.kid.as_deref(), Some("k"));
        assert_eq!(token.typ.as_deref(), Some("JWT"));
        assert_eq!(token.signature.bytes(), [1, 2, 3]);
        let signed = text.strip_suffix(".AQID").unwrap();
        assert_eq!(token.signed, signed.as_bytes());
    }

    #[test]
    fn other_numbers_of_parts_are_refused() {
        let good = token(r#"{"alg":"ES256"}"#, "{}", "AQID");
        for text in [
            "",
            ".",
            "..",
            "...",
            "....",
            "a.b",
            &format!("{good}."),
            &format!(".{good}"),
            &format!("{good}.AQID"),
            &good[..good.len() - 5],
        ] {
            assert!(Unverified::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_signature_fits() {
        let longest = URL_SAFE_NO_PAD.encode([1; 1024]);
        let text = token(r#"{"alg":"RS256"}"#, "{}", &longest);
        let token = Unverified::parse(text.as_bytes()).unwrap();
        assert_eq!(token.signature.bytes().len(), 1024);
        let longer = URL_SAFE_NO_PAD.encode([1; 2048]);
        let text = self::token(r#"{"alg":"RS256"}"#, "{}", &longer);
        assert_eq!(why(&text), "its signature is not base64url, or too long");
    }

    #[test]
    fn members_of_the_wrong_type_are_refused() {
        for header in [
            r#"{}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","kid":null}"#,
            r#"{"alg":"RS256","typ":{}}"#,
        ] {
            assert!(Unverified::parse(token(header, "{}", "AQID").as_bytes()).is_err());
        }
    }
}
