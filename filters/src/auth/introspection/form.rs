//! Forms (`application/x-www-form-urlencoded`), as OAuth 2.0 sends them.

use std::fmt::Write;

use ringgate_core::base64::Encoder;

/// Adds a member.
pub(super) fn add(form: &mut String, name: &str, value: &[u8]) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    encode(value, form);
}

/// The value of `Authorization` for a client: both parts are encoded as in a form first
/// (RFC 6749, 2.3.1).
pub(super) fn basic(id: &str, secret: &str) -> Vec<u8> {
    let mut pair = String::new();
    encode(id.as_bytes(), &mut pair);
    pair.push(':');
    encode(secret.as_bytes(), &mut pair);
    let mut out = b"Basic ".to_vec();
    let mut encoder = Encoder::default();
    encoder.push(pair.as_bytes(), &mut out);
    encoder.finish(&mut out);
    out
}

fn encode(value: &[u8], out: &mut String) {
    for byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            // Writing into a text cannot fail.
            byte => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_meaning_in_forms_is_escaped() {
        let mut form = String::new();
        add(&mut form, "token", b"a+b/c=&d");
        add(&mut form, "x", b"~-._");
        assert_eq!(form, "token=a%2Bb%2Fc%3D%26d&x=~-._");
    }

    #[test]
    fn credentials_are_encoded_before_they_are_joined() {
        // printf 'a%%3Ab:c%%20d' | base64
        assert_eq!(basic("a:b", "c d"), b"Basic YSUzQWI6YyUyMGQ=");
    }
}
