//! Requests of one key at a time.

use crate::support::frames::{Frame, Http2};
use crate::support::{Client, Driver, Gateway, Origin, Setup, ok, on_both_drivers, wait_until};

on_both_drivers!(
    a_client_has_its_requests_at_a_time,
    places_are_counted_over_all_workers_and_reloads,
    a_client_that_leaves_gives_its_place_back,
    a_cancelled_stream_gives_its_place_back,
    an_answer_of_a_later_filter_gives_its_place_back,
);

/// Requests to `/slow` wait for an answer until their client leaves; others do not.
fn origin() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match &*request.target {
                "/slow" => conn.stall(),
                _ => drop(conn.send(ok("x"))),
            }
        }
    })
}

fn limited(driver: Driver, origin: &Origin, max: u32) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[filter.few]\ntype = \"concurrency_limit\"\nkey = \"header:x-user\"\nmax = {max}"
        ))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"few\"]")
}

fn ask(client: &mut Client, path: &str, user: &str) {
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: gateway.test\r\nX-User: {user}\r\n\r\n"
    ));
}

/// A request that keeps its place until the client is dropped.
fn slow(gateway: &Gateway, user: &str) -> Client {
    let mut client = gateway.client();
    ask(&mut client, "/slow", user);
    client
}

fn status(gateway: &Gateway, user: &str) -> u16 {
    let mut client = gateway.client();
    ask(&mut client, "/fast", user);
    client.response("GET").status
}

fn a_client_has_its_requests_at_a_time(driver: Driver) {
    let origin = origin();
    let gateway = limited(driver, &origin, 2).start();
    let slow = [slow(&gateway, "a"), slow(&gateway, "a")];
    origin.wait_for_requests(2);
    let mut client = gateway.client();
    ask(&mut client, "/fast", "a");
    let refused = client.response("GET");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(refused.json()["code"], "concurrency_limit");
    assert_eq!(status(&gateway, "b"), 200);
    assert_eq!(
        gateway.metric("ringgate_filter_refusals_total", &[("filter", "few")]),
        1.0
    );
    drop(slow);
    wait_until("there is a place again", || status(&gateway, "a") == 200);
}

fn places_are_counted_over_all_workers_and_reloads(driver: Driver) {
    let origin = origin();
    let gateway = limited(driver, &origin, 4)
        .set("runtime", "workers", "2")
        .start();
    let held: Vec<Client> = (0..4).map(|_| slow(&gateway, "a")).collect();
    origin.wait_for_requests(4);
    for _ in 0..4 {
        assert_eq!(status(&gateway, "a"), 429);
        assert_eq!(gateway.reload().status, 200);
    }
    drop(held);
    wait_until("there is a place again", || status(&gateway, "a") == 200);
}

fn a_client_that_leaves_gives_its_place_back(driver: Driver) {
    let origin = origin();
    let gateway = limited(driver, &origin, 1).start();
    for round in 1..=10 {
        let held = slow(&gateway, "a");
        wait_until("it is under way", || {
            let requests = origin.requests();
            requests.iter().filter(|r| r.target == "/slow").count() == round
        });
        match round % 2 {
            0 => held.reset(),
            _ => drop(held),
        }
        wait_until("there is a place again", || {
            let mut client = gateway.client();
            ask(&mut client, "/fast", "a");
            client.response("GET").status == 200
        });
    }
}

fn a_cancelled_stream_gives_its_place_back(driver: Driver) {
    let origin = origin();
    let gateway = limited(driver, &origin, 1).start();
    let mut client = Http2::connect(gateway.address());
    for stream in [1, 3, 5] {
        let seen = origin.requests().len();
        client.send(&Frame::get(stream, "/slow"));
        origin.wait_for_requests(seen + 1);
        assert_eq!(gateway.get("/fast").status, 429);
        // CANCEL.
        client.send(&Frame::reset(stream, 8));
        wait_until("there is a place again", || {
            gateway.get("/fast").status == 200
        });
    }
}

fn an_answer_of_a_later_filter_gives_its_place_back(driver: Driver) {
    let origin = origin();
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(
            "[filter.few]\ntype = \"concurrency_limit\"\nkey = \"client_ip\"\nmax = 1\n\
             [filter.fewer]\ntype = \"concurrency_limit\"\nkey = \"path\"\nmax = 1\n\
             [filter.trial]\ntype = \"fault\"\nabort = 500\nabort_share = 1.0",
        )
        .route(
            "all",
            "/{r*}",
            "upstream = \"app\"\nfilters = [\"few\", \"fewer\", \"trial\"]",
        )
        .start();
    let mut client = gateway.client();
    for _ in 0..20 {
        assert_eq!(client.get("/a").status, 500);
    }
}
