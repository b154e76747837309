//! OAuth 2.0 against a real provider (npm `oidc-provider`): tokens that it is asked about, and
//! the gateway's own.

use crate::support::node::Server;
use crate::support::{Client, Driver, Gateway, Origin, Setup, on_both_drivers, wait_until};

on_both_drivers!(
    a_token_is_good_until_it_is_revoked,
    a_token_is_good_until_it_ends,
    a_provider_that_stands_still_or_dies_lets_nobody_pass,
    origins_get_the_gateways_token_and_always_a_fresh_one,
    its_signed_tokens_are_verified_with_the_keys_it_is_found_to_have,
);

/// `gateway` and its secret, each encoded as in a form first (RFC 6749, 2.3.1).
const BASIC: &str = "Basic Z2F0ZXdheTphJTIwc2VjcmV0JTNBJTIwb2YlMjAzMCUyNSUyMCUyQg==";
const SECRET: &str = "a secret: of 30% +";

fn provider(life: &str) -> Server {
    Server::start("oidc_provider.mjs", &[life])
}

/// Posts a form to the provider; the body of its answer.
fn post(provider: &Server, path: &str, form: &str) -> String {
    let mut client = Client::connect(provider.address());
    let response = client.exchange(format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {BASIC}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        provider.address(),
        form.len()
    ));
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().to_owned()
}

fn token(provider: &Server, scope: &str) -> String {
    let form = format!("grant_type=client_credentials&scope={scope}");
    let answer: serde_json::Value = serde_json::from_str(&post(provider, "/token", &form)).unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

fn guarded(driver: Driver, provider: &Server, origin: &Origin, more: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .upstream("issuer", provider.address(), "")
        .body(&format!(
            "[filter.token]\ntype = \"introspection\"\nupstream = \"issuer\"\n\
             path = \"/token/introspection\"\nclient_id = \"gateway\"\n\
             client_secret = \"{SECRET}\"\nscopes = [\"orders:read\"]\n\
             issuer = \"http://{}\"\nrefused_ttl = \"0s\"\n{more}",
            provider.address()
        ))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"token\"]")
}

fn status(gateway: &Gateway, token: &str) -> u16 {
    let mut client = gateway.client();
    let get = "GET /a HTTP/1.1\r\nHost: a.test\r\n";
    client
        .exchange(format!("{get}Authorization: Bearer {token}\r\n\r\n"))
        .status
}

fn a_token_is_good_until_it_is_revoked(driver: Driver) {
    let (origin, provider) = (Origin::named("x"), provider("60"));
    let gateway = guarded(driver, &provider, &origin, "cache_ttl = \"0s\"").start();
    let good = token(&provider, "orders:read");
    assert_eq!(status(&gateway, &good), 200);
    let got = origin.request();
    assert_eq!(got.fields.all("x-subject"), ["gateway"]);
    assert_eq!(got.fields.all("x-scopes"), ["orders:read"]);
    assert_eq!(status(&gateway, "made-up"), 401);
    assert_eq!(status(&gateway, &token(&provider, "orders:write")), 403);
    post(&provider, "/token/revocation", &format!("token={good}"));
    assert_eq!(status(&gateway, &good), 401);
    assert_eq!(gateway.get("/a").status, 401);
    let lines = gateway.log(5);
    let codes: Vec<_> = lines.iter().map(|line| line["code"].clone()).collect();
    let none = serde_json::Value::Null;
    let [invalid, forbidden, nothing] =
        ["invalid_credentials", "forbidden", "no_credentials"].map(serde_json::Value::from);
    assert_eq!(codes, [none, invalid.clone(), forbidden, invalid, nothing]);
    let told = format!("{lines:?}{}", gateway.stderr());
    assert!(!told.contains(&good), "the token is a secret");
    let config = gateway.admin("GET", "/config");
    assert!(!config.text().contains(SECRET), "so is the gateway's own");
}

fn a_token_is_good_until_it_ends(driver: Driver) {
    let (origin, provider) = (Origin::named("x"), provider("2"));
    let gateway = guarded(driver, &provider, &origin, "cache_ttl = \"1h\"").start();
    let good = token(&provider, "orders:read");
    assert_eq!(status(&gateway, &good), 200);
    // It is remembered for an hour, but not beyond its end.
    wait_until("the token ends", || status(&gateway, &good) == 401);
}

fn a_provider_that_stands_still_or_dies_lets_nobody_pass(driver: Driver) {
    let (origin, mut provider) = (Origin::named("x"), provider("60"));
    let more = "cache_ttl = \"0s\"\ntimeout = \"300ms\"";
    let gateway = guarded(driver, &provider, &origin, more).start();
    let good = token(&provider, "orders:read");
    assert_eq!(status(&gateway, &good), 200);
    provider.signal("-STOP");
    let request =
        format!("GET /a HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {good}\r\n\r\n");
    let mut crowd: Vec<_> = (0..30).map(|_| gateway.client()).collect();
    crowd.iter_mut().for_each(|client| client.send(&request));
    for client in &mut crowd {
        assert_eq!(client.response("GET").status, 503);
    }
    let refused = gateway.metric("ringgate_auth_refused_total", &[("filter", "token")]);
    assert_eq!(refused, 30.0);
    let asked = gateway.metric("ringgate_auth_asked_total", &[("filter", "token")]);
    assert!(asked < 30.0, "those that come at once ask once: {asked}");
    provider.signal("-CONT");
    wait_until("it answers again", || status(&gateway, &good) == 200);
    provider.process.kill();
    for _ in 0..5 {
        assert_eq!(status(&gateway, &good), 503);
    }
    let codes = gateway.log(36);
    assert!(
        codes[1..31]
            .iter()
            .all(|line| line["code"] == "auth_unavailable")
    );
}

fn origins_get_the_gateways_token_and_always_a_fresh_one(driver: Driver) {
    let (origin, provider) = (Origin::named("x"), provider("4"));
    let gateway = guarded(driver, &provider, &origin, "cache_ttl = \"0s\"")
        .body(&format!(
            "[[oauth_client]]\nname = \"own\"\ntoken_url = \"http://{}/token\"\n\
             client_id = \"gateway\"\nclient_secret = \"{SECRET}\"\nscopes = [\"orders:read\"]\n\
             [filter.own]\ntype = \"client_credentials\"\nclient = \"own\"",
            provider.address()
        ))
        .route("own", "/own", "upstream = \"app\"\nfilters = [\"own\"]")
        .start();
    wait_until("the gateway has a token", || {
        gateway.get("/own").status == 200
    });
    let sent = |origin: &Origin| -> Vec<String> {
        let requests = origin.requests();
        let values = requests
            .iter()
            .flat_map(|one| one.fields.all("authorization"));
        values.map(str::to_owned).collect()
    };
    wait_until("it is replaced", || {
        let response = gateway.get("/own");
        assert_eq!(response.status, 200, "there is always one");
        let sent = sent(&origin);
        let last = sent
            .last()
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap()
            .to_owned();
        assert_eq!(status(&gateway, &last), 200, "the provider knows it");
        sent.last() != sent.first()
    });
    let page = gateway.admin("GET", "/oauth");
    assert_eq!(page.json()[0]["token"], "held");
    let granted = [("oauth_client", "own"), ("result", "granted")];
    assert!(gateway.metric("ringgate_oauth_tokens_total", &granted) >= 2.0);
    let shown = format!("{}{}{}", page.text(), gateway.metrics(), gateway.stderr());
    for value in sent(&origin) {
        let token = value.strip_prefix("Bearer ").unwrap();
        assert!(!shown.contains(token), "it is a secret");
    }
    assert!(!shown.contains(SECRET));
}

fn its_signed_tokens_are_verified_with_the_keys_it_is_found_to_have(driver: Driver) {
    let (origin, provider) = (Origin::named("x"), provider("60"));
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[[issuer]]\nname = \"provider\"\nissuer = \"http://{}\"\ndiscovery = true\n\
             algorithms = [\"RS256\"]\naudiences = [\"https://api.example\"]\n\
             [filter.token]\ntype = \"jwt\"\nissuers = [\"provider\"]\n",
            provider.address()
        ))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"token\"]")
        .start();
    let form = "grant_type=client_credentials&scope=orders:read&resource=https://api.example/";
    let answer: serde_json::Value = serde_json::from_str(&post(&provider, "/token", form)).unwrap();
    let good = answer["access_token"].as_str().unwrap();
    wait_until("its keys are there", || status(&gateway, good) == 200);
    let got = origin.request();
    assert_eq!(got.fields.all("x-subject"), ["gateway"]);
    assert_eq!(got.fields.all("x-scopes"), ["orders:read"]);
    // Its other tokens are no signed ones.
    assert_eq!(status(&gateway, &token(&provider, "orders:read")), 401);
    let (rest, last) = good.split_at(good.len() - 4);
    let other = if last == "AAAA" { "BBBB" } else { "AAAA" };
    assert_eq!(status(&gateway, &format!("{rest}{other}")), 401);
    // What is known of it stays known.
    drop(provider);
    assert_eq!(status(&gateway, good), 200);
}
