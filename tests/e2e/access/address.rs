//! Clients that are kept out by their addresses.

use std::fs;
use std::path::PathBuf;

use crate::support::curl::curl_text;
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    files_of_networks_are_followed,
    only_trusted_proxies_name_the_client,
    a_blocked_client_gets_no_answer_of_cors,
);

fn status(gateway: &Gateway, from: &str, more: &[&str]) -> String {
    let url = format!("http://{}/a", gateway.address());
    let usual = ["-o", "/dev/null", "-w", "%{http_code}", "--interface", from];
    curl_text(&[&usual[..], more, &[&*url]].concat())
}

fn kept_out(driver: Driver, origin: &Origin, filter: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.gate]\ntype = \"address\"\n{filter}"))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"gate\"]")
}

fn files_of_networks_are_followed(driver: Driver) {
    let origin = Origin::named("x");
    let lists = tempfile::tempdir().unwrap();
    let list: PathBuf = lists.path().join("abusers.txt");
    fs::write(&list, "# abusers\n127.0.0.2\n192.0.2.0/24 # a net\n").unwrap();
    let gateway = kept_out(driver, &origin, &format!("block_files = [{list:?}]")).start();
    assert_eq!(status(&gateway, "127.0.0.2", &[]), "403");
    assert_eq!(gateway.log_line()["code"], "address_blocked");
    assert_eq!(status(&gateway, "127.0.0.3", &[]), "200");
    fs::write(&list, "127.0.0.3/32\n").unwrap();
    wait_until("the file is read again", || {
        status(&gateway, "127.0.0.3", &[]) == "403"
    });
    assert_eq!(status(&gateway, "127.0.0.2", &[]), "200");
    // A list with a fault is not taken, and the former one stays.
    fs::write(&list, "127.0.0.2\n127.0.0.5/8\n").unwrap();
    let refused = gateway.reload();
    assert_ne!(refused.status, 200);
    let said = refused.text();
    assert!(said.contains("abusers.txt:2: "), "{said}");
    assert_eq!(status(&gateway, "127.0.0.3", &[]), "403");
}

fn only_trusted_proxies_name_the_client(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = kept_out(driver, &origin, "allow = [\"10.0.0.0/8\", \"127.0.0.1\"]")
        .set("forwarded", "trusted", "[\"127.0.0.1/32\"]")
        .start();
    let inside = ["-H", "X-Forwarded-For: 10.1.2.3"];
    let outside = ["-H", "X-Forwarded-For: 10.1.2.3, 192.0.2.1"];
    assert_eq!(status(&gateway, "127.0.0.1", &inside), "200");
    assert_eq!(status(&gateway, "127.0.0.1", &outside), "403");
    assert_eq!(status(&gateway, "127.0.0.2", &inside), "403");
}

fn a_blocked_client_gets_no_answer_of_cors(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(
            "[filter.gate]\ntype = \"address\"\nblock = [\"127.0.0.1\"]\n\
             [filter.cors]\ntype = \"cors\"\norigins = [\"https://app.test\"]",
        )
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"gate\", \"cors\"]",
        )
        .start();
    let answer = gateway.client().exchange(
        "OPTIONS /a HTTP/1.1\r\nHost: gateway.test\r\nOrigin: https://app.test\r\n\
         Access-Control-Request-Method: GET\r\n\r\n",
    );
    assert_eq!(answer.status, 403);
    assert_eq!(answer.field("access-control-allow-origin"), None);
    assert!(origin.requests().is_empty());
}
