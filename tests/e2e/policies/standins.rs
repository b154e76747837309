//! Who answers when an upstream cannot, and who gets a copy of what it is asked.

use super::{in_front_of, nobody, saying};
use crate::support::{Driver, Origin, Setup, get, ok, on_both_drivers, settle, wait_until};

on_both_drivers!(
    answers_with_a_constant_when_the_origin_is_away,
    another_upstream_stands_in,
    stands_in_for_an_open_circuit,
    a_stand_in_has_none_itself,
    takes_the_place_of_listed_statuses_only,
    copies_requests_to_a_shadow,
    a_dead_shadow_is_nobodys_trouble,
    a_chunked_body_reaches_the_stand_in_whole,
    an_answer_is_kept_when_nobody_can_stand_in,
    a_shadow_is_not_told_what_a_client_claims,
    who_finds_the_route_full_does_not_queue_there_again,
);

const SORRY: &str = "fallback = { respond = { status = 200, body = \"sorry\" } }";

fn with(driver: Driver, endpoint: &str, more: &str) -> Setup {
    Setup::new(driver).upstream("app", endpoint, "").route(
        "all",
        "/{rest*}",
        &format!("upstream = \"app\"\n{more}"),
    )
}

fn answers_with_a_constant_when_the_origin_is_away(driver: Driver) {
    let gateway = with(driver, &nobody(), SORRY).start();
    let answer = gateway.get("/");
    assert_eq!((answer.status, answer.text()), (200, "sorry"));
    let line = gateway.log_line();
    assert_eq!(
        (&line["end"], &line["upstream"]),
        (&"GC".into(), &"app".into())
    );
    assert_eq!(line["fallback_for"], "app");
    let post = "POST / HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 3\r\n\r\nabc";
    let mut client = gateway.client();
    assert_eq!(client.exchange(post).text(), "sorry");
    assert_eq!(
        client.get("/").text(),
        "sorry",
        "the connection stays usable"
    );
}

fn another_upstream_stands_in(driver: Driver) {
    let spare =
        Origin::replying(|request| ok(&String::from_utf8_lossy(&request.body)).into_bytes());
    let gateway = with(driver, &nobody(), "fallback = { upstream = \"spare\" }")
        .upstream("spare", spare.address(), "")
        .start();
    let post = "POST /p HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(gateway.client().exchange(post).text(), "hello");
    let line = gateway.log_line();
    assert_eq!(
        (&line["upstream"], &line["status"]),
        (&"spare".into(), &200.into())
    );
    assert_eq!(
        (&line["end"], &line["fallback_for"]),
        (&"--".into(), &"app".into())
    );
}

fn stands_in_for_an_open_circuit(driver: Driver) {
    let origin = saying(500);
    let more = "[upstream.breaker]\nminimum_requests = 3\nopen_for = \"10m\"\nopen_for_max = \"10m\"\n\
                [upstream.fallback]\nstatuses = [503]\nrespond = { status = 200, body = \"later\" }";
    let gateway = in_front_of(driver, &[origin.address()], more).start();
    wait_until("the circuit opens", || gateway.get("/").text() == "later");
}

fn a_stand_in_has_none_itself(driver: Driver) {
    let dead = nobody();
    let gateway = with(driver, &dead, "fallback = { upstream = \"spare\" }")
        .upstream(
            "spare",
            &dead,
            "fallback = { respond = { status = 200, body = \"no\" } }",
        )
        .start();
    assert_eq!(gateway.get("/").status, 502);
}

fn takes_the_place_of_listed_statuses_only(driver: Driver) {
    let origin = Origin::replying(|request| super::status(request.target[1..].parse().unwrap()));
    let gateway = with(driver, origin.address(), SORRY).start();
    assert_eq!(gateway.get("/404").status, 404);
    assert_eq!(gateway.get("/500").status, 500);
    assert_eq!(gateway.get("/503").text(), "sorry");
    assert_eq!(gateway.get("/502").text(), "sorry");
}

const MIRROR: &str = "mirror = { upstream = \"shadow\", body_max = \"1KiB\" }";

fn copies_requests_to_a_shadow(driver: Driver) {
    let (origin, shadow) = (Origin::named("real"), saying(500));
    let gateway = with(driver, origin.address(), MIRROR)
        .upstream("shadow", shadow.address(), "")
        .start();
    let post =
        "POST /p?q=1 HTTP/1.1\r\nHost: gateway.test\r\nX-A: b\r\nContent-Length: 5\r\n\r\nhello";
    let answer = gateway.client().exchange(post);
    assert_eq!((answer.status, answer.text()), (200, "real"));
    wait_until("the copy arrives", || !shadow.requests().is_empty());
    let copy = shadow.request();
    assert_eq!((&*copy.method, &*copy.target), ("POST", "/p?q=1"));
    assert_eq!(
        (copy.fields.one("x-a"), &copy.body[..]),
        (Some("b"), &b"hello"[..])
    );
    assert_eq!(copy.fields.one("host"), Some("gateway.test"));
    // What is too long to be kept is not copied.
    let long = format!(
        "POST /long HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 2000\r\n\r\n{}",
        "x".repeat(2000)
    );
    assert_eq!(gateway.client().exchange(long).text(), "real");
    gateway.wait_for_metric(
        "ringgate_upstream_mirror_dropped_total",
        &[("upstream", "shadow")],
        1.0,
    );
    assert_eq!(shadow.requests().len(), 1);
}

fn a_dead_shadow_is_nobodys_trouble(driver: Driver) {
    let origin = Origin::named("real");
    let silent = Origin::start(|conn| while conn.request().is_some() {});
    let gateway = with(driver, origin.address(), MIRROR)
        .upstream("shadow", silent.address(), "")
        .start();
    for _ in 0..300 {
        assert_eq!(gateway.get("/").text(), "real");
    }
    settle();
    gateway.wait_for_metric(
        "ringgate_upstream_mirrored_total",
        &[("upstream", "shadow")],
        256.0,
    );
}

fn a_chunked_body_reaches_the_stand_in_whole(driver: Driver) {
    let spare =
        Origin::replying(|request| ok(&String::from_utf8_lossy(&request.body)).into_bytes());
    let gateway = with(driver, &nobody(), "fallback = { upstream = \"spare\" }")
        .upstream("spare", spare.address(), "")
        .start();
    let head = "POST /p HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let whole = format!("{head}5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(gateway.client().exchange(&whole).text(), "hello");
    // The rest comes when the stand-in has been asked already.
    let mut client = gateway.client();
    client.send(format!("{head}5\r\nhello\r\n"));
    settle();
    client.send("6\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.response("POST").text(), "hello world");
}

fn an_answer_is_kept_when_nobody_can_stand_in(driver: Driver) {
    let (origin, spare) = (saying(503), Origin::named("spare"));
    let gateway = with(
        driver,
        origin.address(),
        "fallback = { upstream = \"spare\" }",
    )
    .upstream("spare", spare.address(), "")
    .start();
    // It is too long to be kept for another upstream.
    let long = format!(
        "POST /long HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 70000\r\n\r\n{}",
        "x".repeat(70_000)
    );
    let answer = gateway.client().exchange(long);
    assert_eq!((answer.status, answer.text()), (503, "said"));
    assert_eq!(gateway.get("/").text(), "spare");
}

fn a_shadow_is_not_told_what_a_client_claims(driver: Driver) {
    let (origin, shadow) = (Origin::named("real"), saying(200));
    let gateway = with(driver, origin.address(), MIRROR)
        .upstream("shadow", shadow.address(), "")
        .start();
    let lie = "GET / HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\r\n";
    gateway.client().exchange(lie);
    wait_until("the copy arrives", || !shadow.requests().is_empty());
    let copy = shadow.request();
    assert_eq!(copy.fields.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(copy.fields.one("x-real-ip"), None);
}

fn who_finds_the_route_full_does_not_queue_there_again(driver: Driver) {
    let origin = Origin::start(|conn| {
        while conn.request().is_some() {
            conn.stall();
        }
    });
    let spare = Origin::named("spare");
    let more = "fallback = { upstream = \"spare\" }\n\
                concurrency = { max = 1, queue_max = 1, queue_timeout = \"10m\" }";
    let gateway = with(driver, origin.address(), more)
        .upstream("spare", spare.address(), "")
        .start();
    let mut waiting: Vec<_> = (0..2).map(|_| gateway.client()).collect();
    waiting[0].send(get("/"));
    origin.wait_for_requests(1);
    waiting[1].send(get("/"));
    gateway.wait_for_metric("ringgate_route_queued", &[("route", "all")], 1.0);
    for refused in 1..=3 {
        assert_eq!(gateway.get("/").text(), "spare");
        let labels = [("route", "all"), ("reason", "full")];
        let counted = gateway.metric("ringgate_route_concurrency_refused_total", &labels);
        assert_eq!(counted, f64::from(refused));
    }
}
