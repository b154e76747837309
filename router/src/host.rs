//! Host patterns: exact names, `*.` wildcards, and any host; compared without regard to
//! ASCII case.

use crate::pattern::PatternError;

/// Which hosts a route serves.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// Every host, and requests without one.
    Any,
    /// One host, in lower case.
    Exact(Box<str>),
    /// `*.example.org`, kept as `example.org`: one or more labels before it, so
    /// `a.example.org` and `a.b.example.org` match, `example.org` does not.
    Wildcard(Box<str>),
}

/// Longest exact host name (RFC 1035, section 2.3.4).
pub(crate) const HOST_LEN_MAX: usize = 253;
/// Longest wildcard suffix: it leaves room for a label before it.
const SUFFIX_LEN_MAX: usize = 240;

impl HostPattern {
    /// Parses `api.example.com`, `*.example.org`, `[2001:db8::1]` or `*` (any host).
    ///
    /// # Errors
    /// A [`PatternError`] for anything else, a port and a wildcard elsewhere among them.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(HostPattern::Any);
        }
        let whole = || 0..text.len();
        if text.is_empty() {
            return Err(PatternError::new(
                whole(),
                "a host must not be empty; `*` takes any host",
            ));
        }
        if let Some((at, c)) = text.char_indices().find(|(_, c)| !c.is_ascii()) {
            return Err(PatternError::new(
                at..at + c.len_utf8(),
                "host names are ASCII here; write the internationalised name as `xn--...`",
            ));
        }
        if text.starts_with('[') {
            return parse_ipv6(text);
        }
        let (name, start) = match text.strip_prefix("*.") {
            Some(suffix) => (suffix, 2),
            None => (text, 0),
        };
        if let Some(at) = name.find('*') {
            let at = start + at;
            return Err(PatternError::new(
                at..at + 1,
                "`*` may only stand for the first labels, as in `*.example.org`",
            ));
        }
        if let Some(at) = name.find(':') {
            return Err(PatternError::new(
                start + at..text.len(),
                "a host pattern has no port",
            ));
        }
        check_labels(name, start)?;
        let len_max = if start == 0 {
            HOST_LEN_MAX
        } else {
            SUFFIX_LEN_MAX
        };
        if name.len() > len_max {
            return Err(PatternError::new(
                whole(),
                format!("longer than {len_max} bytes"),
            ));
        }
        let name = name.to_ascii_lowercase().into();
        Ok(if start == 0 {
            HostPattern::Exact(name)
        } else {
            HostPattern::Wildcard(name)
        })
    }

    /// Whether `host`, without its port, is one of these.
    #[must_use]
    pub fn matches(&self, host: &[u8]) -> bool {
        let host = without_root_dot(host);
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()),
            HostPattern::Wildcard(suffix) => {
                host.len() <= HOST_LEN_MAX
                    && host.len().checked_sub(suffix.len() + 1).is_some_and(|dot| {
                        dot > 0
                            && host[dot] == b'.'
                            && host[dot + 1..].eq_ignore_ascii_case(suffix.as_bytes())
                    })
            }
        }
    }
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostPattern::Any => f.write_str("*"),
            HostPattern::Exact(name) => f.write_str(name),
            HostPattern::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// `example.com.` names the same host as `example.com`.
pub(crate) fn without_root_dot(host: &[u8]) -> &[u8] {
    match host {
        [name @ .., b'.'] if !name.is_empty() => name,
        _ => host,
    }
}

fn parse_ipv6(text: &str) -> Result<HostPattern, PatternError> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match inner.map(str::parse::<std::net::Ipv6Addr>) {
        Some(Ok(_)) => Ok(HostPattern::Exact(text.to_ascii_lowercase().into())),
        _ => Err(PatternError::new(
            0..text.len(),
            "not an IPv6 address in brackets without a port",
        )),
    }
}

fn check_labels(name: &str, start: usize) -> Result<(), PatternError> {
    let mut at = start;
    for label in name.split('.') {
        let span = at..at + label.len();
        if label.is_empty() {
            let span = at.saturating_sub(1)..(at + 1).min(start + name.len());
            return Err(PatternError::new(span, "a label of the host is empty"));
        }
        if label.len() > 63 {
            return Err(PatternError::new(
                span,
                "a label of a host has at most 63 bytes",
            ));
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if let Some(bad) = label.bytes().position(|byte| !allowed(byte)) {
            return Err(PatternError::new(
                at + bad..at + bad + 1,
                "a host consists of letters, digits, `-`, `_` and dots",
            ));
        }
        at = span.end + 1;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn exact_hosts_ignore_case_and_the_root_dot() {
        let host = HostPattern::parse("API.example.com").unwrap();
        assert_eq!(host, HostPattern::Exact("api.example.com".into()));
        assert!(host.matches(b"api.EXAMPLE.com") && host.matches(b"api.example.com."));
        assert!(!host.matches(b"b.api.example.com"));
    }

    #[test]
    fn wildcards_take_one_or_more_labels() {
        let host = HostPattern::parse("*.example.org").unwrap();
        assert!(host.matches(b"a.example.org") && host.matches(b"A.b.Example.org"));
        assert!(!host.matches(b"example.org") && !host.matches(b".example.org"));
        assert!(!host.matches(b"badexample.org"));
    }

    #[test]
    fn errors_point_at_the_offence() {
        for (text, span) in [
            ("", 0..0),
            ("a.*.b", 2..3),
            ("*.a*", 3..4),
            ("example.com:80", 11..14),
            ("a..b", 1..3),
            ("a.b.", 3..4),
            ("a b", 1..2),
            ("bücher.de", 1..3),
            ("[::1]:80", 0..8),
            ("http://x", 4..8),
        ] {
            assert_eq!(HostPattern::parse(text).unwrap_err().span, span, "{text}");
        }
        assert!(HostPattern::parse("[2001:db8::1]").is_ok());
        assert_eq!(HostPattern::parse("*"), Ok(HostPattern::Any));
    }
}
