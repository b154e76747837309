//! nginx as the origin and curl as the client: peers that nobody here wrote.

use std::fs;

use crate::support::curl::{curl, curl_text as text};
use crate::support::{Driver, Nginx, Origin, Setup, on_both_drivers};

on_both_drivers!(
    curl_gets_a_file_from_nginx,
    curl_uploads_to_nginx,
    curl_keeps_its_connection,
    curl_sends_chunked_and_expects_100,
    curl_follows_ranges_and_validators,
    nginx_closes_idle_connections_unnoticed,
);

fn curl_gets_a_file_from_nginx(driver: Driver) {
    let nginx = Nginx::start("");
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    fs::write(nginx.root().join("www/large.bin"), &content).unwrap();
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let url = format!("http://{}/large.bin", gateway.address());
    assert!(curl(&[&url]) == content, "the file came changed");
    assert_eq!(
        text(&[
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            &format!("{url}.no")
        ]),
        "404"
    );
}

fn curl_uploads_to_nginx(driver: Driver) {
    let nginx = Nginx::start("location /echo { return 200 \"$request_method $content_length\"; }");
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let file = nginx.root().join("upload");
    fs::write(&file, vec![b'x'; 2_000_000]).unwrap();
    let url = format!("http://{}/echo", gateway.address());
    let data = format!("@{}", file.display());
    assert_eq!(text(&["--data-binary", &data, &url]), "POST 2000000");
}

fn curl_keeps_its_connection(driver: Driver) {
    let nginx = Nginx::start("location / { return 200 \"$request_uri\\n\"; }");
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let base = format!("http://{}", gateway.address());
    let urls: Vec<String> = (0..5).map(|i| format!("{base}/{i}")).collect();
    let mut arguments = vec!["-w", "%{num_connects}\n"];
    arguments.extend(urls.iter().map(String::as_str));
    let answer = text(&arguments);
    assert_eq!(answer, "/0\n1\n/1\n0\n/2\n0\n/3\n0\n/4\n0\n");
}

fn curl_sends_chunked_and_expects_100(driver: Driver) {
    let origin = Origin::start(|conn| {
        while let Some(head) = conn.head() {
            if head.fields.has("expect") {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            let Some(request) = conn.body(head) else {
                return;
            };
            conn.send(crate::support::ok(&format!("{} bytes", request.body.len())));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("upload");
    fs::write(&file, vec![b'x'; 300_000]).unwrap();
    let answer = text(&[
        "-T",
        file.to_str().unwrap(),
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Expect: 100-continue",
        &format!("http://{}/up", gateway.address()),
    ]);
    assert_eq!(answer, "300000 bytes");
    assert!(!origin.request().fields.has("content-length"));
}

fn curl_follows_ranges_and_validators(driver: Driver) {
    let nginx = Nginx::start("");
    fs::write(nginx.root().join("www/a.txt"), "0123456789").unwrap();
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let url = format!("http://{}/a.txt", gateway.address());
    assert_eq!(text(&["-r", "2-4", &url]), "234");
    let head = text(&["-I", &url]).to_ascii_lowercase();
    assert!(head.contains("content-length: 10\r\n"), "{head}");
    let etag = head
        .lines()
        .find_map(|l| l.strip_prefix("etag: "))
        .unwrap()
        .to_owned();
    let condition = format!("If-None-Match: {etag}");
    let code = text(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        &condition,
        &url,
    ]);
    assert_eq!(code, "304");
}

fn nginx_closes_idle_connections_unnoticed(driver: Driver) {
    let nginx = Nginx::start("keepalive_requests 3; location / { return 200 ok; }");
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let mut client = gateway.client();
    for i in 0..50 {
        assert_eq!(client.get(&format!("/{i}")).text(), "ok");
    }
}
