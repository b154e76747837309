//! The request to explain, from what stands on the command line to the bytes a client would
//! send. Nothing is normalised here: that is the gateway's part and worth seeing.

use std::net::IpAddr;

/// A request in parts, as people write it.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The method.
    pub method: &'a str,
    /// A URL, a path, or `*`.
    pub url: &'a str,
    /// Fields as `name: value`.
    pub headers: &'a [String],
    /// The length of its body in bytes.
    pub body_length: Option<u64>,
    /// The address that it comes from.
    pub peer: IpAddr,
    /// The `Host` when nothing else names one.
    pub fallback_host: &'a str,
}

/// A request to explain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The URL with its host.
    pub url: String,
    /// The request target.
    pub target: String,
    /// The head as a client would send it.
    pub head: Vec<u8>,
    /// The address that it comes from.
    pub peer: IpAddr,
    /// The length of its body in bytes, when it is told.
    pub body_length: Option<u64>,
}

impl Asked {
    /// Whether there is a field of that name.
    pub fn has(&self, name: &str) -> bool {
        let head = self.head.split(|byte| *byte == b'\n').skip(1);
        let mut names = head.filter_map(|line| line.split(|byte| *byte == b':').next());
        names.any(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Puts the parts together.
    ///
    /// # Errors
    /// What cannot be a request of its own, in words.
    pub fn new(parts: &Parts<'_>) -> Result<Asked, String> {
        let url = Url::parse(parts.url)?;
        if !is_token(parts.method) {
            return Err(format!("{:?} is no method", parts.method));
        }
        let mut fields = String::new();
        let mut host = None;
        for header in parts.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("a header is written 'name: value', not {header:?}"))?;
            let (name, value) = (name.trim(), value.trim());
            if !is_token(name) || has_line_end(value) {
                return Err(format!("{header:?} is no header field"));
            }
            match name.eq_ignore_ascii_case("host") && host.is_none() {
                true => host = Some(value.to_owned()),
                false => fields.push_str(&format!("{name}: {value}\r\n")),
            }
        }
        if let Some(length) = parts.body_length {
            fields.push_str(&format!("content-length: {length}\r\n"));
        }
        let host = host.unwrap_or_else(|| url.authority.unwrap_or(parts.fallback_host).to_owned());
        let (method, target) = match (parts.method, url.authority) {
            // RFC 9110, section 9.3.6.
            ("CONNECT", Some(authority)) => ("CONNECT", authority.to_owned()),
            (method, _) => (method, url.target),
        };
        let head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
        let shown = match target.starts_with('/') {
            true => &*target,
            false => "",
        };
        Ok(Asked {
            method: method.to_owned(),
            url: format!("{}://{host}{shown}", url.scheme),
            target,
            body_length: parts.body_length,
            head: head.into_bytes(),
            peer: parts.peer,
        })
    }
}

struct Url<'a> {
    scheme: &'a str,
    authority: Option<&'a str>,
    target: String,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Url<'a>, String> {
        if has_line_end(text) || text.contains(' ') {
            return Err(format!(
                "{text:?} has a space or a line end; write a space as %20"
            ));
        }
        // A fragment stays with the client (RFC 9110, section 7.1).
        let text = text.split('#').next().unwrap_or(text);
        if text.starts_with('/') || text == "*" {
            return Ok(Url {
                scheme: "http",
                authority: None,
                target: text.to_owned(),
            });
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            Some((scheme, _)) => return Err(format!("{scheme}:// is not served; write http://")),
            None => ("http", text),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() {
            return Err(format!("{text:?} has no host"));
        }
        if authority.contains('@') {
            return Err("a user in a URL is not sent; give an authorization header".to_owned());
        }
        Ok(Url {
            scheme,
            authority: Some(authority),
            target: match target.strip_prefix('?') {
                Some(_) => format!("/{target}"),
                None if target.is_empty() => "/".to_owned(),
                None => target.to_owned(),
            },
        })
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

fn has_line_end(text: &str) -> bool {
    text.contains(['\r', '\n', '\0'])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(url: &str, headers: &[&str]) -> Result<Asked, String> {
        let headers: Vec<String> = headers.iter().map(ToString::to_string).collect();
        Asked::new(&Parts {
            method: "GET",
            url,
            headers: &headers,
            body_length: None,
            peer: [127, 0, 0, 1].into(),
            fallback_host: "127.0.0.1:8080",
        })
    }

    fn head(url: &str, headers: &[&str]) -> String {
        String::from_utf8(asked(url, headers).unwrap().head).unwrap()
    }

    #[test]
    fn a_url_becomes_a_head() {
        assert_eq!(
            head(
                "https://api.example.com:8443/a/../b?x=1#part",
                &["X-A:  1 "]
            ),
            "GET /a/../b?x=1 HTTP/1.1\r\nhost: api.example.com:8443\r\nX-A: 1\r\n\r\n"
        );
        assert!(head("http://a", &[]).starts_with("GET / HTTP/1.1\r\nhost: a\r\n"));
        assert!(head("a.example?x", &[]).starts_with("GET /?x HTTP/1.1\r\nhost: a.example\r\n"));
    }

    #[test]
    fn a_host_field_comes_before_the_url_and_the_listener_after() {
        assert!(head("http://a/b", &["Host: c"]).contains("\r\nhost: c\r\n"));
        assert!(head("/b", &[]).contains("\r\nhost: 127.0.0.1:8080\r\n"));
    }

    #[test]
    fn what_would_be_two_requests_is_refused() {
        for url in ["/a b", "/a\r\nx: y", "ftp://a/", "http:///a", "http://u@a/"] {
            assert!(asked(url, &[]).is_err(), "{url:?}");
        }
        assert!(asked("/", &["a b: c"]).is_err());
        assert!(asked("/", &["no colon"]).is_err());
        assert!(asked("/", &["a: b\nc: d"]).is_err());
    }
}
