//! Endpoints by hand and at sight: draining them under load, and the pages that show how they
//! stand.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::support::{Driver, Gateway, Origin, Run, Setup, on_both_drivers, run, wait_until};

on_both_drivers!(
    a_drain_under_load_loses_nothing,
    a_drain_outlives_a_reload,
    a_name_stands_for_its_addresses,
    upstreams_are_shown_as_a_table,
    what_is_not_there_cannot_be_drained,
);

fn setup(driver: Driver, endpoints: &[&str]) -> Setup {
    Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\n"
        ))
        .catch_all("app")
}

/// A command for the gateway's admin API.
fn tell(gateway: &Gateway, arguments: &[&str]) -> Run {
    let more = ["--admin", gateway.admin_address()];
    run(&[arguments, &more[..]].concat())
}

/// Who answers a few requests.
fn answers(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    let mut names: Vec<String> = (0..6).map(|_| client.get("/x").text().to_owned()).collect();
    names.sort();
    names.dedup();
    names.concat()
}

/// The endpoints on the upstream's page.
fn endpoints(gateway: &Gateway) -> Vec<Value> {
    let page = gateway.admin("GET", "/upstreams");
    let page: Value = serde_json::from_str(page.text()).unwrap();
    page[0]["endpoints"].as_array().unwrap().clone()
}

fn state(gateway: &Gateway, address: &str) -> String {
    let all = endpoints(gateway);
    let found = all.iter().find(|one| one["address"] == address);
    found.unwrap()["state"].as_str().unwrap().to_owned()
}

fn a_drain_under_load_loses_nothing(driver: Driver) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let gateway = setup(driver, &[a.address(), b.address()]).start();
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = gateway.client();
                    while !over.load(Ordering::SeqCst) {
                        let answer = client.get("/x");
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                })
            })
            .collect();
        let turn = |what: &str| {
            let before = done.load(Ordering::SeqCst);
            let said = tell(&gateway, &[what, "app", a.address()]);
            assert_eq!(said.code, 0, "{said:?}");
            wait_until("load goes on", || {
                done.load(Ordering::SeqCst) > before + 100
            });
        };
        for _ in 0..5 {
            turn("drain");
            turn("undrain");
        }
        let said = tell(&gateway, &["drain", "app", a.address(), "--wait", "10"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(
            said.stdout
                .contains("drained, 0 in flight; endpoints left: 1"),
            "{said:?}"
        );
        wait_until("it gets no more", || answers(&gateway) == "b");
        let before = (a.requests().len(), done.load(Ordering::SeqCst));
        wait_until("load goes on", || {
            done.load(Ordering::SeqCst) > before.1 + 100
        });
        assert_eq!(a.requests().len(), before.0, "not one more");
        over.store(true, Ordering::SeqCst);
        load.into_iter().for_each(|one| one.join().unwrap());
    });
    assert_eq!(state(&gateway, a.address()), "drained");
}

fn a_drain_outlives_a_reload(driver: Driver) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let mut gateway = setup(driver, &[a.address(), b.address()]).start();
    assert_eq!(tell(&gateway, &["drain", "app", a.address()]).code, 0);
    wait_until("it is out", || answers(&gateway) == "b");
    let since = endpoints(&gateway)[0]["since"].clone();
    assert!(since.as_str().unwrap().ends_with('Z'), "{since}");
    gateway.rewrite(|setup| setup.route("more", "/more", "respond = { status = 204 }"));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(answers(&gateway), "b", "from the first request on");
    assert_eq!(endpoints(&gateway)[0]["since"], since);
    let said = gateway.stderr();
    assert!(
        said.contains("an operator has the endpoint drained"),
        "{said}"
    );
    assert_eq!(tell(&gateway, &["undrain", "app", a.address()]).code, 0);
    wait_until("both answer", || answers(&gateway) == "ab");
    assert_eq!(state(&gateway, a.address()), "unchecked");
    let said = tell(&gateway, &["undrain", "app", a.address()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(
        said.stdout.contains("was not drained, nothing has changed"),
        "{said:?}"
    );
    let brought_back = "an operator has brought the endpoint back";
    assert_eq!(gateway.stderr().matches(brought_back).count(), 1);
}

fn a_name_stands_for_its_addresses(driver: Driver) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let port = a.address().rsplit(':').next().unwrap();
    let name = format!("localhost:{port}");
    let gateway = setup(driver, &[&name, b.address()]).start();
    let said = tell(&gateway, &["drain", "app", &name, "--json"]);
    assert_eq!(said.code, 0, "{said:?}");
    let answer: Value = serde_json::from_str(&said.stdout).unwrap();
    let drained = answer["endpoints"].as_array().unwrap();
    assert!(drained.iter().any(|one| one == a.address()), "{answer}");
    wait_until("it is out", || answers(&gateway) == "b");
}

fn upstreams_are_shown_as_a_table(driver: Driver) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let gateway = setup(driver, &[a.address(), b.address()]).start();
    assert_eq!(tell(&gateway, &["drain", "app", b.address()]).code, 0);
    let said = tell(&gateway, &["upstreams"]);
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(lines[0].starts_with("app  0 in flight"), "{said:?}");
    assert!(lines[1].contains("ENDPOINT") && lines[1].contains("IN FLIGHT"));
    let line = |address: &str| {
        let found = lines.iter().find(|line| line.contains(address));
        found.copied().unwrap_or_default()
    };
    assert!(line(a.address()).contains("unchecked"), "{said:?}");
    assert!(line(b.address()).contains("drained"), "{said:?}");
    assert!(
        line(b.address()).contains("an operator has drained it"),
        "{said:?}"
    );
    let said = tell(&gateway, &["upstreams", "app", "--json"]);
    let page: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(page[0]["endpoints"][1]["state"], "drained");
    assert!(
        page[0]["policy"]["balance"]
            .as_str()
            .unwrap()
            .starts_with("round_robin")
    );
    let labels = [
        ("upstream", "app"),
        ("endpoint", b.address()),
        ("state", "drained"),
    ];
    assert_eq!(
        gateway.metric("ringgate_upstream_endpoint_state", &labels),
        1.0
    );
    assert_eq!(tell(&gateway, &["upstreams", "other"]).code, 1);
}

fn what_is_not_there_cannot_be_drained(driver: Driver) {
    let a = Origin::named("a");
    let gateway = setup(driver, &[a.address()]).start();
    let said = tell(&gateway, &["drain", "ap", a.address()]);
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.contains("no upstream \"ap\"; there is app"),
        "{said:?}"
    );
    let said = tell(&gateway, &["drain", "app", "10.9.9.9:1"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains(a.address()), "{said:?}");
    let said = gateway.admin("POST", "/routes/all/canary/resume");
    assert_eq!(said.status, 404, "{}", said.text());
    let said = gateway.admin("GET", "/upstreams/app/endpoints/x/drain");
    assert_eq!(said.status, 405, "{}", said.text());
}
