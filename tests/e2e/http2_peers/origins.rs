//! HTTP/2 origins of two other houses: nginx, which speaks it in TLS only, and nghttpd.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::pattern;
use crate::support::certificates::Authority;
use crate::support::curl::{curl, curl_text};
use crate::support::process::{Process, output, tool};
use crate::support::python::Server;
use crate::support::{Driver, Nginx, Setup, on_both_drivers};

on_both_drivers!(
    serves_from_nginx_over_http_2,
    serves_from_nghttpd_over_h2c,
    passes_request_trailers_of_nghttp,
);

fn serves_from_nginx_over_http_2(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let nginx = Nginx::listening(
        "ssl http2",
        &format!(
            "ssl_certificate {};\nssl_certificate_key {};\n\
             location /seen {{ return 200 \"$server_protocol $http_host $ssl_server_name\"; }}\n\
             location /up {{ return 200 \"$request_method $content_length\"; }}",
            pair.cert(),
            pair.key()
        ),
    );
    fs::write(nginx.root().join("www/large.bin"), pattern(3_000_001)).unwrap();
    let tls = format!(
        "protocol = \"h2\"\n[upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"\n",
        authority.ca()
    );
    let gateway = Setup::new(driver)
        .upstream("app", &nginx.address(), &tls)
        .catch_all("app")
        .start();
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let url = |path: &str| format!("http://{}{path}", gateway.address());
        let seen = curl_text(&[how, "-H", "Host: gateway.test", &url("/seen")]);
        assert_eq!(seen, "HTTP/2.0 gateway.test origin.test");
        assert!(
            curl(&[how, &url("/large.bin")]) == pattern(3_000_001),
            "{how}"
        );
        let range = curl(&[how, "-r", "8-11", &url("/large.bin")]);
        assert_eq!(range, [0, 0, 0, 2]);
    }
    // nginx answers before it has read the body, which curl takes for an error over HTTP/2.
    let data = format!("@{}", nginx.root().join("www/large.bin").display());
    let url = format!("http://{}/up", gateway.address());
    let up = curl_text(&["--http1.1", "--data-binary", &data, &url]);
    assert_eq!(up, "POST 3000001");
}

fn nghttpd(root: &Path, more: &[&str]) -> (Process, String) {
    let mut command = tool("nghttpd");
    command.args(["--no-tls", "-a", "127.0.0.1", "-d", root.to_str().unwrap()]);
    command.args(more).arg("0");
    let process = Process::start(command);
    let address = format!("127.0.0.1:{}", process.port());
    (process, address)
}

fn serves_from_nghttpd_over_h2c(driver: Driver) {
    // With its length told, an answer in HTTP/1.1 has no place for trailers.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("large.bin"), pattern(3_000_001)).unwrap();
    let (_nghttpd, address) = nghttpd(
        dir.path(),
        &[
            "--trailer",
            "x-behind: it all",
            "--no-content-length",
            "--echo-upload",
            "-m",
            "10",
        ],
    );
    let gateway = Setup::new(driver)
        .upstream("app", &address, "protocol = \"h2\"")
        .catch_all("app")
        .start();
    let url = |path: &str| format!("http://{}{path}", gateway.address());
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let got = curl(&[how, &url("/large.bin")]);
        assert!(got == pattern(3_000_001), "{how}: the file came changed");
        let head = ["-D", "-", "-o", "/dev/null", "-H", "TE: trailers"];
        let said = curl_text(&[&[how], &head[..], &[&url("/large.bin")]].concat());
        assert!(
            said.to_ascii_lowercase().contains("x-behind: it all"),
            "{how}: {said}"
        );
        let data = format!("@{}", dir.path().join("large.bin").display());
        let echoed = curl(&[how, "--data-binary", &data, &url("/any")]);
        assert!(
            echoed == pattern(3_000_001),
            "{how}: the upload came changed"
        );
        let code = ["-o", "/dev/null", "-w", "%{http_code}"];
        let said = curl_text(&[&[how], &code[..], &[&url("/none")]].concat());
        assert_eq!(said, "404");
    }
}

fn passes_request_trailers_of_nghttp(driver: Driver) {
    let two = Server::start("h2_origin.py", &[]);
    let gateway = Setup::new(driver)
        .upstream("app", two.address(), "protocol = \"h2\"")
        .catch_all("app")
        .start();
    let file = gateway.setup().dir().join("upload");
    fs::write(&file, "body").unwrap();
    let mut command = tool("nghttp");
    command.args([
        "--timeout",
        "20",
        "-H",
        ":method: POST",
        "--trailer",
        "x-end: 1",
        "-d",
    ]);
    command
        .arg(&file)
        .arg(format!("http://{}/told", gateway.address()));
    let said = output(command, b"");
    let told: Value =
        serde_json::from_slice(&said.stdout).unwrap_or_else(|e| panic!("{e}: {}", said.all()));
    assert_eq!(told["bytes"], 4, "{told}");
    assert_eq!(told["trailers"].to_string(), r#"[["x-end","1"]]"#);
}
