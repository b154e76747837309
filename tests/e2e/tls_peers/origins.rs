//! TLS to origins with nginx as the origin: who is trusted, what is asked for, and the code of
//! each way to fail.

use crate::support::certificates::{Authority, Pair};
use crate::support::curl::try_curl;
use crate::support::python::Server;
use crate::support::{Driver, Gateway, Nginx, Origin, Setup, on_both_drivers};

on_both_drivers!(
    verifies_an_origin_of_a_given_authority,
    refuses_an_origin_of_another_authority,
    refuses_an_origin_of_another_name,
    refuses_an_expired_origin,
    takes_any_certificate_where_it_is_told_so,
    asks_for_the_name_it_is_told,
    shows_a_certificate_to_the_origin,
    fails_where_the_origin_speaks_no_tls,
    fails_where_no_version_is_shared,
    fails_where_the_origin_refuses_the_protocol,
    resumes_sessions_with_the_origin,
    reads_long_answers_in_tls,
    tells_a_cut_answer_from_a_whole_one,
);

const LOCATIONS: &str = "location /seen { return 200 \
    \"$ssl_server_name $ssl_protocol $ssl_client_verify $ssl_client_s_dn\"; }\n\
    location /reused { keepalive_timeout 0; return 200 \"$ssl_session_reused\"; }\n";

/// nginx with this certificate and further directives.
fn nginx(pair: &Pair, more: &str) -> Nginx {
    let (cert, key) = (pair.cert(), pair.key());
    Nginx::listening(
        "ssl",
        &format!("ssl_certificate {cert};\nssl_certificate_key {key};\n{LOCATIONS}\n{more}"),
    )
}

/// A gateway before `endpoint` with these lines below `[upstream.tls]`.
fn gateway(driver: Driver, endpoint: &str, tls: &str) -> Gateway {
    let tls = format!("protocol = \"http/1.1\"\n[upstream.tls]\n{tls}");
    Setup::new(driver)
        .upstream("app", endpoint, &tls)
        .catch_all("app")
        .start()
}

fn trusting(authority: &Authority, name: &str) -> String {
    format!("ca = {:?}\nserver_name = {name:?}\n", authority.ca())
}

#[track_caller]
fn expect_failure(gateway: &Gateway, code: &str) {
    assert_eq!(gateway.get("/seen").status, 502);
    let line = gateway.log_line();
    assert_eq!(line["code"], code, "{line}");
    assert_eq!(line["end"], "OC", "{line}");
    gateway.wait_for_metric(
        "ringgate_faults_total",
        &[("by", "origin"), ("code", code)],
        1.0,
    );
}

fn verifies_an_origin_of_a_given_authority(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(&authority.server(&["origin.test"]), "");
    let tls = trusting(&authority, "origin.test");
    let gateway = gateway(driver, &nginx.address(), &tls);
    let mut client = gateway.client();
    for _ in 0..3 {
        let seen = client.get("/seen");
        assert!(
            seen.text().starts_with("origin.test TLSv1"),
            "{}",
            seen.text()
        );
    }
    assert_eq!(gateway.metric("ringgate_upstream_connects_total", &[]), 1.0);
}

fn refuses_an_origin_of_another_authority(driver: Driver) {
    let (other, authority) = (Authority::new(), Authority::new());
    let nginx = nginx(&other.server(&["origin.test"]), "");
    let tls = trusting(&authority, "origin.test");
    expect_failure(&gateway(driver, &nginx.address(), &tls), "origin_untrusted");
}

fn refuses_an_origin_of_another_name(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(&authority.server(&["origin.test"]), "");
    let tls = trusting(&authority, "other.test");
    expect_failure(&gateway(driver, &nginx.address(), &tls), "origin_untrusted");
}

fn refuses_an_expired_origin(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(&authority.expired_server(&["origin.test"]), "");
    let tls = trusting(&authority, "origin.test");
    expect_failure(&gateway(driver, &nginx.address(), &tls), "origin_untrusted");
}

fn takes_any_certificate_where_it_is_told_so(driver: Driver) {
    let nginx = nginx(&Authority::new().expired_server(&["origin.test"]), "");
    let tls = "server_name = \"other.test\"\nverify = false\n";
    let gateway = gateway(driver, &nginx.address(), tls);
    assert!(gateway.get("/seen").text().starts_with("other.test "));
}

fn asks_for_the_name_it_is_told(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(&authority.server(&["*.origins.test"]), "");
    let tls = trusting(&authority, "one.origins.test");
    let gateway = gateway(driver, &nginx.address(), &tls);
    assert!(gateway.get("/seen").text().starts_with("one.origins.test "));
}

fn shows_a_certificate_to_the_origin(driver: Driver) {
    let authority = Authority::new();
    let asks = format!(
        "ssl_verify_client on;\nssl_client_certificate {};\n",
        authority.trust()
    );
    let nginx = nginx(&authority.server(&["origin.test"]), &asks);
    let pair = authority.client("the gateway", &[]);
    let tls = trusting(&authority, "origin.test");
    let shown = format!("{tls}cert = {:?}\nkey = {:?}\n", pair.cert, pair.key);
    let answer = gateway(driver, &nginx.address(), &shown).get("/seen");
    assert!(
        answer.text().ends_with("SUCCESS CN=the gateway"),
        "{}",
        answer.text()
    );
    // nginx says so in HTTP, which is an answer like any other.
    assert_eq!(
        gateway(driver, &nginx.address(), &tls).get("/seen").status,
        400
    );
}

fn fails_where_the_origin_speaks_no_tls(driver: Driver) {
    let plain = Origin::start(|conn| {
        // As a plain server does on bytes that are no request.
        if conn.take(5).is_some() {
            conn.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
        conn.stall();
    });
    let authority = Authority::new();
    let tls = trusting(&authority, "origin.test");
    expect_failure(&gateway(driver, plain.address(), &tls), "origin_tls");
}

fn fails_where_no_version_is_shared(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(
        &authority.server(&["origin.test"]),
        "ssl_protocols TLSv1.2;",
    );
    let tls = trusting(&authority, "origin.test");
    let told = format!("{tls}min_version = \"1.3\"\n");
    expect_failure(&gateway(driver, &nginx.address(), &told), "origin_tls");
    let seen = gateway(driver, &nginx.address(), &tls).get("/seen");
    assert!(
        seen.text().starts_with("origin.test TLSv1.2"),
        "{}",
        seen.text()
    );
}

fn fails_where_the_origin_refuses_the_protocol(driver: Driver) {
    let authority = Authority::new();
    // This nginx speaks no HTTP/2, and says so in the handshake.
    let nginx = nginx(&authority.server(&["origin.test"]), "");
    let tls = trusting(&authority, "origin.test");
    let gateway = Setup::new(driver)
        .upstream(
            "app",
            &nginx.address(),
            &format!("protocol = \"h2\"\n[upstream.tls]\n{tls}"),
        )
        .catch_all("app")
        .start();
    expect_failure(&gateway, "origin_protocol");
}

fn resumes_sessions_with_the_origin(driver: Driver) {
    let authority = Authority::new();
    let cache = "ssl_session_cache shared:a:1m;";
    let nginx = nginx(&authority.server(&["origin.test"]), cache);
    let tls = trusting(&authority, "origin.test");
    let gateway = gateway(driver, &nginx.address(), &tls);
    let reused: Vec<String> = (0..5)
        .map(|_| gateway.get("/reused").text().to_owned())
        .collect();
    assert_eq!(reused[0], ".", "the first session is new");
    assert!(reused[1..].iter().any(|r| r == "r"), "{reused:?}");
}

fn reads_long_answers_in_tls(driver: Driver) {
    let authority = Authority::new();
    let nginx = nginx(&authority.server(&["origin.test"]), "");
    let content: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 253) as u8).collect();
    std::fs::write(nginx.root().join("www/large.bin"), &content).unwrap();
    let tls = trusting(&authority, "origin.test");
    let gateway = gateway(driver, &nginx.address(), &tls);
    let mut client = gateway.client();
    for _ in 0..2 {
        assert!(
            client.get("/large.bin").body == content,
            "the file came changed"
        );
    }
}

/// An answer that ends with its connection is whole only when TLS says that it ends: RFC 9112,
/// section 9.8.
fn tells_a_cut_answer_from_a_whole_one(driver: Driver) {
    let authority = Authority::new();
    let pair = authority.server(&["origin.test"]);
    let origin = Server::start(
        "cut_origin.py",
        &["--cert", pair.cert(), "--key", pair.key()],
    );
    let tls = trusting(&authority, "origin.test");
    let gateway = gateway(driver, origin.address(), &tls);
    for how in ["--http1.1", "--http2-prior-knowledge"] {
        let get = |path: &str| try_curl(&[how, &format!("http://{}{path}", gateway.address())]);
        let whole = get("/whole");
        assert!(whole.success, "{how}: {}", whole.stderr);
        assert_eq!(whole.text(), "all there is");
        assert!(
            !get("/cut").success,
            "{how}: a cut answer passed for a whole one"
        );
    }
    let lines = gateway.log(4);
    let cut: Vec<_> = lines.iter().filter(|l| l["target"] == "/cut").collect();
    assert!(cut.iter().all(|l| l["end"] == "OR"), "{cut:?}");
}
