//! gRPC-Web in both of its codings, in bytes made by hand, against a gRPC origin.

use crate::support::certificates::Authority;
use crate::support::curl::curl;
use crate::support::python::Server;
use crate::support::{Driver, Gateway, Setup, on_both_drivers};

on_both_drivers!(
    translates_binary_calls,
    translates_text_calls,
    translates_calls_over_http_2,
    translates_streams,
    translates_failures,
    answers_its_own_errors_in_the_clients_coding,
);

/// A message as gRPC frames it: flags, four bytes of length, the bytes.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    frame
}

/// The messages of a binary answer, and the trailers that its last frame carries.
#[track_caller]
fn unframed(mut bytes: &[u8]) -> (Vec<Vec<u8>>, String) {
    let mut messages = Vec::new();
    while let [flags, a, b, c, d, rest @ ..] = bytes {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let (frame, behind) = rest.split_at(length);
        bytes = behind;
        if flags & 0x80 != 0 {
            assert!(bytes.is_empty(), "bytes behind the trailers");
            return (messages, String::from_utf8(frame.to_vec()).unwrap());
        }
        messages.push(frame.to_vec());
    }
    panic!("no trailers behind {messages:?}, {bytes:?}");
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 that may be padded in its middle: each flush of a stream is coded by itself.
#[track_caller]
fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    assert_eq!(text.len() % 4, 0, "{:?}", String::from_utf8_lossy(text));
    for group in text.chunks(4) {
        let value = |c: &u8| ALPHABET.iter().position(|a| a == c).unwrap_or(0);
        let bits = group.iter().fold(0, |bits, c| bits << 6 | value(c));
        let padding = group.iter().filter(|c| **c == b'=').count();
        let whole = u32::try_from(bits).unwrap().to_be_bytes();
        bytes.extend(&whole[1..4 - padding]);
    }
    bytes
}

fn encoded(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut whole = [0; 4];
        whole[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(whole);
        for at in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at > group.len() { '=' } else { digit.into() });
        }
    }
    text
}

fn setup(driver: Driver, origin: &Server) -> Setup {
    Setup::new(driver)
        .upstream("grpc", origin.address(), "protocol = \"h2\"")
        .upstream("dead", "127.0.0.1:1", "protocol = \"h2\"")
        .body("[filter.web]\ntype = \"grpc_web\"")
        .route(
            "proof",
            "/proof.Proof/{rest*}",
            "upstream = \"grpc\"\nfilters = [\"web\"]",
        )
        .route(
            "dead",
            "/dead.Dead/{rest*}",
            "upstream = \"dead\"\nfilters = [\"web\"]",
        )
}

/// Posts `body` with this content type and returns head and body of the answer.
#[track_caller]
fn post(gateway: &Gateway, how: &[&str], path: &str, kind: &str, body: &[u8]) -> (String, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let (request, head) = (dir.path().join("body"), dir.path().join("head"));
    std::fs::write(&request, body).unwrap();
    let port = gateway.address().rsplit(':').next().unwrap();
    let scheme = if how.contains(&"--cacert") {
        "https"
    } else {
        "http"
    };
    let mut arguments = how.to_vec();
    let resolve = format!("gateway.test:{port}:127.0.0.1");
    let data = format!("@{}", request.display());
    let kind = format!("content-type: {kind}");
    let url = format!("{scheme}://gateway.test:{port}{path}");
    arguments.extend(["--resolve", &resolve, "-H", &kind, "-H", "x-grpc-web: 1"]);
    arguments.extend(["-D", head.to_str().unwrap(), "--data-binary", &data, &url]);
    let body = curl(&arguments);
    (
        std::fs::read_to_string(head).unwrap().to_ascii_lowercase(),
        body,
    )
}

#[track_caller]
fn expect_echo(head: &str, kind: &str, answer: &[u8]) {
    assert!(head.contains(" 200"), "{head}");
    assert!(head.contains(&format!("content-type: {kind}")), "{head}");
    let (messages, trailers) = unframed(answer);
    assert_eq!(messages, [b"hello"]);
    assert!(trailers.contains("grpc-status: 0\r\n") || trailers.contains("grpc-status:0\r\n"));
    assert!(trailers.contains("behind"), "{trailers}");
}

const BINARY: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text+proto";

fn translates_binary_calls(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let sent = framed(b"hello");
    let (head, answer) = post(&gateway, &["--http1.1"], "/proof.Proof/Echo", BINARY, &sent);
    expect_echo(&head, "application/grpc-web", &answer);
}

fn translates_text_calls(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let sent = encoded(&framed(b"hello"));
    let (head, answer) = post(
        &gateway,
        &["--http1.1"],
        "/proof.Proof/Echo",
        TEXT,
        sent.as_bytes(),
    );
    expect_echo(&head, "application/grpc-web-text", &decoded(&answer));
}

fn translates_calls_over_http_2(driver: Driver) {
    let authority = Authority::new();
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin)
        .certificates(&[&authority.server(&["gateway.test"])])
        .start();
    let ca = authority.trust();
    let sent = framed(b"hello");
    let how = ["--http2", "--cacert", &ca];
    let (head, answer) = post(&gateway, &how, "/proof.Proof/Echo", BINARY, &sent);
    assert!(head.starts_with("http/2 200"), "{head}");
    expect_echo(&head, "application/grpc-web", &answer);
}

fn translates_streams(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let wanted = framed(br#"{"count": 50, "size": 1000, "pause": 0.001}"#);
    for (kind, sent) in [
        (BINARY, wanted.clone()),
        (TEXT, encoded(&wanted).into_bytes()),
    ] {
        let (_, answer) = post(&gateway, &["--http1.1"], "/proof.Proof/Expand", kind, &sent);
        let answer = if kind == TEXT {
            decoded(&answer)
        } else {
            answer
        };
        let (messages, trailers) = unframed(&answer);
        assert_eq!(messages.len(), 50, "{kind}");
        for (at, message) in messages.iter().enumerate() {
            assert!(message.len() == 1000 && message.iter().all(|b| usize::from(*b) == at));
        }
        assert!(trailers.contains("grpc-status"), "{trailers}");
    }
}

fn translates_failures(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let wanted = framed(br#"{"code": "ABORTED", "message": "no"}"#);
    // Trailers only: their place is the head or the frame behind an empty body.
    let (head, answer) = post(
        &gateway,
        &["--http1.1"],
        "/proof.Proof/Fail",
        BINARY,
        &wanted,
    );
    let said = head + &String::from_utf8_lossy(&answer);
    assert!(
        said.contains("grpc-status: 10") || said.contains("grpc-status:10"),
        "{said}"
    );
    let (_, answer) = post(
        &gateway,
        &["--http1.1"],
        "/proof.Proof/FailLate",
        BINARY,
        &wanted,
    );
    let (messages, trailers) = unframed(&answer);
    assert_eq!(messages, [b"one", b"two"]);
    assert!(trailers.contains("10"), "{trailers}");
}

fn answers_its_own_errors_in_the_clients_coding(driver: Driver) {
    let origin = Server::start("grpc_server.py", &[]);
    let gateway = setup(driver, &origin).start();
    let sent = framed(b"hello");
    let (head, answer) = post(&gateway, &["--http1.1"], "/dead.Dead/Echo", BINARY, &sent);
    assert!(head.contains(" 200"), "{head}");
    assert!(
        head.contains("content-type: application/grpc-web"),
        "{head}"
    );
    // In the head of an answer without messages, or in the frame at the body's end.
    let said = head + &String::from_utf8_lossy(&answer);
    assert!(
        said.contains("grpc-status: 14") || said.contains("grpc-status:14"),
        "{said}"
    );
}

mod coding {
    #[test]
    fn base64_is_undone_by_its_reader() {
        for length in 0..10_u8 {
            let bytes: Vec<u8> = (0..length).map(|i| i * 29).collect();
            assert_eq!(super::decoded(super::encoded(&bytes).as_bytes()), bytes);
        }
        assert_eq!(super::decoded(b"YQ==YmM="), b"abc");
    }
}
