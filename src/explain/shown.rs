//! What is shown of what a client sends: no controls, and no credentials of query parameters.

use ringgate_core::http::query::mask;

/// Text that a terminal can take: no control characters but line ends.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let safe = text.chars().map(|c| match c {
        '\r' | '\n' | '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    });
    safe.collect()
}

/// A target, a URL or a head with the values of these parameters masked.
pub(super) fn masked(text: String, secret: &[Box<str>]) -> String {
    if secret.is_empty() {
        return text;
    }
    let mut shown = Vec::new();
    let lines = text
        .split('\n')
        .map(|line| match mask(line.as_bytes(), secret, &mut shown) {
            true => String::from_utf8_lossy(&shown).into_owned(),
            false => line.to_owned(),
        });
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}

/// The same for a query without its `?`.
pub(super) fn masked_query(query: &str, secret: &[Box<str>]) -> String {
    let shown = masked(format!("?{query}"), secret);
    shown[1..].to_owned()
}
