//! The fuzz entries: what must hold for any bytes.

use super::jwks;
use super::token::Unverified;

/// Takes any bytes apart as a token, and reads them as a key set.
///
/// # Panics
/// When an invariant does not hold: that is what a fuzzer looks for.
pub fn fuzz_token(data: &[u8]) {
    if let Ok(token) = Unverified::parse(data) {
        // What is signed is the beginning of the text, as it came.
        assert!(data.starts_with(token.signed));
        assert_eq!(data.get(token.signed.len()), Some(&b'.'));
        assert!(!token.signature.bytes().is_empty());
        assert_eq!(data.iter().filter(|byte| **byte == b'.').count(), 2);
    }
    if let Ok(set) = jwks::read(data) {
        assert!(set.keys.len() + set.left_out.len() <= jwks::KEYS_MAX);
        for key in &set.keys {
            assert!(key.algorithms().iter().next().is_some());
            assert!(key.algorithms().iter().all(|one| !one.is_symmetric()));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::*;
    use super::fuzz_token;

    #[test]
    fn the_corpus_is_taken_apart() {
        for entry in std::fs::read_dir("corpus/token").unwrap() {
            fuzz_token(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_apart(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            fuzz_token(&data);
        }

        #[test]
        fn any_header_and_payload_are_taken_apart(
            header in r#"\{("(alg|kid|typ|crit|jwk)":("(ES256|none|k|JWT)"|[0-9]|\[\]|\{\}),?){0,4}\}"#,
            payload in r#"\{("(iss|sub|aud|exp)":("[a-z]{0,4}"|[0-9]{1,20}|\[\]|\{\}),?){0,4}\}"#,
            signature in "[A-Za-z0-9_-]{0,90}",
        ) {
            let token = format!("{}.{}.{signature}", encode(header), encode(payload));
            fuzz_token(token.as_bytes());
            // Nobody has signed it.
            let jwt = jwt(vec![ec_issuer()]);
            prop_assert!(jwt.verify(token.as_bytes(), NOW).is_err());
        }

        #[test]
        fn a_token_with_other_bytes_somewhere_is_refused(
            at in 0_usize..200,
            bytes in proptest::collection::vec(any::<u8>(), 1..4),
        ) {
            let jwt = jwt(vec![ec_issuer()]);
            let good = good("").into_bytes();
            let mut forged = good.clone();
            let at = at % (forged.len() - bytes.len());
            forged[at..at + bytes.len()].copy_from_slice(&bytes);
            if forged != good {
                prop_assert!(jwt.verify(&forged, NOW).is_err());
            }
        }

        #[test]
        fn any_key_set_is_read(
            keys in proptest::collection::vec(
                r#"\{"kty":"(RSA|EC|OKP|oct)","(crv|n|x|k)":"[A-Za-z0-9_-]{0,12}"(,"use":"(sig|enc)")?\}"#,
                0..5,
            ),
        ) {
            fuzz_token(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes());
        }
    }
}
