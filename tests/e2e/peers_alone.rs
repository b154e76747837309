//! The peers of the other cases without a gateway between them: what fails here is not the
//! gateway's fault.

use std::fs;

use serde_json::json;

use crate::support::certificates::Authority;
use crate::support::process::{Process, output, tool};
use crate::support::python::{self, Server};
use crate::support::{Nginx, wait_until};

#[test]
fn grpc_client_and_server_agree() {
    let authority = Authority::new();
    let pair = authority.server(&["gateway.test"]);
    let options = ["--cert", pair.cert(), "--key", pair.key()];
    let server = Server::start("grpc_server.py", &options);
    let ca = authority.trust();
    let cases = [
        server.address(),
        "--ca",
        &ca,
        "--name",
        "gateway.test",
        "unary",
        "health",
    ];
    let found = python::client("grpc_client.py", &cases);
    assert_eq!(found["unary"]["reply"], "hello", "{found}");
    assert_eq!(found["health"]["watch"], json!(["0801", "0802"]), "{found}");
    let server = Server::start("grpc_server.py", &[]);
    let cases = [
        server.address(),
        "bidirectional",
        "large",
        "cancel_client_stream",
    ];
    let found = python::client("grpc_client.py", &cases);
    assert_eq!(
        found["bidirectional"]["replies"][19], "re: word 19",
        "{found}"
    );
    assert_eq!(found["large"]["same"], true, "{found}");
    assert_eq!(
        found["cancel_client_stream"]["origin"]["came"], true,
        "{found}"
    );
}

#[test]
fn websocket_clients_and_servers_agree() {
    let authority = Authority::new();
    let pair = authority.server(&["gateway.test"]);
    let tls = ["--cert", pair.cert(), "--key", pair.key()];
    let ca = authority.trust();
    for (server, client, path) in [
        ("ws_server.py", "ws_client.py", "/echo"),
        ("h2_origin.py", "ws_h2_client.py", "/ws"),
    ] {
        let plain = Server::start(server, &[]);
        let found = python::client(client, &[plain.address(), "large", "--path", path]);
        assert_eq!(found["same"], true, "{found}");
        let secure = Server::start(server, &tls);
        let arguments = [secure.address(), "echo", "--path", path, "--ca", &ca];
        let found = python::client(client, &arguments);
        assert_eq!(found["got"], json!(["one", "zwei ü", "0001ff"]), "{found}");
        assert_eq!(secure.process.json_with("closed")["code"], 1000);
    }
}

#[test]
fn openssl_takes_the_certificates() {
    let authority = Authority::new();
    let pair = authority.server(&["gateway.test", "*.wild.test"]);
    let verify = |arguments: &[&str]| {
        let mut command = tool("openssl");
        command
            .args(["verify", "-CAfile", &authority.trust()])
            .args(arguments);
        output(command, b"").success
    };
    assert!(verify(&["-verify_hostname", "a.wild.test", pair.cert()]));
    assert!(!verify(&["-verify_hostname", "other.test", pair.cert()]));
    assert!(!verify(&[authority
        .expired_server(&["gateway.test"])
        .cert()]));
    assert!(!verify(&[Authority::new()
        .server(&["gateway.test"])
        .cert()]));
    let (good, bad) = (authority.client("good", &[]), authority.client("bad", &[]));
    let list = authority.revocations(&[&bad]);
    let list = list.to_str().unwrap();
    assert!(verify(&["-crl_check", "-CRLfile", list, good.cert()]));
    assert!(!verify(&["-crl_check", "-CRLfile", list, bad.cert()]));
    let ocsp = authority.ocsp(&pair);
    let mut command = tool("openssl");
    command.args([
        "ocsp",
        "-respin",
        ocsp.to_str().unwrap(),
        "-CAfile",
        &authority.trust(),
    ]);
    command.args(["-issuer", &authority.trust(), "-cert", pair.cert()]);
    let said = output(command, b"").all();
    assert!(
        said.contains("Response verify OK") && said.contains(": good"),
        "{said}"
    );
}

#[test]
fn nginx_speaks_tls_on_its_socket() {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let nginx = Nginx::listening(
        "ssl http2",
        &format!(
            "ssl_certificate {};\nssl_certificate_key {};\nlocation / {{ return 200 \"$server_protocol\"; }}",
            pair.cert(),
            pair.key()
        ),
    );
    let socket = nginx.address().replace("unix:", "");
    let ca = authority.trust();
    let said = crate::support::curl::curl_text(&[
        "--unix-socket",
        &socket,
        "--cacert",
        &ca,
        "https://origin.test/",
    ]);
    assert_eq!(said, "HTTP/2.0");
}

#[test]
fn nghttp_and_h2load_fetch_from_nghttpd() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("small"), "small file").unwrap();
    let mut command = tool("nghttpd");
    command
        .args(["--no-tls", "-a", "127.0.0.1", "-d"])
        .arg(dir.path())
        .arg("0");
    let nghttpd = Process::start(command);
    let url = format!("http://127.0.0.1:{}/small", nghttpd.port());
    let mut command = tool("nghttp");
    command.arg(&url);
    assert_eq!(output(command, b"").text(), "small file");
    let mut command = tool("h2load");
    command.args(["-n", "100", "-c", "2", "-m", "5", &url]);
    let said = output(command, b"").all();
    assert!(said.contains("100 succeeded, 0 failed"), "{said}");
    wait_until("nghttpd listens on", || nghttpd.port() > 0);
}
