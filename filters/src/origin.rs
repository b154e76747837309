//! Web origins (RFC 6454): which of them something is allowed to, and the gateway's own.

mod expression;

use ringgate_core::chain::{Attributes, Scheme};
use ringgate_core::http::{Known, RequestHead, Trust};

pub use expression::OriginRegex;

/// Origins that something is allowed to.
#[derive(Debug, Default)]
pub struct Origins {
    /// Whether every one is.
    pub every: Every,
    /// Whole origins, as browsers write them; `null` is one like the others.
    pub exact: Box<[Box<[u8]>]>,
    /// Origins by scheme and host.
    pub hosts: Box<[Hosts]>,
    /// Origins that it matches whole.
    pub regex: Option<OriginRegex>,
}

/// Whether every origin is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Every {
    /// Those listed.
    #[default]
    Listed,
    /// Every origin.
    Any,
}

/// Origins of one scheme by their hosts.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// With `://`, in lower case.
    pub scheme: Box<[u8]>,
    /// In lower case; when the names below it are meant, with a dot in front.
    pub host: Box<[u8]>,
    /// Which ports.
    pub port: Port,
}

/// Ports of origins.
#[derive(Clone, Debug)]
pub enum Port {
    /// None is written: it is the scheme's own.
    Usual,
    /// This one, as it is written.
    Is(Box<[u8]>),
    /// Any, written or not.
    Any,
}

/// Longer ones no browser sends: a scheme, a name of 253 octets, a port.
const ORIGIN_LEN_MAX: usize = 300;

/// What a request says of where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim<'a> {
    /// Nothing.
    None,
    /// This origin.
    Origin(&'a [u8]),
    /// Several things, of which none is to be believed.
    Several,
}

impl Claim<'_> {
    /// What the `Origin` field of a request says.
    pub(crate) fn of(head: &RequestHead) -> Claim<'_> {
        let mut values = head.fields.values(Known::Origin);
        match (values.next(), values.next()) {
            (None, _) => Claim::None,
            (Some(origin), None) => Claim::Origin(origin),
            (Some(_), Some(_)) => Claim::Several,
        }
    }
}

impl Origins {
    /// Whether an origin is allowed.
    pub fn allow(&self, origin: &[u8]) -> bool {
        if self.every == Every::Any {
            return true;
        }
        if origin.len() > ORIGIN_LEN_MAX {
            return false;
        }
        self.exact.iter().any(|exact| **exact == *origin)
            || self.hosts.iter().any(|hosts| hosts.has(origin))
            || self
                .regex
                .as_ref()
                .is_some_and(|regex| regex.is_match(origin))
    }

    pub(crate) fn describe(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut all: Vec<String> = self.exact.iter().map(|exact| text(exact)).collect();
        all.extend(self.hosts.iter().map(|hosts| {
            let any = if hosts.host.starts_with(b".") {
                "*"
            } else {
                ""
            };
            let port = match &hosts.port {
                Port::Usual => String::new(),
                Port::Is(port) => format!(":{}", text(port)),
                Port::Any => ":*".to_owned(),
            };
            format!("{}{any}{}{port}", text(&hosts.scheme), text(&hosts.host))
        }));
        if self.every == Every::Any {
            all.push("*".to_owned());
        }
        all.extend(
            self.regex
                .as_ref()
                .map(|regex| format!("/{}/", regex.text())),
        );
        match all.is_empty() {
            true => "no other origin".to_owned(),
            false => all.join(" "),
        }
    }
}

impl Hosts {
    fn has(&self, origin: &[u8]) -> bool {
        let Some(rest) = origin.strip_prefix(&*self.scheme) else {
            return false;
        };
        let (host, port) = split_port(rest);
        let is_port = match (&self.port, port) {
            (Port::Any, port) => port.is_none_or(|port| port.iter().all(u8::is_ascii_digit)),
            (Port::Usual, port) => port.is_none(),
            (Port::Is(wanted), port) => port == Some(wanted),
        };
        let is_host = match host.strip_suffix(&*self.host) {
            Some([]) => !self.host.starts_with(b"."),
            // What stands in front of the dot has to be labels, or it is no origin at all.
            Some(labels) => self.host.starts_with(b".") && are_labels(labels),
            None => false,
        };
        is_port && is_host
    }
}

fn are_labels(text: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        let is_part = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        !label.is_empty() && label.iter().all(is_part)
    };
    text.split(|b| *b == b'.').all(is_label)
}

/// A host and the port behind it; an address of IPv6 keeps its brackets.
fn split_port(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let from = authority.iter().position(|b| *b == b']').unwrap_or(0);
    match authority[from..].iter().position(|b| *b == b':') {
        None => (authority, None),
        Some(at) => (&authority[..from + at], Some(&authority[from + at + 1..])),
    }
}

/// How much of the gateway's own origin has to be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sameness {
    /// Scheme, host and port.
    Whole,
    /// Host and port: who asked vouches for the scheme, or a proxy that is not trusted has
    /// changed it.
    Host,
}

/// Whether an origin is the one that the client asked.
pub(crate) fn is_own(
    origin: &[u8],
    head: &RequestHead,
    attributes: &Attributes,
    sameness: Sameness,
) -> bool {
    let asked = head.fields.text_of(attributes.authority);
    let Some(at) = origin.windows(3).position(|part| part == b"://") else {
        return false;
    };
    let (scheme, host) = (&origin[..at], &origin[at + 3..]);
    if sameness == Sameness::Whole && scheme != own_scheme(head, attributes).name().as_bytes() {
        return false;
    }
    let usual: &[u8] = match scheme {
        b"http" => b"80",
        b"https" => b"443",
        _ => return false,
    };
    let (asked, port) = split_port(asked);
    let (host, own_port) = split_port(host);
    !host.is_empty()
        && host.eq_ignore_ascii_case(asked)
        && port.filter(|port| *port != usual) == own_port.filter(|port| *port != usual)
}

/// How the client asked: as a trusted proxy in front says, or as it came.
pub(crate) fn own_scheme(head: &RequestHead, attributes: &Attributes) -> Scheme {
    let told = head.fields.value(Known::XForwardedProto);
    match (attributes.trust, told) {
        (Trust::Trusted, Some(told)) if told.eq_ignore_ascii_case(b"https") => Scheme::Https,
        (Trust::Trusted, Some(_)) => Scheme::Http,
        _ => attributes.scheme,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn hosts(scheme: &str, host: &str, port: Port) -> Origins {
        Origins {
            hosts: [Hosts {
                scheme: scheme.as_bytes().into(),
                host: host.as_bytes().into(),
                port,
            }]
            .into(),
            ..Origins::default()
        }
    }

    #[test]
    fn names_below_a_host_are_meant_and_nothing_that_looks_like_them() {
        let below = hosts("https://", ".example.com", Port::Usual);
        for origin in ["https://a.example.com", "https://a.b-1.example.com"] {
            assert!(below.allow(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://notexample.com",
            "https://a.example.com.evil.test",
            "https://evil.test/.example.com",
            "https://evil.test?.example.com",
            "https://user@a.example.com",
            "https://a..example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com:",
            "null",
            "",
        ] {
            assert!(!below.allow(origin.as_bytes()), "{origin}");
        }
        let port = hosts(
            "https://",
            ".example.com",
            Port::Is(b"8443".as_slice().into()),
        );
        assert!(port.allow(b"https://a.example.com:8443"));
        assert!(!port.allow(b"https://a.example.com"));
    }

    #[test]
    fn any_port_is_a_number_or_none() {
        let local = hosts("http://", "localhost", Port::Any);
        for origin in ["http://localhost", "http://localhost:3000"] {
            assert!(local.allow(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "http://localhost:x",
            "http://a.localhost",
            "https://localhost",
        ] {
            assert!(!local.allow(origin.as_bytes()), "{origin}");
        }
    }

    #[test]
    fn an_origin_is_ones_own_by_what_the_client_asked() {
        let own = |authority: &str, scheme, origin: &str, sameness| {
            let mut head = RequestHead::default();
            head.set_authority(authority.as_bytes()).unwrap();
            let attributes = Attributes {
                scheme,
                authority: head.authority_span(),
                ..Attributes::default()
            };
            is_own(origin.as_bytes(), &head, &attributes, sameness)
        };
        let (whole, host) = (Sameness::Whole, Sameness::Host);
        assert!(own("a.test", Scheme::Https, "https://a.test", whole));
        assert!(own("A.test:443", Scheme::Https, "https://a.test", whole));
        assert!(own(
            "a.test:8080",
            Scheme::Http,
            "http://a.test:8080",
            whole
        ));
        assert!(own("[::1]:8080", Scheme::Http, "http://[::1]:8080", whole));
        assert!(own("a.test", Scheme::Http, "https://a.test", host));
        assert!(!own("a.test", Scheme::Http, "https://a.test", whole));
        assert!(!own("a.test:8080", Scheme::Http, "http://a.test", host));
        assert!(!own("a.test", Scheme::Https, "https://b.test", host));
        assert!(!own("a.test", Scheme::Https, "null", host));
    }
}
