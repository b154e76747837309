//! Tokens with claims that are not good here, one test each.

use super::testing::*;
use super::*;

const PINNED: &str = "its issuer signs with other algorithms";

#[test]
fn a_token_is_expired_in_the_second_that_it_expires() {
    let mut issuer = ec_issuer();
    let at = |offset: i64| {
        let exp = NOW_S.strict_add_signed(offset);
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"api","exp":{exp}}}"#);
        token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload)
    };
    let strict = jwt(vec![ec_issuer()]);
    proves(&strict, &at(1));
    for late in [0, -1, -1_000_000] {
        let refused = refusal(&strict, &at(late));
        assert_eq!(refused, ("expired_credentials", "it has expired"));
    }
    issuer.leeway_ms = 30_000;
    let lenient = jwt(vec![issuer]);
    proves(&lenient, &at(-29));
    assert_eq!(why(&lenient, &at(-30)), "it has expired");
}

#[test]
fn times_are_numbers_of_seconds() {
    let jwt = jwt(vec![ec_issuer()]);
    for exp in [
        r#""1800000300""#,
        "-1",
        "null",
        "true",
        "[1800000300]",
        "-1.5",
    ] {
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"api","exp":{exp}}}"#);
        let token = token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload);
        assert_eq!(
            why(&jwt, &token),
            "one of its times is no number, or none of a time"
        );
    }
    for exp in [
        "1800000300.5",
        "1.8000003e9",
        "1e300",
        "18446744073709551615",
        "99999999999999999999",
    ] {
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"api","exp":{exp}}}"#);
        let token = token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload);
        proves(&jwt, &token);
    }
    let payload = format!(r#"{{"iss":"{ISSUER}","aud":"api"}}"#);
    let forever = token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload);
    assert_eq!(why(&jwt, &forever), "it never expires");
}

#[test]
fn a_token_of_tomorrow_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let more = |name, offset| good(&format!(r#","{name}":{}"#, NOW_S + offset));
    proves(&jwt, &more("nbf", 0));
    proves(&jwt, &more("iat", 0));
    assert_eq!(
        refusal(&jwt, &more("nbf", 1)),
        ("expired_credentials", "it is not valid yet")
    );
    assert_eq!(why(&jwt, &more("iat", 1)), "it was issued in the future");
}

#[test]
fn another_audience_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let with = |aud: &str| {
        let exp = NOW_S + 300;
        let payload = format!(r#"{{"iss":"{ISSUER}","exp":{exp}{aud}}}"#);
        token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload)
    };
    proves(&jwt, &with(r#","aud":"other""#));
    proves(&jwt, &with(r#","aud":["x","api"]"#));
    for aud in [
        "",
        r#","aud":"API""#,
        r#","aud":"api ""#,
        r#","aud":"ap""#,
        r#","aud":"api/x""#,
        r#","aud":["x"]"#,
        r#","aud":[]"#,
        r#","aud":[["api"]]"#,
        r#","aud":["api",1]"#,
        r#","aud":{"api":"api"}"#,
        r#","aud":null"#,
    ] {
        assert_eq!(why(&jwt, &with(aud)), "its audience is another", "{aud}");
    }
}

#[test]
fn another_issuer_is_refused() {
    let jwt = jwt(vec![ec_issuer()]);
    let with = |iss: &str| {
        let payload = format!(r#"{{{iss}"aud":"api","exp":{}}}"#, NOW_S + 300);
        token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload)
    };
    proves(&jwt, &with(r#""iss":"https://issuer.example","#));
    for iss in [
        "https://issuer.example/",
        "https://ISSUER.example",
        "http://issuer.example",
        "https://issuer.example.attacker.example",
        "https://issuer.exampl",
        "",
    ] {
        let iss = format!(r#""iss":"{iss}","#);
        assert_eq!(
            why(&jwt, &with(&iss)),
            "its issuer is not known here",
            "{iss}"
        );
    }
    assert_eq!(why(&jwt, &with("")), "it names no issuer");
    let list = r#""iss":["https://issuer.example"],"#;
    assert_eq!(why(&jwt, &with(list)), "it names no issuer");
}

#[test]
fn one_issuers_key_does_not_sign_for_another() {
    let mut other = issuer(vec![P384.key(Some("ec"), &[Algorithm::Es384])]);
    other.issuer = "https://other.example".into();
    let jwt = jwt(vec![ec_issuer(), other]);
    let claims = payload("").replace(ISSUER, "https://other.example");
    let header = r#"{"alg":"ES384","kid":"ec"}"#;
    proves(&jwt, &token(&P384, Algorithm::Es384, header, &claims));
    let forged = token(&P384, Algorithm::Es384, header, &payload(""));
    assert_eq!(why(&jwt, &forged), PINNED);
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let forged = token(&P256, Algorithm::Es256, header, &claims);
    assert_eq!(why(&jwt, &forged), PINNED);
}
