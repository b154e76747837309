//! nginx as the origin and curl as the client: peers that nobody here wrote.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::support::sys::{self, Signal};
use crate::support::{Driver, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    curl_gets_a_file_from_nginx,
    curl_uploads_to_nginx,
    curl_keeps_its_connection,
    curl_sends_chunked_and_expects_100,
    curl_follows_ranges_and_validators,
    nginx_closes_idle_connections_unnoticed,
);

/// A foreground nginx on a unix socket and no port at all.
struct Nginx {
    child: Child,
    dir: TempDir,
}

impl Nginx {
    fn start(server: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("www")).unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        let d = root.display();
        let user = if is_root() { "user root;\n" } else { "" };
        let config = format!(
            "{user}daemon off;\nworker_processes 1;\npid {d}/nginx.pid;\nerror_log {d}/error.log;\n\
             events {{ worker_connections 256; }}\nhttp {{\naccess_log off;\n\
             client_body_temp_path {d}/tmp/b;\nproxy_temp_path {d}/tmp/p;\n\
             fastcgi_temp_path {d}/tmp/f;\nuwsgi_temp_path {d}/tmp/u;\nscgi_temp_path {d}/tmp/s;\n\
             client_max_body_size 64m;\nserver {{ listen unix:{d}/nginx.sock; root {d}/www;\n\
             {server} }} }}\n"
        );
        fs::write(root.join("nginx.conf"), config).unwrap();
        let child = tool("nginx")
            .args([
                "-e",
                &format!("{d}/error.log"),
                "-c",
                &format!("{d}/nginx.conf"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("nginx: {e}; run ./tests/run, which installs it"));
        let nginx = Self { child, dir };
        wait_until("nginx listens", || {
            std::os::unix::net::UnixStream::connect(nginx.root().join("nginx.sock")).is_ok()
        });
        nginx
    }

    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn address(&self) -> String {
        format!("unix:{}", self.root().join("nginx.sock").display())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        sys::signal(self.child.id(), Signal::Terminate);
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap()
        .contains("\nUid:\t0\t")
}

/// A tool from the path; Debian keeps servers in /usr/sbin.
fn tool(name: &str) -> Command {
    let sbin = format!("/usr/sbin/{name}");
    Command::new(if Path::new(&sbin).exists() {
        &sbin
    } else {
        name
    })
}

fn curl(arguments: &[&str]) -> (Vec<u8>, String) {
    let output = tool("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "30",
            "--noproxy",
            "*",
        ])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("curl: {e}; run ./tests/run, which installs it"));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "curl {arguments:?}: {stderr}");
    (output.stdout, stderr)
}

fn text(arguments: &[&str]) -> String {
    String::from_utf8(curl(arguments).0).unwrap()
}

fn curl_gets_a_file_from_nginx(driver: Driver) {
    let nginx = Nginx::start("");
    let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 253) as u8).collect();
    fs::write(nginx.root().join("www/large.bin"), &content).unwrap();
    let gateway = Setup::proxy(driver, &nginx.address()).start();
    let url = format!("http://{}/large.bin", gateway.address());
    assert!(curl(&[&url]).0 == content, "the file came changed");
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
