//! What stands in exchanges with authorisation servers.

use super::Fault;
use super::address::authority;

/// A text of visible ASCII and blanks, such as a client's id. What is wrong with it is said
/// without it.
pub(crate) fn visible_text(text: &str) -> Result<Box<str>, Fault> {
    let expected = "1 to 4096 visible ASCII characters and blanks";
    let fits = |b: u8| matches!(b, b' '..=b'~');
    match text.len() {
        1..=TEXT_BYTES_MAX if text.bytes().all(fits) => Ok(Box::from(text)),
        0 => Err(Fault::new("text", expected, "is empty")),
        _ => Err(Fault::new(
            "text",
            expected,
            "has other characters, or too many",
        )),
    }
}

const TEXT_BYTES_MAX: usize = 4096; // longer secrets are files that were pasted

/// A scope (RFC 6749, section 3.3).
pub(crate) fn scope(text: &str) -> Result<Box<str>, Fault> {
    let fits = |b: u8| matches!(b, b'!' | b'#'..=b'[' | b']'..=b'~');
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new(
            "scope",
            "visible ASCII characters without blanks, `\"` and `\\`, such as \"orders:read\"",
            "is no scope",
        )),
    }
}

/// The URL of a token endpoint.
pub(crate) fn token_url(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| {
        let expected = "a URL such as \"https://issuer.example/token\"";
        Fault::new("URL", expected, label)
    };
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(fault("does not begin with `https://` or `http://`"));
    };
    if !rest.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err(fault("has a character that no such URL has"));
    }
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    match host.contains('@') || authority(host).is_err() {
        true => Err(fault("has no host, or one that is not valid")),
        false => Ok(Box::from(text)),
    }
}

/// Whether a URL is one of this machine.
pub(crate) fn is_loopback_url(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(host, _)| host),
    };
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn token_endpoints_are_http_urls() {
        for url in ["https://a.example/token", "http://127.0.0.1:80/t?x=1"] {
            assert_eq!(&*token_url(url).unwrap(), url);
        }
        for url in [
            "",
            "a.example",
            "ftp://a/",
            "https://",
            "https://u:p@a/",
            "https://a/#x",
            "https://a b/",
        ] {
            assert!(token_url(url).is_err(), "{url}");
        }
        assert!(is_loopback_url("http://127.0.0.1:8080/token"));
        assert!(is_loopback_url("http://[::1]/token"));
        assert!(!is_loopback_url("http://127.0.0.1.example/token"));
    }

    #[test]
    fn scopes_are_words() {
        assert!(scope("orders:read").is_ok());
        for text in ["", "a b", "a\"", "a\\", "ä"] {
            assert!(scope(text).is_err(), "{text:?}");
        }
    }
}
