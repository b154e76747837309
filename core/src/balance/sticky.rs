//! Cookies that keep a client with its endpoint. The value names the endpoint by its identity,
//! not by its address, and is signed: a client can neither choose an endpoint nor learn where
//! one is.
//!
//! A value is `ID.MAC` or `ID.EXPIRY.MAC`: the identity in 16 hexadecimal digits, the expiry in
//! seconds since 1970 in hexadecimal, and the first 128 bits of HMAC-SHA256 (RFC 2104) in 32.
//! The code covers the cookie's name as well, so a value is good for one cookie only.

use std::fmt::{self, Write};
use std::ops::Deref;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use crate::policy::Sticky;

/// Signs and verifies the values of one cookie. Made once for a configuration: the key is
/// expanded then.
pub struct Signer {
    key: hmac::Key,
    name: Box<str>,
    /// Seconds; none for a session cookie.
    max_age: Option<u64>,
    /// What stands behind the value in `Set-Cookie`.
    attributes: Box<str>,
}

/// A signed value.
#[derive(Clone, Copy)]
pub struct Value {
    bytes: [u8; VALUE_LEN_MAX],
    len: usize,
}

/// Hexadecimal digits of an identity.
const ID_LEN: usize = 16;
/// Hexadecimal digits of an expiry at most.
const EXPIRY_LEN_MAX: usize = 16;
/// Bytes of the code that are kept.
const MAC_BYTES: usize = 16;
/// Longest value.
const VALUE_LEN_MAX: usize = ID_LEN + 1 + EXPIRY_LEN_MAX + 1 + 2 * MAC_BYTES;

impl Signer {
    /// A signer for the cookie.
    pub fn new(spec: &Sticky) -> Signer {
        let mut attributes = String::from("; Path=/; HttpOnly; SameSite=Lax");
        if spec.secure {
            attributes.push_str("; Secure");
        }
        let max_age = spec.max_age.map(|age| age.as_secs());
        if let Some(age) = max_age {
            attributes.push_str(&format!("; Max-Age={age}"));
        }
        Signer {
            key: hmac::Key::new(hmac::HMAC_SHA256, &spec.secret),
            name: spec.cookie.clone(),
            max_age,
            attributes: attributes.into(),
        }
    }

    /// The value for an endpoint, at a time in seconds since 1970.
    pub fn value(&self, id: u64, unix_now: u64) -> Value {
        let mut value = Value {
            bytes: [0; VALUE_LEN_MAX],
            len: 0,
        };
        value.push(format_args!("{id:016x}"));
        if let Some(age) = self.max_age {
            value.push(format_args!(".{:x}", unix_now.saturating_add(age)));
        }
        let mac = self.mac(value.as_bytes());
        value.push(format_args!(".{:032x}", u128::from_be_bytes(mac)));
        value
    }

    /// The identity of the endpoint that a value names. None when it is not one of ours, or too
    /// old; one without an expiry is not taken where cookies have an age.
    pub fn verify(&self, value: &[u8], unix_now: u64) -> Option<u64> {
        if value.len() > VALUE_LEN_MAX {
            return None;
        }
        let at = value.iter().rposition(|byte| *byte == b'.')?;
        let (signed, mac) = (value.get(..at)?, value.get(at + 1..)?);
        if mac.len() != 2 * MAC_BYTES {
            return None;
        }
        let (high, low) = mac.split_at(16);
        let mac = (u128::from(hex(high)?) << 64) | u128::from(hex(low)?);
        verify_slices_are_equal(&mac.to_be_bytes(), &self.mac(signed)).ok()?;
        let (id, rest) = signed.split_at_checked(ID_LEN)?;
        match (self.max_age, rest.split_first()) {
            (None, None) => hex(id),
            (Some(age), Some((b'.', expiry))) => {
                let expiry = hex(expiry)?;
                // A shorter age in the configuration cuts those that are out already.
                let good = expiry > unix_now && expiry - unix_now <= age;
                good.then(|| hex(id)).flatten()
            }
            _ => None,
        }
    }

    /// Appends the value of a `Set-Cookie` field that names the endpoint.
    pub fn set_cookie(&self, id: u64, unix_now: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        out.push(b'=');
        out.extend_from_slice(self.value(id, unix_now).as_bytes());
        out.extend_from_slice(self.attributes.as_bytes());
    }

    /// The name of the cookie.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn mac(&self, signed: &[u8]) -> [u8; MAC_BYTES] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(self.name.as_bytes());
        // No cookie name has it (RFC 6265, 4.1.1).
        context.update(b"=");
        context.update(signed);
        let tag = context.sign();
        let mut mac = [0; MAC_BYTES];
        for (to, from) in mac.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        mac
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Value {
    /// Appends; what does not fit, which no value of ours does, is left out.
    fn push(&mut self, text: fmt::Arguments<'_>) {
        let _ = self.write_fmt(text);
    }
}

impl Write for Value {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

impl Deref for Value {
    type Target = str;

    fn deref(&self) -> &str {
        let written = self.bytes.get(..self.len).unwrap_or_default();
        std::str::from_utf8(written).unwrap_or_default()
    }
}

/// Lower-case hexadecimal digits, 1 to 16 of them.
fn hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((value << 4) | u64::from(digit))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const ID: u64 = 0x0123_4567_89ab_cdef;

    fn signer(cookie: &str, secret: &str, max_age: Option<u64>) -> Signer {
        Signer::new(&Sticky {
            cookie: cookie.into(),
            secret: secret.as_bytes().into(),
            max_age: max_age.map(Duration::from_secs),
            secure: true,
        })
    }

    #[test]
    fn a_value_names_its_endpoint() {
        for max_age in [None, Some(3600)] {
            let signer = signer("node", "secret", max_age);
            let value = signer.value(ID, NOW);
            assert_eq!(signer.verify(value.as_bytes(), NOW), Some(ID));
        }
    }

    #[test]
    fn a_session_cookie_has_a_known_form() {
        let signer = signer("node", "secret", None);
        let value = signer.value(ID, NOW);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
        let tag = hmac::sign(&key, b"node=0123456789abcdef");
        let mac = tag.as_ref().iter().take(16);
        let mac: String = mac.map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(*value, *format!("0123456789abcdef.{mac}"));
    }

    #[test]
    fn every_changed_byte_is_found() {
        let signer = signer("node", "secret", Some(3600));
        let value = signer.value(ID, NOW);
        for at in 0..value.len() {
            for bit in 0..8 {
                let mut changed = value.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                assert_eq!(signer.verify(&changed, NOW), None, "byte {at}, bit {bit}");
            }
            assert_eq!(signer.verify(&value.as_bytes()[..at], NOW), None);
        }
    }

    #[test]
    fn other_secrets_and_other_cookies_do_not_count() {
        let value = signer("node", "secret", None).value(ID, NOW);
        for other in [
            signer("node", "other", None),
            signer("edon", "secret", None),
        ] {
            assert_eq!(other.verify(value.as_bytes(), NOW), None);
        }
    }

    #[test]
    fn values_expire() {
        let hour = signer("node", "secret", Some(3600));
        let value = hour.value(ID, NOW);
        assert_eq!(hour.verify(value.as_bytes(), NOW + 3599), Some(ID));
        assert_eq!(hour.verify(value.as_bytes(), NOW + 3600), None);
        // The age was made shorter, or given up, or there was none.
        let minute = signer("node", "secret", Some(60));
        assert_eq!(minute.verify(value.as_bytes(), NOW), None);
        let session = signer("node", "secret", None);
        assert_eq!(session.verify(value.as_bytes(), NOW), None);
        let value = session.value(ID, NOW);
        assert_eq!(hour.verify(value.as_bytes(), NOW), None);
    }

    #[test]
    fn the_field_has_its_attributes() {
        let mut out = Vec::new();
        signer("node", "secret", Some(60)).set_cookie(ID, NOW, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (value, attributes) = text.split_once(';').unwrap();
        assert!(value.starts_with("node=0123456789abcdef."), "{value}");
        let expected = " Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=60";
        assert_eq!(attributes, expected);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(0u8.., 0..100)) {
            assert_eq!(signer("node", "secret", None).verify(&bytes, NOW), None);
        }
    }
}
