//! Query parameters: names are compared with their escapes taken back, so `%61bc` is `abc`; a
//! `+` is no space.

/// The parameters of a name, each as the whole pair and as its value; one without `=` has an
/// empty value.
pub fn parameters<'q>(
    query: Option<&'q [u8]>,
    name: &str,
) -> impl Iterator<Item = (&'q [u8], &'q [u8])> {
    let pairs = query
        .into_iter()
        .flat_map(|query| query.split(|byte| *byte == b'&'));
    pairs.filter_map(move |pair| {
        let (said, value) = halves(pair);
        is_named(said, name).then_some((pair, value))
    })
}

/// The name and the value of a pair, as they stand there.
pub fn halves(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, b""),
    }
}

/// Whether a name as it stands there is this one.
pub fn is_named(said: &[u8], name: &str) -> bool {
    // Few names are escaped.
    said == name.as_bytes() || (said.contains(&b'%') && decoded(said).eq(name.bytes()))
}

/// Bytes with their escapes taken back (RFC 3986, 2.1); what is no proper one stays.
pub fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, behind) = rest.split_first()?;
        rest = behind;
        if let (b'%', [high, low, behind @ ..]) = (*first, behind)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = behind;
            return Some((high * 16 + low) as u8);
        }
        Some(*first)
    })
}

/// Writes a target, a URL or a request line with `***` in place of the values of these
/// parameters. False, and nothing written, when it has none of them.
pub fn mask(text: &[u8], secret: &[Box<str>], out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(query) = text.iter().position(|byte| *byte == b'?') else {
        return false;
    };
    let mut from = query + 1;
    let mut kept = 0;
    while from <= text.len() {
        let rest = &text[from..];
        // What is no `&` but ends a query where a whole line is shown.
        let ends = |byte: &u8| matches!(byte, b'&' | b'?' | b' ' | b'#');
        let len = rest.iter().position(ends).unwrap_or(rest.len());
        let (said, value) = halves(&rest[..len]);
        if !value.is_empty() && secret.iter().any(|name| is_named(said, name)) {
            out.extend_from_slice(&text[kept..from + said.len() + 1]);
            out.extend_from_slice(MASK);
            kept = from + len;
        }
        from += len + 1;
    }
    if kept > 0 {
        out.extend_from_slice(&text[kept..]);
    }
    kept > 0
}

const MASK: &[u8] = b"***";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secret_parameters_are_masked_wherever_they_stand() {
        let secret: [Box<str>; 2] = ["key".into(), "token".into()];
        let masked = |text: &str| {
            let mut out = Vec::new();
            let found = mask(text.as_bytes(), &secret, &mut out);
            found.then(|| String::from_utf8(out).unwrap())
        };
        for (text, shown) in [
            ("/a?key=x", "/a?key=***"),
            ("/a?b=c&key=x&d=e", "/a?b=c&key=***&d=e"),
            ("/a?k%65y=x=y&token=z", "/a?k%65y=***&token=***"),
            ("/a?b=?key=x", "/a?b=?key=***"),
            ("https://a/?key=x#frag", "https://a/?key=***#frag"),
            ("GET /a?key=x HTTP/1.1", "GET /a?key=*** HTTP/1.1"),
        ] {
            assert_eq!(masked(text).as_deref(), Some(shown), "{text}");
        }
        for text in ["/a", "/key=x", "/a?", "/a?key", "/a?key=", "/a?keys=x&x"] {
            assert_eq!(masked(text), None, "{text}");
        }
    }
}
