//! What stands in HTTP messages: methods, fields, paths and templates of paths.

use super::Fault;

/// A byte of a token (RFC 9110, section 5.6.2).
pub(super) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// A method, in upper case as registered.
pub(crate) fn method(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("method", "a method such as \"GET\" or \"POST\"", label);
    if text.is_empty() || !text.bytes().all(is_token_byte) {
        return Err(fault("is not a method name"));
    }
    if text.bytes().any(|b| b.is_ascii_lowercase()) {
        return Err(fault("methods are case-sensitive")
            .help(format!("write \"{}\"", text.to_ascii_uppercase())));
    }
    Ok(Box::from(text))
}

/// A field name, which comes back in lower case.
pub(crate) fn header_name(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "header name",
            "letters, digits and `-`, such as \"x-request-source\"",
            label,
        )
    };
    if text.is_empty() {
        return Err(fault("is empty"));
    }
    if let Some(other) = text
        .chars()
        .find(|&c| !c.is_ascii() || !is_token_byte(c as u8))
    {
        let label = format!("has the character `{}`", other.escape_debug());
        return Err(match text.strip_suffix(':') {
            Some(bare) => fault(&label).help(format!("write \"{bare}\"")),
            None => fault(&label),
        });
    }
    Ok(text.to_ascii_lowercase().into_boxed_str())
}

/// A source of a content security policy: `'self'`, `https:`, `https://app.example.com`.
pub(crate) fn policy_source(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        let expected = "a source such as \"'self'\" or \"https://app.example.com\"";
        Fault::new("source", expected, label)
    };
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_graphic() && !b";,".contains(&b))
    {
        return Err(fault("is not one word without `;` and `,`"));
    }
    if ["self", "none"].contains(&text) {
        return Err(
            fault("this word stands in quotes of its own").help(format!("write \"'{text}'\""))
        );
    }
    Ok(Box::from(text))
}

/// A field value without line breaks or controls; the gateway's own are ASCII.
pub(crate) fn header_value(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "header value",
            "visible ASCII characters, spaces and tabs, without spaces at its ends",
            label,
        )
    };
    if let Some(other) = text.chars().find(|&c| !matches!(c, '\t' | ' '..='~')) {
        return Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        )));
    }
    if text.trim_matches([' ', '\t']).len() != text.len() {
        return Err(fault("begins or ends with a space")
            .help(format!("write \"{}\"", text.trim_matches([' ', '\t']))));
    }
    Ok(Box::from(text))
}

/// Headers whose values are credentials by their nature: they are not shown.
pub(crate) const CREDENTIALS: [&str; 6] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-auth-token",
];

/// Whether a header, in lower case, carries a credential.
pub(crate) fn is_credential(name: &str) -> bool {
    CREDENTIALS.contains(&name)
}

/// Fields that frame messages or belong to one connection (RFC 9110, section 7.6.1): a filter
/// that could touch them could smuggle requests. Says what to do instead.
pub(crate) fn untouchable(name: &str) -> Option<&'static str> {
    match name {
        "content-length" | "transfer-encoding" => {
            Some("the gateway frames messages itself; remove this entry")
        }
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer" | "upgrade" => {
            Some("the gateway manages its own connections; remove this entry")
        }
        "host" => Some("to send another `Host` upstream, use `upstream_host` in the route"),
        "expect" => Some("the gateway answers `Expect` itself; remove this entry"),
        _ => None,
    }
}

/// The pseudonym or host of `Via`'s received-by (RFC 9110, section 7.6.3).
pub(crate) fn via(text: &str) -> Result<Box<str>, Fault> {
    let fits = |b: u8| is_token_byte(b) || matches!(b, b':' | b'[' | b']');
    if text.is_empty() || !text.bytes().all(fits) {
        return Err(Fault::new(
            "name for `Via`",
            "\"off\", a name such as \"ringgate\", or a host and port",
            "has characters that cannot stand in `Via`",
        ));
    }
    Ok(Box::from(text))
}

/// A template of a path; its captures are the router's business.
pub(crate) fn template(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "path template",
            "a path such as \"/v2/users/{rest}\"",
            label,
        )
    };
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    match text.chars().find(|&c| !is_target_char(c)) {
        Some('?') => Err(fault(
            "a rewrite changes the path; the query stays as it is",
        )),
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// A template of `Location`.
pub(crate) fn location(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "redirect target",
            "a path such as \"/api/{rest}\", or a URL that begins with `http://` or `https://`",
            label,
        )
    };
    let is_url = text.starts_with("http://") || text.starts_with("https://");
    if !is_url && !text.starts_with('/') {
        return Err(fault("is neither a path nor an http URL"));
    }
    if text.starts_with("//") {
        return Err(
            fault("begins with `//`, which names a host").help("write one `/`, or the whole URL")
        );
    }
    match text
        .chars()
        .find(|&c| !is_target_char(c) && c != '?' && c != '#')
    {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// What may stand in a path (RFC 3986, section 3.3), and the braces of captures.
fn is_target_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:@/{}".contains(c)
}

/// A prefix of a path, without captures and without a final slash.
pub(crate) fn prefix(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("path prefix", "a path such as \"/api\"", label);
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    if text.ends_with('/') {
        let bare = text.trim_end_matches('/');
        return Err(match bare {
            "" => fault("every path begins with `/`: this changes nothing"),
            bare => fault("ends with `/`").help(format!("write \"{bare}\"")),
        });
    }
    if text.contains("//") {
        return Err(fault("has an empty segment"));
    }
    match text
        .chars()
        .find(|&c| !is_target_char(c) || matches!(c, '{' | '}'))
    {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// A path that begins with a slash.
pub(crate) fn absolute_path(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("path", "a path such as \"/healthz\"", label);
    if !text.starts_with('/') {
        return Err(fault("does not begin with `/`").help(format!("write \"/{text}\"")));
    }
    match text.chars().find(|&c| !is_target_char(c) && c != '?') {
        Some(other) => Err(fault(&format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// A text that an answer's body must contain.
pub(crate) fn body_part(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("text of a body", "a text of 1 to 1024 bytes", label);
    match text.len() {
        0 => Err(fault("is empty").help("remove it: any body is good then")),
        1..=BODY_PART_BYTES_MAX => Ok(Box::from(text)),
        _ => Err(fault("is longer than 1024 bytes")),
    }
}

const BODY_PART_BYTES_MAX: usize = 1024; // it is looked for at every byte of an answer

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_tokens_in_lower_case() {
        assert_eq!(&*header_name("X-Request-ID").unwrap(), "x-request-id");
        for text in ["", "a b", "a:", "a\n", "ä", "(a)", ":path"] {
            assert!(header_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn header_values_cannot_break_a_line() {
        assert_eq!(&*header_value("a\tb, \"c\"").unwrap(), "a\tb, \"c\"");
        assert_eq!(&*header_value("").unwrap(), "");
        for text in ["a\rb", "a\nb", "a\0", "\u{7f}", " a", "a\t", "ä"] {
            assert!(header_value(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn framing_and_connection_fields_are_untouchable() {
        for name in [
            "content-length",
            "transfer-encoding",
            "connection",
            "te",
            "upgrade",
            "host",
        ] {
            assert!(untouchable(name).is_some(), "{name}");
        }
        assert!(untouchable("x-forwarded-for").is_none());
    }

    #[test]
    fn locations_are_paths_or_http_urls() {
        for text in ["/a/{b}?c=d#e", "https://a.b/{c}", "http://a.b"] {
            assert_eq!(&*location(text).unwrap(), text);
        }
        for text in [
            "",
            "a",
            "//a.b",
            "javascript:alert(1)",
            "/a b",
            "/a\r\nb",
            "/ä",
        ] {
            assert!(location(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_whole_segments_without_captures() {
        assert_eq!(&*prefix("/a/b").unwrap(), "/a/b");
        for text in ["", "a", "/", "/a/", "/a//b", "/{a}", "/a?b"] {
            assert!(prefix(text).is_err(), "{text:?}");
        }
    }
}
