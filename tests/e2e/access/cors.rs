//! Pages of other origins, as bytes and in a real browser.

use std::sync::{Condvar, Mutex};

use serde_json::{Value, json};

use crate::e2e::browser::browse;
use crate::support::certificates::Authority;
use crate::support::{Conn, Driver, Gateway, Origin, Response, Setup, on_both_drivers};

on_both_drivers!(
    preflights_are_answered_here,
    what_origins_say_of_cors_is_replaced,
    errors_can_be_read_by_pages_that_may_ask,
    a_page_reads_what_it_may_with_its_cookie,
);

const CORS: &str = "[filter.cors]\ntype = \"cors\"\n\
    origins = [\"https://app.test\", \"https://*.pages.test\"]\n\
    origin_regex = 'https://pr-[0-9]+\\.preview\\.test'\n\
    methods = [\"GET\", \"PUT\"]\nheaders = [\"x-one\"]\nexpose_headers = [\"x-two\"]\n\
    credentials = true\nmax_age = \"1m\"\n";

fn request(method: &str, path: &str, fields: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n")
}

fn asks(gateway: &Gateway, origin: &str) -> Response {
    let fields = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n");
    gateway.client().exchange(request("OPTIONS", "/a", &fields))
}

fn preflights_are_answered_here(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(CORS)
        .body("[filter.key]\ntype = \"api_key\"")
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"key\", \"cors\"]",
        )
        .start();
    for allowed in [
        "https://app.test",
        "https://a.b.pages.test",
        "https://pr-7.preview.test",
    ] {
        let answer = asks(&gateway, allowed);
        assert_eq!(answer.status, 204);
        for (name, value) in [
            ("access-control-allow-origin", allowed),
            ("access-control-allow-credentials", "true"),
            ("access-control-allow-methods", "GET, PUT"),
            ("access-control-allow-headers", "x-one"),
            ("access-control-max-age", "60"),
        ] {
            assert_eq!(answer.field(name), Some(value), "{allowed}");
        }
        assert!(answer.field("vary").unwrap().contains("Origin"));
    }
    for other in ["https://evil.test", "https://pages.test", "null"] {
        let answer = asks(&gateway, other);
        assert_eq!(answer.status, 204);
        assert_eq!(answer.field("access-control-allow-origin"), None, "{other}");
        assert!(answer.field("vary").unwrap().contains("Origin"));
    }
    assert!(origin.requests().is_empty());
}

fn what_origins_say_of_cors_is_replaced(driver: Driver) {
    let origin = Origin::replying(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: *\r\n\
          Access-Control-Allow-Credentials: true\r\nVary: Accept\r\n\r\n"
            .to_vec()
    });
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(CORS)
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"cors\"]")
        .start();
    let ask = |fields: &str| gateway.client().exchange(request("GET", "/a", fields));
    let allowed = ask("Origin: https://app.test\r\n");
    let said = allowed.field("access-control-allow-origin");
    assert_eq!(said, Some("https://app.test"));
    assert_eq!(
        allowed.field("access-control-expose-headers"),
        Some("x-two")
    );
    for fields in ["", "Origin: https://evil.test\r\n"] {
        let other = ask(fields);
        assert_eq!(other.status, 200);
        assert_eq!(other.field("access-control-allow-origin"), None);
        assert_eq!(other.field("access-control-allow-credentials"), None);
        assert_eq!(other.fields.all("vary"), ["Accept", "Origin"]);
    }
}

fn errors_can_be_read_by_pages_that_may_ask(driver: Driver) {
    let gateway = Setup::new(driver)
        .upstream("dead", "127.0.0.1:1", "")
        .body(CORS)
        .body(
            "[filter.key]\ntype = \"api_key\"\n\
             [filter.broken]\ntype = \"fault\"\nabort = 429\nabort_share = 1.0\n\
             [[consumer]]\nname = \"one\"",
        )
        .route(
            "key",
            "/key",
            "upstream = \"dead\"\nfilters = [\"key\", \"cors\"]",
        )
        .route(
            "limit",
            "/limit",
            "upstream = \"dead\"\nfilters = [\"cors\", \"broken\"]",
        )
        .route("dead", "/dead", "upstream = \"dead\"\nfilters = [\"cors\"]")
        .start();
    for (path, status) in [("/key", 401), ("/limit", 429), ("/dead", 502)] {
        for (from, told) in [
            ("https://app.test", Some("https://app.test")),
            ("https://evil.test", None),
        ] {
            let fields = format!("Origin: {from}\r\n");
            let answer = gateway.client().exchange(request("GET", path, &fields));
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.field("access-control-allow-origin"), told, "{path}");
        }
    }
}

/// The page's `load` event waits for an image that the origin holds back until the script has
/// asked for `/release`.
const PAGE: &str = r#"<!doctype html><title>proof</title><pre id="found"></pre>
<img src="/hold" alt="">
<script>
const api = "https://api.gateway.test:" + location.port;
const found = {};
async function ask(name, path, options) {
  try {
    const answer = await fetch(api + path, { credentials: "include", ...options });
    found[name] = [answer.status, await answer.text(), answer.headers.get("x-two"),
                   answer.headers.get("x-three")];
  } catch (error) { found[name] = error.name; }
}
async function all() {
  await ask("cookie", "/api/cookie");
  await ask("put", "/api/put", { method: "PUT", headers: { "x-one": "1" } });
  await ask("method", "/api/delete", { method: "DELETE" });
  await ask("header", "/api/put", { method: "PUT", headers: { "x-other": "1" } });
  await ask("closed", "/closed/a");
  await ask("refused", "/refused/a", { method: "POST", body: "x" });
}
all().catch((e) => { found.failed = String(e); }).then(() => {
  document.getElementById("found").textContent = JSON.stringify(found);
  return fetch("/release");
});
</script>"#;

#[derive(Default)]
struct Hold {
    released: Mutex<bool>,
    changed: Condvar,
}

fn answer(fields: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{fields}\r\n{body}")
}

fn serve(conn: &mut Conn, hold: &Hold) {
    while let Some(request) = conn.request() {
        let cookie = request.fields.one("cookie").unwrap_or("none").to_owned();
        match request.target.as_str() {
            "/" => conn.send(answer("Content-Type: text/html; charset=utf-8\r\n", PAGE)),
            "/hold" => {
                let released = hold.released.lock().unwrap();
                let patience = crate::support::PATIENCE;
                let _ = hold.changed.wait_timeout_while(released, patience, |r| !*r);
                conn.send("HTTP/1.1 204 No Content\r\n\r\n")
            }
            "/release" => {
                *hold.released.lock().unwrap() = true;
                hold.changed.notify_all();
                conn.send("HTTP/1.1 204 No Content\r\n\r\n")
            }
            "/api/cookie" => conn.send(answer(
                "Set-Cookie: session=mine; Secure; Path=/; SameSite=Lax\r\n",
                "set",
            )),
            _ => conn.send(answer("x-two: 2\r\nx-three: 3\r\n", &cookie)),
        };
    }
}

fn a_page_reads_what_it_may_with_its_cookie(driver: Driver) {
    let hold = Hold::default();
    let origin = Origin::start(move |conn| serve(conn, &hold));
    let pair = Authority::new().server(&["app.gateway.test", "api.gateway.test"]);
    let cors = |name: &str, origins: &str, more: &str| {
        format!("[filter.{name}]\ntype = \"cors\"\norigins = [\"{origins}\"]\n{more}")
    };
    let gateway = Setup::new(driver)
        .certificates(&[&pair])
        .upstream("app", origin.address(), "")
        .body(&cors(
            "api",
            "https://*.gateway.test:*",
            "methods = [\"PUT\"]\nheaders = [\"x-one\"]\nexpose_headers = [\"x-two\"]\n\
             credentials = true",
        ))
        .body(&cors("others", "https://other.test", ""))
        .body(&cors(
            "everybody",
            "https://*.gateway.test:*",
            "credentials = true",
        ))
        .body("[filter.csrf]\ntype = \"csrf\"")
        .route(
            "api",
            "/api/{r*}",
            "upstream = \"app\"\nfilters = [\"api\"]",
        )
        .route(
            "closed",
            "/closed/{r*}",
            "upstream = \"app\"\nfilters = [\"others\"]",
        )
        .route(
            "refused",
            "/refused/{r*}",
            "upstream = \"app\"\nfilters = [\"everybody\", \"csrf\"]",
        )
        .catch_all("app")
        .start();
    let port = gateway.address().rsplit(':').next().unwrap();
    let page = browse(&format!("https://app.gateway.test:{port}/"));
    let found = page
        .split_once("<pre id=\"found\">")
        .and_then(|(_, rest)| rest.split_once("</pre>"))
        .map(|(found, _)| found.replace("&quot;", "\""))
        .unwrap_or_else(|| panic!("no findings in {page}"));
    let found: Value = serde_json::from_str(&found).unwrap_or_else(|e| panic!("{e}: {page}"));
    assert_eq!(found["cookie"], json!([200, "set", null, null]), "{found}");
    assert_eq!(
        found["put"],
        json!([200, "session=mine", "2", null]),
        "{found}"
    );
    for kept_from_it in ["method", "header", "closed"] {
        assert_eq!(found[kept_from_it], "TypeError", "{kept_from_it}: {found}");
    }
    assert_eq!(found["refused"][0], 403, "{found}");
    let asked = origin.requests();
    let reached = |method: &str| asked.iter().any(|request| request.method == method);
    assert!(!reached("OPTIONS") && !reached("DELETE") && !reached("POST"));
}
