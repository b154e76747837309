//! Names and URLs that TLS and its authorities go by.

use std::net::IpAddr;

use super::Fault;
use super::address::{authority, host_name};

/// A name whose certificate is ordered.
pub(crate) fn ordered_name(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a host name without a wildcard or a port, such as \"www.example.com\"";
    let fault = |label: &str| Fault::new("host name", expected, label);
    if text.contains('*') {
        let label = "a wildcard can only be proved by dns-01, which this build does not speak";
        let help = "list each host name, or have a wildcard certificate made elsewhere and name its \
                    files in [[listener.certificate]]";
        return Err(fault(label).help(help));
    }
    no_address(text).map_err(&fault)?;
    without_port(text).map_err(&fault)?;
    if text.contains('_') {
        return Err(fault(
            "no authority makes certificates for names with a `_`",
        ));
    }
    host_name(text).map_err(fault)
}

/// A name that clients ask for in a handshake, or `*.` and a suffix of such names.
pub(crate) fn server_pattern(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a host name such as \"db.example.com\", or \"*.example.com\"";
    let fault = |label: &str| Fault::new("server name", expected, label);
    if text == "*" {
        let help = "for any other name set the listener's `upstream`";
        return Err(fault("a `*` needs a suffix").help(help));
    }
    let (front, name) = match text.strip_prefix("*.") {
        Some(suffix) => ("*.", suffix),
        None => ("", text),
    };
    if name.contains('*') {
        return Err(fault("a `*` stands only at the front, for whole labels"));
    }
    // RFC 6066, section 3: addresses are not sent as server names.
    no_address(name).map_err(&fault)?;
    without_port(name).map_err(&fault)?;
    let name = host_name(name).map_err(fault)?;
    Ok(format!("{front}{name}").into())
}

/// What an origin's certificate is for.
pub(crate) fn server_name(text: &str) -> Result<Box<str>, Fault> {
    let expected = "a host name such as \"api.internal\", or an IP address";
    let fault = |label: &str| Fault::new("server name", expected, label);
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_string().into());
    }
    if text.contains('*') {
        return Err(fault("a wildcard is not a name to ask for"));
    }
    without_port(text).map_err(&fault)?;
    host_name(text).map_err(fault)
}

/// The URL of an authority's directory.
pub(crate) fn directory_url(text: &str) -> Result<Box<str>, Fault> {
    let expected = "an https:// URL such as \"https://acme-v02.api.letsencrypt.org/directory\"";
    let fault = |label: &str| Fault::new("URL", expected, label);
    let Some(rest) = text.strip_prefix("https://") else {
        return Err(fault("does not begin with `https://`"));
    };
    if rest.contains(|c: char| c.is_ascii_control() || !c.is_ascii() || c == ' ' || c == '#') {
        return Err(fault("has a character that no such URL has"));
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    match authority(&rest[..end]) {
        Ok(_) => Ok(Box::from(text)),
        Err(inner) => Err(Fault::new("URL", expected, inner.label)),
    }
}

/// A mail address, as a `mailto:` URL with one recipient and nothing else (RFC 8555, section
/// 7.3).
pub(crate) fn contact(text: &str) -> Result<Box<str>, Fault> {
    let expected = "one mail address, such as \"admin@example.com\"";
    let fault = |label: &str| Fault::new("contact", expected, label);
    let address = text.strip_prefix("mailto:").unwrap_or(text);
    let Some((local, host)) = address.split_once('@') else {
        return Err(fault("has no `@`"));
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!#$&'*+-/=^_`{|}~.".contains(c);
    if local.is_empty() || !local.chars().all(allowed) {
        return Err(fault(
            "the part before the `@` is not that of one mail address",
        ));
    }
    host_name(host).map_err(fault)?;
    Ok(format!("mailto:{address}").into())
}

fn no_address(text: &str) -> Result<(), &'static str> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare.unwrap_or(text).parse::<IpAddr>() {
        Ok(_) => Err("is an IP address, not a host name"),
        Err(_) => Ok(()),
    }
}

fn without_port(text: &str) -> Result<(), &'static str> {
    match text.contains(':') {
        true => Err("has a port, or is no host name at all"),
        false => Ok(()),
    }
}

/// The name of a gRPC service, as its health service knows it.
pub(crate) fn grpc_service(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: &str| Fault::new("service", "a name such as \"users.v1.Users\"", label);
    match text.chars().find(|c| c.is_control()) {
        Some(_) => Err(fault("has a control character")),
        None if text.len() > SERVICE_BYTES_MAX => Err(fault("is longer than 512 bytes")),
        None => Ok(Box::from(text)),
    }
}

/// Longer names than this are no services.
const SERVICE_BYTES_MAX: usize = 512;
