//! Threads, cores and drivers as the configuration and the machine allow.

use std::fs;

use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    auto_workers_follow_the_affinity,
    pins_workers_to_their_cores
);

fn auto_workers_follow_the_affinity(driver: Driver) {
    let origin = Origin::named("x");
    let setup = || Setup::proxy(driver, origin.address()).set("runtime", "workers", "\"auto\"");
    let one = setup().cores("0").start();
    assert_eq!(one.readiness()["workers"], 1);
    assert_eq!(one.get("/a").text(), "x");
    let all = setup().start();
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(all.readiness()["workers"], cores);
    assert_eq!(all.get("/a").text(), "x");
}

/// The cores that each thread of the gateway may run on, as the kernel lists them.
fn cores_of_threads(gateway: &Gateway) -> Vec<String> {
    fs::read_dir(format!("/proc/{}/task", gateway.pid()))
        .unwrap()
        .map(|entry| fs::read_to_string(entry.unwrap().path().join("status")).unwrap())
        .map(|status| {
            let line = status.lines().find(|l| l.starts_with("Cpus_allowed_list:"));
            line.unwrap().split_whitespace().nth(1).unwrap().to_owned()
        })
        .collect()
}

fn pins_workers_to_their_cores(driver: Driver) {
    let origin = Origin::named("x");
    // The last core that this process may use, so that a pin is told from a habit.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|l| l.starts_with("Cpus_allowed_list:"))
        .unwrap();
    let last = line
        .rsplit(['\t', ',', '-', ' '])
        .next()
        .unwrap()
        .to_owned();
    let gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "cores", &format!("{last:?}"))
        .start();
    assert_eq!(gateway.get("/a").text(), "x");
    let cores = cores_of_threads(&gateway);
    assert_eq!(
        cores.iter().filter(|list| **list == last).count(),
        1,
        "{cores:?}"
    );
}

#[test]
fn auto_falls_back_to_epoll_and_says_why() {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(Driver::IoUring, origin.address())
        .set("runtime", "driver", "\"auto\"")
        .io_uring_refused()
        .start();
    assert_eq!(gateway.readiness()["driver"], "epoll");
    assert_eq!(gateway.get("/a").text(), "x");
    let stderr = gateway.stderr();
    let warnings: Vec<&str> = stderr
        .lines()
        .filter(|l| l.contains("io_uring") && l.contains("WARN"))
        .collect();
    assert_eq!(warnings.len(), 1, "{stderr}");
    let line: serde_json::Value = serde_json::from_str(warnings[0]).unwrap();
    let reason = line["reason"].as_str().unwrap();
    assert!(reason.starts_with("io_uring is forbidden"), "{reason}");
    assert!(reason.contains("seccomp"), "{reason}");
}

#[test]
fn io_uring_by_name_does_not_start_without_it() {
    let origin = Origin::named("x");
    let said = Setup::proxy(Driver::IoUring, origin.address())
        .io_uring_refused()
        .fails_to_start();
    assert!(said.contains("io_uring"), "{said}");
}

#[test]
fn more_workers_than_cores_are_said_to_be_unpinned() {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(Driver::Epoll, origin.address())
        .cores("0")
        .set("runtime", "workers", "2")
        .start();
    assert_eq!(gateway.get("/a").text(), "x");
    let stderr = gateway.stderr();
    assert!(stderr.contains("\"cores\":\"unpinned\""), "{stderr}");
    let reasons = stderr.matches("runtime.workers is 2 and there are 1 cores");
    assert_eq!(reasons.count(), 1, "{stderr}");
}
