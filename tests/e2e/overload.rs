//! A gateway with too much to do refuses what is least urgent and answers the rest.

use std::time::Duration;

use crate::support::process::{output, tool};
use crate::support::sys::Signal;
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    memory_beyond_its_bound_refuses_all_but_the_critical,
    the_least_urgent_are_refused_first,
    critical_routes_are_answered_under_a_load_of_others,
    a_worker_that_stood_still_recovers,
);

const URGENCIES: [&str; 4] = ["low", "normal", "high", "critical"];

/// One route for each urgency.
fn urgent(driver: Driver, origin: &Origin, overload: (&'static str, &str)) -> Setup {
    let setup = Setup::new(driver)
        .set("overload", overload.0, overload.1)
        .upstream("app", origin.address(), "");
    URGENCIES.iter().fold(setup, |setup, urgency| {
        let more = format!("upstream = \"app\"\nurgency = \"{urgency}\"");
        setup.route(urgency, &format!("/{urgency}"), &more)
    })
}

fn level(gateway: &Gateway) -> f64 {
    gateway.metric("ringgate_worker_overload_level", &[])
}

fn statuses(gateway: &Gateway) -> [u16; 4] {
    URGENCIES.map(|urgency| gateway.get(&format!("/{urgency}")).status)
}

fn memory_beyond_its_bound_refuses_all_but_the_critical(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = urgent(driver, &origin, ("memory_max", "\"16MiB\"")).start();
    wait_until("the highest level", || level(&gateway) == 3.0);
    assert_eq!(statuses(&gateway), [503, 503, 503, 200]);
    let refused = gateway.get("/high");
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(refused.json()["code"], "overloaded");
    let high = [("urgency", "high")];
    gateway.wait_for_metric("ringgate_worker_shed_requests_total", &high, 2.0);
    assert_eq!(gateway.admin("GET", "/readyz").status, 200);
    assert_eq!(origin.requests().len(), 1);
    // With enough room nobody is refused any more.
    gateway.rewrite(|setup| setup.set("overload", "memory_max", "\"64GiB\""));
    assert_eq!(gateway.reload().status, 200);
    wait_until("nothing is refused", || statuses(&gateway) == [200; 4]);
}

fn the_least_urgent_are_refused_first(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = urgent(driver, &origin, ("memory_max", "\"64GiB\"")).start();
    for (percent, expected) in [(101, [503, 200, 200, 200]), (106, [503, 503, 200, 200])] {
        // What a process takes moves a little: until the bound lies where it should.
        wait_until("the level that was asked for", || {
            let bound = gateway.resident() * 100 / percent / 1024;
            let bound = format!("\"{bound}KiB\"");
            gateway.rewrite(|setup| setup.set("overload", "memory_max", &bound));
            assert_eq!(gateway.reload().status, 200);
            // Two looks of the gateway at its memory.
            std::thread::sleep(Duration::from_millis(2_500));
            statuses(&gateway) == expected
        });
        gateway.rewrite(|setup| setup.set("overload", "memory_max", "\"64GiB\""));
        assert_eq!(gateway.reload().status, 200);
        wait_until("nothing is refused", || statuses(&gateway) == [200; 4]);
    }
}

fn critical_routes_are_answered_under_a_load_of_others(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = urgent(driver, &origin, ("memory_max", "\"16MiB\"")).start();
    wait_until("the highest level", || level(&gateway) == 3.0);
    let mut wrk = tool("wrk");
    let url = format!("http://{}/low", gateway.address());
    wrk.args(["-t1", "-c32", "-d3s", &url]);
    let load = std::thread::spawn(move || output(wrk, b""));
    let mut client = gateway.client();
    let (mut answered, low) = (0, [("urgency", "low")]);
    while !load.is_finished() {
        assert_eq!(client.get("/critical").status, 200);
        answered += 1;
    }
    assert!(answered > 0 && load.join().unwrap().success);
    gateway.wait_for_metric("ringgate_worker_shed_requests_total", &low, 1.0);
    assert_eq!(origin.requests().len(), answered);
}

fn a_worker_that_stood_still_recovers(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = urgent(driver, &origin, ("lag_max", "\"100ms\"")).start();
    assert_eq!(gateway.get("/low").status, 200);
    let mut critical = gateway.client();
    // Again and again: between two looks from here a level may have come and gone.
    wait_until("it is noticed", || {
        gateway.signal(Signal::Stop);
        std::thread::sleep(Duration::from_millis(1_500));
        gateway.signal(Signal::Continue);
        assert_eq!(critical.get("/critical").status, 200);
        gateway.get("/low").status == 503
    });
    wait_until("it is over", || gateway.get("/low").status == 200);
    assert!(gateway.metric("ringgate_faults_total", &[("code", "overloaded")]) > 0.0);
}
