//! The small grammar that fields share: tokens, values, lists (RFC 9110, 5.5 and 5.6).

/// Whether the bytes are a token (RFC 9110, 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&b| is_token_byte(b))
}

pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
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
        )
}

/// Whether the bytes can stand in a field value (RFC 9110, 5.5; obs-text is let through).
pub(crate) fn is_value(bytes: &[u8]) -> bool {
    bytes.iter().all(|&b| is_value_byte(b))
}

pub(crate) const fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
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

/// Whether a token equals a lower-case name of letters, digits and hyphens, whatever its case.
/// Eight bytes at a time: setting bit 5 makes letters lower case and leaves the rest as it is.
#[inline]
pub(crate) fn same_token(token: &[u8], lower: &[u8]) -> bool {
    const CASE: u64 = 0x2020_2020_2020_2020;
    if token.len() != lower.len() {
        return false;
    }
    let (words, tail) = token.as_chunks::<8>();
    let (lower_words, lower_tail) = lower.as_chunks::<8>();
    let mut differ = 0;
    for (a, b) in words.iter().zip(lower_words) {
        differ |= (u64::from_ne_bytes(*a) | CASE) ^ u64::from_ne_bytes(*b);
    }
    let mut tail_differ = 0;
    for (a, b) in tail.iter().zip(lower_tail) {
        tail_differ |= (a | 0x20) ^ b;
    }
    differ == 0 && tail_differ == 0
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
    fn words_match_in_any_case_and_length() {
        assert!(is_word(b"Keep-Alive", "keep-alive") && is_word(b"", ""));
        assert!(!is_word(b"keep-aliv", "keep-alive") && !is_word(b"keep-alivf", "keep-alive"));
        assert!(!is_word(b"keep-alive", "keepxalive"));
    }
}
