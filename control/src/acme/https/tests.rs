use std::io::{Read, Write};
use std::net::TcpListener;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tempfile::NamedTempFile;

use super::*;

/// An authority's HTTPS that answers one request with `answer`; its port and its root.
fn answering(answer: Vec<u8>) -> (u16, NamedTempFile) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let mut root = NamedTempFile::new().unwrap();
    root.write_all(certificate.pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, stream);
        let mut block = [0; 4096];
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut block) {
                Ok(count @ 1..) => request.extend_from_slice(&block[..count]),
                _ => return,
            }
        }
        // A client that has seen enough hangs up.
        let _ = stream.write_all(&answer);
        let _ = stream.flush();
    });
    (port, root)
}

async fn ask(answer: Vec<u8>) -> (Https, Result<BytesResponse, AcmeError>) {
    let (port, root) = answering(answer);
    let https = Https::new(Some(root.path())).unwrap();
    let request = Request::get(format!("https://localhost:{port}/dir"))
        .body(BodyWrapper::default())
        .unwrap();
    let response = https.request(request).await;
    (https, response)
}

fn kind(response: Result<BytesResponse, AcmeError>) -> (FailureKind, String) {
    let failure = Failure::of("asking", response.err().unwrap(), None);
    (failure.kind, failure.text)
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec();
    answer.resize(answer.len() + 2 * ANSWER_BYTES_MAX, b'x');
    let (_, response) = ask(answer).await;
    let (kind, text) = kind(response);
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(text.contains("localhost"), "{text}");
}

#[tokio::test]
async fn a_refusal_of_something_in_between_is_told_with_its_status() {
    let answer = "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\
                  Retry-After: 7\r\nContent-Length: 4\r\n\r\noops";
    let (https, response) = ask(answer.into()).await;
    let (kind, text) = kind(response);
    assert_eq!(kind, FailureKind::Authority);
    assert!(text.contains("502"), "{text}");
    assert!(https.take_retry_after().is_some());
    assert_eq!(https.take_retry_after(), None);
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let answer = "HTTP/1.1 302 Found\r\nLocation: https://elsewhere.invalid/\r\n\
                  Content-Length: 0\r\n\r\n";
    let (_, response) = ask(answer.into()).await;
    let (kind, text) = kind(response);
    assert_eq!(kind, FailureKind::Authority);
    assert!(text.contains("302"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_the_authority_is_not_believed() {
    let (port, _root) = answering(b"HTTP/1.1 200 OK\r\n\r\n".to_vec());
    let (_, another) = answering(Vec::new());
    let https = Https::new(Some(another.path())).unwrap();
    let request = Request::get(format!("https://localhost:{port}/dir"))
        .body(BodyWrapper::default())
        .unwrap();
    let (kind, text) = kind(https.request(request).await);
    assert_eq!(kind, FailureKind::Unreachable);
    assert!(text.contains("certificate"), "{text}");
}

#[tokio::test]
async fn plain_http_is_not_spoken() {
    let (_, root) = answering(Vec::new());
    let https = Https::new(Some(root.path())).unwrap();
    let request = Request::get("http://localhost:1/dir")
        .body(BodyWrapper::default())
        .unwrap();
    assert_eq!(
        kind(https.request(request).await).0,
        FailureKind::Unreachable
    );
}

fn waits(value: &str) -> Option<u64> {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
    let mut fields = HeaderMap::new();
    fields.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
    retry_at(&fields, now).map(|at| at.duration_since(now).unwrap().as_secs())
}

#[test]
fn retry_after_is_seconds_or_a_date_and_a_day_at_most() {
    assert_eq!(waits("120"), Some(120));
    assert_eq!(waits("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
    assert_eq!(waits("Sun, 06 Nov 1994 08:40:00 GMT"), Some(0));
    assert_eq!(waits("99999999999999"), Some(86_400));
    assert_eq!(waits("Sat, 06 Nov 2094 08:50:37 GMT"), Some(86_400));
    assert_eq!(waits("soon"), None);
    assert_eq!(waits("-1"), None);
}

#[test]
fn a_file_without_roots_is_named() {
    let file = NamedTempFile::new().unwrap();
    let failure = Https::new(Some(file.path())).err().unwrap();
    assert!(failure.text.contains("no certificate in it"), "{failure}");
    let failure = Https::new(Some(Path::new("/no/such.pem"))).err().unwrap();
    assert!(failure.text.contains("/no/such.pem"), "{failure}");
}

#[test]
fn problem_documents_are_told_from_other_answers() {
    for (kind, json) in [
        ("application/problem+json", true),
        ("Application/JSON; charset=utf-8", true),
        ("text/html", false),
    ] {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        assert_eq!(is_json(&fields), json, "{kind}");
    }
    assert!(!is_json(&HeaderMap::new()));
}
