//! What stands in issuers of tokens.

use std::net::IpAddr;

use super::{Fault, authority};

/// The `iss` of tokens: a URL, as a rule.
pub(crate) fn token_issuer(text: &str) -> Result<Box<str>, Fault> {
    let expected = "visible ASCII characters, such as \"https://issuer.example\"";
    match (1..=512).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new("issuer", expected, "is no issuer")),
    }
}

/// A `typ`, without case and `application/`.
pub(crate) fn token_type(text: &str) -> Result<Box<str>, Fault> {
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("application/").unwrap_or(&lower);
    match (1..=64).contains(&bare.len()) && bare.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(Box::from(bare)),
        false => {
            let expected = "a type such as \"at+jwt\"";
            Err(Fault::new("type", expected, "is no type of a token"))
        }
    }
}

/// The name of a key.
pub(crate) fn token_kid(text: &str) -> Result<Box<str>, Fault> {
    match (1..=256).contains(&text.len()) {
        true => Ok(Box::from(text)),
        false => Err(Fault::new("key id", "1 to 256 bytes", "is no key's name")),
    }
}

/// A secret; what is wrong with it is said without it.
pub(crate) fn token_secret(text: &str) -> Result<Box<str>, Fault> {
    match text.is_empty() {
        false => Ok(Box::from(text)),
        true => {
            let expected = "at least as many bytes as the algorithm's digest has";
            Err(Fault::new("secret", expected, "is empty"))
        }
    }
}

/// A public key or a certificate in PEM.
pub(crate) fn public_pem(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a block that begins with `-----BEGIN PUBLIC KEY-----` or `-----BEGIN \
                    CERTIFICATE-----`";
    let fault = |label: &str| Fault::new("PEM", expected, label);
    if text.contains("PRIVATE KEY") {
        return Err(fault("is a private key, which only the issuer should have"));
    }
    let text = text.trim();
    let begins = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN CERTIFICATE-----"];
    match begins.iter().any(|begin| text.starts_with(begin)) {
        true => Ok(Box::from(text)),
        false => Err(fault("does not begin so")),
    }
}

/// Where keys may come from: over TLS, or from this machine.
pub(crate) fn keys_url(text: &str) -> Result<Box<str>, Fault> {
    let host = host_of(text, "https://")?;
    let is_own = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    if text.starts_with("http://") && !is_own {
        let fault = Fault::new("URL", EXPECTED, "is not encrypted");
        return Err(fault.help(
            "whoever is on the way could send keys of their own; use https://, or write \
             `insecure_http = true` where nobody is on the way",
        ));
    }
    Ok(Box::from(text))
}

/// The same, over any network.
pub(crate) fn any_http_url(text: &str) -> Result<Box<str>, Fault> {
    host_of(text, "https://").map(|_| Box::from(text))
}

const EXPECTED: &str = "an https:// URL such as \"https://issuer.example/keys\"";

fn host_of<'t>(text: &'t str, scheme: &str) -> Result<&'t str, Fault> {
    let fault = |label: &str| Fault::new("URL", EXPECTED, label);
    let rest = text.strip_prefix(scheme).or(text.strip_prefix("http://"));
    let Some(rest) = rest else {
        return Err(fault("does not begin with `https://`"));
    };
    if rest.contains(|c: char| !c.is_ascii_graphic() || c == '#') {
        return Err(fault("has a character that no such URL has"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let written = &rest[..end];
    authority(written).map_err(|inner| Fault::new("URL", EXPECTED, inner.label))?;
    Ok(match written.rfind(':') {
        Some(colon) if !written[colon..].contains(']') => &written[..colon],
        _ => written,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for url in [
            "https://issuer.example/keys",
            "https://issuer.example:8443",
            "http://127.0.0.1:8080/keys",
            "http://localhost/keys?x=1",
            "http://[::1]/keys",
        ] {
            assert!(keys_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://issuer.example/keys",
            "http://localhost.attacker.example/",
            "ftp://issuer.example",
            "https://",
            "https://user@issuer.example/",
            "https://issuer.example/#x",
            "issuer.example",
        ] {
            assert!(keys_url(url).is_err(), "{url}");
        }
        assert!(any_http_url("http://issuer.example/keys").is_ok());
    }

    #[test]
    fn types_are_told_without_case() {
        assert_eq!(&*token_type("application/AT+JWT").unwrap(), "at+jwt");
        assert!(token_type("").is_err());
    }
}
