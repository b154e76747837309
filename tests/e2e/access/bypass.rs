//! Ways around authentication: for each scheme, requests that try to reach what is protected
//! without a credential, or with a good one in the wrong place. The origin is asked what it saw:
//! nothing protected may be among it, however a lenient origin reads paths.

mod requests;

use crate::support::frames::{Frame, Http2, flag};
use crate::support::{Client, Driver, Gateway, Origin, Setup, on_both_drivers};

use requests::{AUTHORITY, Line, METHOD, PATHS, SCHEME, is_protected, odd_heads, path};

on_both_drivers!(
    no_path_leads_around_a_filter,
    no_host_leads_around_a_filter,
    no_method_leads_around_a_filter,
    no_field_stands_for_a_credential,
    no_upgrade_leads_around_a_filter,
    no_connection_is_trusted_for_its_first_request,
    no_oddity_of_http2_leads_around_a_filter,
    nothing_leads_around_a_listeners_filter,
);

/// The key that opens, and its digest.
const KEY: &str = "rg_4Zt7bXw2Qm9sKf1pVd8yHc3nLj6gRa5eTu0iOqWxEzM";

/// An issuer with one key, and a token that is good until 2100. Nobody has the private key.
const ISSUER: &str = "[[issuer]]\nname = \"test\"\nissuer = \"https://issuer.bench\"\n\
    algorithms = [\"ES256\"]\naudiences = [\"api\"]\n\
    keys = [{ kid = \"bench\", alg = \"ES256\", pem = \"\"\"\n\
    -----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEKrqhyyMCOKgKUPpaKQnI+pOvjWOC\n\
    HS9OtifYoWTmwC0LOE2K8pXLTYZAlrtkqFvVz+KoHbr5XVyA0aPcEO5buA==\n\
    -----END PUBLIC KEY-----\n\"\"\" }]\n";
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImJlbmNoIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5i\
    ZW5jaCIsInN1YiI6ImFsaWNlIiwiYXVkIjoiYXBpIiwiaWF0IjoxNzAwMDAwMDAwLCJleHAiOjQxMDI0NDQ4MDAs\
    InNjb3BlIjoicmVhZCB3cml0ZSJ9.H6C2Psf0HVIA7HEw0May_rN_HHPGRSdfvAly_J7JgWD5CyK73QM3ZGvJR6c\
    i2glN_vOysrAmTfM9BWibiAInzA";

/// A way of protecting a route: its filter, and the field of a request that it lets through.
struct Scheme {
    name: &'static str,
    filter: String,
    opens: String,
}

fn schemes() -> Vec<Scheme> {
    let gate = |settings: &str| format!("[filter.gate]\n{settings}\n");
    vec![
        Scheme {
            name: "api_key",
            filter: gate("type = \"api_key\"\nheader = \"x-api-key\""),
            opens: format!("X-Api-Key: {KEY}"),
        },
        Scheme {
            name: "jwt",
            filter: format!("{ISSUER}{}", gate("type = \"jwt\"\nissuers = [\"test\"]")),
            opens: format!("Authorization: Bearer {TOKEN}"),
        },
        Scheme {
            name: "basic",
            // Of "opensesame", at the least cost.
            filter: gate(
                "type = \"basic\"\nusers = { app = \"$2b$04$abcdefghijklmnopqrstuuFuhxWRTXIsURoluSTZ1N4tYaWGn9oOi\" }",
            ),
            opens: "Authorization: Basic YXBwOm9wZW5zZXNhbWU=".to_owned(),
        },
        Scheme {
            name: "any_of",
            filter: format!(
                "{ISSUER}[filter.key]\ntype = \"api_key\"\n\
                 [filter.token]\ntype = \"jwt\"\nissuers = [\"test\"]\n{}",
                gate("type = \"any_of\"\nfilters = [\"key\", \"token\"]")
            ),
            opens: format!("X-Api-Key: {KEY}"),
        },
    ]
}

/// What is the same for every scheme.
fn common() -> String {
    let digest = super::digest(KEY);
    format!("[[consumer]]\nname = \"app\"\napi_keys = [\"{digest}\"]\n")
}

const GATED: &str = "upstream = \"app\"\nfilters = [\"gate\"]";
const OPEN: &str = "upstream = \"app\"";

/// Some of it is protected, the rest is open to everybody, and all of it comes to one origin.
fn protected(driver: Driver, origin: &Origin, scheme: &Scheme) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("{}{}", common(), scheme.filter))
        .route("admin", "/admin", GATED)
        .route("below", "/admin/{rest*}", GATED)
        .route(
            "secret-host",
            "/{rest*}",
            &format!("hosts = [\"secret.test\"]\n{GATED}"),
        )
        .route(
            "write",
            "/items/{id}",
            &format!("methods = [\"POST\", \"PUT\", \"DELETE\"]\n{GATED}"),
        )
        .route("open", "/{rest*}", OPEN)
}

/// Sends each of these, on a connection of its own, and reads what comes.
fn send_each(gateway: &Gateway, requests: &[String]) {
    for request in requests {
        let mut client = Client::connect(gateway.address());
        if client.try_send(request) {
            // Any answer will do, and so will the end of the connection.
            let method = request.split(' ').next().unwrap_or_default();
            let _ = client.try_response(method);
        }
    }
}

#[track_caller]
fn nothing_protected(origin: &Origin, scheme: &str) {
    let reached: Vec<String> = origin
        .requests()
        .iter()
        .filter(|request| is_protected(request))
        .map(|request| format!("{} {}", request.method, request.target))
        .collect();
    assert!(
        reached.is_empty(),
        "{scheme}: around the filter: {reached:?}"
    );
}

/// The way in is open for who has the credential, or the case proves nothing.
#[track_caller]
fn opens(gateway: &Gateway, origin: &Origin, scheme: &Scheme) {
    let before = origin.requests().len();
    let field = &scheme.opens;
    let request = format!("GET /admin/secret HTTP/1.1\r\nHost: gateway.test\r\n{field}\r\n\r\n");
    let response = Client::connect(gateway.address()).exchange(request);
    assert_eq!(response.status, 200, "{}: {}", scheme.name, response.text());
    let seen = &origin.requests()[before..];
    assert!(seen.iter().any(is_protected), "{}: {seen:?}", scheme.name);
}

/// Runs a case for each scheme, with an origin and a gateway of its own.
fn for_each(driver: Driver, case: impl Fn(&Gateway, &Scheme)) {
    for scheme in schemes() {
        let origin = Origin::named("x");
        let gateway = protected(driver, &origin, &scheme).start();
        case(&gateway, &scheme);
        nothing_protected(&origin, scheme.name);
        opens(&gateway, &origin, &scheme);
    }
}

fn no_path_leads_around_a_filter(driver: Driver) {
    for_each(driver, |gateway, _| {
        let forms = |path: &str| {
            [
                format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
                format!("GET http://gateway.test{path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
                format!("GET http://other.test{path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
                format!("GET {path} HTTP/1.0\r\n\r\n"),
            ]
        };
        let requests: Vec<String> = PATHS.iter().flat_map(|path| forms(path)).collect();
        send_each(gateway, &requests);
    });
}

fn no_host_leads_around_a_filter(driver: Driver) {
    let hosts = [
        "secret.test",
        "SECRET.test",
        "secret.test.",
        "secret.test:80",
        "secret.test.:80",
        " secret.test",
        "secret.test\t",
        "user@secret.test",
        "secret.test@gateway.test",
        "secret.test,gateway.test",
        "secret.test\r\nHost: gateway.test",
        "gateway.test\r\nHost: secret.test",
        "gateway.test\r\nX-Forwarded-Host: secret.test",
        "gateway.test\r\nX-Host: secret.test",
        "s%65cret.test",
        "secret.test/",
        "[secret.test]",
    ];
    for_each(driver, |gateway, _| {
        let forms = |host: &str| {
            [
                format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
                format!("GET http://{host}/ HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
                format!("GET / HTTP/1.1\r\nhOsT: {host}\r\n\r\n"),
            ]
        };
        let requests: Vec<String> = hosts.iter().flat_map(|host| forms(host)).collect();
        send_each(gateway, &requests);
    });
}

fn no_method_leads_around_a_filter(driver: Driver) {
    let methods = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
        "get", "Post", "GET\t", "FOO",
    ];
    for_each(driver, |gateway, _| {
        let forms = |method: &str| {
            ["/admin/secret", "/items/7"].map(|path| {
                let length = "Content-Length: 0\r\n";
                format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n{length}\r\n")
            })
        };
        let mut requests: Vec<String> = methods.iter().flat_map(|method| forms(method)).collect();
        // A question of CORS is no way in either.
        let origin = "Origin: https://app.test\r\nAccess-Control-Request-Method: GET";
        requests.push(format!(
            "OPTIONS /admin/secret HTTP/1.1\r\nHost: gateway.test\r\n{origin}\r\n\r\n"
        ));
        requests.push("CONNECT secret.test:80 HTTP/1.1\r\nHost: secret.test:80\r\n\r\n".to_owned());
        requests.push("OPTIONS * HTTP/1.1\r\nHost: secret.test\r\n\r\n".to_owned());
        send_each(gateway, &requests);
    });
}

fn no_field_stands_for_a_credential(driver: Driver) {
    for_each(driver, |gateway, scheme| {
        let (name, value) = scheme.opens.split_once(": ").unwrap();
        let under = match name.contains('-') {
            true => name.replace('-', "_"),
            false => format!("{name}_"),
        };
        let secret = value.rsplit(' ').next().unwrap_or(value);
        let fields = [
            String::new(),
            format!("{name}:"),
            format!("{name}: "),
            format!("{name}: wrong"),
            format!("{name}: {value}x"),
            format!("{name}: x{value}"),
            format!("{name}: {value} {value}"),
            format!("{name}: {value}, {value}x"),
            format!("{name}: wrong\r\n{name}: {value}"),
            format!("{name}: {value}\r\n{name}: wrong"),
            format!(
                "{}: wrong\r\n{}: {value}",
                name.to_uppercase(),
                name.to_lowercase()
            ),
            format!("{name} : {value}"),
            format!(" {name}: {value}"),
            format!("X-Other: a\r\n {name}: {value}"),
            format!("{under}: {value}"),
            format!("X-{name}: {value}"),
            format!("{name}x: {value}"),
            format!("Cookie: {name}={value}"),
            format!("Connection: {name}, keep-alive"),
            format!("Trailer: {name}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{name}: {value}"),
            "X-Consumer: app".to_owned(),
            "X-Consumer: app\r\nX-Subject: app\r\nX-Consumer-Groups: admins".to_owned(),
            "X-Forwarded-User: app\r\nX-Client-Cert-Subject: CN=app".to_owned(),
            "X-Original-URL: /open\r\nX-Rewrite-URL: /open".to_owned(),
            "X-Forwarded-For: 127.0.0.1\r\nForwarded: for=127.0.0.1".to_owned(),
        ];
        let line = |field: &str| {
            format!(
                "GET /admin/secret?key={secret}&access_token={secret} HTTP/1.1\r\nHost: gateway.test\r\n{field}\r\n\r\n"
            )
        };
        let requests: Vec<String> = fields.iter().map(|field| line(field)).collect();
        send_each(gateway, &requests);
    });
}

fn no_upgrade_leads_around_a_filter(driver: Driver) {
    let handshake = "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    let fields = [
        format!("Connection: Upgrade\r\nUpgrade: websocket\r\n{handshake}"),
        format!("Connection: upgrade, keep-alive\r\nUpgrade: WebSocket\r\n{handshake}"),
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"
            .to_owned(),
        "Connection: Upgrade\r\nUpgrade: TLS/1.0".to_owned(),
        "Expect: 100-continue\r\nContent-Length: 0".to_owned(),
    ];
    for_each(driver, |gateway, _| {
        let line = |field: &String| {
            format!("GET /admin/secret HTTP/1.1\r\nHost: gateway.test\r\n{field}\r\n\r\n")
        };
        let requests: Vec<String> = fields.iter().map(line).collect();
        send_each(gateway, &requests);
    });
}

fn no_connection_is_trusted_for_its_first_request(driver: Driver) {
    for scheme in schemes() {
        let origin = Origin::named("x");
        let gateway = protected(driver, &origin, &scheme).start();
        let mut client = gateway.client();
        let good = &scheme.opens;
        let with = format!("GET /admin/1 HTTP/1.1\r\nHost: gateway.test\r\n{good}\r\n\r\n");
        let without = "GET /admin/2 HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
        client.send(format!("{with}{without}{with}"));
        let statuses = [(); 3].map(|()| client.response("GET").status);
        assert_eq!(statuses, [200, 401, 200], "{}", scheme.name);
        // What a body holds is no request.
        let inner = "GET /admin/3 HTTP/1.1\r\nHost: gateway.test\r\n\r\n";
        let length = inner.len();
        let outer = format!(
            "POST /open HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {length}\r\n\r\n{inner}"
        );
        assert_eq!(client.exchange(outer).status, 200);
        let targets: Vec<String> = origin.requests().into_iter().map(|r| r.target).collect();
        assert_eq!(
            targets,
            ["/admin/1", "/admin/1", "/open"],
            "{}",
            scheme.name
        );
    }
}

fn no_oddity_of_http2_leads_around_a_filter(driver: Driver) {
    for_each(driver, |gateway, scheme| {
        let (name, value) = scheme.opens.split_once(": ").unwrap();
        let lower = name.to_ascii_lowercase();
        let mut heads: Vec<Vec<Line<'_>>> = PATHS
            .iter()
            .map(|at| vec![METHOD, SCHEME, AUTHORITY, path(at)])
            .collect();
        heads.extend(odd_heads(name, &lower, value));
        for head in heads {
            let mut http2 = Http2::connect(gateway.address());
            http2.send(&Frame::headers(1, flag::WHOLE, &head));
            // An answer, a reset, or the end of the connection: the origin is asked.
            let _ = http2.outcome(1);
        }
    });
}

fn nothing_leads_around_a_listeners_filter(driver: Driver) {
    for scheme in schemes() {
        let origin = Origin::named("x");
        let gateway = Setup::new(driver)
            .upstream("app", origin.address(), "")
            .body(&format!("{}{}", common(), scheme.filter))
            .set("listener", "filters", "[\"gate\"]")
            .route("open", "/{rest*}", OPEN)
            .route(
                "pong",
                "/ping",
                "respond = { status = 200, body = \"pong\" }",
            )
            .start();
        let mut requests: Vec<String> = PATHS
            .iter()
            .map(|path| format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"))
            .collect();
        let origin_field = "Origin: https://app.test\r\nAccess-Control-Request-Method: GET";
        requests.push(format!(
            "OPTIONS /a HTTP/1.1\r\nHost: gateway.test\r\n{origin_field}\r\n\r\n"
        ));
        send_each(&gateway, &requests);
        assert!(origin.requests().is_empty(), "{}", scheme.name);
        assert_eq!(gateway.get("/ping").status, 401, "{}", scheme.name);
        let nowhere = gateway.get("/nowhere").status;
        assert_eq!(
            nowhere, 401,
            "a route that is not there is not told to strangers"
        );
        opens_all(&gateway, &origin, &scheme);
    }
}

#[track_caller]
fn opens_all(gateway: &Gateway, origin: &Origin, scheme: &Scheme) {
    let field = &scheme.opens;
    let request = format!("GET /a HTTP/1.1\r\nHost: gateway.test\r\n{field}\r\n\r\n");
    assert_eq!(
        Client::connect(gateway.address()).exchange(request).status,
        200
    );
    assert_eq!(origin.requests().len(), 1);
}
