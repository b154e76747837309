//! Keys that signatures are verified with. A key has verifiers for the algorithms of its own
//! family and curve and for no others, so no token can have it used as something else.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

use super::algorithm::{Algorithm, Algorithms};

/// A key with the algorithms that it may be used for.
#[derive(Clone)]
pub struct Key {
    kid: Option<Box<str>>,
    verifiers: Vec<(Algorithm, Verifier)>,
    /// Of the material, the name and the uses: the same key loaded again has the same.
    fingerprint: [u8; 32],
}

#[derive(Clone)]
enum Verifier {
    Public(ParsedPublicKey),
    Mac(Box<hmac::Key>),
}

/// Why something is no key that is taken. Holds nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// It cannot be read as a key of an algorithm that it is for.
    Unreadable,
    /// An RSA key of less than 2048 bits, or of more than 8192.
    RsaSize,
    /// A secret that is shorter than the algorithm's digest (RFC 7518, 3.2).
    WeakSecret,
    /// Nothing that it may be used for.
    Unused,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            KeyError::Unreadable => "it cannot be read as a key of its algorithm",
            KeyError::RsaSize => "an RSA key has 2048 to 8192 bits",
            KeyError::WeakSecret => "the secret is shorter than the algorithm's digest",
            KeyError::Unused => "it is for no algorithm that is known here",
        })
    }
}

impl std::error::Error for KeyError {}

impl Key {
    /// The name that tokens call it by.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it may be used for.
    pub fn algorithms(&self) -> Algorithms {
        Algorithms::new(self.verifiers.iter().map(|(algorithm, _)| *algorithm))
    }

    /// A public key in DER, as SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
    ///
    /// # Errors
    /// It is no key of these algorithms, or too weak.
    pub fn public(kid: Option<&str>, algorithms: Algorithms, spki: &[u8]) -> Result<Key, KeyError> {
        let mut key = Key::nothing(kid);
        for algorithm in algorithms.iter() {
            let scheme = scheme(algorithm).ok_or(KeyError::Unreadable)?;
            if let Scheme::Rsa(_) = scheme {
                check_rsa(spki)?;
            }
            let parsed = ParsedPublicKey::new(scheme.algorithm(), spki);
            let parsed = parsed.map_err(|_| KeyError::Unreadable)?;
            key.verifiers.push((algorithm, Verifier::Public(parsed)));
        }
        key.sealed(spki)
    }

    /// An RSA key by modulus and exponent, big endian.
    pub(super) fn rsa(
        kid: Option<&str>,
        algorithms: Algorithms,
        n: &[u8],
        e: &[u8],
    ) -> Result<Key, KeyError> {
        // RFC 7518, 6.3.1.1 knows of issuers that put a zero in front.
        let (n, e) = (without_zeros(n), without_zeros(e));
        let mut key = Key::nothing(kid);
        for algorithm in algorithms.iter() {
            let Some(Scheme::Rsa(parameters)) = scheme(algorithm) else {
                return Err(KeyError::Unreadable);
            };
            let parsed = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters);
            let parsed = parsed.map_err(|_| KeyError::Unreadable)?;
            check_rsa(parsed.as_ref())?;
            key.verifiers.push((algorithm, Verifier::Public(parsed)));
        }
        key.sealed(&[n, e].concat())
    }

    /// A point of a curve or an Ed25519 key, in the raw form.
    pub(super) fn point(
        kid: Option<&str>,
        algorithms: Algorithms,
        raw: &[u8],
    ) -> Result<Key, KeyError> {
        Key::public(kid, algorithms, raw)
    }

    /// A secret that both sides have.
    ///
    /// # Errors
    /// It is shorter than the digest, or the algorithm is none that takes secrets.
    pub fn secret(kid: Option<&str>, algorithm: Algorithm, secret: &[u8]) -> Result<Key, KeyError> {
        let mac = match algorithm {
            Algorithm::Hs256 => hmac::HMAC_SHA256,
            Algorithm::Hs384 => hmac::HMAC_SHA384,
            Algorithm::Hs512 => hmac::HMAC_SHA512,
            _ => return Err(KeyError::Unreadable),
        };
        if secret.len() < mac.digest_algorithm().output_len() {
            return Err(KeyError::WeakSecret);
        }
        let mut key = Key::nothing(kid);
        let verifier = Verifier::Mac(Box::new(hmac::Key::new(mac, secret)));
        key.verifiers.push((algorithm, verifier));
        key.sealed(secret)
    }

    /// A secret as people write it: its text, or base64 of either alphabet behind `base64:`.
    ///
    /// # Errors
    /// As of [`Key::secret`], and when it is no base64.
    pub fn shared(kid: Option<&str>, algorithm: Algorithm, text: &str) -> Result<Key, KeyError> {
        let Some(encoded) = text.strip_prefix("base64:") else {
            return Key::secret(kid, algorithm, text.as_bytes());
        };
        let lenient =
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let decode = |alphabet| GeneralPurpose::new(alphabet, lenient).decode(encoded.trim());
        let secret = decode(&alphabet::STANDARD).or_else(|_| decode(&alphabet::URL_SAFE));
        Key::secret(kid, algorithm, &secret.map_err(|_| KeyError::Unreadable)?)
    }

    fn nothing(kid: Option<&str>) -> Key {
        Key {
            kid: kid.map(Into::into),
            verifiers: Vec::new(),
            fingerprint: [0; 32],
        }
    }

    fn sealed(mut self, material: &[u8]) -> Result<Key, KeyError> {
        if self.verifiers.is_empty() {
            return Err(KeyError::Unused);
        }
        let mut digest = Context::new(&SHA256);
        let kid = self.kid.as_deref();
        digest.update(&[u8::from(kid.is_some())]);
        for part in [kid.unwrap_or_default().as_bytes(), material] {
            digest.update(&(part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        for (algorithm, _) in &self.verifiers {
            digest.update(&[*algorithm as u8]);
        }
        self.fingerprint.copy_from_slice(digest.finish().as_ref());
        Ok(self)
    }

    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// Whether it may be the key of a token.
    pub(super) fn fits(&self, kid: Option<&str>, algorithm: Algorithm) -> bool {
        let named = match (self.kid(), kid) {
            (Some(own), Some(asked)) => own == asked,
            // One side does not say.
            _ => true,
        };
        named && self.verifier(algorithm).is_some()
    }

    fn verifier(&self, algorithm: Algorithm) -> Option<&Verifier> {
        let mut verifiers = self.verifiers.iter();
        let found = verifiers.find(|(own, _)| *own == algorithm);
        found.map(|(_, verifier)| verifier)
    }

    /// Whether the signature of `signed` is this key's.
    pub(super) fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self.verifier(algorithm) {
            Some(Verifier::Public(key)) => {
                !has_zero_half(algorithm, signature) && key.verify_sig(signed, signature).is_ok()
            }
            Some(Verifier::Mac(key)) => hmac::verify(key, signed, signature).is_ok(),
            None => false,
        }
    }
}

impl fmt::Debug for Key {
    /// Without the material.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.kid, self.algorithms())
    }
}

enum Scheme {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

impl Scheme {
    fn algorithm(&self) -> &'static dyn VerificationAlgorithm {
        match self {
            Scheme::Rsa(parameters) => *parameters,
            Scheme::Other(algorithm) => *algorithm,
        }
    }
}

/// How signatures of public keys are verified.
fn scheme(algorithm: Algorithm) -> Option<Scheme> {
    Some(match algorithm {
        Algorithm::Rs256 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Scheme::Rsa(&signature::RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Scheme::Rsa(&signature::RSA_PSS_2048_8192_SHA512),
        Algorithm::Es256 => Scheme::Other(&signature::ECDSA_P256_SHA256_FIXED),
        Algorithm::Es384 => Scheme::Other(&signature::ECDSA_P384_SHA384_FIXED),
        Algorithm::Es512 => Scheme::Other(&signature::ECDSA_P521_SHA512_FIXED),
        Algorithm::EdDsa | Algorithm::Ed25519 => Scheme::Other(&signature::ED25519),
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => return None,
    })
}

fn check_rsa(spki: &[u8]) -> Result<(), KeyError> {
    match PublicEncryptingKey::from_der(spki) {
        Ok(key) if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&key.key_size_bits()) => Ok(()),
        Ok(_) => Err(KeyError::RsaSize),
        // It is too small for that type as well, or no RSA key.
        Err(_) if ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, spki).is_ok() => {
            Err(KeyError::RsaSize)
        }
        Err(_) => Err(KeyError::Unreadable),
    }
}

const RSA_BITS_MIN: usize = 2048;
const RSA_BITS_MAX: usize = 8192;

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Whether r or s of an ECDSA signature is zero: such a one, of broken verifiers, was good for
/// every message (CVE-2022-21449). The library refuses it too; here it does not get there.
fn has_zero_half(algorithm: Algorithm, signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => {
            let (r, s) = signature.split_at(signature.len() / 2);
            without_zeros(r).is_empty() || without_zeros(s).is_empty()
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_as_long_as_the_digest() {
        for (algorithm, len) in [
            (Algorithm::Hs256, 32),
            (Algorithm::Hs384, 48),
            (Algorithm::Hs512, 64),
        ] {
            assert!(Key::secret(None, algorithm, &vec![7; len]).is_ok());
            let short = Key::secret(None, algorithm, &vec![7; len - 1]);
            assert_eq!(short.unwrap_err(), KeyError::WeakSecret);
        }
        let other = Key::secret(None, Algorithm::Rs256, &[7; 64]);
        assert_eq!(other.unwrap_err(), KeyError::Unreadable);
    }

    #[test]
    fn a_secret_is_written_as_text_or_as_base64() {
        let bytes = [0xfb; 32];
        let same = Key::secret(None, Algorithm::Hs256, &bytes).unwrap();
        for text in [
            "base64:+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
            "base64:+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s",
            "base64:-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=",
        ] {
            let key = Key::shared(None, Algorithm::Hs256, text).unwrap();
            assert_eq!(key.fingerprint(), same.fingerprint(), "{text}");
        }
        let text = Key::shared(None, Algorithm::Hs256, &"s".repeat(32));
        assert!(text.is_ok());
        let broken = Key::shared(None, Algorithm::Hs256, "base64:!");
        assert_eq!(broken.unwrap_err(), KeyError::Unreadable);
    }

    #[test]
    fn a_key_shows_nothing_of_itself() {
        let key = Key::secret(Some("k"), Algorithm::Hs256, &[b'x'; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "Key(Some(\"k\"), {Hs256})");
    }

    #[test]
    fn fingerprints_tell_names_material_and_uses_apart() {
        let of = |kid, algorithm, byte| {
            let key = Key::secret(kid, algorithm, &[byte; 64]).unwrap();
            *key.fingerprint()
        };
        let one = of(Some("a"), Algorithm::Hs256, 1);
        assert_eq!(one, of(Some("a"), Algorithm::Hs256, 1));
        assert_ne!(one, of(Some("b"), Algorithm::Hs256, 1));
        assert_ne!(one, of(None, Algorithm::Hs256, 1));
        assert_ne!(one, of(Some("a"), Algorithm::Hs512, 1));
        assert_ne!(one, of(Some("a"), Algorithm::Hs256, 2));
    }
}
