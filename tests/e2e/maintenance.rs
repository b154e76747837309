//! Routes that are worked on.

use crate::support::curl::curl_text;
use crate::support::{Driver, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    everybody_is_asked_to_come_back,
    networks_and_those_who_know_the_word_pass,
    it_is_turned_on_and_off_by_a_reload,
);

fn worked_on(driver: Driver, origin: &Origin, more: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.break]\ntype = \"maintenance\"\n{more}"))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"break\"]")
}

fn everybody_is_asked_to_come_back(driver: Driver) {
    let origin = Origin::named("x");
    let page = "retry_after = \"2m\"\nbody = \"<h1>soon</h1>\"\ncontent_type = \"text/html\"";
    let gateway = worked_on(driver, &origin, page).start();
    let response = gateway.get("/a");
    assert_eq!((response.status, response.text()), (503, "<h1>soon</h1>"));
    assert_eq!(response.field("retry-after"), Some("120"));
    assert_eq!(response.field("content-type"), Some("text/html"));
    assert_eq!(gateway.log_line()["code"], "maintenance");
    assert!(origin.requests().is_empty());
}

fn networks_and_those_who_know_the_word_pass(driver: Driver) {
    let origin = Origin::named("x");
    let more = "allow = [\"127.0.0.2/32\"]\nheader = { name = \"x-preview\", value = \"open\" }";
    let gateway = worked_on(driver, &origin, more).start();
    let url = format!("http://{}/a", gateway.address());
    let status = ["-o", "/dev/null", "-w", "%{http_code}"];
    let curl = |more: &[&str]| curl_text(&[&status[..], more, &[&*url]].concat());
    assert_eq!(curl(&[]), "503");
    assert_eq!(curl(&["--interface", "127.0.0.2"]), "200");
    assert_eq!(curl(&["-H", "X-Preview: open"]), "200");
    assert_eq!(curl(&["-H", "X-Preview: opem"]), "503");
    // The word is nobody else's business.
    assert!(!gateway.admin("GET", "/config").text().contains("open\""));
}

fn it_is_turned_on_and_off_by_a_reload(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = worked_on(driver, &origin, "enabled = false").start();
    let mut client = gateway.client();
    assert_eq!(client.get("/a").status, 200);
    for (enabled, status) in [("true", 503), ("false", 200)] {
        gateway.rewrite(|setup| {
            worked_on_again(
                setup.without_body(),
                &origin,
                &format!("enabled = {enabled}"),
            )
        });
        assert_eq!(gateway.reload().status, 200);
        wait_until("the connection sees it", || {
            client.get("/a").status == status
        });
    }
}

fn worked_on_again(setup: Setup, origin: &Origin, more: &str) -> Setup {
    setup
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.break]\ntype = \"maintenance\"\n{more}"))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"break\"]")
}
