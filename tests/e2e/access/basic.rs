//! Users and their passwords, compared beside the data plane.

use std::fs;

use ringgate_core::base64::Encoder;

use crate::support::curl::curl_text;
use crate::support::load::{Load, count};
use crate::support::{Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    a_user_passes_with_the_right_password,
    a_file_of_users_is_read_again_when_it_changes,
    a_flood_of_passwords_is_bounded_and_slows_nobody,
    explain_says_what_would_be_asked,
);

/// Of "open sesame", at the least cost.
const SESAME: &str = "$2b$04$abcdefghijklmnopqrstuu/LVz6MZlItEy42I2juLihZ66HnQx/cy";

fn gateway(driver: Driver, origin: &Origin, more: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("[filter.people]\ntype = \"basic\"\n{more}"))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"people\"]")
}

fn credentials(text: &str) -> String {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    encoder.push(text.as_bytes(), &mut out);
    encoder.finish(&mut out);
    String::from_utf8(out).unwrap()
}

fn inline() -> String {
    format!("realm = \"the cave\"\nusers = {{ Aladdin = {SESAME:?} }}")
}

fn status(gateway: &Gateway, user: &str) -> String {
    let url = format!("http://{}/a", gateway.address());
    curl_text(&["-o", "/dev/null", "-w", "%{http_code}", "-u", user, &url])
}

fn a_user_passes_with_the_right_password(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = gateway(driver, &origin, &inline()).start();
    let response = gateway.get("/a");
    assert_eq!(response.status, 401);
    assert_eq!(
        response.field("www-authenticate"),
        Some("Basic realm=\"the cave\", charset=\"UTF-8\"")
    );
    assert_eq!(gateway.log_line()["code"], "no_credentials");
    for (user, expected) in [
        ("Aladdin:open sesame", "200"),
        ("Aladdin:open sesame", "200"),
        ("Aladdin:open sesam", "401"),
        ("aladdin:Open sesame", "401"),
        ("jinni:lamp", "401"),
        (":", "401"),
    ] {
        assert_eq!(status(&gateway, user), expected, "{user}");
    }
    let right = [("result", "right")];
    assert_eq!(
        gateway.metric("ringgate_password_checks_total", &right),
        1.0
    );
    let requests = origin.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.fields.one("x-subject"), Some("Aladdin"));
        assert!(
            !request.fields.has("authorization"),
            "it is for the gateway"
        );
    }
    let pages = ["/config", "/metrics", "/routes"];
    let mut said = gateway.stderr() + &gateway.log_lines(7).join("\n");
    for page in pages {
        said.push_str(gateway.admin("GET", page).text());
    }
    for secret in ["$2b$", "sesam", "b3BlbiBzZXNhbWU"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

fn a_file_of_users_is_read_again_when_it_changes(driver: Driver) {
    let origin = Origin::named("x");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users.htpasswd");
    fs::write(&file, format!("# people\nAladdin:{SESAME}\n")).unwrap();
    let gateway = gateway(driver, &origin, &format!("htpasswd = {file:?}")).start();
    assert_eq!(status(&gateway, "Aladdin:open sesame"), "200");
    fs::write(&file, format!("Jasmin:{SESAME}\n")).unwrap();
    wait_until("the change is seen", || {
        status(&gateway, "Jasmin:open sesame") == "200"
    });
    assert_eq!(status(&gateway, "Aladdin:open sesame"), "401");
    // What is no hash changes nothing.
    fs::write(&file, "Jasmin:open sesame\n").unwrap();
    assert_eq!(gateway.reload().status, 422);
    assert!(!gateway.stderr().contains("open sesame"));
    assert_eq!(status(&gateway, "Jasmin:open sesame"), "200");
}

fn a_flood_of_passwords_is_bounded_and_slows_nobody(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = gateway(driver, &origin, &inline())
        .set("limits", "requests_per_connection_max", "\"off\"")
        .route("open", "/open", "respond = { status = 204 }")
        .start();
    assert_eq!(status(&gateway, "Aladdin:open sesame"), "200");
    // More connections than a core compares passwords for; each password is another one.
    let flood: Vec<Load> = (0..150)
        .map(|n| {
            let guess = credentials(&format!("Aladdin:guess {n}"));
            let request =
                format!("GET /a HTTP/1.1\r\nhost: x\r\nauthorization: Basic {guess}\r\n\r\n");
            Load::start(&[gateway.address()], 1, &request)
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(gateway.get("/open").status, 204);
        assert_eq!(status(&gateway, "Aladdin:open sesame"), "200");
    }
    let all: Vec<_> = flood.into_iter().flat_map(Load::stop).collect();
    let refused = count(&all, 401) + count(&all, 503);
    assert_eq!(refused, all.len(), "nobody passes");
    assert!(count(&all, 401) > 0);
}

fn explain_says_what_would_be_asked(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = gateway(driver, &origin, &inline()).start();
    let file = gateway.file().display().to_string();
    let url = format!("http://{}/a", gateway.address());
    let explain = |more: &[&str]| {
        let arguments = [&["explain", &*file, "GET", &*url], more].concat();
        let output = crate::support::run(&arguments);
        output.stdout
    };
    let said = explain(&[]);
    assert!(said.contains("it carries no credential"), "{said}");
    let said = explain(&["-H", "authorization: Basic x"]);
    assert!(said.contains("not in base64"), "{said}");
    let said = explain(&["-H", "authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    assert!(!said.contains("sesame") && !said.contains("$2b$"), "{said}");
}
