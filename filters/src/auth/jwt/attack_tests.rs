//! The attacks on tokens that are known, one test each (RFC 8725; CVE numbers where there is
//! one). Each begins with a token that is good but for the attack.

use super::testing::*;
use super::*;

const KNOWN_ALGORITHM: &str = "its header has no algorithm that is known";
const PINNED: &str = "its issuer signs with other algorithms";
const BRINGS_KEY: &str = "its header brings a key or a way to one";
const BAD_HEADER: &str = "its header is no JSON object";
const BAD_PAYLOAD: &str = "its payload is no JSON object";

fn header_token(header: &str) -> String {
    token(&P256, Algorithm::Es256, header, &payload(""))
}

#[test]
fn the_token_that_attacks_begin_with_is_good() {
    let principal = proves(&jwt(vec![ec_issuer()]), &good(""));
    assert_eq!(principal.subject.as_deref(), Some("alice"));
}

/// CVE-2015-9235 and its many repetitions.
#[test]
fn none_is_no_algorithm_in_any_spelling() {
    let jwt = jwt(vec![ec_issuer()]);
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "noNe",
        " none",
        "none ",
        "n\\u006fne",
        "",
        "null",
    ] {
        let header = format!(r#"{{"alg":"{none}","kid":"ec"}}"#);
        let good = header_token(&header);
        assert_eq!(why(&jwt, &good), KNOWN_ALGORITHM, "{none}");
        let signed = good.rsplit_once('.').unwrap().0;
        assert!(!why(&jwt, &format!("{signed}.")).is_empty());
        assert!(!why(&jwt, signed).is_empty());
    }
}

#[test]
fn an_algorithm_is_a_text_of_its_exact_name() {
    let jwt = jwt(vec![ec_issuer()]);
    for alg in [
        r#""es256""#,
        r#""ES256 ""#,
        "null",
        "1",
        r#"["ES256"]"#,
        r#"{"":""}"#,
        "true",
    ] {
        let header = format!(r#"{{"alg":{alg},"kid":"ec"}}"#);
        assert_eq!(why(&jwt, &header_token(&header)), KNOWN_ALGORITHM, "{alg}");
    }
    assert_eq!(why(&jwt, &header_token(r#"{"kid":"ec"}"#)), KNOWN_ALGORITHM);
}

/// CVE-2016-5431 and others: the public key, which everybody has, as the secret of an HMAC.
#[test]
fn a_public_key_is_no_secret_of_an_hmac() {
    let rsa = issuer(vec![RSA.key(Some("rsa"), &[Algorithm::Rs256])]);
    let mut both = issuer(vec![RSA.key(Some("rsa"), &[Algorithm::Rs256])]);
    both.algorithms = Algorithms::new([Algorithm::Rs256, Algorithm::Hs256]);
    let (strict, careless) = (jwt(vec![rsa]), jwt(vec![both]));
    let spki = RSA.spki();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        {
            use base64::Engine;
            base64::engine::general_purpose::STANDARD.encode(&spki)
        }
    );
    let secrets = [
        spki,
        pem.trim().as_bytes().to_vec(),
        pem.into_bytes(),
        RSA.jwk().into_bytes(),
    ];
    for secret in secrets {
        let header = r#"{"alg":"HS256","kid":"rsa"}"#;
        let forged = token(
            &Signer::Secret(secret),
            Algorithm::Hs256,
            header,
            &payload(""),
        );
        assert_eq!(why(&strict, &forged), PINNED);
        // Even where an operator allows both, an RSA key has no HMAC.
        assert_eq!(why(&careless, &forged), NO_KEY);
    }
}

#[test]
fn an_algorithm_that_is_not_pinned_is_refused_though_the_key_could() {
    let mut issuer = issuer(vec![RSA.key(None, &[Algorithm::Rs256, Algorithm::Ps256])]);
    issuer.algorithms = Algorithms::new([Algorithm::Ps256]);
    let jwt = jwt(vec![issuer]);
    let token = token(&RSA, Algorithm::Rs256, r#"{"alg":"RS256"}"#, &payload(""));
    assert_eq!(why(&jwt, &token), PINNED);
}

/// CVE-2018-0114: the token's own key verifies the token.
#[test]
fn a_key_in_the_header_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let other = P384.jwk();
    for brought in [
        format!(r#""jwk":{{{other}}}"#),
        format!(r#""jwk":{{{}}}"#, P256.jwk()),
        r#""jwk":null"#.to_owned(),
        r#""x5c":["MIIB"]"#.to_owned(),
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"ec",{brought}}}"#);
        assert_eq!(why(&jwt, &header_token(&header)), BRINGS_KEY, "{brought}");
    }
}

#[test]
fn an_address_of_keys_in_the_header_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    for brought in [
        r#""jku":"https://attacker.example/keys""#,
        r#""jku":"https://issuer.example/keys""#,
        r#""x5u":"https://attacker.example/chain""#,
        r#""\u006aku":"https://attacker.example/keys""#,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"ec",{brought}}}"#);
        assert_eq!(why(&jwt, &header_token(&header)), BRINGS_KEY, "{brought}");
    }
}

/// A `kid` is compared with the names of keys, and that is all that becomes of it.
#[test]
fn a_kid_opens_no_file_and_asks_no_database() {
    let jwt = jwt(vec![ec_issuer()]);
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "file:///proc/self/environ",
        "x' UNION SELECT 'secret'; --",
        "ec\\u0000",
        "ec\\u0000.pem",
        "| cat /etc/passwd",
        "$(id)",
        "%00",
        "EC",
        " ec",
        "",
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
        assert_eq!(why(&jwt, &header_token(&header)), NO_KEY, "{kid}");
    }
}

#[test]
fn a_very_long_kid_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let header = |len| format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(len));
    assert_eq!(why(&jwt, &header_token(&header(256))), NO_KEY);
    assert_eq!(
        why(&jwt, &header_token(&header(257))),
        "its `kid` is no short text"
    );
    let header = r#"{"alg":"ES256","kid":["ec"]}"#;
    assert_eq!(
        why(&jwt, &header_token(header)),
        "its `kid` is no short text"
    );
}

/// CVE-2020-28042 among others.
#[test]
fn an_empty_signature_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let good = good("");
    let signed = good.rsplit_once('.').unwrap().0;
    assert_eq!(why(&jwt, &format!("{signed}.")), "its signature is empty");
}

#[test]
fn a_signature_that_is_cut_or_has_something_behind_it_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let good = good("");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let bytes = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(signature)
            .unwrap()
    };
    for other in [
        &bytes[..63],
        &bytes[..32],
        &bytes[..1],
        &[&bytes[..], &[0]].concat(),
    ] {
        assert_eq!(
            why(&jwt, &format!("{signed}.{}", encode(other))),
            BAD_SIGNATURE
        );
    }
}

/// CVE-2022-21449, "psychic signatures".
#[test]
fn a_signature_of_zeros_is_refused() {
    let keys = [
        (&*P256, Algorithm::Es256, 64),
        (&P384, Algorithm::Es384, 96),
        (&P521, Algorithm::Es512, 132),
    ];
    for (signer, algorithm, len) in keys {
        let jwt = jwt(vec![issuer(vec![signer.key(None, &[algorithm])])]);
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let good = token(signer, algorithm, &header, &payload(""));
        proves(&jwt, &good);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        use base64::Engine;
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(signature)
            .unwrap();
        let zeros = vec![0; len / 2];
        let (r, s) = bytes.split_at(len / 2);
        for forged in [
            [&zeros[..], &zeros].concat(),
            [r, &zeros].concat(),
            [&zeros, s].concat(),
        ] {
            assert_eq!(
                why(&jwt, &format!("{signed}.{}", encode(forged))),
                BAD_SIGNATURE
            );
        }
        // r = s = the order of the group is zero as well, for who reduces it.
        let ones = vec![0xff; len];
        assert_eq!(
            why(&jwt, &format!("{signed}.{}", encode(ones))),
            BAD_SIGNATURE
        );
    }
}

#[test]
fn a_signature_in_der_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let good = good("");
    let signed = good.rsplit_once('.').unwrap().0;
    let pair = aws_lc_rs::signature::EcdsaKeyPair::generate(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
    );
    let random = aws_lc_rs::rand::SystemRandom::new();
    let der = pair.unwrap().sign(&random, signed.as_bytes()).unwrap();
    assert_eq!(
        why(&jwt, &format!("{signed}.{}", encode(der))),
        BAD_SIGNATURE
    );
}

#[test]
fn a_key_of_another_curve_verifies_nothing() {
    let jwt = jwt(vec![ec_issuer()]);
    let forged = token(
        &P384,
        Algorithm::Es384,
        r#"{"alg":"ES384","kid":"ec"}"#,
        &payload(""),
    );
    assert_eq!(why(&jwt, &forged), PINNED);
    let forged = token(
        &P384,
        Algorithm::Es384,
        r#"{"alg":"ES256","kid":"ec"}"#,
        &payload(""),
    );
    assert_eq!(why(&jwt, &forged), BAD_SIGNATURE);
    // And no key is made of the one for the algorithm of another.
    let wrong = Key::public(None, Algorithms::new([Algorithm::Es256]), &P384.spki());
    assert_eq!(wrong.unwrap_err(), KeyError::Unreadable);
    let wrong = Key::public(None, Algorithms::new([Algorithm::Rs256]), &P256.spki());
    assert_eq!(wrong.unwrap_err(), KeyError::Unreadable);
    let wrong = Key::public(None, Algorithms::new([Algorithm::EdDsa]), &P256.spki());
    assert_eq!(wrong.unwrap_err(), KeyError::Unreadable);
    let wrong = Key::public(None, Algorithms::new([Algorithm::Hs256]), &RSA.spki());
    assert_eq!(wrong.unwrap_err(), KeyError::Unreadable);
}

#[test]
fn members_twice_are_refused_in_header_and_payload() {
    let jwt = jwt(vec![ec_issuer()]);
    for header in [
        r#"{"alg":"none","alg":"ES256","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"ec","kid":"ec"}"#,
        r#"{"alg":"ES256","kid":"ec","\u0061lg":"ES256"}"#,
    ] {
        assert_eq!(why(&jwt, &header_token(header)), BAD_HEADER, "{header}");
    }
    for more in [
        r#","sub":"admin""#,
        r#","\u0073ub":"admin""#,
        r#","realm":{"roles":["a"],"roles":["admin"]}"#,
    ] {
        assert_eq!(why(&jwt, &good(more)), BAD_PAYLOAD, "{more}");
    }
}

#[test]
fn huge_and_deep_tokens_are_refused_before_any_work() {
    use crate::testing::Exchange;
    let jwt = jwt(vec![ec_issuer()]);
    let deep = format!(r#","x":{}1{}"#, "[".repeat(500), "]".repeat(500));
    assert_eq!(why(&jwt, &good(&deep)), BAD_PAYLOAD);
    let many = format!(r#","x":[{}1]"#, "1,".repeat(2_100));
    assert_eq!(why(&jwt, &good(&many)), BAD_PAYLOAD);
    let huge = good(&format!(r#","x":"{}""#, "x".repeat(8_192)));
    proves(&jwt, &huge);
    let filter = tests::filter(settings(vec![ec_issuer()]));
    let mut exchange = Exchange::default();
    exchange.unix_ms = NOW;
    let line = format!("Bearer {huge}");
    exchange
        .head
        .fields
        .add("authorization", line.as_bytes())
        .unwrap();
    let (status, code, _) = tests::answer(exchange.request_head(&filter));
    assert_eq!((status, code), (401, "invalid_credentials"));
}

#[test]
fn padding_other_alphabets_and_other_spellings_are_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    // A payload whose length leaves bits over in its last character.
    let good = (0..3).map(|n| good(&format!(r#","x":"{}""#, "x".repeat(n))));
    for good in good {
        proves(&jwt, &good);
        let parts: Vec<&str> = good.split('.').collect();
        for part in 0..3 {
            let with = |text: String| {
                let mut parts = parts.clone();
                parts[part] = &text;
                parts.join(".")
            };
            let own = parts[part];
            for other in [
                format!("{own}="),
                format!("{own}=="),
                format!(" {own}"),
                format!("{own}\n"),
                format!("{own}%3D"),
                format!("{own}\0"),
                format!("{}+{}", &own[..4], &own[5..]),
                format!("{}/{}", &own[..4], &own[5..]),
                format!("{}\u{e9}{}", &own[..4], &own[6..]),
            ] {
                let forged = with(other);
                assert!(jwt.verify(forged.as_bytes(), NOW).is_err(), "{forged}");
            }
            // Bits that nobody reads, set: another text for the same bytes.
            let last = own.bytes().last().unwrap();
            if !own.len().is_multiple_of(4) {
                let forged = with(format!("{}{}", &own[..own.len() - 1], char::from(last + 1)));
                assert!(jwt.verify(forged.as_bytes(), NOW).is_err(), "{forged}");
            }
        }
    }
}

#[test]
fn another_type_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    for typ in ["logout+jwt", "dpop+jwt", "JWE", "secevent+jwt"] {
        let header = format!(r#"{{"alg":"ES256","kid":"ec","typ":"{typ}"}}"#);
        assert_eq!(
            why(&jwt, &header_token(&header)),
            "its `typ` is another",
            "{typ}"
        );
    }
    let header = r#"{"alg":"ES256","kid":"ec","typ":"at+jwt"}"#;
    proves(&jwt, &header_token(header));
}

#[test]
fn extensions_that_must_be_understood_are_not() {
    let jwt = jwt(vec![ec_issuer()]);
    for crit in [
        r#""crit":["exp"],"exp":1"#,
        r#""crit":["b64"],"b64":false"#,
        r#""crit":[]"#,
        r#""b64":true"#,
        r#""cr\u0069t":["x"],"x":1"#,
    ] {
        let header = format!(r#"{{"alg":"ES256","kid":"ec",{crit}}}"#);
        let refused = why(&jwt, &header_token(&header));
        assert_eq!(
            refused, "its header has extensions that must be understood",
            "{crit}"
        );
    }
}

#[test]
fn an_encrypted_token_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let header = encode(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    let five = format!("{header}.a.b.c.d");
    assert_eq!(why(&jwt, &five), "it has not exactly three parts");
    let signed = header_token(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#);
    assert_eq!(why(&jwt, &signed), KNOWN_ALGORITHM);
}

#[test]
fn every_changed_byte_is_noticed() {
    let jwt = jwt(vec![ec_issuer()]);
    let good = good("");
    for at in 0..good.len() {
        let mut forged = good.clone().into_bytes();
        forged[at] = match forged[at] {
            b'A' => b'B',
            _ => b'A',
        };
        assert!(jwt.verify(&forged, NOW).is_err(), "byte {at}");
    }
}
