use super::super::testing::*;
use super::*;

fn set(keys: &[String]) -> Loaded {
    let keys: Vec<String> = keys.iter().map(|key| format!("{{{key}}}")).collect();
    read(format!(r#"{{"keys":[{}],"more":1}}"#, keys.join(",")).as_bytes()).unwrap()
}

fn left_out(key: &str) -> &'static str {
    let loaded = set(&[key.to_owned()]);
    assert!(loaded.keys.is_empty(), "{key}");
    loaded.left_out[0]
}

#[test]
fn keys_of_all_kinds_are_bound_to_their_algorithms() {
    let all = [&RSA, &P256, &P384, &P521, &ED25519];
    let loaded = set(&all.map(|signer| signer.jwk()));
    assert!(loaded.left_out.is_empty());
    let algorithms: Vec<Vec<Algorithm>> = loaded
        .keys
        .iter()
        .map(|key| key.algorithms().iter().collect())
        .collect();
    assert_eq!(
        algorithms,
        [
            RSA_ALGORITHMS.to_vec(),
            vec![Algorithm::Es256],
            vec![Algorithm::Es384],
            vec![Algorithm::Es512],
            vec![Algorithm::EdDsa, Algorithm::Ed25519],
        ]
    );
    for (signer, key) in all.iter().zip(&loaded.keys) {
        for algorithm in key.algorithms().iter() {
            let signature = signer.sign(algorithm, b"text");
            assert!(key.verifies(algorithm, b"text", &signature));
            assert!(!key.verifies(algorithm, b"texT", &signature));
        }
    }
}

#[test]
fn a_key_says_what_it_is_for() {
    let rsa = RSA.jwk();
    let named = set(&[format!(r#"{rsa},"alg":"PS512","kid":"a","use":"sig""#)]);
    let only: Vec<_> = named.keys[0].algorithms().iter().collect();
    assert_eq!(only, [Algorithm::Ps512]);
    assert_eq!(named.keys[0].kid(), Some("a"));
    for ops in [r#"["verify"]"#, r#"["sign","verify"]"#] {
        assert_eq!(set(&[format!(r#"{rsa},"key_ops":{ops}"#)]).keys.len(), 1);
    }
}

#[test]
fn keys_for_other_things_are_left_out() {
    let rsa = RSA.jwk();
    for more in [
        r#""use":"enc""#,
        r#""use":"SIG""#,
        r#""use":null"#,
        r#""use":["sig"]"#,
        r#""key_ops":[]"#,
        r#""key_ops":["encrypt","wrapKey"]"#,
        r#""key_ops":["sign"]"#,
        r#""key_ops":"verify""#,
        r#""use":"enc","key_ops":["verify"]"#,
        r#""use":"sig","key_ops":["encrypt"]"#,
    ] {
        let key = format!("{rsa},{more}");
        assert_eq!(
            left_out(&key),
            "it is not for verifying signatures",
            "{more}"
        );
    }
}

#[test]
fn algorithms_of_another_family_or_curve_are_left_out() {
    let none = "its algorithm is none of its kind that is known here";
    for (key, alg) in [
        (RSA.jwk(), "HS256"),
        (RSA.jwk(), "ES256"),
        (RSA.jwk(), "RSA-OAEP"),
        (RSA.jwk(), "none"),
        (P256.jwk(), "ES384"),
        (P256.jwk(), "ES256K"),
        (P384.jwk(), "ES256"),
        (ED25519.jwk(), "ES256"),
    ] {
        assert_eq!(left_out(&format!(r#"{key},"alg":"{alg}""#)), none, "{alg}");
    }
    assert_eq!(left_out(&format!(r#"{},"alg":1"#, RSA.jwk())), none);
}

#[test]
fn secrets_and_private_keys_are_left_out() {
    let why = "it is a secret or private key, which a key set must not show";
    let secret = format!(r#""kty":"oct","k":"{}""#, encode([7; 64]));
    assert_eq!(left_out(&secret), why);
    assert_eq!(left_out(&format!(r#"{},"d":"AA""#, P256.jwk())), why);
}

#[test]
fn points_that_are_not_on_their_curve_are_left_out() {
    let unreadable = "it cannot be read as a key of its kind";
    let length = "its point is not as long as the curve has it";
    let point = |curve: &str, x: &[u8], y: &[u8]| {
        let (x, y) = (encode(x), encode(y));
        left_out(&format!(
            r#""kty":"EC","crv":"{curve}","x":"{x}","y":"{y}""#
        ))
    };
    assert_eq!(point("P-256", &[1; 32], &[2; 32]), unreadable);
    assert_eq!(point("P-256", &[0; 32], &[0; 32]), unreadable);
    assert_eq!(point("P-256", &[1; 31], &[2; 32]), length);
    assert_eq!(point("P-384", &[1; 32], &[2; 32]), length);
    assert_eq!(
        point("secp256k1", &[1; 32], &[2; 32]),
        "its curve is not known here"
    );
    let wrong = P256.jwk().replace("P-256", "P-384");
    assert_eq!(left_out(&wrong), length);
    let okp = |x: &[u8]| {
        left_out(&format!(
            r#""kty":"OKP","crv":"Ed25519","x":"{}""#,
            encode(x)
        ))
    };
    assert_eq!(okp(&[1; 31]), length);
    assert_eq!(
        left_out(r#""kty":"OKP","crv":"X25519","x":"AA""#),
        "its curve is not known here"
    );
}

#[test]
fn weak_rsa_keys_are_left_out() {
    let rsa = |bits: usize, e: &[u8]| {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80;
        left_out(&format!(
            r#""kty":"RSA","n":"{}","e":"{}""#,
            encode(n),
            encode(e)
        ))
    };
    let size = "it has less than 2048 or more than 8192 bits";
    for bits in [512, 1024, 2040, 8200] {
        let why = rsa(bits, &[1, 0, 1]);
        assert!(
            [size, "it cannot be read as a key of its kind"].contains(&why),
            "{bits}"
        );
    }
    for e in [&[0][..], &[1], &[2], &[]] {
        let _ = rsa(2048, e);
    }
    for n in ["", "\"", "AA=="] {
        assert!(
            !left_out(&format!(
                r#""kty":"RSA","n":"{}","e":"AQAB""#,
                n.replace('"', "")
            ))
            .is_empty()
        );
    }
}

#[test]
fn what_is_no_key_is_left_out_and_the_others_stay() {
    let good = P256.jwk();
    let text = format!(r#"{{"keys":[1,null,[],{{}},{{"kty":"XYZ"}},{{"kty":"EC"}},{{{good}}}]}}"#);
    let loaded = read(text.as_bytes()).unwrap();
    assert_eq!(loaded.keys.len(), 1);
    assert_eq!(loaded.left_out.len(), 6);
}

#[test]
fn what_is_no_key_set_is_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        "<html>",
        r#"{"keys":[],"keys":[]}"#,
    ] {
        assert!(read(text.as_bytes()).is_err(), "{text}");
    }
    assert!(read(br#"{"keys":[]}"#).unwrap().keys.is_empty());
    let many = vec!["{}"; KEYS_MAX + 1].join(",");
    let many = format!(r#"{{"keys":[{many}]}}"#);
    assert_eq!(
        read(many.as_bytes()).unwrap_err(),
        "it has more than 100 keys"
    );
}

/// A key whose name is somebody else's is no other key.
#[test]
fn two_keys_of_one_name_are_both_tried() {
    let (one, two) = (P256.jwk(), RSA.jwk());
    let loaded = set(&[format!(r#"{one},"kid":"k""#), format!(r#"{two},"kid":"k""#)]);
    let jwt = jwt(vec![issuer(loaded.keys)]);
    for (signer, algorithm) in [(&P256, Algorithm::Es256), (&RSA, Algorithm::Ps256)] {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"k"}}"#);
        proves(&jwt, &token(signer, algorithm, &header, &payload("")));
    }
}
