//! Every protocol at once for half an hour, with reloads, renewed certificates and an origin that
//! keeps dying: nothing is lost that the origin did not cause, and memory stays where it was.
//!
//! `just soak` runs it on a release build; `RINGGATE_SOAK_SECONDS` says for how long.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::certificates::{Authority, Pair};
use crate::support::curl::{curl, curl_text, try_curl};
use crate::support::process::{Process, output, tool};
use crate::support::python::{self, Server};
use crate::support::{Client, Driver, Gateway, Nginx, Setup, wait_until};

/// Growth from the warmed-up state that caches and the allocator may keep.
const GROWTH_MAX: u64 = 16 << 20;

#[test]
#[ignore = "half an hour: just soak"]
fn mixed_traffic_on_io_uring() {
    soak(Driver::IoUring);
}

#[test]
#[ignore = "half an hour: just soak"]
fn mixed_traffic_on_epoll() {
    soak(Driver::Epoll);
}

/// The origins, none of which is restarted but `restless`.
struct Origins {
    nginx: Nginx,
    grpc: Server,
    sockets: Server,
    two: Mutex<Server>,
    restless: Mutex<Restless>,
}

/// An origin that is killed and started again on its port.
struct Restless {
    process: Process,
    port: u16,
    directory: tempfile::TempDir,
}

impl Origins {
    fn start(pair: &Pair) -> Self {
        let nginx = Nginx::listening(
            "ssl http2",
            &format!(
                "ssl_certificate {};\nssl_certificate_key {};\n\
                 location /small {{ return 200 small; }}",
                pair.cert(),
                pair.key()
            ),
        );
        fs::write(nginx.root().join("www/large.bin"), vec![7; 3_000_000]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("small"), "small").unwrap();
        let process = nghttpd(&directory, 0);
        Self {
            nginx,
            grpc: Server::start("grpc_server.py", &[]),
            sockets: Server::start("ws_server.py", &[]),
            two: Mutex::new(Server::start("h2_origin.py", &[])),
            restless: Mutex::new(Restless {
                port: process.port(),
                process,
                directory,
            }),
        }
    }
}

fn nghttpd(directory: &tempfile::TempDir, port: u16) -> Process {
    let mut command = tool("nghttpd");
    command.args(["--no-tls", "-a", "127.0.0.1", "-d"]);
    command.arg(directory.path()).arg(port.to_string());
    Process::start(command)
}

fn gateway(driver: Driver, authority: &Authority, pair: &Pair, origins: &Origins) -> Gateway {
    let tls = format!(
        "[upstream.tls]\nca = {:?}\nserver_name = \"origin.test\"\n",
        authority.ca()
    );
    let two = origins.two.lock().unwrap().address().to_owned();
    let restless = format!("127.0.0.1:{}", origins.restless.lock().unwrap().port);
    let route = |setup: Setup, name: &'static str, more: &str| {
        let path = format!("/{name}/{{rest*}}");
        let action = format!("upstream = {name:?}\nrewrite = \"/{{rest}}\"\n{more}");
        setup.route(name, &path, &action)
    };
    let setup = Setup::new(driver)
        .set("runtime", "workers", "2")
        .set("limits", "body_max", "\"64MiB\"")
        .body(&format!(
            "[[listener]]\nname = \"secure\"\nlisten = \"127.0.0.1:0\"\ncertificate = [{}]\n\
             [[listener]]\nname = \"passed\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"tls\"\n\
             upstream = \"raw\"",
            pair.toml()
        ))
        .upstream("nginx", &origins.nginx.address(), &tls)
        .upstream("raw", &origins.nginx.address(), "")
        .upstream("grpc", origins.grpc.address(), "protocol = \"h2\"")
        .upstream("sockets", origins.sockets.address(), "")
        .upstream("two", &two, "protocol = \"h2\"")
        .upstream("restless", &restless, "protocol = \"h2\"")
        .route("proof", "/proof.Proof/{rest*}", "upstream = \"grpc\"")
        .route(
            "health",
            "/grpc.health.v1.Health/{rest*}",
            "upstream = \"grpc\"",
        )
        .route(
            "echo",
            "/echo",
            "upstream = \"sockets\"\nupgrade = \"websocket\"",
        )
        .route("ws", "/ws", "upstream = \"two\"\nupgrade = \"websocket\"")
        .route(
            "generation",
            "/generation",
            "respond = { status = 200, body = \"one\" }",
        );
    let setup = route(setup, "nginx", "");
    let setup = route(setup, "two", "");
    route(setup, "restless", "").start()
}

/// How often each kind of traffic came round.
#[derive(Default)]
struct Tally(Mutex<std::collections::BTreeMap<&'static str, u64>>);

impl Tally {
    fn count(&self, what: &'static str) {
        *self.0.lock().unwrap().entry(what).or_default() += 1;
    }
}

fn soak(driver: Driver) {
    let seconds = std::env::var("RINGGATE_SOAK_SECONDS").map_or(1800, |s| s.parse().unwrap());
    let authority = Authority::new();
    let pair = authority.server(&["gateway.test"]);
    let origins = Origins::start(&authority.server(&["origin.test"]));
    let gateway = gateway(driver, &authority, &pair, &origins);
    let secure = gateway.listener("secure").to_owned();
    let ca = authority.trust();
    let (tally, failed, memory) = (Tally::default(), AtomicU64::new(0), Mutex::new(Vec::new()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let round = |what: &'static str, act: &dyn Fn(u64)| {
        for turn in 0.. {
            if Instant::now() >= end {
                break;
            }
            act(turn);
            tally.count(what);
        }
    };
    let round = &round;
    thread::scope(|scope| {
        let (gateway, ca, secure) = (&gateway, &ca, &secure);
        let (two, dying) = (&origins.two, &origins.restless);
        scope.spawn(move || round("h2load", &|turn| loads(gateway, secure, turn)));
        scope.spawn(move || round("grpc", &|turn| calls(gateway, secure, ca, turn)));
        scope.spawn(move || round("websockets", &|turn| sockets(gateway, secure, ca, turn)));
        scope.spawn(move || round("events", &|_| events(gateway, two)));
        scope.spawn(move || round("transfers", &|turn| transfers(gateway, secure, ca, turn)));
        scope.spawn(move || round("passed", &|_| passed(gateway, ca)));
        let failed = &failed;
        scope.spawn(move || round("restless", &|_| restless(gateway, failed)));
        scope.spawn(move || round("restarts", &|_| restart(dying)));
        let memory = &memory;
        scope.spawn(move || round("samples", &|_| sample(gateway, memory)));
        // Here, as the authority belongs to this thread.
        round_of_reloads(gateway, &authority, &pair, end, &tally);
    });
    judge(&gateway, &memory.into_inner().unwrap());
    eprintln!("{driver:?}, {seconds} s: {:?}", tally.0.lock().unwrap());
    eprintln!(
        "{} requests met a dying origin",
        failed.load(Ordering::Relaxed)
    );
}

fn loads(gateway: &Gateway, secure: &str, turn: u64) {
    let port = secure.rsplit(':').next().unwrap();
    let (to, plain) = (format!("--connect-to={secure}"), gateway.address());
    let secure = format!("https://gateway.test:{port}");
    let ways: [(&[&str], String); 4] = [
        (&["-m", "10"], format!("{secure}/nginx/small")),
        (&["--h1"], format!("{secure}/nginx/small")),
        (&["-m", "10"], format!("http://{plain}/two/hello")),
        (&["--h1"], format!("http://{plain}/two/hello")),
    ];
    let (how, url) = &ways[usize::try_from(turn % 4).unwrap()];
    let mut command = tool("h2load");
    command
        .args(["-n", "400", "-c", "8", "-T", "25"])
        .args(*how);
    if url.starts_with("https") {
        command.arg(&to);
    }
    let said = output(
        {
            command.arg(url);
            command
        },
        b"",
    )
    .all();
    assert!(
        said.contains("400 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{url}: {said}"
    );
    assert!(said.contains("400 2xx"), "{url}: {said}");
}

fn calls(gateway: &Gateway, secure: &str, ca: &str, turn: u64) {
    let cases = [
        "unary",
        "client_stream",
        "server_stream",
        "bidirectional",
        "large",
        "many_at_once",
        "trailers_only",
    ];
    let mut arguments = match turn % 2 {
        0 => vec![gateway.address()],
        _ => vec![secure, "--ca", ca],
    };
    arguments.extend(["--name", "gateway.test"]);
    arguments.extend(cases);
    let found = python::client("grpc_client.py", &arguments);
    for case in cases {
        let expected = if case == "trailers_only" {
            "FAILED_PRECONDITION"
        } else {
            "OK"
        };
        assert_eq!(found[case]["code"], expected, "{case}: {found}");
    }
}

fn sockets(gateway: &Gateway, secure: &str, ca: &str, turn: u64) {
    for script in ["ws_client.py", "ws_h2_client.py"] {
        for path in ["/echo", "/ws"] {
            let mut arguments = match turn % 2 {
                0 => vec![gateway.address(), "large", "--path", path],
                _ => vec![secure, "echo", "--path", path, "--ca", ca],
            };
            arguments.extend(["--name", "gateway.test"]);
            let found = python::client(script, &arguments);
            assert_eq!(found["code"], 1000, "{script} {path}: {found}");
        }
    }
}

fn events(gateway: &Gateway, two: &Mutex<Server>) {
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let mut command = tool("curl");
        command.args([
            "--silent",
            "--no-buffer",
            "--max-time",
            "60",
            "--noproxy",
            "*",
            how,
        ]);
        command.arg(format!("http://{}/two/events?n=20", gateway.address()));
        let mut reader = Process::start(command);
        for number in 0..20 {
            two.lock().unwrap().process.tell("\n");
            assert_eq!(reader.line(), format!("id: {number}"));
            assert_eq!(reader.line(), format!("data: event {number}"));
            assert_eq!(reader.line(), "");
        }
        assert!(reader.wait().success());
    }
}

fn transfers(gateway: &Gateway, secure: &str, ca: &str, turn: u64) {
    let port = secure.rsplit(':').next().unwrap();
    let how = if turn.is_multiple_of(2) {
        "--http1.1"
    } else {
        "--http2"
    };
    let resolve = format!("gateway.test:{port}:127.0.0.1");
    let url = format!("https://gateway.test:{port}/nginx/large.bin");
    let got = curl(&[how, "--cacert", ca, "--resolve", &resolve, &url]);
    assert!(
        got.len() == 3_000_000 && got.iter().all(|b| *b == 7),
        "the file came changed"
    );
    let file = gateway.setup().dir().join("upload");
    if !file.exists() {
        fs::write(&file, vec![9; 2_000_000]).unwrap();
    }
    let data = format!("@{}", file.display());
    let url = format!("https://gateway.test:{port}/two/echo");
    let got = curl(&[
        how,
        "--cacert",
        ca,
        "--resolve",
        &resolve,
        "--data-binary",
        &data,
        &url,
    ]);
    assert!(
        got.len() == 2_000_000 && got.iter().all(|b| *b == 9),
        "the upload came changed"
    );
}

fn passed(gateway: &Gateway, ca: &str) {
    let port = gateway.listener("passed").rsplit(':').next().unwrap();
    let resolve = format!("origin.test:{port}:127.0.0.1");
    let url = format!("https://origin.test:{port}/small");
    for how in ["--http1.1", "--http2"] {
        assert_eq!(
            curl_text(&[how, "--cacert", ca, "--resolve", &resolve, &url]),
            "small"
        );
    }
    thread::sleep(Duration::from_millis(20));
}

/// Requests to the origin that keeps dying: answered, or answered for.
fn restless(gateway: &Gateway, failed: &AtomicU64) {
    let url = format!("http://{}/restless/small", gateway.address());
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let said = try_curl(&[how, "-o", "/dev/null", "-w", "%{http_code}", &url]).text();
        match said.as_str() {
            "200" => {}
            "502" | "503" => {
                failed.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("{how} to a dying origin: {other}"),
        }
    }
}

/// Kills the origin and starts it again on its port.
fn restart(restless: &Mutex<Restless>) {
    thread::sleep(Duration::from_secs(3));
    let mut restless = restless.lock().unwrap();
    restless.process.kill();
    thread::sleep(Duration::from_millis(200));
    restless.process = nghttpd(&restless.directory, restless.port);
    assert_eq!(restless.process.port(), restless.port);
}

fn sample(gateway: &Gateway, memory: &Mutex<Vec<u64>>) {
    memory.lock().unwrap().push(gateway.resident());
    thread::sleep(Duration::from_secs(2));
}

/// Changes the configuration every other second, and the certificate every tenth time.
fn round_of_reloads(
    gateway: &Gateway,
    authority: &Authority,
    pair: &Pair,
    end: Instant,
    tally: &Tally,
) {
    let one = fs::read_to_string(gateway.file()).unwrap();
    let two = one.replace("body = \"one\"", "body = \"two\"");
    assert_ne!(one, two);
    for turn in 1.. {
        if Instant::now() >= end {
            break;
        }
        let (text, expected) = if turn % 2 == 0 {
            (&one, "one")
        } else {
            (&two, "two")
        };
        gateway.write_config(text);
        if turn % 10 == 0 {
            pair.replace_by(&authority.server(&["gateway.test"]));
        }
        assert_eq!(gateway.reload().status, 200, "{}", gateway.stderr());
        wait_until("the new configuration is in force", || {
            Client::connect(gateway.address()).get("/generation").text() == expected
        });
        tally.count("reloads");
        thread::sleep(Duration::from_secs(2));
    }
}

/// Nobody but the dying origin failed, and memory is what it was.
fn judge(gateway: &Gateway, memory: &[u64]) {
    let text = fs::read_to_string(gateway.setup().dir().join("access.log")).unwrap();
    let mut lines = 0;
    for line in text.lines() {
        lines += 1;
        // Most lines are plain, and parsing millions of them takes long.
        if line.contains("\"end\":\"--\"") {
            continue;
        }
        let line: Value = serde_json::from_str(line).unwrap();
        let end = line["end"].as_str().unwrap_or_default();
        assert!(
            line["route"] == "restless" && end.starts_with('O'),
            "{line}"
        );
    }
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
    assert_eq!(
        gateway.metric("ringgate_worker_log_dropped_total", &[]),
        0.0
    );
    let part = (memory.len() / 5).max(1);
    let middle = |samples: &[u64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_unstable();
        sorted[sorted.len() / 2]
    };
    // The first fifth is warming up.
    let early = middle(&memory[part..(2 * part).min(memory.len())]);
    let late = middle(&memory[memory.len() - part..]);
    eprintln!(
        "{lines} log lines; resident {} KiB early, {} KiB late",
        early / 1024,
        late / 1024
    );
    let grown = late.saturating_sub(early);
    assert!(
        grown < GROWTH_MAX,
        "resident memory grew by {grown} bytes: {memory:?}"
    );
}
