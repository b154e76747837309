//! Keeps browsers out of the admin API. It has no login, so a web page that the operator
//! happens to have open must not reach it: not across origins, and not through a name that
//! its owner pointed at 127.0.0.1 (DNS rebinding).

use std::net::IpAddr;

use axum::http::{HeaderMap, StatusCode, header, request::Parts};

/// Who may ask.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    hosts: Vec<String>,
}

impl Guard {
    /// Lets requests for IP addresses, `localhost` and `hosts` in.
    pub(super) fn new(hosts: Vec<String>) -> Self {
        Self { hosts }
    }

    /// `Err` has the status and the sentence to answer with.
    pub(super) fn admit(&self, request: &Parts) -> Result<(), (StatusCode, String)> {
        let headers = &request.headers;
        if headers.contains_key(header::ORIGIN) || is_cross_site(headers) {
            return Err((
                StatusCode::FORBIDDEN,
                "the admin API does not answer web pages: the request carries a browser's \
                 Origin or Sec-Fetch-Site field; use curl or `ringgate`"
                    .to_owned(),
            ));
        }
        // An absolute-form target overrides Host (RFC 9112 section 3.2.2), so both must pass.
        let named = headers
            .get_all(header::HOST)
            .iter()
            .map(|host| host.to_str());
        let target = request
            .uri
            .authority()
            .map(|authority| Ok(authority.as_str()));
        for host in named.chain(target) {
            let host = host.unwrap_or_default();
            if !self.knows(host) {
                return Err((
                    StatusCode::FORBIDDEN,
                    format!(
                        "the admin API answers only under an IP address or localhost, not {host:?}; \
                         ask for the address instead, or add the name to `hosts` under [admin] and restart"
                    ),
                ));
            }
        }
        if body_length(headers) > BODY_MAX {
            return Err((
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("no admin request needs a body of more than {BODY_MAX} bytes"),
            ));
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        name.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || self
                .hosts
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// Browsers say where a request comes from even when they send no Origin.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers
        .get("sec-fetch-site")
        .is_some_and(|site| site != "none" && site != "same-origin")
}

fn body_length(headers: &HeaderMap) -> u64 {
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok())
        .unwrap_or(0)
}

fn without_port(host: &str) -> &str {
    if let Some(rest) = host.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, "")) => address,
            Some((address, port)) if port.starts_with(':') => address,
            _ => host,
        };
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

/// No handler reads a body; this only says so early. An unread body ends the connection.
const BODY_MAX: u64 = 64 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn admits(fields: &[(&str, &str)]) -> bool {
        let mut request = Request::get("/");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Guard::new(vec!["gw1.internal".into()])
            .admit(&parts)
            .is_ok()
    }

    #[test]
    fn admits_addresses_and_localhost_with_any_port() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9901",
            "[::1]",
            "[::1]:9901",
            "10.0.0.7:80",
            "localhost",
            "LocalHost:9901",
            "gw1.internal:9901",
        ] {
            assert!(admits(&[("host", host)]), "{host}");
        }
        assert!(admits(&[]), "HTTP/1.0 probes send no Host");
    }

    #[test]
    fn rejects_names_that_may_be_rebound() {
        for host in [
            "evil.example",
            "evil.example:9901",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[::1",
            "",
            "127.0.0.1@evil.example",
        ] {
            assert!(!admits(&[("host", host)]), "{host}");
        }
        assert!(!admits(&[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn rejects_web_pages() {
        let host = ("host", "localhost");
        assert!(!admits(&[host, ("origin", "http://localhost")]));
        assert!(!admits(&[host, ("origin", "null")]));
        assert!(!admits(&[host, ("sec-fetch-site", "cross-site")]));
        assert!(admits(&[host, ("sec-fetch-site", "none")]));
    }
}
