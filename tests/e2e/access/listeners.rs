//! Filters of a listener, and routes that are chosen by who asks.

use crate::support::{Client, Driver, Gateway, Setup, on_both_drivers, run};

on_both_drivers!(
    routes_are_chosen_by_who_asks,
    a_request_without_a_route_has_passed_the_filters_all_the_same,
    a_reload_changes_the_filters_of_a_listener,
    a_connection_whose_listener_went_is_let_through_nowhere,
);

const KEYS: [(&str, &str, &str); 3] = [
    (
        "alice",
        "rg_alice_Zt7bXw2Qm9sKf1pVd8yHc3nLj6gRa5eTu0iOqWxEz",
        "partners",
    ),
    (
        "bob",
        "rg_bob_4Zt7bXw2Qm9sKf1pVd8yHc3nLj6gRa5eTu0iOqWxEz",
        "staff",
    ),
    (
        "carol",
        "rg_carol_4Zt7bXw2Qm9sKf1pVd8yHc3nLj6gRa5eTu0iOqWx",
        "others",
    ),
];

fn consumers() -> String {
    let each = KEYS.iter().map(|(name, key, group)| {
        let digest = super::digest(key);
        format!(
            "[[consumer]]\nname = \"{name}\"\ngroups = [\"{group}\"]\napi_keys = [\"{digest}\"]\n"
        )
    });
    each.collect()
}

fn setup(driver: Driver, optional: &str) -> Setup {
    let pong = |body: &str| format!("respond = {{ status = 200, body = \"{body}\" }}");
    Setup::new(driver)
        .body(&consumers())
        .body(&format!("[filter.gate]\ntype = \"api_key\"\n{optional}"))
        .set("listener", "filters", "[\"gate\"]")
        .route(
            "hers",
            "/a",
            &format!("match.consumer = \"alice\"\n{}", pong("hers")),
        )
        .route(
            "staff",
            "/a",
            &format!(
                "match.group = {{ any = [\"staff\", \"admins\"] }}\n{}",
                pong("staff")
            ),
        )
        .route("all", "/a", &pong("all"))
}

fn ask(gateway: &Gateway, path: &str, key: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\nX-Api-Key: {key}\r\n\r\n");
    let response = Client::connect(gateway.address()).exchange(request);
    (response.status, response.text().to_owned())
}

fn routes_are_chosen_by_who_asks(driver: Driver) {
    let gateway = setup(driver, "optional = true").start();
    for ((_, key, _), body) in KEYS.iter().zip(["hers", "staff", "all"]) {
        assert_eq!(ask(&gateway, "/a", key), (200, body.to_owned()));
    }
    assert_eq!(gateway.get("/a").text(), "all", "nobody is known");
    assert_eq!(ask(&gateway, "/a", "wrong").0, 401, "a bad key is not none");
    let lines = gateway.log(5);
    let routes: Vec<&str> = lines
        .iter()
        .filter_map(|line| line["route"].as_str())
        .collect();
    assert_eq!(routes, ["hers", "staff", "all", "all"]);
    assert_eq!(lines[0]["consumer"], "alice");
    assert_eq!(lines[0]["auth"], "api_key");
    assert!(lines[3]["consumer"].is_null());
    let file = gateway.file().to_str().unwrap();
    let key = format!("X-Api-Key: {}", KEYS[0].1);
    let told = run(&["explain", file, "GET", "http://gateway.test/a", "-H", &key]);
    assert!(
        told.stdout.contains("alice"),
        "{}{}",
        told.stdout,
        told.stderr
    );
    assert!(told.stdout.contains("hers"), "{}", told.stdout);
    assert!(!told.stdout.contains(KEYS[0].1), "{}", told.stdout);
}

fn a_request_without_a_route_has_passed_the_filters_all_the_same(driver: Driver) {
    let gateway = setup(driver, "").start();
    assert_eq!(gateway.get("/nowhere").status, 401);
    let (_, key, _) = KEYS[2];
    assert_eq!(ask(&gateway, "/nowhere", key).0, 404);
    let line = &gateway.log(2)[0];
    assert_eq!(line["code"], "no_credentials", "{line}");
    assert!(line["route"].is_null(), "{line}");
}

fn a_reload_changes_the_filters_of_a_listener(driver: Driver) {
    let mut gateway = setup(driver, "").start();
    let mut kept = gateway.client();
    assert_eq!(kept.get("/a").status, 401);
    gateway.rewrite(|setup| setup.set("listener", "filters", "[]"));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(kept.get("/a").status, 200, "on the same connection");
    gateway.rewrite(|setup| setup.set("listener", "filters", "[\"gate\"]"));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(kept.get("/a").status, 401);
}

fn a_connection_whose_listener_went_is_let_through_nowhere(driver: Driver) {
    let more = "[[listener]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\nfilters = [\"gate\"]\n";
    let with = setup(driver, "").body(more);
    let mut gateway = with.start();
    let mut kept = Client::connect(gateway.listener("other"));
    assert_eq!(kept.get("/a").status, 401);
    gateway.rewrite(|setup| {
        let pong = "respond = { status = 200, body = \"all\" }";
        let setup = setup.without_body().body(&consumers());
        let setup = setup.body("[filter.gate]\ntype = \"api_key\"");
        setup.route("all", "/a", pong)
    });
    assert_eq!(gateway.reload().status, 200);
    // The connection may be closed, or its request refused.
    kept.try_send("GET /a HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
    if let Ok(response) = kept.try_response("GET") {
        assert_ne!(response.status, 200);
    }
}
