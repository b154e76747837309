//! What browsers are told to be careful about.

use crate::support::certificates::Authority;
use crate::support::curl::curl_text;
use crate::support::{Driver, Origin, Setup, on_both_drivers};

on_both_drivers!(
    answers_carry_the_preset,
    strict_transport_is_sent_over_tls_alone,
);

fn replying() -> Origin {
    Origin::replying(|_| {
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: app/1.0\r\nX-Powered-By: x\r\n\
          X-Frame-Options: SAMEORIGIN\r\n\r\n"
            .to_vec()
    })
}

fn setup(driver: Driver, origin: &Origin, more: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[filter.careful]\ntype = \"security_headers\"\n{more}"
        ))
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"careful\"]",
        )
}

fn answers_carry_the_preset(driver: Driver) {
    let origin = replying();
    let gateway = setup(driver, &origin, "hide_server = true").start();
    let answer = gateway.get("/a");
    for (name, value) in [
        ("x-content-type-options", Some("nosniff")),
        ("referrer-policy", Some("strict-origin-when-cross-origin")),
        ("x-frame-options", Some("DENY")),
        ("server", None),
        ("x-powered-by", None),
        ("strict-transport-security", None),
    ] {
        assert_eq!(answer.field(name), value, "{name}");
    }
    let more = "keep = true\ncontent_security_policy = \"default-src 'self'\"\n\
                cross_origin_opener = \"same-origin\"\nhsts_max_age = \"off\"";
    let keeping = setup(driver, &origin, more).start();
    let answer = keeping.get("/a");
    assert_eq!(answer.field("x-frame-options"), Some("SAMEORIGIN"));
    assert_eq!(answer.field("server"), Some("app/1.0"));
    let policy = answer.field("content-security-policy");
    assert_eq!(policy, Some("default-src 'self'"));
    let opener = answer.field("cross-origin-opener-policy");
    assert_eq!(opener, Some("same-origin"));
}

fn strict_transport_is_sent_over_tls_alone(driver: Driver) {
    let origin = replying();
    let pair = Authority::new().server(&["gateway.test"]);
    let gateway = setup(driver, &origin, "hsts_subdomains = true")
        .certificates(&[&pair])
        .start();
    let url = format!("https://{}/a", gateway.address());
    let head = curl_text(&["-k", "-D", "-", "-o", "/dev/null", &url]).to_ascii_lowercase();
    let line = "strict-transport-security: max-age=31536000; includesubdomains";
    assert!(head.contains(line), "{head}");
}
