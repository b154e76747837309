//! Requests to the authority: over HTTPS only, with bounded times and answers, without
//! redirects. Remembers when a refused request may be repeated.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error as AcmeError, HttpClient};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::failure::{Failure, FailureKind, chain};

/// The way to one authority; a clone is the same way.
#[derive(Clone)]
pub(super) struct Https {
    client: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
    retry_at: Arc<Mutex<Option<SystemTime>>>,
}

impl Https {
    /// Trusts the roots in the PEM file `ca`, or the system's.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, Failure> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match ca {
            Some(path) => builder.with_tls_config(
                rustls::ClientConfig::builder()
                    .with_root_certificates(roots(path)?)
                    .with_no_client_auth(),
            ),
            None => builder.with_native_roots().map_err(no_system_roots)?,
        };
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        connector.enforce_http(false);
        let connector = builder
            .https_only()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(1)
                .build(connector),
            retry_at: Arc::default(),
        })
    }

    /// How long to wait, as the last refused request was told; forgets it.
    pub(super) fn take_retry_after(&self) -> Option<Duration> {
        let mut retry_at = self.retry_at.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = retry_at.take()?.duration_since(SystemTime::now());
        Some(wait.unwrap_or_default())
    }

    fn note(&self, response: &Response<impl Sized>) {
        if response.status().is_client_error() || response.status().is_server_error() {
            let retry_at = retry_at(response.headers(), SystemTime::now());
            *self.retry_at.lock().unwrap_or_else(PoisonError::into_inner) = retry_at;
        }
    }

    async fn fetch(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Transport> {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let unreachable = |cause: String| Transport::Unreachable(format!("{host}: {cause}"));
        let answer = async {
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| unreachable(chain(&error)))?;
            self.note(&response);
            let (parts, body) = response.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(|error| unreachable(chain(&*error)))?
                .to_bytes();
            if !parts.status.is_success() && !is_json(&parts.headers) {
                return Err(Transport::Status(parts.status));
            }
            Ok(BytesResponse {
                parts,
                body: Box::new(body),
            })
        };
        tokio::time::timeout(REQUEST_TIMEOUT, answer)
            .await
            .unwrap_or_else(|_| Err(unreachable(format!("no answer within {REQUEST_TIMEOUT:?}"))))
    }
}

impl HttpClient for Https {
    fn request(
        &self,
        mut request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, AcmeError>> + Send>> {
        // RFC 8555 section 6.1.
        request
            .headers_mut()
            .insert(USER_AGENT, HeaderValue::from_static(AGENT));
        let this = self.clone();
        Box::pin(async move {
            let answer = this.fetch(request).await;
            answer.map_err(|error| AcmeError::Other(Box::new(error)))
        })
    }
}

/// Why there is no answer that says something.
#[derive(Debug)]
pub(super) enum Transport {
    /// No answer, with the host and the reason.
    Unreachable(String),
    /// An answer without a problem document: a proxy's or a broken server's.
    Status(StatusCode),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(cause) => f.write_str(cause),
            Self::Status(status) => {
                write!(
                    f,
                    "the authority answers {status}; is acme.directory its address?"
                )
            }
        }
    }
}

impl std::error::Error for Transport {}

fn roots(path: &Path) -> Result<RootCertStore, Failure> {
    let unusable = |cause: &dyn fmt::Display| {
        let text = format!("acme.ca: {}: {cause}", path.display());
        Failure::new(FailureKind::Unreachable, text)
    };
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let root = root.map_err(|error| unusable(&error))?;
        roots.add(root).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"no certificate in it"));
    }
    Ok(roots)
}

fn no_system_roots(error: io::Error) -> Failure {
    let text = format!(
        "the system's root certificates cannot be read: {error}; install ca-certificates, or set acme.ca"
    );
    Failure::new(FailureKind::Unreachable, text)
}

fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    matches!(
        kind.trim().to_ascii_lowercase().as_str(),
        "application/problem+json" | "application/json"
    )
}

/// RFC 9110 section 10.2.3: seconds or a date. What is further away than a day is a day away:
/// nobody is helped by a certificate that is forgotten.
fn retry_at(fields: &HeaderMap, now: SystemTime) -> Option<SystemTime> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let at = match text.parse::<u64>() {
        Ok(seconds) => now + Duration::from_secs(seconds).min(RETRY_AFTER_MAX),
        Err(_) => httpdate::parse_http_date(text).ok()?,
    };
    Some(at.clamp(now, now + RETRY_AFTER_MAX))
}

const AGENT: &str = concat!("ringgate/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// One request with its answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A chain of a hundred names has some 10 KiB.
const ANSWER_BYTES_MAX: usize = 512 * 1024;
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
