//! One exchange with a token endpoint: bounded in time and length, without redirects.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

use super::{Client, Style};

/// The way to one server.
pub(super) struct Fetcher(Http<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A token, and how long it is good.
pub(super) struct Granted {
    pub(super) token: Box<str>,
    pub(super) lifetime: Duration,
}

/// RFC 6749, 5.1. A name twice is an error.
#[derive(Deserialize)]
struct Answer {
    access_token: Box<str>,
    token_type: Box<str>,
    expires_in: Option<f64>,
}

/// RFC 6749, 5.2.
#[derive(Deserialize)]
struct Refusal {
    error: Box<str>,
}

impl Fetcher {
    pub(super) fn new(client: &Client) -> Result<Fetcher, String> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match &client.ca {
            Some(path) => builder.with_tls_config(trusting(roots(path)?)),
            None if client.token_url.starts_with("https:") => {
                builder.with_native_roots().map_err(|error| {
                    format!("the system's root certificates cannot be read: {error}; install ca-certificates, or set `ca`")
                })?
            }
            None => builder.with_tls_config(trusting(RootCertStore::empty())),
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(client.timeout));
        connector.enforce_http(false);
        let connector = builder
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        // A connection that is minutes old when it is needed is one that may be dead.
        let http = Http::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector);
        Ok(Fetcher(http))
    }

    /// Asks for a token. An error says why there is none, without any secret.
    pub(super) async fn fetch(&self, client: &Client) -> Result<Granted, String> {
        let request = request(client)?;
        let answer = async {
            let response = self.0.request(request).await;
            let response = response.map_err(|error| unreachable(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(|error| unreachable(&*error))?;
            read(status, &body.to_bytes())
        };
        tokio::time::timeout(client.timeout, answer)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", client.timeout)))
    }
}

fn request(client: &Client) -> Result<Request<Full<Bytes>>, String> {
    let mut form = Form::default();
    form.add("grant_type", "client_credentials");
    if !client.scopes.is_empty() {
        form.add("scope", &client.scopes.join(" "));
    }
    if let Some(audience) = &client.audience {
        form.add("audience", audience);
    }
    if let Some(resource) = &client.resource {
        form.add("resource", resource);
    }
    let mut request = Request::post(&*client.token_url)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(ACCEPT, "application/json")
        .header(USER_AGENT, AGENT);
    match client.style {
        Style::Basic => {
            let pair = format!("{}:{}", encoded(&client.id), encoded(&client.secret));
            let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
            let value = HeaderValue::from_str(&value);
            let mut value = value.map_err(|_| "the credentials cannot be sent".to_owned())?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        Style::Post => {
            form.add("client_id", &client.id);
            form.add("client_secret", &client.secret);
        }
    }
    let body = Full::new(Bytes::from(form.0));
    request
        .body(body)
        .map_err(|error| format!("the token endpoint cannot be asked: {error}"))
}

fn read(status: StatusCode, body: &[u8]) -> Result<Granted, String> {
    if status != StatusCode::OK {
        let said = serde_json::from_slice::<Refusal>(body).ok();
        let said = said.filter(|refusal| refusal.error.bytes().all(|b| b.is_ascii_graphic()));
        return Err(match said {
            Some(refusal) => {
                let error: String = refusal.error.chars().take(ERROR_CHARS_MAX).collect();
                format!("the server answers {status}: {error}")
            }
            None => format!("the server answers {status}"),
        });
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| "the server's answer is no token response".to_owned())?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err("the server's token is of another type than Bearer".to_owned());
    }
    let token = answer.access_token;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if token.is_empty() || token.len() > TOKEN_BYTES_MAX || !token.bytes().all(fits) {
        return Err("the server's token cannot stand in a header".to_owned());
    }
    let seconds = answer.expires_in.unwrap_or(LIFETIME_UNSAID.as_secs_f64());
    if seconds.is_nan() || seconds < 1.0 {
        return Err("the server's token has ended already".to_owned());
    }
    Ok(Granted {
        token,
        lifetime: Duration::from_secs_f64(seconds.min(LIFETIME_MAX.as_secs_f64())),
    })
}

fn unreachable(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn trusting(roots: RootCertStore) -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let unusable = |cause: &dyn std::fmt::Display| format!("ca {}: {cause}", path.display());
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

/// A form (`application/x-www-form-urlencoded`).
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.push_str(&encoded(value));
    }
}

fn encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

const AGENT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
const ANSWER_BYTES_MAX: usize = 64 * 1024;
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// RFC 6749, 5.1 lets a server leave it out; then it is asked again before long.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
const ERROR_CHARS_MAX: usize = 64;
