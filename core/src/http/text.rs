//! The small grammar that fields share: tokens, values, lists (RFC 9110, 5.5 and 5.6).

/// Whether the bytes are a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    // Without an early exit: most are short, and tokens.
    !bytes.is_empty() && bytes.iter().fold(true, |ok, &b| ok & is_token_byte(b))
}

#[inline]
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// A table: the bytes lie in so many ranges that comparing takes ten times as long.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric()
            || matches!(
                byte as u8,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Whether the bytes can stand in a field value (RFC 9110, 5.5; obs-text is let through).
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    every(bytes, is_value_byte)
}

#[inline]
pub(crate) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether every byte passes the test, sixteen at a time in vector instructions; the last
/// sixteen of a text that is not cut even are looked at once more.
#[inline]
pub(crate) fn every(bytes: &[u8], test: impl Fn(u8) -> bool) -> bool {
    if let Some(last) = bytes.last_chunk::<16>() {
        let all = |chunk: &[u8; 16]| chunk.iter().fold(true, |ok, &byte| ok & test(byte));
        let (chunks, _) = bytes.as_chunks::<16>();
        return chunks.iter().fold(all(last), |ok, chunk| ok & all(chunk));
    }
    bytes.iter().fold(true, |ok, &byte| ok & test(byte))
}

/// The members of a comma-separated list (RFC 9110, 5.6.1), without blanks and empty members.
pub(crate) fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&b| b == b',')
        .map(trim_blanks)
        .filter(|member| !member.is_empty())
}

pub(crate) fn trim_blanks(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether the token equals the lower-case name, in any case.
#[inline]
pub(crate) fn is_word(token: &[u8], lower: &str) -> bool {
    same_token(token, lower.as_bytes())
}

/// Whether a token equals a lower-case name of letters, digits and hyphens, whatever its case:
/// setting bit 5 makes letters lower case and leaves the rest as it is. Eight bytes at a time;
/// the last eight, or the first and last four, may overlap those before.
#[inline]
pub(crate) fn same_token(token: &[u8], lower: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    if token.len() != lower.len() {
        return false;
    }
    let differ =
        |a: &[u8; 8], b: &[u8; 8]| (u64::from_ne_bytes(*a) | CASE) ^ u64::from_ne_bytes(*b);
    if let (Some(last), Some(lower_last)) = (token.last_chunk(), lower.last_chunk()) {
        let (words, _) = token.as_chunks::<8>();
        let (lower_words, _) = lower.as_chunks::<8>();
        let pairs = words.iter().zip(lower_words);
        return pairs.fold(differ(last, lower_last), |sum, (a, b)| sum | differ(a, b)) == 0;
    }
    if let (Some(ends), Some(lower_ends)) = (ends(token), ends(lower)) {
        return differ(&ends, &lower_ends) == 0;
    }
    let pairs = token.iter().zip(lower);
    pairs.fold(0, |sum, (a, b)| sum | ((a | 0x20) ^ b)) == 0
}

/// The first and the last four bytes.
#[inline]
fn ends(bytes: &[u8]) -> Option<[u8; 8]> {
    let ([a, b, c, d], [e, f, g, h]) = (bytes.first_chunk::<4>()?, bytes.last_chunk::<4>()?);
    Some([*a, *b, *c, *d, *e, *f, *g, *h])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_skip_empty_members() {
        let members: Vec<_> = list_members(b" a ,, b\t,").collect();
        assert_eq!(members, [b"a", b"b"]);
    }

    #[test]
    fn a_byte_that_fails_is_seen_at_every_place() {
        for len in 0..70 {
            let mut bytes = vec![b'a'; len];
            assert!(is_value(&bytes));
            for at in 0..len {
                bytes[at] = 0x7f;
                assert!(!is_value(&bytes), "{at} of {len}");
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn names_that_differ_in_one_place_differ() {
        for len in 1..40 {
            let lower = vec![b'a'; len];
            let mut token = vec![b'A'; len];
            assert!(same_token(&token, &lower));
            for at in 0..len {
                token[at] = b'-';
                assert!(!same_token(&token, &lower), "{at} of {len}");
                token[at] = b'a';
            }
        }
    }

    #[test]
    fn words_match_in_any_case_and_length() {
        assert!(is_word(b"Keep-Alive", "keep-alive") && is_word(b"", ""));
        assert!(!is_word(b"keep-aliv", "keep-alive") && !is_word(b"keep-alivf", "keep-alive"));
        assert!(!is_word(b"keep-alive", "keepxalive"));
    }
}
