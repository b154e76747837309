//! Reload under load: wrk runs while the configuration changes a thousand times. No
//! request fails and memory comes back.

mod protocols;

use std::fs;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{
    Client, Driver, Gateway, Origin, Setup, ok, on_both_drivers, settle, wait_until,
};

const RELOADS: usize = 1000;
/// Growth from the warmed-up state that caches and the allocator may keep.
const GROWTH_MAX: u64 = 16 << 20;

on_both_drivers!(
    a_thousand_reloads_under_load_fail_no_request,
    reloads_that_swap_upstreams_fail_and_cross_no_answer,
);

/// Two configurations that differ in routes, filters and upstream settings, and serve the
/// same answers.
fn versions(gateway: &Gateway) -> [String; 2] {
    let one = fs::read_to_string(gateway.file()).unwrap();
    let two = one
        .replace("\"edit\"", "\"other\"")
        .replace("[filter.edit]", "[filter.other]")
        .replace("x-version = \"one\"", "x-version = \"two\"")
        .replace("path = \"/extra-one\"", "path = \"/extra-two\"")
        .replace("idle_timeout = \"60s\"", "idle_timeout = \"61s\"");
    assert_ne!(one, two);
    [one, two]
}

fn a_thousand_reloads_under_load_fail_no_request(driver: Driver) {
    let origin = Origin::replying(|r| ok(&r.target).into_bytes());
    let gateway = Setup::new(driver)
        .set("log", "access", "\"off\"")
        .set("log", "level", "\"warn\"")
        .set("runtime", "workers", "2")
        .upstream("app", origin.address(), "idle_timeout = \"60s\"")
        .body("[filter.edit]\ntype = \"headers\"\nresponse.set = { x-version = \"one\" }")
        .route("extra", "/extra-one", "respond = { status = 204 }")
        .route(
            "all",
            "/{rest*}",
            "upstream = \"app\"\nfilters = [\"edit\"]",
        )
        .start();
    let versions = versions(&gateway);
    assert_eq!(gateway.get("/warm").status, 200);
    // Some reloads before the baseline, so that it has both versions' memory in it.
    for turn in 0..50 {
        reload(&gateway, &versions[turn % 2]);
    }
    let mut wrk = Command::new("wrk")
        .args(["-t1", "-c32", "-d300s", "--latency"])
        .arg(format!("http://{}/load", gateway.address()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("wrk: {e}; run ./tests/run, which installs it"));
    gateway.wait_for_metric("ringgate_requests_total", &[("route", "all")], 1000.0);
    let (before, descriptors) = (gateway.resident(), gateway.descriptors());
    for turn in 0..RELOADS {
        reload(&gateway, &versions[turn % 2]);
        assert!(wrk.try_wait().unwrap().is_none(), "wrk ended early");
    }
    settle();
    // wrk sums up on an interrupt.
    crate::support::sys::signal(wrk.id(), crate::support::sys::Signal::Interrupt);
    let output = wrk.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let grown = gateway.resident().saturating_sub(before);
    eprintln!("{report}");
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    assert!(report.contains("requests in"), "{report}");
    assert!(grown < GROWTH_MAX, "resident memory grew by {grown} bytes");
    wait_until("descriptors are as before", || {
        gateway.descriptors() <= descriptors
    });
    let generation = gateway.metric("ringgate_generation", &[]);
    assert!(
        generation >= RELOADS as f64,
        "only {generation} generations"
    );
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}

fn reload(gateway: &Gateway, text: &str) {
    gateway.write_config(text);
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
    assert_eq!(report.json()["connections_closed"], 0);
}

/// Everything goes to one origin or to the other, through upstreams that come and go.
fn leading_to(setup: Setup, name: &str, origin: &Origin) -> Setup {
    setup
        .without_body()
        .upstream(name, origin.address(), "")
        .body("[filter.edit]\ntype = \"headers\"")
        .body(&format!("response.set = {{ x-upstream = \"{name}\" }}"))
        .route(
            "all",
            "/{rest*}",
            &format!("upstream = \"{name}\"\nfilters = [\"edit\"]"),
        )
}

fn reloads_that_swap_upstreams_fail_and_cross_no_answer(driver: Driver) {
    let named = |name: &'static str| {
        Origin::replying(move |r| ok(&format!("{name} {}", r.target)).into_bytes())
    };
    let (left, right) = (named("left"), named("right"));
    let mut gateway = leading_to(
        Setup::new(driver).set("runtime", "workers", "2"),
        "left",
        &left,
    )
    .start();
    let address = gateway.address().to_owned();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|client| {
                let (address, over) = (&address, &over);
                scope.spawn(move || ask_until(over, address, client))
            })
            .collect();
        for turn in 0..200 {
            let (name, origin) = if turn % 2 == 0 {
                ("right", &right)
            } else {
                ("left", &left)
            };
            gateway.rewrite(|setup| leading_to(setup, name, origin));
            let report = gateway.reload();
            assert_eq!(report.status, 200, "{}", report.text());
            // From the report on, new requests go the new way.
            let answer = gateway.get(&format!("/turn/{turn}"));
            assert_eq!(answer.text(), format!("{name} /turn/{turn}"));
            assert_eq!(answer.field("x-upstream"), Some(name));
        }
        over.store(true, Ordering::SeqCst);
        let asked: usize = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum();
        assert!(asked > 200, "only {asked} requests ran beside the reloads");
    });
    // The connections of the upstream that is gone are gone.
    right.wait_until_closed();
}

/// Asks for paths of its own until it is over; counts the answers.
fn ask_until(over: &AtomicBool, address: &str, client: usize) -> usize {
    let mut connection = Client::connect(address);
    let mut turn = 0;
    while !over.load(Ordering::SeqCst) {
        let path = format!("/client/{client}/{turn}");
        let answer = connection.get(&path);
        assert_eq!(answer.status, 200);
        let (who, what) = answer.text().split_once(' ').unwrap();
        assert_eq!(what, path);
        assert_eq!(
            answer.field("x-upstream"),
            Some(who),
            "one snapshot for one request"
        );
        turn += 1;
    }
    turn
}
