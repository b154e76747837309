//! What stands in access control: digests and hashes of keys, moments, subjects, certificates.

use super::Fault;
use crate::model::{CertificateName, TokenSubject};

/// `sha256:` and 64 hexadecimal digits. What is wrong with it is said without it.
pub(crate) fn key_digest(text: &str) -> Result<[u8; 32], Fault> {
    let fault = |label: &str| {
        Fault::new(
            "key digest",
            "\"sha256:\" and the digest of the key, never the key itself: `ringgate key new` \
             makes both",
            label,
        )
    };
    let Some(digits) = text.strip_prefix("sha256:") else {
        return Err(fault("does not begin with `sha256:`"));
    };
    sha256(digits).ok_or_else(|| fault("does not hold 64 hexadecimal digits"))
}

fn sha256(digits: &str) -> Option<[u8; 32]> {
    let digits = digits.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(out)
}

/// A PHC string of argon2. What is wrong with it is said without it.
pub(crate) fn key_hash(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        let expected = "a hash such as \"$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH\"";
        Fault::new("key hash", expected, label)
    };
    if !text.starts_with("$argon2") {
        return Err(fault("is not one of argon2"));
    }
    super::check_password_hash(text).map_err(fault)?;
    Ok(Box::from(text))
}

/// What tells one key from another: it stands before a `.` in the key's text.
pub(crate) fn key_id(text: &str) -> Result<Box<str>, Fault> {
    let expected = "1 to 64 of the characters `A-Z a-z 0-9 _ -`";
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match text.len() {
        1..=64 if text.chars().all(fits) => Ok(Box::from(text)),
        _ => Err(Fault::new("key id", expected, "is no id")),
    }
}

/// A group or a tag.
pub(crate) fn group(text: &str) -> Result<Box<str>, Fault> {
    let expected = "1 to 128 visible ASCII characters without commas and spaces";
    let fits = |b: u8| b.is_ascii_graphic() && b != b',';
    match text.len() {
        1..=128 if text.bytes().all(fits) => Ok(Box::from(text)),
        _ => Err(Fault::new("group", expected, "is no group or tag")),
    }
}

/// The name of a user.
pub(crate) fn user(text: &str) -> Result<Box<str>, Fault> {
    let expected = "1 to 256 characters without a `:` and controls";
    let fits = |c: char| !c.is_control() && c != ':';
    match text.len() {
        1..=256 if text.chars().all(fits) => Ok(Box::from(text)),
        _ => Err(Fault::new("user name", expected, "is no user name")),
    }
}

/// What a challenge calls the protected space: it stands between quotes (RFC 9110, 11.5).
pub(crate) fn realm(text: &str) -> Result<Box<str>, Fault> {
    let expected = "1 to 128 visible ASCII characters and spaces without `\"` and `\\`";
    let fits = |b: u8| matches!(b, b' '..=b'~') && !matches!(b, b'"' | b'\\');
    match text.len() {
        1..=128 if text.bytes().all(fits) => Ok(Box::from(text)),
        _ => Err(Fault::new("realm", expected, "cannot stand between quotes")),
    }
}

/// The name of a claim, or the path to one.
pub(crate) fn claim(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a name such as \"tenant\" or \"realm_access.roles\"";
    match text.chars().find(|c| c.is_control()) {
        None if !text.is_empty() => Ok(Box::from(text)),
        _ => Err(Fault::new("claim", expected, "is no name")),
    }
}

/// The name of a query parameter, without escapes.
pub(crate) fn parameter_name(text: &str) -> Result<Box<str>, Fault> {
    let expected = "letters, digits, `-` and `_`, such as \"api_key\"";
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'&' | b'=' | b'#' | b'%' | b'+');
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new("parameter", expected, "is no parameter's name")),
    }
}

/// What the names of entries in Redis begin with.
pub(crate) fn entry_prefix(text: &str) -> Result<Box<str>, Fault> {
    let expected = "up to 128 visible ASCII characters, such as \"ringgate:key:\"";
    match text.len() <= 128 && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new("prefix", expected, "is no prefix")),
    }
}

/// What stands before a key in a header.
pub(crate) fn key_prefix(text: &str) -> Result<Box<str>, Fault> {
    let expected =
        "visible ASCII characters, perhaps with a space behind them, such as \"Bearer \"";
    let word = text.strip_suffix(' ').unwrap_or(text);
    match word.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new("prefix", expected, "cannot stand before a key")),
    }
}

/// `ISSUER|SUBJECT`
pub(crate) fn token_subject(text: &str) -> Result<TokenSubject, Fault> {
    let expected = "an issuer, `|` and a subject, such as \"https://issuer.example|alice\"";
    let fault = |label: &str| Fault::new("subject", expected, label);
    // Subjects may have one as well (those of some issuers do); issuers are URLs and have none.
    let Some((issuer, subject)) = text.split_once('|') else {
        return Err(fault("has no `|`"));
    };
    if issuer.is_empty() || subject.is_empty() {
        return Err(fault("has nothing before or behind its `|`"));
    }
    Ok(TokenSubject {
        issuer: issuer.into(),
        subject: subject.into(),
    })
}

/// `sha256:FINGERPRINT`, `subject:NAME` or `san:NAME`
pub(crate) fn certificate_name(text: &str) -> Result<CertificateName, Fault> {
    let expected = "\"sha256:\" and a fingerprint, \"subject:\" and a subject such as \
                    \"CN=app,O=Example\", or \"san:\" and a name such as \"app.internal\"";
    let fault = |label: &str| Fault::new("certificate", expected, label);
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    match (kind, name) {
        ("sha256", digits) => {
            // As tools print it: in capitals, with colons.
            let bare = digits.replace(':', "").to_ascii_lowercase();
            match sha256(&bare) {
                Some(_) => Ok(CertificateName::Fingerprint(bare.into())),
                None => Err(fault("does not hold 64 hexadecimal digits")),
            }
        }
        ("subject" | "san", "") => Err(fault("has no name")),
        ("subject", name) => Ok(CertificateName::Subject(name.into())),
        ("san", name) => Ok(CertificateName::San(name.into())),
        _ => Err(fault("begins with none of the three")),
    }
}

/// A moment (RFC 3339), as milliseconds since the UNIX epoch; parts of a second are dropped.
pub(crate) fn moment(text: &str) -> Result<u64, Fault> {
    let expected = "a moment such as \"2027-01-31T23:59:59Z\" or \"2027-01-31T23:59:59+01:00\"";
    let fault = |label: &str| Fault::new("moment", expected, label);
    parse_moment(text.as_bytes()).ok_or_else(|| fault("is no moment since 1970"))
}

fn parse_moment(text: &[u8]) -> Option<u64> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        digits.iter().try_fold(0_i64, |sum, byte| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        })
    };
    let is = |at: usize, any: &[u8]| text.get(at).is_some_and(|byte| any.contains(byte));
    let shaped = is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":");
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    let fits = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !shaped || !fits {
        return None;
    }
    let mut at = 19;
    if is(at, b".") {
        at += 1;
        let digits = text.get(at..)?.iter();
        let digits = digits.take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        at += digits;
    }
    let offset = match text.get(at..)? {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
            let seconds = (hours < 24 && minutes < 60).then(|| hours * 3600 + minutes * 60)?;
            if *sign == b'+' { seconds } else { -seconds }
        }
        _ => return None,
    };
    let days = days_since_epoch(year, month, day);
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()?.checked_mul(1000)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leaps = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leaps => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in years that begin with March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    era * 146_097 + days - 719_468
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_to_the_second() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2027-01-01T00:00:00z", 1_798_761_600),
            ("2027-01-01T01:30:00.125+01:30", 1_798_761_600),
            ("2026-12-31T23:00:00-01:00", 1_798_761_600),
        ] {
            assert_eq!(moment(text).unwrap(), seconds * 1000, "{text}");
        }
        for text in [
            "",
            "2027-01-01",
            "2027-01-01T00:00:00",
            "2027-13-01T00:00:00Z",
            "2027-02-29T00:00:00Z",
            "2027-01-01T24:00:00Z",
            "2027-01-01T00:00:00.Z",
            "2027-01-01T00:00:00+1:00",
            "1969-12-31T23:59:59Z",
            "2027-01-01T00:00:00Zx",
        ] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn digests_are_whole() {
        let digits = "2bB80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
        let digest = key_digest(&format!("sha256:{digits}")).unwrap();
        assert_eq!(digest[..3], [0x2b, 0xb8, 0x0d]);
        for text in [
            digits,
            "sha256:",
            "sha256:zz",
            &format!("sha256:{}", &digits[1..]),
        ] {
            assert!(key_digest(text).is_err(), "{text}");
        }
        assert!(key_hash("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo").is_ok());
        assert!(key_hash("$2y$10$abc").is_err());
        assert!(key_hash("$argon2id$v=19").is_err());
    }

    #[test]
    fn certificates_are_named_in_three_ways() {
        let print = ["AB"; 32].join(":");
        assert_eq!(
            certificate_name(&format!("sha256:{print}")).unwrap(),
            CertificateName::Fingerprint("ab".repeat(32).into())
        );
        assert_eq!(
            certificate_name("san:URI:spiffe://a/b").unwrap(),
            CertificateName::San("URI:spiffe://a/b".into())
        );
        for text in ["", "app", "san:", "subject:", "sha256:ab", "cn:app"] {
            assert!(certificate_name(text).is_err(), "{text}");
        }
        let subject = token_subject("https://a.example|auth0|7").unwrap();
        assert_eq!(&*subject.subject, "auth0|7");
        assert!(token_subject("alice").is_err());
    }
}
