use super::super::testing::*;
use super::super::*;

fn values<'p>(principal: &'p ringgate_core::principal::Principal, name: &str) -> Vec<&'p str> {
    principal.claims.values(name).collect()
}

#[test]
fn a_principal_has_what_the_token_says() {
    let jwt = jwt(vec![ec_issuer()]);
    let more = r#","scope":"read  write","realm":{"roles":["a","b"],"deep":{"x":1}},"n":-7,"f":0.5,"t":true,"z":null,"o":[{"k":"v"}]"#;
    let principal = proves(&jwt, &good(more));
    assert_eq!(principal.schemes, ["jwt"]);
    assert_eq!(principal.subject.as_deref(), Some("alice"));
    assert_eq!(principal.consumer, None);
    assert!(principal.may("read") && principal.may("write") && !principal.may(""));
    assert!(principal.is_in("a") && principal.is_in("b"));
    assert_eq!(values(&principal, "realm.roles"), ["a", "b"]);
    assert_eq!(values(&principal, "realm.deep.x"), ["1"]);
    assert_eq!(values(&principal, "n"), ["-7"]);
    assert_eq!(values(&principal, "f"), ["0.5"]);
    assert_eq!(values(&principal, "t"), ["true"]);
    assert_eq!(values(&principal, "z").len(), 0);
    assert_eq!(values(&principal, "o.k"), ["v"]);
    assert_eq!(values(&principal, "iss"), [ISSUER]);
}

#[test]
fn scopes_come_as_text_or_as_a_list() {
    let jwt = jwt(vec![ec_issuer()]);
    for more in [
        r#","scope":"a b""#,
        r#","scp":"a b""#,
        r#","scp":["a","b"]"#,
        r#","scope":["a","b"]"#,
    ] {
        let scopes = proves(&jwt, &good(more)).scopes;
        assert_eq!(scopes, ["a".into(), "b".into()], "{more}");
    }
    assert!(proves(&jwt, &good("")).scopes.is_empty());
}

#[test]
fn required_claims_are_there_and_hold_something() {
    let mut issuer = ec_issuer();
    issuer.claims_required = [
        "org".into(),
        "realm.roles".into(),
        "https://x.example/a".into(),
    ]
    .into();
    let jwt = jwt(vec![issuer]);
    let url = r#","https://x.example/a":1"#;
    proves(
        &jwt,
        &good(&format!(r#"{url},"org":0,"realm":{{"roles":["a"]}}"#)),
    );
    for more in [
        r#","org":0"#,
        r#","org":null,"realm":{"roles":["a"]}"#,
        r#","org":"","realm":{"roles":["a"]}"#,
        r#","org":1,"realm":{"roles":[]}"#,
        r#","org":1,"realm":"roles""#,
    ] {
        let refused = why(&jwt, &good(&format!("{url}{more}")));
        assert_eq!(refused, "a claim that is required is not in it", "{more}");
    }
}

#[test]
fn old_tokens_are_refused_where_their_age_is_bounded() {
    let mut issuer = ec_issuer();
    issuer.age_max_ms = Some(60_000);
    let jwt = jwt(vec![issuer]);
    let of_age = |age| good(&format!(r#","iat":{}"#, NOW_S - age));
    proves(&jwt, &of_age(59));
    assert_eq!(why(&jwt, &of_age(60)), "it has expired");
    assert_eq!(why(&jwt, &good("")), "it does not say when it was issued");
    let (_, until) = jwt.verify(of_age(10).as_bytes(), NOW).ok().unwrap();
    assert_eq!(until, NOW + 50_000);
}

#[test]
fn a_subject_is_a_text() {
    let jwt = jwt(vec![ec_issuer()]);
    let exp = NOW_S + 300;
    for sub in ["1", "null", r#"["alice"]"#] {
        let payload = format!(r#"{{"iss":"{ISSUER}","aud":"api","exp":{exp},"sub":{sub}}}"#);
        let token = token(&P256, Algorithm::Es256, r#"{"alg":"ES256"}"#, &payload);
        assert_eq!(why(&jwt, &token), "its subject is no text");
    }
}
