//! Hashes of passwords. What comparing with one costs is bounded here: whoever sends a password
//! makes the gateway pay it.

use super::Fault;

/// Why a text is no hash that passwords are compared with. It holds nothing of the text.
pub type PasswordHashFault = &'static str;

/// Memory of argon2, in KiB.
const ARGON2_KIB_MAX: u32 = 262_144;
/// Passes of argon2 over its memory.
const ARGON2_PASSES_MAX: u32 = 16;
/// KiB that argon2 passes over altogether.
const ARGON2_WORK_MAX: u32 = 1_048_576;
/// Lanes of argon2.
const ARGON2_LANES_MAX: u32 = 16;
/// Bytes of its salt, and of its hash.
const ARGON2_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Each one more doubles the time; 14 takes about a second.
const BCRYPT_COST_MAX: u32 = 14;

/// Checks a hash as `htpasswd` and `argon2` write it: `$2y$10$...`, `$argon2id$v=19$m=...`.
///
/// # Errors
/// It is of another kind, or costs more to compare with than is good.
pub fn check_password_hash(text: &str) -> Result<(), PasswordHashFault> {
    let mut parts = text.split('$');
    if parts.next() != Some("") {
        return Err("is no hash of argon2 or bcrypt");
    }
    match parts.next() {
        Some("argon2id" | "argon2i" | "argon2d") => argon2(parts),
        Some("2a" | "2b" | "2y") => bcrypt(parts),
        Some("apr1" | "1" | "5" | "6") => Err("is of a kind that is too weak or not known here"),
        _ => Err("is no hash of argon2 or bcrypt"),
    }
}

fn argon2<'t>(mut parts: impl Iterator<Item = &'t str>) -> Result<(), PasswordHashFault> {
    let mut next = || parts.next().ok_or("is not whole");
    let mut settings = next()?;
    if let Some(version) = settings.strip_prefix("v=") {
        if !["16", "19"].contains(&version) {
            return Err("is of a version of argon2 that is not known");
        }
        settings = next()?;
    }
    let (salt, hash) = (next()?, next()?);
    if next().is_ok() {
        return Err("has more parts than it should");
    }
    let (memory, passes) = cost(settings).ok_or("says its cost otherwise than m=,t=,p=")?;
    if memory > ARGON2_KIB_MAX
        || passes > ARGON2_PASSES_MAX
        || memory.saturating_mul(passes) > ARGON2_WORK_MAX
    {
        return Err("costs more than m=262144, t=16 or m*t=1048576 to compare with");
    }
    let is_base64 = |text: &str| {
        let bytes = text.len() * 3 / 4;
        ARGON2_BYTES.contains(&bytes)
            && text.len() % 4 != 1
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
    };
    match is_base64(salt) && is_base64(hash) {
        true => Ok(()),
        false => Err("has a salt or a hash that is cut or too long"),
    }
}

/// KiB and passes, from `m=19456,t=2,p=1`.
fn cost(settings: &str) -> Option<(u32, u32)> {
    let mut parts = settings.split(',');
    let mut number = |name: &str| -> Option<u32> {
        let digits = parts.next()?.strip_prefix(name)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().unwrap_or(u32::MAX))
    };
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    let fits = (1..=ARGON2_LANES_MAX).contains(&lanes) && memory >= 8 * lanes && passes >= 1;
    (fits && parts.next().is_none()).then_some((memory, passes))
}

fn bcrypt<'t>(mut parts: impl Iterator<Item = &'t str>) -> Result<(), PasswordHashFault> {
    let (cost, rest) = (parts.next(), parts.next());
    let Some((cost, rest)) = cost.zip(rest).filter(|_| parts.next().is_none()) else {
        return Err("is not whole");
    };
    let is_number = cost.len() == 2 && cost.bytes().all(|b| b.is_ascii_digit());
    let cost = cost.parse().ok().filter(|_| is_number);
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/');
    match cost {
        Some(4..=BCRYPT_COST_MAX) if rest.len() == 53 && rest.bytes().all(fits) => Ok(()),
        Some(4..=BCRYPT_COST_MAX) => Err("is not whole"),
        Some(_) => Err("has a cost of bcrypt that is not from 04 to 14"),
        None => Err("has no cost"),
    }
}

/// A hash of a user's password. What is wrong with it is said without it.
pub(crate) fn password_hash(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a hash such as \"$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH\" or \"$2y$10$...\", \
                    as `htpasswd -nB USER` makes it";
    match check_password_hash(text) {
        Ok(()) => Ok(Box::from(text)),
        Err(fault) => Err(Fault::new("password hash", expected, fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT_AND_HASH: &str = "c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQeTBSAsNxo9iDeNZuuHMPo";
    const BCRYPT: &str = "abcdefghijklmnopqrstuuZxDXDN9tDZ6uOuB6Y0Nb3tfFoYfjUQO";

    #[test]
    fn the_usual_hashes_are_known() {
        for cost in [
            "v=19$m=19456,t=2,p=1",
            "v=19$m=65536,t=16,p=4",
            "m=262144,t=4,p=16",
            "v=16$m=8,t=1,p=1",
        ] {
            for kind in ["argon2id", "argon2i", "argon2d"] {
                let text = format!("${kind}${cost}${SALT_AND_HASH}");
                assert_eq!(check_password_hash(&text), Ok(()), "{text}");
            }
        }
        for kind in ["2a", "2b", "2y"] {
            let text = format!("${kind}$12${BCRYPT}");
            assert_eq!(check_password_hash(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn nobody_is_made_to_pay_more_than_is_good() {
        for cost in [
            "v=19$m=4294967295,t=1,p=1",
            "v=19$m=99999999999999999999,t=1,p=1",
            "v=19$m=262145,t=1,p=1",
            "v=19$m=262144,t=5,p=1",
            "v=19$m=8,t=17,p=1",
            "v=19$m=8,t=99999999999,p=1",
            "v=19$m=65536,t=1,p=17",
            "v=19$m=8,t=1,p=4294967295",
        ] {
            let text = format!("$argon2id${cost}${SALT_AND_HASH}");
            assert!(check_password_hash(&text).is_err(), "{text}");
        }
        for cost in ["15", "31", "99", "00", "3"] {
            assert!(check_password_hash(&format!("$2y${cost}${BCRYPT}")).is_err());
        }
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        let long = format!("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ${}", "A".repeat(200));
        for text in [
            "",
            "secret",
            "$",
            "$apr1$salt$hash",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "$argon2id$",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ",
            "$argon2id$v=19$m=8,t=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ",
            "$argon2id$v=19$t=1,m=8,p=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ",
            "$argon2id$v=20$m=8,t=1,p=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ",
            "$argon2id$v=19$m=8,t=1,p=1,x=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ",
            "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ$more",
            "$argon2id$v=19$m=8,t=1,p=1$short$kTATATrEuJWZAPGKP1tJGQ",
            "$argon2id$v=19$m=+8,t=1,p=1$c29tZXNhbHQ$kTATATrEuJWZAPGKP1tJGQ",
            "$2y$10$short",
            "$2x$10$abcdefghijklmnopqrstuuZxDXDN9tDZ6uOuB6Y0Nb3tfFoYfjUQO",
            &long,
        ] {
            assert!(check_password_hash(text).is_err(), "{text}");
        }
    }
}
