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
/// setting bit 5 makes letters lower case and leaves the rest as it is. Most are short, so their
/// two ends are compared, which may overlap.
#[inline]
pub(crate) fn same_token(token: &[u8], lower: &[u8]) -> bool {
    if token.len() != lower.len() {
        return false;
    }
    match token.len() {
        17.. => same_words(token, lower),
        8.. => same_ends(token, lower, u64::from_le_bytes),
        4.. => same_ends(token, lower, |end| u64::from(u32::from_le_bytes(end))),
        2.. => same_ends(token, lower, |end| u64::from(u16::from_le_bytes(end))),
        _ => same_ends(token, lower, |[byte]| u64::from(byte)),
    }
}

const CASE: u64 = u64::MAX / 255 * 0x20;

/// Compares the first and the last `N` bytes; `word` puts them into the low bytes of a word.
#[inline]
fn same_ends<const N: usize>(token: &[u8], lower: &[u8], word: impl Fn([u8; N]) -> u64) -> bool {
    let differ = |a: &[u8; N], b: &[u8; N]| (word(*a) | word([0x20; N])) ^ word(*b);
    let first = token.first_chunk().zip(lower.first_chunk());
    let last = token.last_chunk().zip(lower.last_chunk());
    // Without ends both are empty.
    first.map_or(0, |(a, b)| differ(a, b)) | last.map_or(0, |(a, b)| differ(a, b)) == 0
}

/// Eight bytes at a time; the last eight may overlap those before.
fn same_words(token: &[u8], lower: &[u8]) -> bool {
    let differ =
        |a: &[u8; 8], b: &[u8; 8]| (u64::from_le_bytes(*a) | CASE) ^ u64::from_le_bytes(*b);
    let last = token.last_chunk().zip(lower.last_chunk());
    let words = token.as_chunks().0.iter().zip(lower.as_chunks().0);
    let pairs = words.chain(last);
    pairs.fold(0, |sum, (a, b)| sum | differ(a, b)) == 0
}

/// A byte that tokens which differ in case alone share; others seldom do, unless they are long
/// and differ in their middle.
#[inline]
pub(crate) fn token_tag(token: &[u8]) -> u8 {
    // Odd, and without a pattern: pi.
    const MIX: u64 = 0x2436_a885_a308_d313 | 1;
    let mix = |first: u64, last: u64| {
        let [first, last] = [first | CASE, last | CASE];
        ((first.wrapping_mul(MIX) ^ last).wrapping_mul(MIX) >> 56) as u8
    };
    if let (Some(first), Some(last)) = (token.first_chunk(), token.last_chunk()) {
        return mix(u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    }
    if let (Some(first), Some(last)) = (token.first_chunk(), token.last_chunk()) {
        let [first, last] = [first, last].map(|end| u64::from(u32::from_le_bytes(*end)));
        return mix(first, last);
    }
    let bytes = token.iter();
    mix(0, bytes.fold(0, |word, byte| word << 8 | u64::from(*byte)))
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
    fn tags_do_not_know_case() {
        for len in 0..40 {
            let token: Vec<u8> = (b'a'..=b'z').cycle().skip(len).take(len).collect();
            assert_eq!(token_tag(&token), token_tag(&token.to_ascii_uppercase()));
        }
        let tags: std::collections::HashSet<u8> = (0..64)
            .map(|i| token_tag(format!("x-header-{i:02}").as_bytes()))
            .collect();
        assert!(tags.len() > 48, "{} of 64", tags.len());
    }

    #[test]
    fn words_match_in_any_case_and_length() {
        assert!(is_word(b"Keep-Alive", "keep-alive") && is_word(b"", ""));
        assert!(!is_word(b"keep-aliv", "keep-alive") && !is_word(b"keep-alivf", "keep-alive"));
        assert!(!is_word(b"keep-alive", "keepxalive"));
    }
}
