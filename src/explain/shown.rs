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

/// Fields whose values are not repeated.
pub(super) const CREDENTIALS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];

/// A head without the values of fields that carry credentials.
pub(super) fn without_credentials(head: &str) -> String {
    let lines = head.split('\n').map(|line| match line.split_once(':') {
        Some((name, _)) if is_credential(name) => format!("{name}: (hidden)"),
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}

fn is_credential(name: &str) -> bool {
    let mut names = CREDENTIALS.iter();
    names.any(|known| known.eq_ignore_ascii_case(name))
}

/// A query without its `?`, masked likewise.
pub(super) fn masked_query(query: &str, secret: &[Box<str>]) -> String {
    let shown = masked(format!("?{query}"), secret);
    shown[1..].to_owned()
}
