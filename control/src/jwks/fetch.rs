//! One look at an issuer's keys: over HTTPS, with bounded times and answers, without redirects.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{Location, Place, Source, Transport, description_of};

/// What an issuer answered.
pub(super) struct Document {
    pub(super) body: Bytes,
    /// For how long it is good, as the answer says.
    pub(super) max_age: Option<Duration>,
}

/// Why there is nothing that could be a key set: one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(pub(super) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fetches what should be a key set.
pub(super) async fn fetch(source: &Source) -> Result<Document, Failure> {
    let asking = async {
        match &source.place.location {
            Location::Set(url) => get(&source.place, url).await,
            Location::Discovery(issuer) => {
                let description = get(&source.place, &description_of(issuer)).await?;
                let url = keys_of(&description.body, issuer, source.place.transport)?;
                get(&source.place, &url).await
            }
        }
    };
    let late = || Failure(format!("no whole answer within {:?}", source.timeout));
    let answer = tokio::time::timeout(source.timeout, asking).await;
    answer.unwrap_or_else(|_| Err(late()))
}

async fn get(place: &Place, url: &str) -> Result<Document, Failure> {
    let about = |text: String| Failure(format!("{url}: {text}"));
    let uri: Uri = url.parse().map_err(|_| about("it is no URL".to_owned()))?;
    let client = client(place, &uri).map_err(about)?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = uri;
    let fields = request.headers_mut();
    fields.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let response = client.request(request).await;
    let response = response.map_err(|error| about(chain(&error)))?;
    let (parts, body) = response.into_parts();
    if parts.status != StatusCode::OK {
        let text = match parts.status.is_redirection() {
            true => "it is elsewhere, and nobody is followed there".to_owned(),
            false => format!("it answers {}", parts.status),
        };
        return Err(about(text));
    }
    if !is_json(&parts.headers) {
        return Err(about("the answer is no JSON".to_owned()));
    }
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| about(chain(&*error)))?.to_bytes();
    Ok(Document {
        body,
        max_age: max_age(&parts.headers),
    })
}

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

fn client(place: &Place, uri: &Uri) -> Result<Https, String> {
    let builder = HttpsConnectorBuilder::new();
    let with = |roots: RootCertStore| {
        rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth()
    };
    let builder = match &place.ca {
        Some(path) => builder.with_tls_config(with(roots(path)?)),
        // Nothing is looked at that is not needed.
        None if uri.scheme_str() == Some("http") => {
            builder.with_tls_config(with(RootCertStore::empty()))
        }
        None => builder.with_native_roots().map_err(|error| {
            format!(
                "the system's root certificates cannot be read: {error}; install \
                 ca-certificates, or set `ca`"
            )
        })?,
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    let connector = builder
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(connector))
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let unusable = |cause: &dyn fmt::Display| format!("ca: {}: {cause}", path.display());
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let root = root.map_err(|error| unusable(&error))?;
        roots.add(root).map_err(|error| unusable(&error))?;
    }
    match roots.is_empty() {
        true => Err(unusable(&"no certificate in it")),
        false => Ok(roots),
    }
}

/// The address of the keys in an issuer's description of itself, which has to be its own.
fn keys_of(description: &[u8], issuer: &str, transport: Transport) -> Result<String, Failure> {
    let text = |value: &serde_json::Value, name: &str| {
        let member = value.get(name).and_then(|member| member.as_str());
        member.map(str::to_owned)
    };
    let value: serde_json::Value = serde_json::from_slice(description)
        .map_err(|_| Failure("the issuer's description is no JSON".to_owned()))?;
    // OpenID Connect Discovery 1.0, 4.3.
    if text(&value, "issuer").as_deref() != Some(issuer) {
        let why = "the issuer's description is another one's: its `issuer` differs";
        return Err(Failure(why.to_owned()));
    }
    let url = text(&value, "jwks_uri");
    let url =
        url.ok_or_else(|| Failure("the issuer's description has no `jwks_uri`".to_owned()))?;
    match may_ask(&url, transport) {
        true => Ok(url),
        false => Err(Failure(
            "the issuer's description has a `jwks_uri` that is not https".to_owned(),
        )),
    }
}

fn may_ask(url: &str, transport: Transport) -> bool {
    let Ok(uri) = url.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let own = match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host == "localhost",
    };
    match uri.scheme_str() {
        Some("https") => !host.is_empty(),
        Some("http") => own || transport == Transport::Any,
        _ => false,
    }
}

fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next();
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

/// RFC 9111, 5.2.2.1. The bounds are for whoever uses it.
fn max_age(fields: &HeaderMap) -> Option<Duration> {
    let lines = fields.get_all(CACHE_CONTROL).into_iter();
    let mut directives = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    directives.find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        let seconds = value.trim().trim_matches('"').parse().ok()?;
        name.trim()
            .eq_ignore_ascii_case("max-age")
            .then(|| Duration::from_secs(seconds))
    })
}

/// The errors from one to its first cause, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let further = error.to_string();
        if !text.contains(&further) {
            text.push_str(": ");
            text.push_str(&further);
        }
        cause = error.source();
    }
    text.replace(['\n', '\r'], " ")
}

const AGENT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
/// A hundred keys of the longest kind with their certificates.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fields(name: &'static str, values: &[&'static str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn an_answer_says_how_long_it_is_good() {
        let age = |values: &[&'static str]| max_age(&fields("cache-control", values));
        assert_eq!(
            age(&["public, max-age=300"]),
            Some(Duration::from_secs(300))
        );
        assert_eq!(
            age(&["public", "Max-Age=\"7\", x"]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(age(&["s-maxage=7"]), None);
        assert_eq!(age(&["max-age=-1"]), None);
        assert_eq!(age(&[]), None);
    }

    #[test]
    fn keys_are_json() {
        let json = |kind| is_json(&fields("content-type", &[kind]));
        assert!(json("application/json"));
        assert!(json("application/jwk-set+json; charset=utf-8"));
        assert!(!json("text/html"));
        assert!(!json("text/x+json"));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn a_description_is_the_issuers_own() {
        let of = |text: &str| keys_of(text.as_bytes(), "https://a.example", Transport::Encrypted);
        let good = r#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/k"}"#;
        assert_eq!(of(good).unwrap(), "https://keys.example/k");
        for text in [
            "",
            "[]",
            r#"{"issuer":"https://a.example/","jwks_uri":"https://keys.example/k"}"#,
            r#"{"issuer":"https://b.example","jwks_uri":"https://keys.example/k"}"#,
            r#"{"jwks_uri":"https://keys.example/k"}"#,
            r#"{"issuer":"https://a.example"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"http://keys.example/k"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"file:///etc/passwd"}"#,
            r#"{"issuer":"https://a.example","jwks_uri":"/k"}"#,
        ] {
            assert!(of(text).is_err(), "{text}");
        }
        let plain = r#"{"issuer":"https://a.example","jwks_uri":"http://keys.example/k"}"#;
        assert!(keys_of(plain.as_bytes(), "https://a.example", Transport::Any).is_ok());
    }

    #[test]
    fn a_description_is_below_the_issuer() {
        let expected = "https://a.example/x/.well-known/openid-configuration";
        assert_eq!(description_of("https://a.example/x"), expected);
        assert_eq!(description_of("https://a.example/x/"), expected);
    }
}
