//! What stands in traffic policies: parts of keys, causes of retries, cookies and their secrets.

use std::fmt;

use super::http::{header_name, header_value};
use super::{Fault, is_token_byte};
use crate::model::KeyPart;
use crate::nearest::nearest;

/// A part of a key.
pub(crate) fn key_part(text: &str) -> Result<KeyPart, Fault> {
    let fault = |label: &str| {
        Fault::new(
            "key",
            "\"client_ip\", \"route\", \"host\", \"path\", \"method\", \"identity\", \
             \"consumer\", \"subject\", or \"header:\", \"cookie:\", \"query:\", \"capture:\" or \
             \"claim:\" and a name",
            label,
        )
    };
    let Some((kind, name)) = text.split_once(':') else {
        let part = match text {
            "client_ip" => KeyPart::ClientIp,
            "route" => KeyPart::Route,
            "host" => KeyPart::Host,
            "path" => KeyPart::Path,
            "method" => KeyPart::Method,
            "identity" => KeyPart::Identity,
            "consumer" => KeyPart::Consumer,
            "subject" => KeyPart::Subject,
            "claim" => return Err(fault("has no claim after `claim:`")),
            "header" | "cookie" | "query" | "capture" => {
                return Err(fault("has no name").help(format!("write \"{text}:NAME\"")));
            }
            other => {
                let out = fault("is not known");
                return Err(match nearest(other, BARE) {
                    Some(near) => out.help(format!("did you mean \"{near}\"?")),
                    None => out,
                });
            }
        };
        return Ok(part);
    };
    let no_name = || fault(&format!("has no name after `{kind}:`"));
    let part = match kind {
        "header" if name.is_empty() => return Err(no_name()),
        "header" => match header_name(name) {
            Ok(name) => KeyPart::Header(name),
            Err(inner) => return Err(fault(&format!("the header name {}", inner.label))),
        },
        "cookie" => match cookie_name(name) {
            Ok(name) => KeyPart::Cookie(name),
            Err(_) => return Err(fault("has no cookie name after `cookie:`")),
        },
        "query" | "capture" if name.is_empty() => return Err(no_name()),
        "query" if name.bytes().all(is_query_byte) => KeyPart::Query(name.into()),
        "query" => return Err(fault("the name has characters that no parameter has")),
        "capture" => KeyPart::Capture(name.into()),
        "claim" if name.is_empty() => return Err(fault("has no claim after `claim:`")),
        "claim" => KeyPart::Claim(name.into()),
        _ => {
            let out = fault("is not known");
            return Err(match nearest(kind, NAMED) {
                Some(near) => out.help(format!("did you mean \"{near}:{name}\"?")),
                None => out,
            });
        }
    };
    Ok(part)
}

const BARE: [&str; 8] = [
    "client_ip",
    "route",
    "host",
    "path",
    "method",
    "identity",
    "consumer",
    "subject",
];
const NAMED: [&str; 5] = ["header", "cookie", "query", "capture", "claim"];

/// A byte that a query parameter's name may have as it stands in a request.
fn is_query_byte(b: u8) -> bool {
    b.is_ascii_graphic() && !matches!(b, b'&' | b'=' | b'#')
}

/// A cookie's name (RFC 6265, section 4.1.1).
pub(crate) fn cookie_name(text: &str) -> Result<Box<str>, Fault> {
    let fault = |label: String| {
        let expected = "letters, digits, `-` and `_`, such as \"ringgate-node\"";
        Fault::new("cookie name", expected, label)
    };
    if text.is_empty() {
        return Err(fault("is empty".to_owned()));
    }
    match text
        .chars()
        .find(|&c| !c.is_ascii() || !is_token_byte(c as u8))
    {
        Some(other) => Err(fault(format!(
            "has the character `{}`",
            other.escape_debug()
        ))),
        None => Ok(Box::from(text)),
    }
}

/// What cookies are signed with. What is wrong with it is said without it.
pub(crate) fn signing_secret(text: &str) -> Result<Box<str>, Fault> {
    if text.len() < SECRET_BYTES_MIN {
        let expected = "a text of at least 16 bytes, such as the output of `openssl rand -hex 32`";
        let label = "is shorter than 16 bytes, and could be guessed";
        return Err(Fault::new("secret", expected, label));
    }
    Ok(Box::from(text))
}

/// A header value that opens something. What is wrong with it is said without it.
pub(crate) fn pass_value(text: &str) -> Result<Box<str>, Fault> {
    let expected = "visible ASCII characters without spaces at the ends, at least one";
    match header_value(text) {
        Ok(value) if !value.is_empty() => Ok(value),
        Ok(_) => Err(Fault::new("header value", expected, "is empty")),
        Err(_) => Err(Fault::new(
            "header value",
            expected,
            "cannot stand in a header",
        )),
    }
}

const SECRET_BYTES_MIN: usize = 16; // as many as the signature in a cookie has

/// What may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryCause {
    Connect,
    Reset,
    RefusedStream,
    Timeout,
    /// 500 to 599.
    Status(u16),
    /// 1 to 16.
    Grpc(u16),
}

impl fmt::Display for RetryCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("connect"),
            Self::Reset => f.write_str("reset"),
            Self::RefusedStream => f.write_str("refused_stream"),
            Self::Timeout => f.write_str("timeout"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Grpc(status) => {
                let name = GRPC_STATUSES.get(usize::from(status.saturating_sub(1)));
                write!(f, "grpc:{}", name.unwrap_or(&"?"))
            }
        }
    }
}

/// gRPC's statuses by number, beginning with 1.
const GRPC_STATUSES: [&str; 16] = [
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// What may be retried.
pub(crate) fn retry_cause(text: &str) -> Result<RetryCause, Fault> {
    let expected = "\"connect\", \"reset\", \"refused_stream\", \"timeout\", a status from \"500\" \
                    to \"599\", or a gRPC status such as \"grpc:unavailable\"";
    let fault = |label: &str| Fault::new("cause of retries", expected, label);
    let near = |out: Fault, written: &str, words: &[&str], prefix: &str| match nearest(
        written,
        words.iter().copied(),
    ) {
        Some(near) => out.help(format!("did you mean \"{prefix}{near}\"?")),
        None => out,
    };
    if let Some(name) = text.strip_prefix("grpc:") {
        let found = (1..).zip(GRPC_STATUSES).find(|(_, known)| *known == name);
        return match found {
            Some((number, _)) => Ok(RetryCause::Grpc(number)),
            None => {
                let out = fault("is no status of gRPC that fails");
                Err(near(out, name, &GRPC_STATUSES, "grpc:"))
            }
        };
    }
    if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() {
        return match text.parse::<u16>() {
            Ok(status @ 500..=599) if text.len() == 3 => Ok(RetryCause::Status(status)),
            _ => Err(fault("is no status from 500 to 599")),
        };
    }
    match text {
        "connect" => Ok(RetryCause::Connect),
        "reset" => Ok(RetryCause::Reset),
        "refused_stream" => Ok(RetryCause::RefusedStream),
        "timeout" => Ok(RetryCause::Timeout),
        other => Err(near(fault("is not known"), other, &CAUSES, "")),
    }
}

const CAUSES: [&str; 4] = ["connect", "reset", "refused_stream", "timeout"];

/// The URL of a Redis or Valkey server. What is wrong with it is said without it.
pub(crate) fn redis_url(text: &str) -> Result<Box<str>, Fault> {
    let expected =
        "a URL such as \"redis://10.0.0.5:6379/0\" or \"rediss://:${env:PASSWORD}@cache:6379\"";
    let fault = |label: &str| Fault::new("URL of a Redis server", expected, label);
    let rest = text
        .strip_prefix("redis://")
        .or_else(|| text.strip_prefix("rediss://"));
    let Some(rest) = rest else {
        return Err(fault("does not begin with `redis://` or `rediss://`"));
    };
    if rest.chars().any(|c| c.is_control() || c == ' ' || c == '#') {
        return Err(fault("has a character that no such URL has"));
    }
    let (server, database) = match rest.split_once('/') {
        Some((server, database)) => (server, database),
        None => (rest, ""),
    };
    let host = server.rsplit_once('@').map_or(server, |(_, host)| host);
    if super::authority(host).is_err() {
        return Err(fault("has no host, or one that is not valid"));
    }
    let database = database.split('?').next().unwrap_or_default();
    if !database.is_empty() && database.parse::<u16>().is_err() {
        return Err(fault("has a path that is not the number of a database"));
    }
    Ok(Box::from(text))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_name_what_they_count_for() {
        let now = |text: &str| key_part(text).unwrap().to_string();
        for text in [
            "client_ip",
            "route",
            "host",
            "path",
            "method",
            "identity",
            "header:x-api-key",
            "cookie:uid",
            "query:user",
            "capture:id",
            "consumer",
            "subject",
            "claim:realm_access.roles",
        ] {
            assert_eq!(now(text), text);
        }
        assert_eq!(now("header:X-User"), "header:x-user");
        for text in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "claim:",
            "cookie:",
            "cookie:a=b",
            "query:a&b",
            "capture:",
            "unknown:x",
        ] {
            assert!(key_part(text).is_err(), "{text}");
        }
    }

    #[test]
    fn causes_of_retries_read_back() {
        for text in [
            "connect",
            "reset",
            "refused_stream",
            "timeout",
            "500",
            "599",
            "grpc:unavailable",
            "grpc:cancelled",
            "grpc:unauthenticated",
        ] {
            assert_eq!(retry_cause(text).unwrap().to_string(), text);
        }
        assert_eq!(
            retry_cause("grpc:unavailable").unwrap(),
            RetryCause::Grpc(14)
        );
        for text in [
            "", "404", "600", "50", "0500", "5xx", "grpc:ok", "grpc:", "conect",
        ] {
            assert!(retry_cause(text).is_err(), "{text}");
        }
        let help = |text| retry_cause(text).unwrap_err().help;
        assert_eq!(help("conect"), Some("did you mean \"connect\"?".to_owned()));
        assert_eq!(
            help("grpc:unavailble"),
            Some("did you mean \"grpc:unavailable\"?".to_owned())
        );
    }

    #[test]
    fn urls_of_redis_have_a_host() {
        for text in [
            "redis://127.0.0.1:6379",
            "rediss://:secret@cache.internal:6379/2",
            "redis://user:p%40ss@[::1]:6379/0?protocol=resp3",
            "redis://cache",
        ] {
            assert!(redis_url(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "redis://",
            "http://a",
            "redis://a b",
            "redis://a/x",
            "redis://:x@",
        ] {
            assert!(redis_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_refused() {
        assert!(signing_secret("0123456789abcdef").is_ok());
        assert!(signing_secret("0123456789abcde").is_err());
    }
}
