//! Client certificates that prove who makes a request.

use crate::support::certificates::{Authority, Pair};
use crate::support::curl::{curl_text, try_curl};
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers};

on_both_drivers!(
    a_certificate_proves_its_consumer,
    any_verified_certificate_may_be_enough,
    headers_that_speak_of_certificates_prove_nothing,
);

fn setup(driver: Driver, origin: &Origin, clients: &Authority, more: &str) -> Setup {
    let pair = clients.server(&["localhost"]);
    Setup::new(driver)
        .certificates(&[&pair])
        .set("listener", "tls.client_auth", "\"optional\"")
        .set("listener", "tls.client_ca", &format!("{:?}", clients.ca()))
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[[consumer]]\nname = \"robot\"\ngroups = [\"machines\"]\n\
             certificates = [\"san:robot.internal\"]\n\
             [filter.certificate]\ntype = \"mtls\"\n{more}"
        ))
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"certificate\"]",
        )
}

fn status(gateway: &Gateway, clients: &Authority, pair: Option<&Pair>, more: &[&str]) -> String {
    let port = gateway.address().rsplit(':').next().unwrap();
    let url = format!("https://localhost:{port}/a");
    let resolve = format!("localhost:{port}:127.0.0.1");
    let trust = clients.ca().display().to_string();
    let mut arguments = vec!["-o", "/dev/null", "-w", "%{http_code}"];
    arguments.extend(["--resolve", &resolve, "--cacert", &trust]);
    if let Some(pair) = pair {
        arguments.extend(["--cert", pair.cert(), "--key", pair.key()]);
    }
    arguments.extend(more);
    arguments.push(&url);
    curl_text(&arguments)
}

fn a_certificate_proves_its_consumer(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let robot = clients.client("anything", &["robot.internal"]);
    let stranger = clients.client("robot.internal", &["other.internal"]);
    let gateway = setup(driver, &origin, &clients, "").start();
    for version in ["--http1.1", "--http2"] {
        let of = |pair| status(&gateway, &clients, pair, &[version]);
        assert_eq!(of(Some(&robot)), "200");
        assert_eq!(of(Some(&stranger)), "401");
        assert_eq!(of(None), "401");
    }
    let codes: Vec<_> = gateway.log(6).iter().map(|l| l["code"].clone()).collect();
    let expected = ["", "invalid_credentials", "no_credentials"];
    for (code, expected) in codes.iter().zip(expected.iter().cycle()) {
        assert_eq!(code.as_str().unwrap_or_default(), *expected, "{codes:?}");
    }
    for request in origin.requests() {
        assert_eq!(request.fields.one("x-consumer"), Some("robot"));
        assert_eq!(request.fields.one("x-consumer-groups"), Some("machines"));
        assert_eq!(request.fields.one("x-subject"), Some("CN=anything"));
    }
    // One of an authority that nobody named does not get as far as a request.
    let foreign = Authority::new().client("anything", &["robot.internal"]);
    let port = gateway.address().rsplit(':').next().unwrap();
    let url = format!("https://127.0.0.1:{port}/a");
    let shown = ["--cert", foreign.cert(), "--key", foreign.key()];
    assert!(!try_curl(&[&["-k"], &shown[..], &[&*url]].concat()).success);
}

fn any_verified_certificate_may_be_enough(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let stranger = clients.client("somebody", &["other.internal"]);
    let gateway = setup(driver, &origin, &clients, "require_consumer = false").start();
    assert_eq!(status(&gateway, &clients, Some(&stranger), &[]), "200");
    assert_eq!(status(&gateway, &clients, None, &[]), "401");
    let requests = origin.requests();
    assert_eq!(requests[0].fields.one("x-subject"), Some("CN=somebody"));
    assert!(!requests[0].fields.has("x-consumer"));
}

fn headers_that_speak_of_certificates_prove_nothing(driver: Driver) {
    let (clients, origin) = (Authority::new(), Origin::named("x"));
    let gateway = setup(driver, &origin, &clients, "")
        .set("forwarded", "trusted", "[\"127.0.0.0/8\"]")
        .start();
    let claims = [
        "X-Client-Cert-San: DNS:robot.internal",
        "X-Forwarded-Client-Cert: URI=robot.internal;Subject=\"CN=robot.internal\"",
        "Client-Cert: :AAAA:",
        "X-SSL-Client-S-DN: CN=robot.internal",
        "X-Consumer: robot",
    ];
    for claim in claims {
        let said = status(&gateway, &clients, None, &["-H", claim]);
        assert_eq!(said, "401", "{claim}");
    }
    assert!(origin.requests().is_empty());
}
