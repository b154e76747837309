//! A browser without a window loads a page over HTTP/2, listens to events, opens a WebSocket,
//! and writes what it found into the page.

use std::sync::{Condvar, Mutex};

use serde_json::Value;

use crate::support::certificates::Authority;
use crate::support::process::{output, tool};
use crate::support::python::Server;
use crate::support::{Conn, Driver, Origin, Setup, on_both_drivers};

on_both_drivers!(browses_over_http_2);

/// The page waits with its `load` event, and so the browser with its output, for an image that
/// the origin holds back until the script has asked for `/release`.
const PAGE: &str = r#"<!doctype html><title>proof</title><pre id="found"></pre>
<img src="/hold" alt="">
<script>
const found = { events: [], words: [] };
function events() {
  return new Promise((resolve) => {
    const source = new EventSource("/events");
    source.onmessage = (event) => {
      found.events.push(event.data);
      if (found.events.length === 3) { source.close(); resolve(); }
    };
    source.onerror = () => { found.events.push("error"); source.close(); resolve(); };
  });
}
function words() {
  return new Promise((resolve) => {
    const socket = new WebSocket("wss://" + location.host + "/echo");
    socket.onopen = () => { socket.send("one"); };
    socket.onmessage = (message) => {
      found.words.push(message.data);
      if (found.words.length === 3) { socket.close(1000); } else { socket.send("more"); }
    };
    socket.onclose = (event) => { found.closed = event.code; resolve(); };
  });
}
async function uploads() {
  const body = new Uint8Array(200000).fill(7);
  const answer = await fetch("/upload", { method: "POST", body });
  found.upload = await answer.text();
}
Promise.all([events(), words(), uploads()]).catch((e) => { found.failed = String(e); }).then(() => {
  found.page = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  found.fetches = performance.getEntriesByType("resource").map((r) => r.nextHopProtocol);
  document.getElementById("found").textContent = JSON.stringify(found);
  return fetch("/release");
});
</script>"#;

/// Whether `/release` was asked for.
#[derive(Default)]
struct Hold {
    released: Mutex<bool>,
    changed: Condvar,
}

fn serve(conn: &mut Conn, hold: &Hold) {
    while let Some(request) = conn.request() {
        match request.target.as_str() {
            "/" => {
                let length = PAGE.len();
                let kind = "Content-Type: text/html; charset=utf-8";
                conn.send(format!(
                    "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{PAGE}"
                ));
            }
            "/events" => {
                conn.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                     Transfer-Encoding: chunked\r\n\r\n",
                );
                let event = "data: tick\n\n";
                for _ in 0..3 {
                    conn.send(format!("{:x}\r\n{event}\r\n", event.len()));
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                // The browser leaves first.
                conn.stall();
            }
            "/hold" => {
                let released = hold.released.lock().unwrap();
                let patience = crate::support::PATIENCE;
                let _ = hold.changed.wait_timeout_while(released, patience, |r| !*r);
                conn.send("HTTP/1.1 204 No Content\r\n\r\n");
            }
            "/release" => {
                *hold.released.lock().unwrap() = true;
                hold.changed.notify_all();
                conn.send("HTTP/1.1 204 No Content\r\n\r\n");
            }
            "/upload" => {
                conn.send(crate::support::ok(&format!("{} bytes", request.body.len())));
            }
            _ => {
                conn.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            }
        }
    }
}

/// Loads `url` in a browser that knows no host but the gateway, and returns the page at its end.
#[track_caller]
pub(super) fn browse(url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = tool("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--no-first-run",
            "--no-proxy-server",
            "--ignore-certificate-errors",
            "--host-resolver-rules=MAP gateway.test 127.0.0.1, MAP *.gateway.test 127.0.0.1, MAP * ~NOTFOUND",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .env("HOME", profile.path())
        .arg(url);
    let said = output(command, b"");
    assert!(said.success, "{}", said.stderr);
    said.text()
}

fn browses_over_http_2(driver: Driver) {
    let hold = Hold::default();
    let origin = Origin::start(move |conn| serve(conn, &hold));
    let sockets = Server::start("ws_server.py", &[]);
    let pair = Authority::new().server(&["gateway.test"]);
    let gateway = Setup::new(driver)
        .certificates(&[&pair])
        .upstream("app", origin.address(), "")
        .upstream("sockets", sockets.address(), "")
        .route(
            "echo",
            "/echo",
            "upstream = \"sockets\"\nupgrade = \"websocket\"",
        )
        .catch_all("app")
        .start();
    let port = gateway.address().rsplit(':').next().unwrap();
    let page = browse(&format!("https://gateway.test:{port}/"));
    let found = page
        .split_once("<pre id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(found, _)| found.replace("&quot;", "\""))
        .unwrap_or_else(|| panic!("no findings in {page}"));
    let found: Value = serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {page}"));
    assert_eq!(found["page"], "h2", "{found}");
    assert_eq!(
        found["events"],
        serde_json::json!(["tick", "tick", "tick"]),
        "{found}"
    );
    assert_eq!(
        found["words"],
        serde_json::json!(["one", "more", "more"]),
        "{found}"
    );
    assert_eq!(found["closed"], 1000, "{found}");
    assert_eq!(found["upload"], "200000 bytes", "{found}");
    let fetches = found["fetches"].as_array().unwrap();
    assert!(fetches.iter().all(|p| p == "h2"), "{found}");
    assert!(found["failed"].is_null(), "{found}");
}
