//! What is shown of what clients and the gateway send: no controls, and no credentials.

use ringgate_config::Config;
use ringgate_config::model::FilterKind;
use ringgate_core::http::query::mask;

/// Fields whose values are not repeated.
pub(super) const CREDENTIALS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];

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

/// A query without its `?`, masked likewise.
pub(super) fn masked_query(query: &str, secret: &[Box<str>]) -> String {
    let shown = masked(format!("?{query}"), secret);
    shown[1..].to_owned()
}

/// A head without the values of fields that are credentials by their nature, or that a filter
/// sets to what the configuration refers to instead of holding it.
pub(super) fn without_credentials(head: &str, config: &Config) -> String {
    let filters = config.filters.iter();
    let edits = filters.filter_map(|filter| match &filter.kind {
        FilterKind::Headers(headers) => Some(&headers.request),
        _ => None,
    });
    let fields = edits.flat_map(|edits| edits.set.iter().chain(&edits.add));
    let referring = fields.filter(|field| {
        let written = config.sources().snippet(field.value.span);
        written.contains("${")
    });
    let names: Vec<&str> = referring.map(|field| &*field.name.value).collect();
    let hidden = |name: &str| {
        let mut all = CREDENTIALS.iter().chain(&names);
        all.any(|known| known.eq_ignore_ascii_case(name))
    };
    let lines = head.split('\n').map(|line| match line.split_once(':') {
        Some((name, _)) if hidden(name) => format!("{name}: (hidden)"),
        _ => line.to_owned(),
    });
    let lines: Vec<String> = lines.collect();
    lines.join("\n")
}
