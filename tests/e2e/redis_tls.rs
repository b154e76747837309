//! Limits that are shared over TLS, by a user of the server whose name and password come from the
//! environment.

use crate::support::certificates::Authority;
use crate::support::redis::Redis;
use crate::support::{Driver, Gateway, Setup, wait_until};

const PASSWORD: &str = "opensesame-by-tls";

/// A server with a certificate of this authority, for `localhost`.
fn server(authority: &Authority) -> Redis {
    let pair = authority.server(&["localhost"]);
    let files = [pair.cert(), pair.key(), &authority.trust()];
    Redis::with_tls(files, "limits", PASSWORD)
}

/// A gateway that trusts the authority, and knows this password.
fn gateway(redis: &Redis, authority: &Authority, password: &str) -> Gateway {
    let port = redis.port();
    Setup::new(Driver::Epoll)
        .variable("SSL_CERT_FILE", &authority.trust())
        .variable("LIMITS_USER", "limits")
        .variable("LIMITS_PASSWORD", password)
        .body(&format!(
            "[redis.shared]\n\
             url = \"rediss://${{env:LIMITS_USER}}:${{env:LIMITS_PASSWORD}}@localhost:{port}/\"\n\
             nodes = 2\ntimeout = \"1s\"\n\
             [filter.limit]\ntype = \"rate_limit\"\nkey = \"route\"\nlimit = 100\n\
             per = \"1h\"\nredis = \"shared\""
        ))
        .route(
            "all",
            "/{rest*}",
            "respond = { status = 200, body = \"ok\" }\nfilters = [\"limit\"]",
        )
        .start()
}

fn calls(gateway: &Gateway, result: &str) -> f64 {
    let labels = [("redis", "shared"), ("result", result)];
    gateway.metric("ringgate_redis_calls_total", &labels)
}

fn up(gateway: &Gateway) -> bool {
    gateway.metric("ringgate_redis_up", &[("redis", "shared")]) == 1.0
}

/// All that the gateway says, which holds no password.
#[track_caller]
fn said(gateway: &Gateway, secrets: &[&str]) -> String {
    let mut said = gateway.stderr() + &gateway.stdout();
    for page in ["/limits", "/config", "/metrics"] {
        said.push_str(gateway.admin("GET", page).text());
    }
    for secret in secrets {
        assert!(!said.contains(secret), "{said}");
    }
    said
}

/// Requests pass by the node's own means, and the reason why is told.
#[track_caller]
fn falls_back(gateway: &Gateway, why: &str) {
    wait_until("it has tried again", || calls(gateway, "failed") >= 2.0);
    assert!(!up(gateway));
    let mut client = gateway.client();
    // A quarter of its share is there before the first answer.
    let passed = (0..30).filter(|_| client.get("/x").status == 200).count();
    assert!((12..=20).contains(&passed), "{passed}");
    let page = gateway.admin("GET", "/limits").json();
    let status = &page["redis"][0];
    assert_eq!(status["state"], "away", "{page}");
    let told = status["why"].as_str().unwrap().to_lowercase();
    assert!(told.contains(why), "{told}");
    let log = gateway.stderr();
    assert_eq!(log.matches("limits are not shared").count(), 1, "{log}");
    assert!(log.to_lowercase().contains(why), "{log}");
}

#[test]
fn limits_are_shared_over_tls() {
    let authority = Authority::new();
    let redis = server(&authority);
    let gateway = gateway(&redis, &authority, PASSWORD);
    wait_until("it is let in", || up(&gateway));
    assert_eq!(gateway.get("/x").status, 200);
    wait_until("the request is accounted for", || {
        let labels = [("filter", "limit"), ("limit", "0")];
        gateway.metric("ringgate_shared_limit_leased_total", &labels) >= 1.0
    });
    assert_eq!(calls(&gateway, "failed"), 0.0);
    let said = said(&gateway, &[PASSWORD]);
    assert!(said.contains("limits are shared"), "{said}");
    assert!(said.contains("rediss://localhost:"), "{said}");
}

#[test]
fn a_server_of_another_authority_is_not_spoken_with() {
    let (authority, other) = (Authority::new(), Authority::new());
    let redis = server(&authority);
    let gateway = gateway(&redis, &other, PASSWORD);
    falls_back(&gateway, "certificate");
    said(&gateway, &[PASSWORD]);
}

#[test]
fn a_user_with_a_wrong_password_is_not_let_in() {
    let authority = Authority::new();
    let redis = server(&authority);
    let gateway = gateway(&redis, &authority, "hunter2-by-tls");
    falls_back(&gateway, "pass");
    said(&gateway, &[PASSWORD, "hunter2-by-tls"]);
}
