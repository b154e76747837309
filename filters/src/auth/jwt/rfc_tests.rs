//! The examples of the RFCs, byte by byte.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::testing::issuer;
use super::*;

/// RFC 7515, A.1 to A.3 have the same claims; they have expired in 2011.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                       cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const EXPIRY_MS: u64 = 1_300_819_380_000;

const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwj\
                      AzZr1Z9CAow";
const RSA: &str = r#"{"keys":[{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}]}"#;
const RSA_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const EC: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const EC_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

fn loaded(set: &str) -> Vec<Key> {
    jwks::read(set.as_bytes()).unwrap().keys
}

fn check(header: &str, signature: &str, keys: Vec<Key>) {
    let mut joe = issuer(keys);
    joe.issuer = "joe".into();
    joe.audiences = [].into();
    let jwt = testing::jwt(vec![joe]);
    let token = format!("{header}.{PAYLOAD}.{signature}");
    let (known, until) = match jwt.verify(token.as_bytes(), EXPIRY_MS - 1) {
        Ok(verified) => verified,
        Err(Trouble::Refused(refusal)) => panic!("{}", refusal.why),
        Err(Trouble::NoKey(_)) => panic!("no key"),
    };
    assert_eq!(until, EXPIRY_MS);
    let claims = &known.principal.claims;
    let root: Vec<_> = claims.values("http://example.com/is_root").collect();
    assert_eq!(root, ["true"]);
    assert!(jwt.verify(token.as_bytes(), EXPIRY_MS).is_err());
}

#[test]
fn rfc_7515_a1_hs256() {
    let secret = URL_SAFE_NO_PAD.decode(SECRET).unwrap();
    let key = Key::secret(None, Algorithm::Hs256, &secret).unwrap();
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    check(
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9",
        signature,
        vec![key],
    );
}

#[test]
fn rfc_7515_a2_rs256() {
    check("eyJhbGciOiJSUzI1NiJ9", RSA_SIGNATURE, loaded(RSA));
}

#[test]
fn rfc_7515_a3_es256() {
    check("eyJhbGciOiJFUzI1NiJ9", EC_SIGNATURE, loaded(EC));
}

/// The payload is no JSON, so only the signature is looked at.
#[test]
fn rfc_7515_a4_es512() {
    let keys = loaded(
        r#"{"keys":[{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}]}"#,
    );
    let signature = URL_SAFE_NO_PAD
        .decode("AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn")
        .unwrap();
    let signed = b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
    assert!(keys[0].verifies(Algorithm::Es512, signed, &signature));
    assert!(!keys[0].verifies(Algorithm::Es512, &signed[1..], &signature));
    assert!(!keys[0].verifies(Algorithm::Es256, signed, &signature));
}

/// RFC 7515, A.5 and RFC 7519, 6.1: an unsecured token.
#[test]
fn rfc_7515_a5_none() {
    let jwt = testing::jwt(vec![testing::ec_issuer()]);
    let token = format!("eyJhbGciOiJub25lIn0.{PAYLOAD}.");
    assert!(jwt.verify(token.as_bytes(), EXPIRY_MS - 1).is_err());
}

#[test]
fn rfc_8037_a4_ed25519() {
    let keys = loaded(
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
    );
    let signature = URL_SAFE_NO_PAD
        .decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
        .unwrap();
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    assert!(keys[0].verifies(Algorithm::EdDsa, signed, &signature));
    assert!(keys[0].verifies(Algorithm::Ed25519, signed, &signature));
    assert!(!keys[0].verifies(Algorithm::EdDsa, &signed[1..], &signature));
}

/// RFC 7517, A.1: one key is for encryption.
#[test]
fn rfc_7517_a1() {
    let loaded = jwks::read(br#"{"keys":[
        {"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"},
        {"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}
    ]}"#).unwrap();
    assert_eq!(loaded.left_out, ["it is not for verifying signatures"]);
    assert_eq!(loaded.keys.len(), 1);
    assert_eq!(loaded.keys[0].kid(), Some("2011-04-29"));
    let only = Algorithms::new([Algorithm::Rs256]);
    assert_eq!(loaded.keys[0].algorithms(), only);
}
