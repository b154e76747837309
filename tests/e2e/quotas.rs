//! Quotas over days and months: they outlive the process, and the admin API and the command
//! line read and reset them.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::sys::Signal;
use crate::support::{Driver, Gateway, Setup, on_both_drivers, run, wait_until};

on_both_drivers!(
    a_restart_goes_on_where_the_last_one_ended,
    a_crash_loses_a_second_at_most,
    keys_are_read_and_reset,
    a_reload_adds_a_quota_with_what_is_known_of_it,
);

fn store(dir: &TempDir) -> PathBuf {
    dir.path().join("quotas.redb")
}

/// A quota by API key, kept at `store`.
fn setup(driver: Driver, store: &Path, limit: u64) -> Setup {
    Setup::new(driver)
        .set("runtime", "workers", "2")
        .body(&format!("[quotas]\nstore = {store:?}"))
        .body(&quota("calls", limit))
        .route("all", "/{rest*}", OK)
}

fn quota(name: &str, limit: u64) -> String {
    format!(
        "[filter.{name}]\ntype = \"quota\"\nkey = \"header:x-api-key\"\nlimit = {limit}\nper = \"month\""
    )
}

const OK: &str = "respond = { status = 200, body = \"ok\" }\nfilters = [\"calls\"]";

fn passed(gateway: &Gateway, key: &str, times: usize) -> usize {
    let request = format!("GET /x HTTP/1.1\r\nHost: gateway.test\r\nX-Api-Key: {key}\r\n\r\n");
    let mut client = gateway.client();
    let all: Vec<u16> = (0..times)
        .map(|_| client.exchange(&request).status)
        .collect();
    assert!(
        all.iter().all(|status| [200, 429].contains(status)),
        "{all:?}"
    );
    all.iter().filter(|status| **status == 200).count()
}

fn a_restart_goes_on_where_the_last_one_ended(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = setup(driver, &store(&dir), 10).start();
    assert_eq!(passed(&gateway, "alice", 7), 7);
    assert_eq!(passed(&gateway, "bob", 1), 1);
    assert!(gateway.stop().success());
    let gateway = setup(driver, &store(&dir), 10).start();
    // What a worker had leased and not used at the end counts as used: never more, hardly less.
    let left = passed(&gateway, "alice", 7);
    assert!((1..=3).contains(&left), "{left}");
    let left = passed(&gateway, "bob", 20);
    assert!((7..=9).contains(&left), "{left}");
}

fn a_crash_loses_a_second_at_most(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = setup(driver, &store(&dir), 1_000).start();
    assert_eq!(passed(&gateway, "alice", 400), 400);
    // Two writes that begin now have all of it; the first may have been under way.
    let writes = || {
        let labels = [("result", "written")];
        gateway.metric("ringgate_quota_store_writes_total", &labels)
    };
    let before = writes();
    wait_until("the counts are written", || writes() >= before + 2.0);
    let kept = passed(&gateway, "alice", 50);
    assert_eq!(kept, 50);
    gateway.signal(Signal::Kill);
    gateway.wait();
    let gateway = setup(driver, &store(&dir), 1_000).start();
    let again = passed(&gateway, "alice", 1_000);
    assert!(
        (550..=600).contains(&again),
        "{again}: 400 were written, 50 perhaps"
    );
}

fn keys_are_read_and_reset(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = setup(driver, &store(&dir), 5).start();
    assert_eq!(passed(&gateway, "alice", 9), 5);
    assert_eq!(passed(&gateway, "bob", 2), 2);
    let page = gateway.admin("GET", "/quotas?filter=calls").json();
    assert_eq!(page["keys"], 2, "{page}");
    assert_eq!(page["per"], "month", "{page}");
    let first = &page["usage"][0];
    assert!(first["key"].as_str().unwrap().contains("alice"), "{page}");
    assert_eq!(first["left"], 0, "{page}");
    let (alice, admin) = (first["key"].as_str().unwrap(), gateway.admin_address());

    let listed = run(&["quotas", "list", "calls", "--admin", admin]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    assert!(
        listed.stdout.contains("calls: 5 a month, 2 keys"),
        "{}",
        listed.stdout
    );
    assert!(listed.stdout.contains(alice), "{}", listed.stdout);
    let reset = run(&["quotas", "reset", "calls", alice, "--admin", admin]);
    assert_eq!(reset.code, 0, "{}", reset.stderr);
    wait_until("the key begins anew", || passed(&gateway, "alice", 1) == 1);
    assert!(passed(&gateway, "bob", 9) <= 3, "others are as they were");

    let unknown = run(&["quotas", "reset", "calls", "carol", "--admin", admin]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.stderr.contains("has counted no key"),
        "{}",
        unknown.stderr
    );
    let unknown = run(&["quotas", "list", "nothing", "--admin", admin]);
    assert!(
        unknown.stderr.contains("one of calls"),
        "{}",
        unknown.stderr
    );
    assert_eq!(
        gateway.admin("POST", "/quotas/reset?filter=calls").status,
        400
    );
    assert!(gateway.stop().success());
}

fn a_reload_adds_a_quota_with_what_is_known_of_it(driver: Driver) {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = setup(driver, &store(&dir), 5).start();
    assert_eq!(passed(&gateway, "alice", 4), 4);
    let written = |body: &str| format!("[quotas]\nstore = {:?}\n{body}", store(&dir));
    let without = "respond = { status = 200, body = \"ok\" }";
    gateway.rewrite(|setup| {
        let setup = setup.without_body().body(&written(""));
        setup.route("all", "/{rest*}", without)
    });
    let before = gateway.metric(
        "ringgate_quota_store_writes_total",
        &[("result", "written")],
    );
    assert!(before >= 0.0);
    wait_until("the count is written", || {
        gateway.metric("ringgate_quota_store_keys", &[]) == 1.0
    });
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(passed(&gateway, "alice", 9), 9);
    gateway.rewrite(|setup| {
        let setup = setup.without_body().body(&written(&quota("calls", 5)));
        setup.route("all", "/{rest*}", OK)
    });
    assert_eq!(gateway.reload().status, 200);
    assert!(passed(&gateway, "alice", 9) <= 1);
}

#[test]
fn a_damaged_store_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(store(&dir), "no database").unwrap();
    let said = setup(Driver::Epoll, &store(&dir), 5).fails_to_start();
    assert!(said.contains("is damaged"), "{said}");
    assert!(said.contains("move it away"), "{said}");
    assert_eq!(fs::read_to_string(store(&dir)).unwrap(), "no database");
}

#[test]
fn a_store_in_use_keeps_it_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let _first = setup(Driver::Epoll, &store(&dir), 5).start();
    let said = setup(Driver::Epoll, &store(&dir), 5).fails_to_start();
    assert!(said.contains("is in use"), "{said}");
}
