//! Active health checks: an origin that fails its checks gets no new requests, load moves to the
//! others, and it comes back; verdicts outlive reloads and changed addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use serde_json::{Value, json};

use crate::support::certificates::Authority;
use crate::support::python::{self, Server};
use crate::support::{Driver, Gateway, Nginx, Origin, Setup, ok, on_both_drivers, wait_until};

on_both_drivers!(
    takes_out_an_origin_whose_check_fails_and_brings_it_back,
    takes_out_an_origin_that_hangs_or_closes,
    uses_all_when_all_are_unhealthy,
    keeps_verdicts_over_a_reload,
    forgets_verdicts_when_checks_are_removed,
    checks_each_address_of_a_name,
    announces_itself_where_the_proxy_protocol_is_spoken,
    takes_out_a_grpc_service_that_does_not_serve_and_brings_it_back,
    requests_under_way_on_an_endpoint_that_is_taken_out_go_on,
    calls_under_way_on_an_endpoint_that_is_taken_out_go_on,
    checks_grpc_in_tls_as_requests_speak_it,
    a_tcp_check_asks_for_a_connection_alone,
    a_check_may_want_a_text_in_the_body,
);

/// What an origin does with its check.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Well,
    Failing,
    Closing,
    Hanging,
}

/// An origin that answers requests with its name whatever its mood, and checks by its mood.
struct Patient {
    origin: Origin,
    mood: Arc<AtomicU8>,
}

impl Patient {
    fn named(name: &'static str) -> Self {
        let mood = Arc::new(AtomicU8::new(Mood::Well as u8));
        let now = Arc::clone(&mood);
        let origin = Origin::start(move |conn| {
            while let Some(request) = conn.request() {
                let mood = now.load(Ordering::SeqCst);
                if request.target != "/healthz" || mood == Mood::Well as u8 {
                    conn.send(ok(name));
                } else if mood == Mood::Failing as u8 {
                    conn.send("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
                } else if mood == Mood::Closing as u8 {
                    return;
                } else {
                    // Until the check gives up.
                    let _ = conn.request();
                }
            }
        });
        Self { origin, mood }
    }

    fn feels(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    fn address(&self) -> &str {
        self.origin.address()
    }
}

const CHECK: &str = "[upstream.health]\npath = \"/healthz\"\ninterval = \"100ms\"\n\
                     timeout = \"5s\"\nunhealthy_after = 2\nhealthy_after = 2\n";

fn setup(driver: Driver, origins: &[&Patient], more: &str) -> Setup {
    between(Setup::new(driver), origins, more)
}

fn between(setup: Setup, origins: &[&Patient], more: &str) -> Setup {
    let endpoints: Vec<&str> = origins.iter().map(|patient| patient.address()).collect();
    setup
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\n{more}"
        ))
        .catch_all("app")
}

/// Who answers a few requests.
fn answers(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    let mut names: Vec<String> = (0..6).map(|_| client.get("/x").text().to_owned()).collect();
    names.sort();
    names.dedup();
    names.concat()
}

#[track_caller]
fn wait_for_answers(gateway: &Gateway, wanted: &str) {
    wait_until(&format!("{wanted:?} answer"), || answers(gateway) == wanted);
}

/// The upstream's page.
fn page(gateway: &Gateway) -> Value {
    let page = gateway.admin("GET", "/upstreams");
    let mut page: Value = serde_json::from_str(page.text()).unwrap();
    page[0].take()
}

/// The state of an endpoint by its page.
fn state(gateway: &Gateway, endpoint: &str) -> Value {
    let page = page(gateway);
    let mut endpoints = page["endpoints"].as_array().unwrap().iter();
    let found = endpoints.find(|found| found["address"] == endpoint);
    found.unwrap()["health"].clone()
}

#[track_caller]
fn wait_for_state(gateway: &Gateway, endpoint: &str, wanted: &str) {
    wait_until(&format!("{endpoint} is {wanted}"), || {
        state(gateway, endpoint)["state"] == wanted
    });
}

fn healthy(gateway: &Gateway, endpoint: &str) -> f64 {
    let labels = [("upstream", "app"), ("endpoint", endpoint)];
    gateway.metric("ringgate_upstream_endpoint_healthy", &labels)
}

fn takes_out_an_origin_whose_check_fails_and_brings_it_back(driver: Driver) {
    let (a, b) = (Patient::named("a"), Patient::named("b"));
    let gateway = setup(driver, &[&a, &b], CHECK).start();
    assert_eq!(answers(&gateway), "ab", "healthy until proven otherwise");
    wait_for_state(&gateway, a.address(), "healthy");

    a.feels(Mood::Failing);
    wait_for_answers(&gateway, "b");
    let shown = state(&gateway, a.address());
    assert_eq!(shown["state"], "unhealthy");
    let why = "2 checks in a row failed, the last: status 500";
    assert_eq!(shown["why"], why, "{shown}");
    assert!(shown["since"].as_str().unwrap().ends_with('Z'), "{shown}");
    assert_eq!(healthy(&gateway, a.address()), 0.0);
    assert_eq!(healthy(&gateway, b.address()), 1.0);
    let checks = |result| {
        let labels = [("upstream", "app"), ("result", result)];
        gateway.metric("ringgate_health_checks_total", &labels)
    };
    assert!(checks("failed") >= 2.0 && checks("passed") >= 1.0);
    wait_until("the log says so", || {
        gateway.stderr().contains("endpoint is unhealthy")
    });
    let said = gateway.stderr();
    assert!(said.contains(a.address()) && said.contains(why), "{said}");

    a.feels(Mood::Well);
    wait_for_answers(&gateway, "ab");
    assert_eq!(state(&gateway, a.address())["state"], "healthy");
    wait_until("the log says so", || {
        gateway.stderr().contains("endpoint is healthy again")
    });
}

fn takes_out_an_origin_that_hangs_or_closes(driver: Driver) {
    let (a, b, c) = (
        Patient::named("a"),
        Patient::named("b"),
        Patient::named("c"),
    );
    // One of three that is left would be panic otherwise.
    let impatient = format!("panic_below = 0.2\n{}", CHECK.replace("5s", "500ms"));
    let gateway = setup(driver, &[&a, &b, &c], &impatient).start();
    b.feels(Mood::Hanging);
    c.feels(Mood::Closing);
    wait_for_answers(&gateway, "a");
    let why = state(&gateway, b.address())["why"].to_string();
    assert!(why.contains("no whole answer in time"), "{why}");
    let why = state(&gateway, c.address())["why"].to_string();
    assert!(why.contains("no proper answer"), "{why}");
    b.feels(Mood::Well);
    wait_for_answers(&gateway, "ab");
}

fn uses_all_when_all_are_unhealthy(driver: Driver) {
    let (a, b) = (Patient::named("a"), Patient::named("b"));
    let gateway = setup(driver, &[&a, &b], CHECK).start();
    let panics = || gateway.metric("ringgate_upstream_panic", &[("upstream", "app")]);
    assert_eq!(panics(), 0.0);
    a.feels(Mood::Failing);
    b.feels(Mood::Failing);
    wait_until("both are out", || panics() == 1.0);
    assert_eq!(answers(&gateway), "ab", "rather all than none");
    assert_eq!(page(&gateway)["panic"], true);
    let said = gateway.stderr();
    let line = "every endpoint of the upstream is unhealthy";
    assert_eq!(said.matches(line).count(), 1, "{said}");
    b.feels(Mood::Well);
    wait_for_answers(&gateway, "b");
    assert_eq!(panics(), 0.0);
}

fn keeps_verdicts_over_a_reload(driver: Driver) {
    let (a, b) = (Patient::named("a"), Patient::named("b"));
    let mut gateway = setup(driver, &[&a, &b], CHECK).start();
    a.feels(Mood::Failing);
    wait_for_answers(&gateway, "b");
    let since = state(&gateway, a.address());
    gateway.rewrite(|setup| {
        let setup = setup.route("more", "/more", "respond = { status = 204 }");
        setup.set("limits", "uri_max", "\"4KiB\"")
    });
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(answers(&gateway), "b", "from the first request on");
    assert_eq!(state(&gateway, a.address()), since);
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(answers(&gateway), "b");
    let said = gateway.stderr();
    let times = said.matches("endpoint is unhealthy").count();
    assert_eq!(times, 1, "{said}");
    // Another question: what was known says nothing about it.
    gateway.rewrite(|setup| {
        let other = CHECK.replace("/healthz", "/other");
        between(setup.without_body(), &[&a, &b], &other)
    });
    assert_eq!(gateway.reload().status, 200);
    wait_for_answers(&gateway, "ab");
}

fn forgets_verdicts_when_checks_are_removed(driver: Driver) {
    let (a, b) = (Patient::named("a"), Patient::named("b"));
    let mut gateway = setup(driver, &[&a, &b], CHECK).start();
    a.feels(Mood::Failing);
    wait_for_answers(&gateway, "b");
    gateway.rewrite(|setup| between(setup.without_body(), &[&a, &b], ""));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(answers(&gateway), "ab");
    assert_eq!(page(&gateway)["health"], Value::Null);
    assert_eq!(state(&gateway, a.address()), Value::Null);
}

fn checks_each_address_of_a_name(driver: Driver) {
    let (a, b) = (Patient::named("a"), Patient::named("b"));
    let port = a.address().rsplit(':').next().unwrap().to_owned();
    let endpoints = [format!("localhost:{port}"), b.address().to_owned()];
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\n{CHECK}"
        ))
        .catch_all("app")
        .start();
    wait_for_state(&gateway, a.address(), "healthy");
    a.feels(Mood::Failing);
    wait_for_state(&gateway, a.address(), "unhealthy");
    wait_for_answers(&gateway, "b");
}

fn announces_itself_where_the_proxy_protocol_is_spoken(driver: Driver) {
    for (version, header) in [
        ("v1", &b"PROXY UNKNOWN\r\nGET /healthz "[..]),
        ("v2", b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET /healthz "),
    ] {
        let origin = Origin::start(|conn| {
            // No strict request: what came is kept all the same.
            let _ = conn.request();
        });
        let more = format!("proxy_protocol = {version:?}\n{CHECK}");
        let _gateway = Setup::new(driver)
            .upstream("app", origin.address(), &more)
            .catch_all("app")
            .start();
        wait_until("a check begins with the header", || {
            let seen = origin.seen();
            seen.iter().any(|bytes| bytes.starts_with(header))
        });
    }
}

const GRPC_CHECK: &str = "[upstream.health]\ntype = \"grpc\"\nservice = \"proof.Proof\"\n\
                          interval = \"100ms\"\ntimeout = \"5s\"\nunhealthy_after = 2\nhealthy_after = 2\n";

/// Has a gRPC origin say from now on whether it serves.
#[track_caller]
fn turn(origin: &Server, case: &str) {
    let said = python::client("grpc_client.py", &[origin.address(), case]);
    assert_eq!(said[case], json!({"code": "OK"}), "{said}");
}

fn takes_out_a_grpc_service_that_does_not_serve_and_brings_it_back(driver: Driver) {
    let (a, b) = (grpc_origin(), grpc_origin());
    let gateway = grpc_gateway(driver, &[&a, &b]);
    wait_for_state(&gateway, a.address(), "healthy");
    wait_for_state(&gateway, b.address(), "healthy");
    turn(&a, "stop_serving");
    wait_for_state(&gateway, a.address(), "unhealthy");
    let why = state(&gateway, a.address())["why"].to_string();
    assert!(why.contains("the service says NOT_SERVING"), "{why}");
    // The one that serves takes every call.
    let before = served(&b);
    let case = ["many_at_once"];
    let said = python::client(
        "grpc_client.py",
        &[&[gateway.address()], &case[..]].concat(),
    );
    assert_eq!(said["many_at_once"]["same"], true, "{said}");
    assert_eq!(served(&b) - before, 300);
    turn(&a, "start_serving");
    wait_for_state(&gateway, a.address(), "healthy");
}

fn grpc_origin() -> Server {
    Server::start("grpc_server.py", &[])
}

fn grpc_gateway(driver: Driver, origins: &[&Server]) -> Gateway {
    let endpoints: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\nprotocol = \"h2\"\n{GRPC_CHECK}"
        ))
        .catch_all("app")
        .start()
}

fn requests_under_way_on_an_endpoint_that_is_taken_out_go_on(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let ill = Arc::new(AtomicBool::new(false));
    let feels = Arc::clone(&ill);
    let a = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            match &*request.target {
                "/healthz" if feels.load(Ordering::SeqCst) => return,
                "/healthz" => drop(conn.send(ok("well"))),
                _ => {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
                    gone.lock().unwrap().recv().unwrap();
                    conn.send("whole");
                }
            }
        }
    });
    let b = Patient::named("b");
    b.feels(Mood::Failing);
    let endpoints = [a.address(), b.address()];
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\n{CHECK}"
        ))
        .catch_all("app")
        .start();
    wait_for_state(&gateway, b.address(), "unhealthy");
    std::thread::scope(|scope| {
        let under_way = scope.spawn(|| gateway.get("/long").text().to_owned());
        wait_until("the request is under way", || {
            a.requests().iter().any(|request| request.target == "/long")
        });
        b.feels(Mood::Well);
        wait_for_state(&gateway, b.address(), "healthy");
        ill.store(true, Ordering::SeqCst);
        wait_for_state(&gateway, a.address(), "unhealthy");
        assert_eq!(answers(&gateway), "b");
        go.send(()).unwrap();
        assert_eq!(under_way.join().unwrap(), "halfwhole");
    });
}

fn calls_under_way_on_an_endpoint_that_is_taken_out_go_on(driver: Driver) {
    let (a, b) = (grpc_origin(), grpc_origin());
    turn(&b, "stop_serving");
    let gateway = grpc_gateway(driver, &[&a, &b]);
    wait_for_state(&gateway, b.address(), "unhealthy");
    std::thread::scope(|scope| {
        let call = || python::client("grpc_client.py", &[gateway.address(), "slow_stream"]);
        let under_way = scope.spawn(call);
        gateway.wait_for_metric("ringgate_upstream_active_requests", &[], 1.0);
        turn(&b, "start_serving");
        wait_for_state(&gateway, b.address(), "healthy");
        turn(&a, "stop_serving");
        wait_for_state(&gateway, a.address(), "unhealthy");
        let said = under_way.join().unwrap();
        assert_eq!(
            said["slow_stream"],
            json!({"code": "OK", "count": 40}),
            "{said}"
        );
    });
}

/// How many calls to Echo an origin has had.
fn served(origin: &Server) -> u64 {
    let said = python::client("grpc_client.py", &[origin.address(), "echoes"]);
    said["echoes"]["count"].as_u64().unwrap()
}

fn checks_grpc_in_tls_as_requests_speak_it(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let pair = [pair.cert(), pair.key()];
    let origin = Server::start("grpc_server.py", &["--cert", pair[0], "--key", pair[1]]);
    let gateway = |name: &str| {
        let trusted = format!("ca = {:?}\nserver_name = {name:?}\n", authority.ca());
        Setup::new(driver)
            .upstream(
                "app",
                origin.address(),
                &format!("[upstream.tls]\n{trusted}{GRPC_CHECK}"),
            )
            .catch_all("app")
            .start()
    };
    wait_for_state(&gateway("origin.test"), origin.address(), "healthy");
    let wrong = gateway("other.test");
    wait_for_state(&wrong, origin.address(), "unhealthy");
    let why = state(&wrong, origin.address())["why"].to_string();
    assert!(why.contains("no TLS: invalid peer certificate"), "{why}");
}

fn a_tcp_check_asks_for_a_connection_alone(driver: Driver) {
    let nginx = Nginx::start("location / { return 200 well; }");
    let a = Patient::named("a");
    let (up, down) = (nginx.address(), a.address().to_owned());
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = [{up:?}, {down:?}]\n{TCP_CHECK}"
        ))
        .catch_all("app")
        .start();
    wait_for_state(&gateway, &up, "healthy");
    wait_for_state(&gateway, &down, "healthy");
    drop(a);
    wait_for_state(&gateway, &down, "unhealthy");
    let why = state(&gateway, &down)["why"].to_string();
    assert!(why.contains("no connection: "), "{why}");
    wait_for_answers(&gateway, "well");
    assert_eq!(state(&gateway, &up)["state"], "healthy");
}

const TCP_CHECK: &str = "[upstream.health]\ntype = \"tcp\"\ninterval = \"100ms\"\n\
                         timeout = \"5s\"\nunhealthy_after = 2\n";

fn a_check_may_want_a_text_in_the_body(driver: Driver) {
    let nginx = Nginx::start("location /healthz { return 200 'status: up'; }");
    let address = nginx.address();
    let wants = |text: &str| format!("{CHECK}body = \"status: {text}\"\n");
    let gateway = |text: &str| {
        let setup = Setup::new(driver).upstream("app", &address, &wants(text));
        setup.catch_all("app").start()
    };
    wait_for_state(&gateway("up"), &address, "healthy");
    let wrong = gateway("down");
    wait_for_state(&wrong, &address, "unhealthy");
    let why = state(&wrong, &address)["why"].to_string();
    assert!(why.contains("the body lacks the expected text"), "{why}");
}
