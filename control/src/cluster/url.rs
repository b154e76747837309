//! Where a server is. The password in it is for connecting alone: it appears in no output.

use std::fmt;

use redis::IntoConnectionInfo;

/// The address of a Redis or Valkey server: `redis://user:password@host:port/database`, or
/// `rediss://` for TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    whole: Box<str>,
    /// Without user and password.
    shown: Box<str>,
    /// As written and as decoded, where there is one.
    secrets: Box<[Box<str>]>,
}

/// Why a text is no address of a server. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError;

impl Url {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError)?;
        if !["redis", "rediss"].contains(&scheme) {
            return Err(UrlError);
        }
        let info = text.into_connection_info().map_err(|_| UrlError)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
        let written = user.split_once(':').map(|(_, password)| password);
        let settings = info.redis_settings();
        let secrets = written.into_iter().chain(settings.password());
        let secrets = secrets.filter(|secret| !secret.is_empty());
        let path = path.split(['?', '#']).next().unwrap_or_default();
        Ok(Self {
            shown: format!("{scheme}://{host}{path}").into(),
            secrets: secrets.map(Into::into).collect(),
            whole: text.into(),
        })
    }

    /// The whole address, for connecting.
    pub(crate) fn whole(&self) -> &str {
        &self.whole
    }

    /// A text of somebody else without the password of this address.
    pub(crate) fn hide(&self, text: &str) -> String {
        let mut text = text.replace(&*self.whole, &self.shown);
        for secret in &self.secrets {
            text = text.replace(&**secret, "***");
        }
        text
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.shown)
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected redis://[user:password@]host[:port][/database], or rediss:// for TLS")
    }
}

impl std::error::Error for UrlError {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for text in [
            "redis://:hunter2@10.0.0.7:6379/3",
            "rediss://limits:hunter2@redis.internal/",
            "redis://user:hunter%32@localhost",
        ] {
            let url = Url::parse(text).unwrap();
            for shown in [url.to_string(), format!("{url:?}"), url.hide(text)] {
                assert!(!shown.contains("hunter"), "{shown}");
            }
            let said = url.hide("WRONGPASS hunter2 is not it");
            assert_eq!(said, "WRONGPASS *** is not it");
        }
        let url = Url::parse("redis://:hunter2@10.0.0.7:6379/3").unwrap();
        assert_eq!(url.to_string(), "redis://10.0.0.7:6379/3");
    }

    #[test]
    fn addresses_without_password_are_shown_whole() {
        for text in ["redis://10.0.0.7", "rediss://redis.internal:6380/1"] {
            assert_eq!(Url::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn rejects_what_is_no_server() {
        for text in [
            "",
            "10.0.0.7:6379",
            "http://10.0.0.7",
            "unix:///run/redis.sock",
            "redis://",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
