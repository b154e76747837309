//! Web origins, as browsers write them (RFC 6454, 6.2).

use std::net::Ipv6Addr;

use super::Fault;
use crate::model::{OriginHosts, OriginPattern, OriginPort};

const EXPECTED: &str = "an origin such as \"https://app.example.com\", \"https://*.example.com\" \
                        or \"http://localhost:*\"";

/// `https://app.example.com`, `https://*.example.com`, `http://localhost:*`, `null` or `*`.
pub(crate) fn origin(text: &str) -> Result<OriginPattern, Fault> {
    let fault = |label: &str| Fault::new("origin", EXPECTED, label);
    match text {
        "*" => return Ok(OriginPattern::Any),
        "null" => return Ok(OriginPattern::Null),
        _ => {}
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(fault("has no scheme").help(format!("write \"https://{text}\"")));
    };
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        let lower = text.to_ascii_lowercase();
        return Err(fault("browsers write it in lower case").help(format!("write \"{lower}\"")));
    }
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.bytes().all(is_scheme) {
        return Err(fault("the part before `://` is not a scheme"));
    }
    if let Some(at) = rest.find(['/', '?', '#']) {
        let short = format!("{scheme}://{}", &rest[..at]);
        return Err(fault("an origin has no path").help(format!("write \"{short}\"")));
    }
    let (host, port) = host_and_port(rest).map_err(fault)?;
    let usual = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    if let OriginPort::Number(number) = port
        && usual == Some(number)
    {
        let short = format!("{scheme}://{host}");
        return Err(fault("browsers leave this port out").help(format!("write \"{short}\"")));
    }
    let (host, subdomains) = match host.strip_prefix("*.") {
        Some(host) => (host, true),
        None => (host, false),
    };
    is_host(host).map_err(fault)?;
    if subdomains && !host.contains('.') {
        let label = format!("means every host of `{host}`, whoever they belong to");
        return Err(Fault::new("origin", EXPECTED, label));
    }
    Ok(match (subdomains, port) {
        (false, OriginPort::Usual | OriginPort::Number(_)) => OriginPattern::Exact(text.into()),
        _ => OriginPattern::Hosts(OriginHosts {
            scheme: scheme.into(),
            host: host.into(),
            subdomains,
            port,
        }),
    })
}

fn host_and_port(rest: &str) -> Result<(&str, OriginPort), &'static str> {
    let behind_host = match rest.find(']') {
        Some(bracket) => bracket + 1,
        None => rest.find(':').unwrap_or(rest.len()),
    };
    let (host, port) = rest.split_at(behind_host);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => OriginPort::Usual,
        None => return Err("something stands behind the address"),
        Some("*") => OriginPort::Any,
        Some(digits) => {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            let number = digits.parse::<u16>().ok();
            let number = number.filter(|_| plain && !digits.starts_with('0'));
            OriginPort::Number(number.ok_or("the port is neither a number nor `*`")?)
        }
    };
    Ok((host, port))
}

fn is_host(host: &str) -> Result<(), &'static str> {
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').unwrap_or_default();
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(()),
            Err(_) => Err("the part in brackets is not an IPv6 address"),
        };
    }
    if host.contains('*') {
        return Err("`*` can only stand for whole labels in front: `*.example.com`");
    }
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    match host.split('.').all(is_label) {
        true => Ok(()),
        false => Err("has no host that a browser would write"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_do() {
        for text in [
            "https://app.example.com",
            "http://localhost:8080",
            "https://[2001:db8::1]:8443",
            "capacitor://localhost",
        ] {
            assert_eq!(origin(text), Ok(OriginPattern::Exact(text.into())));
        }
        let hosts = |text: &str| match origin(text) {
            Ok(OriginPattern::Hosts(hosts)) => hosts,
            other => panic!("{text}: {other:?}"),
        };
        let below = hosts("https://*.example.com:8443");
        assert_eq!((&*below.host, below.subdomains), ("example.com", true));
        assert_eq!(below.port, OriginPort::Number(8443));
        let local = hosts("http://localhost:*");
        assert_eq!((local.subdomains, local.port), (false, OriginPort::Any));
        assert_eq!(origin("*"), Ok(OriginPattern::Any));
        assert_eq!(origin("null"), Ok(OriginPattern::Null));
    }

    #[test]
    fn what_no_browser_sends_is_refused_with_a_way_out() {
        for (text, help) in [
            ("app.example.com", "write \"https://app.example.com\""),
            (
                "https://App.Example.com",
                "write \"https://app.example.com\"",
            ),
            ("https://a.example/", "write \"https://a.example\""),
            ("https://a.example:443", "write \"https://a.example\""),
        ] {
            assert_eq!(
                origin(text).unwrap_err().help.as_deref(),
                Some(help),
                "{text}"
            );
        }
        for text in [
            "",
            "https://",
            "https://*",
            "https://*.com",
            "https://a*.example.com",
            "https://a.*.com",
            "https://a..com",
            "https://a.example:0",
            "https://a.example:99999",
            "https://[::1",
            "https://a b",
            "://a",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
