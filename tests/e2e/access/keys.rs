//! API keys, what several filters make together, and what is told of who makes a request.

use crate::support::frames::{Frame, Http2, flag};
use crate::support::{Driver, Gateway, Origin, Response, Setup, on_both_drivers, run, wait_until};

on_both_drivers!(
    a_key_opens_and_the_origin_is_told_who_has_it,
    no_key_and_no_good_key_get_401,
    a_key_comes_by_query_or_cookie_and_goes_no_further,
    a_key_in_the_query_is_not_logged,
    a_key_is_replaced_while_both_are_good,
    a_reload_gives_and_takes_keys_at_once,
    any_of_takes_the_first_good_credential,
    all_of_wants_all_of_one_consumer,
    nobody_is_let_through_where_that_is_asked_for,
    grpc_clients_get_their_status,
    consumers_have_limits_of_their_own,
    keys_over_http2,
    a_key_may_be_stored_as_a_password_hash,
);

const KEY: &str = "rg_h0rjG0s3vZJ5bQd8nXy2kLmW7tPcAeFu1iOqRzNxBgY";
const OTHER: &str = "rg_aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5zA7bC9d";

fn consumers() -> String {
    let (key, other) = (super::digest(KEY), super::digest(OTHER));
    let over = super::digest("over");
    format!(
        "[[consumer]]\nname = \"app\"\ngroups = [\"partners\", \"beta\"]\n\
         api_keys = [\"{key}\", {{ digest = \"{over}\", expires = \"2020-01-01T00:00:00Z\" }}]\n\
         [[consumer]]\nname = \"batch\"\napi_keys = [\"{other}\"]\n\
         [[consumer]]\nname = \"guest\"\n"
    )
}

fn guarded(driver: Driver, origin: &Origin, filters: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("{}{filters}\n", consumers()))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"who\"]")
}

const PLAIN: &str = "[filter.who]\ntype = \"api_key\"";

fn with(gateway: &Gateway, target: &str, fields: &str) -> Response {
    let request = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
    gateway.client().exchange(request)
}

fn a_key_opens_and_the_origin_is_told_who_has_it(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = guarded(driver, &origin, PLAIN).start();
    let forged =
        "X-Consumer: root\r\nx-consumer-groups: admins\r\nX-SUBJECT: root\r\nX-Scopes: all";
    let fields = format!("X-Api-Key: {KEY}\r\n{forged}\r\n");
    assert_eq!(with(&gateway, "/a", &fields).status, 200);
    let seen = origin.request().fields;
    assert_eq!(seen.one("x-consumer"), Some("app"));
    assert_eq!(seen.one("x-consumer-groups"), Some("partners,beta"));
    for gone in ["x-api-key", "x-subject", "x-scopes"] {
        assert!(!seen.has(gone), "{gone}");
    }
    let line = gateway.log_line();
    assert_eq!(
        (&line["consumer"], &line["auth"]),
        (&"app".into(), &"api_key".into())
    );
    assert!(!line.to_string().contains(KEY));
    let config = gateway.admin("GET", "/config").text().to_owned();
    let digest = super::digest(KEY);
    assert!(
        config.contains("partners") && !config.contains(&digest[7..]),
        "{config}"
    );
}

fn no_key_and_no_good_key_get_401(driver: Driver) {
    let origin = Origin::named("x");
    let filter = format!("{PLAIN}\nrealm = \"orders\"");
    let gateway = guarded(driver, &origin, &filter).start();
    let two = format!("X-Api-Key: {KEY}\r\nX-Api-Key: {OTHER}\r\n");
    for (fields, code) in [
        ("", "no_credentials"),
        ("X-Api-Key: wrong\r\n", "invalid_credentials"),
        ("X-Api-Key:\r\n", "invalid_credentials"),
        ("X-Api-Key: over\r\n", "expired_credentials"),
        (&*two, "invalid_credentials"),
    ] {
        let response = with(&gateway, "/a", fields);
        assert_eq!(response.status, 401, "{fields}");
        assert_eq!(
            response.field("www-authenticate"),
            Some("ApiKey realm=\"orders\"")
        );
        assert!(
            response.text().contains(code),
            "{fields}: {}",
            response.text()
        );
    }
    let codes: Vec<_> = gateway
        .log(5)
        .iter()
        .map(|line| line["code"].clone())
        .collect();
    assert_eq!(codes[0], "no_credentials");
    assert_eq!(codes[3], "expired_credentials");
    assert!(origin.requests().is_empty());
}

fn a_key_comes_by_query_or_cookie_and_goes_no_further(driver: Driver) {
    let origin = Origin::named("x");
    let filter = "[filter.who]\ntype = \"api_key\"\nquery = \"api_key\"\ncookie = \"key\"";
    let gateway = guarded(driver, &origin, filter).start();
    let target = format!("/a?b=c&api_key={KEY}&d=%20");
    assert_eq!(with(&gateway, &target, "").status, 200);
    let cookies = format!("Cookie: a=b; key={KEY}; c=d\r\n");
    assert_eq!(with(&gateway, "/b", &cookies).status, 200);
    // The header is not one of the places any more.
    assert_eq!(
        with(&gateway, "/c", &format!("X-Api-Key: {KEY}\r\n")).status,
        401
    );
    let seen = origin.requests();
    assert_eq!(seen[0].target, "/a?b=c&d=%20");
    assert_eq!(seen[1].fields.one("cookie"), Some("a=b; c=d"));
    assert!(
        seen.iter()
            .all(|request| !format!("{request:?}").contains(KEY))
    );
}

fn a_key_in_the_query_is_not_logged(driver: Driver) {
    let origin = Origin::named("x");
    let filter = "[filter.who]\ntype = \"api_key\"\nquery = \"api_key\"\nhide = false";
    let gateway = guarded(driver, &origin, filter).start();
    let target = format!("/a?api_key={KEY}&b=c");
    let referer = format!("Referer: https://a.test/?api%5Fkey={OTHER}\r\n");
    assert_eq!(with(&gateway, &target, &referer).status, 200);
    assert_eq!(with(&gateway, "/a?api_key=wrong", "").status, 401);
    let broken = format!("GET /a?api_key={KEY} HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n");
    assert_eq!(gateway.client().exchange(&broken).status, 400);
    let lines = gateway.log_lines(3).join("\n");
    for secret in [KEY, OTHER, "wrong"] {
        assert!(!lines.contains(secret), "{lines}");
    }
    assert!(lines.contains("\"/a?api_key=***&b=c\""), "{lines}");
    assert_eq!(origin.request().target, target);
    let file = gateway.file().to_str().unwrap().to_owned();
    let explained = run(&["explain", &file, "GET", &target]);
    assert!(
        explained.stdout.contains("api_key"),
        "{}{}",
        explained.stdout,
        explained.stderr
    );
    assert!(!(explained.stdout + &explained.stderr).contains(KEY));
}

fn a_key_is_replaced_while_both_are_good(driver: Driver) {
    let origin = Origin::named("x");
    let keys = ["old", "new", "soon", "gone"].map(super::digest);
    let body = format!(
        "[[consumer]]\nname = \"app\"\napi_keys = [\n\
         {{ id = \"a\", digest = \"{}\", expires = \"2099-01-01T00:00:00Z\" }},\n\
         {{ id = \"b\", digest = \"{}\", not_before = \"2020-01-01T00:00:00Z\" }},\n\
         {{ id = \"c\", digest = \"{}\", not_before = 2099-01-01T00:00:00Z }},\n\
         {{ id = \"d\", digest = \"{}\", expires = 2020-01-01T00:00:00Z }}]\n{PLAIN}",
        keys[0], keys[1], keys[2], keys[3]
    );
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&body)
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"who\"]")
        .start();
    for (key, status) in [("old", 200), ("new", 200), ("soon", 401), ("gone", 401)] {
        let response = with(&gateway, "/a", &format!("X-Api-Key: {key}\r\n"));
        assert_eq!(response.status, status, "{key}");
    }
}

fn a_reload_gives_and_takes_keys_at_once(driver: Driver) {
    let origin = Origin::named("x");
    let mut gateway = guarded(driver, &origin, PLAIN).start();
    let mut client = gateway.client();
    let asked = |key: &str| format!("GET /a HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: {key}\r\n\r\n");
    assert_eq!(client.exchange(asked(KEY)).status, 200);
    assert_eq!(client.exchange(asked("fresh")).status, 401);
    gateway.rewrite(|setup| {
        let digest = super::digest("fresh");
        setup
            .without_body()
            .upstream("app", origin.address(), "")
            .body(&format!(
                "[[consumer]]\nname = \"late\"\napi_keys = [\"{digest}\"]\n{PLAIN}"
            ))
            .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"who\"]")
    });
    assert_eq!(gateway.reload().status, 200);
    wait_until("the connection sees the new key", || {
        client.exchange(asked("fresh")).status == 200
    });
    assert_eq!(client.exchange(asked(KEY)).status, 401);
}

fn any_of_takes_the_first_good_credential(driver: Driver) {
    let origin = Origin::named("x");
    let filters = "[filter.header]\ntype = \"api_key\"\n\
         [filter.bearer]\ntype = \"api_key\"\nheader = \"authorization\"\nprefix = \"Bearer \"\n\
         [filter.who]\ntype = \"any_of\"\nfilters = [\"header\", \"bearer\"]";
    let gateway = guarded(driver, &origin, filters).start();
    let (key, other) = (
        format!("X-Api-Key: {KEY}\r\n"),
        format!("Authorization: bearer {OTHER}\r\n"),
    );
    assert_eq!(with(&gateway, "/1", &key).status, 200);
    assert_eq!(with(&gateway, "/2", &other).status, 200);
    assert_eq!(with(&gateway, "/3", &format!("{key}{other}")).status, 200);
    // A bad one does no harm where another is good.
    assert_eq!(
        with(&gateway, "/4", &format!("X-Api-Key: bad\r\n{other}")).status,
        200
    );
    let response = with(&gateway, "/5", "Authorization: Bearer bad\r\n");
    assert_eq!(response.status, 401);
    assert_eq!(
        response.fields.all("www-authenticate"),
        [
            "ApiKey realm=\"ringgate\"",
            "Bearer realm=\"ringgate\", error=\"invalid_token\""
        ]
    );
    let seen = origin.requests();
    let told: Vec<_> = seen
        .iter()
        .map(|one| one.fields.one("x-consumer").unwrap())
        .collect();
    assert_eq!(told, ["app", "batch", "app", "batch"]);
    for request in &seen {
        assert!(!request.fields.has("x-api-key") && !request.fields.has("authorization"));
    }
}

fn all_of_wants_all_of_one_consumer(driver: Driver) {
    let origin = Origin::named("x");
    let filters = "[filter.header]\ntype = \"api_key\"\n\
         [filter.cookie]\ntype = \"api_key\"\ncookie = \"key\"\n\
         [filter.who]\ntype = \"all_of\"\nfilters = [\"header\", \"cookie\"]";
    let gateway = guarded(driver, &origin, filters).start();
    let both = |one: &str, two: &str| format!("X-Api-Key: {one}\r\nCookie: key={two}\r\n");
    assert_eq!(with(&gateway, "/1", &both(KEY, KEY)).status, 200);
    for fields in [
        both(KEY, OTHER),
        both(KEY, "bad"),
        format!("X-Api-Key: {KEY}\r\n"),
        String::new(),
    ] {
        assert_eq!(with(&gateway, "/2", &fields).status, 401, "{fields}");
    }
    assert_eq!(origin.requests().len(), 1);
}

fn nobody_is_let_through_where_that_is_asked_for(driver: Driver) {
    let origin = Origin::named("x");
    for (more, told) in [
        ("optional = true", None),
        ("anonymous = \"guest\"", Some("guest")),
    ] {
        let gateway = guarded(driver, &origin, &format!("{PLAIN}\n{more}")).start();
        let response = with(&gateway, "/a", "X-Consumer: root\r\n");
        assert_eq!(response.status, 200, "{more}");
        assert_eq!(
            origin.requests().last().unwrap().fields.one("x-consumer"),
            told
        );
        assert_eq!(
            with(&gateway, "/a", "X-Api-Key: bad\r\n").status,
            401,
            "{more}"
        );
    }
}

fn grpc_clients_get_their_status(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = guarded(driver, &origin, PLAIN).start();
    let fields = "Content-Type: application/grpc\r\nTE: trailers\r\n";
    let response = with(&gateway, "/orders.Orders/Get", fields);
    assert_eq!(response.status, 200);
    assert_eq!(response.field("grpc-status"), Some("16"));
    assert!(origin.requests().is_empty());
}

fn consumers_have_limits_of_their_own(driver: Driver) {
    let origin = Origin::named("x");
    let limits = "[filter.each]\ntype = \"rate_limit\"\nkey = \"consumer\"\nlimit = 1\nper = \"1h\"\n\
         [[filter.each.override]]\ngroups = [\"partners\"]\nlimit = 3\nper = \"1h\"\n";
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!("{}{PLAIN}\n{limits}", consumers()))
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"who\", \"each\"]",
        )
        .start();
    let admitted = |key: &str| {
        let fields = format!("X-Api-Key: {key}\r\n");
        let answers = (0..5).map(|_| with(&gateway, "/a", &fields));
        answers.filter(|answer| answer.status == 200).count()
    };
    assert_eq!(admitted(KEY), 3);
    assert_eq!(admitted(OTHER), 1);
    let answer = with(&gateway, "/a", &format!("X-Api-Key: {KEY}\r\n"));
    assert_eq!(answer.status, 429);
    assert!(answer.field("ratelimit-policy").unwrap().contains("q=3"));
}

fn keys_over_http2(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = guarded(driver, &origin, PLAIN).start();
    let mut client = Http2::connect(gateway.address());
    let lines = |key: &'static str| {
        [
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a.test"),
            (":path", "/a"),
            ("x-api-key", key),
            ("x-consumer", "root"),
        ]
    };
    client.send(&Frame::headers(1, flag::WHOLE, &lines(KEY)));
    assert_eq!(client.outcome(1).answer().status, 200);
    client.send(&Frame::headers(3, flag::WHOLE, &lines("bad")));
    assert_eq!(client.outcome(3).answer().status, 401);
    assert_eq!(origin.request().fields.one("x-consumer"), Some("app"));
}

#[test]
fn a_new_key_is_printed_with_what_to_paste() {
    let made = run(&[
        "key",
        "new",
        "--consumer",
        "app",
        "--expires",
        "2099-01-01T00:00:00Z",
    ]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let (key, lines) = made.stdout.split_once('\n').unwrap();
    assert!(key.starts_with("rg_") && key.len() == 46, "{key}");
    assert!(
        lines.starts_with("[[consumer]]\nname = \"app\"\n"),
        "{lines}"
    );
    assert!(lines.contains(&super::digest(key)) && !lines.contains(key));
    assert_eq!(run(&["key", "new", "--expires", "tomorrow"]).code, 1);
}

fn a_key_may_be_stored_as_a_password_hash(driver: Driver) {
    // Of "opensesame", at little cost, made by another implementation.
    let hash = "$argon2id$v=19$m=64,t=1,p=1$8ejUwLqgGm8InId6CAOjiA$tPEaH1IgK7FHOY/sC6vsZ0D6kXkcu+U5MqJ5hkYNGQw";
    let more = format!(
        "[[consumer]]\nname = \"hashed\"\napi_keys = [{{ id = \"k1\", hash = \"{hash}\" }}]\n{PLAIN}"
    );
    let origin = Origin::named("x");
    let gateway = guarded(driver, &origin, &more).start();
    let status = |key: &str| with(&gateway, "/a", &format!("X-Api-Key: {key}\r\n")).status;
    // The second time from memory.
    assert_eq!(
        [status("k1.opensesame"), status("k1.opensesame")],
        [200, 200]
    );
    assert_eq!(
        origin.requests()[0].fields.one("x-consumer"),
        Some("hashed")
    );
    for wrong in [
        "k1.opensesamf",
        "k1.",
        "k1",
        "k2.opensesame",
        "opensesame",
        ".opensesame",
        hash,
    ] {
        assert_eq!(status(wrong), 401, "{wrong}");
        assert_eq!(status(wrong), 401, "{wrong}, from memory");
    }
    let checks = "ringgate_password_checks_total";
    assert_eq!(gateway.metric(checks, &[("result", "right")]), 1.0);
    assert_eq!(origin.requests().len(), 2);
}
