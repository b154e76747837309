//! The ends of connections: what was sent in time is answered, the last answer arrives whole,
//! and no end is a reset.

use std::io::Read as _;
use std::net::TcpListener;

use crate::support::sys::Signal;
use crate::support::{
    Client, Driver, Gateway, Origin, Peer, Setup, get, ok, on_both_drivers, settle, wait_until,
};

on_both_drivers!(
    requests_sent_before_the_end_are_answered,
    connections_made_before_the_end_are_answered,
    a_request_in_pieces_is_answered_at_the_end,
    a_refused_origin_spoils_no_pipeline,
    a_refused_origin_spoils_no_connection_with_a_body,
    the_last_request_of_a_connection_is_answered_whole,
    a_refused_head_is_answered_behind_a_pipeline,
    a_removed_listener_serves_what_it_has_taken,
    a_removed_listener_serves_its_queue,
    a_pooled_connection_that_just_closed_costs_no_request,
);

/// Fails unless the connection ends now, and without a reset.
fn assert_ends_well(client: &Client) {
    let mut byte = [0];
    let end = match client.peer() {
        Peer::Tcp(socket) => (&*socket).read(&mut byte),
        Peer::Unix(socket) => (&*socket).read(&mut byte),
    };
    assert!(matches!(end, Ok(0)), "the end is {end:?}");
}

fn used_clients(gateway: &Gateway, count: usize) -> Vec<Client> {
    (0..count)
        .map(|_| {
            let mut client = gateway.client();
            assert_eq!(client.get("/before").text(), "/before");
            client
        })
        .collect()
}

fn echoing() -> Origin {
    Origin::replying(|request| ok(&request.target).into_bytes())
}

fn long_grace(driver: Driver, origin: &Origin) -> Setup {
    Setup::proxy(driver, origin.address()).set("runtime", "shutdown_grace", "\"10m\"")
}

fn requests_sent_before_the_end_are_answered(driver: Driver) {
    let origin = echoing();
    let mut gateway = long_grace(driver, &origin).start();
    let mut clients = used_clients(&gateway, 40);
    settle();
    for (i, client) in clients.iter_mut().enumerate() {
        client.send(get(&format!("/{i}")));
    }
    gateway.signal(Signal::Terminate);
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response("GET").text(), format!("/{i}"));
        assert_ends_well(client);
    }
    assert!(gateway.wait().success());
}

fn connections_made_before_the_end_are_answered(driver: Driver) {
    let origin = echoing();
    let mut gateway = long_grace(driver, &origin).start();
    let mut clients: Vec<Client> = (0..40)
        .map(|i| {
            let mut client = gateway.client();
            client.send(get(&format!("/{i}")));
            client
        })
        .collect();
    gateway.signal(Signal::Terminate);
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response("GET").text(), format!("/{i}"));
        assert_ends_well(client);
    }
    assert!(gateway.wait().success());
}

fn a_request_in_pieces_is_answered_at_the_end(driver: Driver) {
    let origin = echoing();
    let mut gateway = long_grace(driver, &origin).start();
    let mut clients = used_clients(&gateway, 3);
    let mut fresh = gateway.client();
    for client in clients.iter_mut().chain([&mut fresh]) {
        client.send("GET /late HTTP/1.1\r\nHos");
    }
    settle();
    gateway.signal(Signal::Terminate);
    settle();
    for client in clients.iter_mut().chain([&mut fresh]) {
        client.send("t: gateway.test\r\n\r\n");
        let response = client.response("GET");
        assert_eq!(response.text(), "/late");
        assert_eq!(response.field("connection"), Some("close"));
        assert_ends_well(client);
    }
    assert!(gateway.wait().success());
}

/// `/refused` goes where nobody listens, everything else to an origin.
fn half_refusing(driver: Driver, origin: &Origin) -> Gateway {
    let refusing = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = refusing.local_addr().unwrap().to_string();
    drop(refusing);
    Setup::new(driver)
        .upstream("gone", &address, "")
        .upstream("app", origin.address(), "")
        .route("refused", "/refused", "upstream = \"gone\"")
        .catch_all("app")
        .start()
}

fn a_refused_origin_spoils_no_pipeline(driver: Driver) {
    let origin = echoing();
    let gateway = half_refusing(driver, &origin);
    let mut client = gateway.client();
    for _ in 0..5 {
        client.send(get("/refused") + &get("/a") + &get("/refused") + &get("/b"));
        assert_eq!(client.response("GET").status, 502);
        assert_eq!(client.response("GET").text(), "/a");
        assert_eq!(client.response("GET").status, 502);
        assert_eq!(client.response("GET").text(), "/b");
    }
}

fn a_refused_origin_spoils_no_connection_with_a_body(driver: Driver) {
    let origin = echoing();
    let gateway = half_refusing(driver, &origin);
    let mut client = gateway.client();
    for body in [
        "hello".to_owned(),
        "GET /smuggled HTTP/1.1\r\n\r\n".repeat(1000),
    ] {
        client.send(format!(
            "POST /refused HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        let response = client.response("POST");
        assert_eq!(response.status, 502);
        assert_ne!(response.field("connection"), Some("close"));
        client.send(&body);
        assert_eq!(client.get("/next").text(), "/next");
    }
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/next")
    );
}

fn the_last_request_of_a_connection_is_answered_whole(driver: Driver) {
    let body = "x".repeat(300_000);
    let origin = Origin::named(&body);
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "requests_per_connection_max", "3")
        .start();
    for _ in 0..5 {
        let mut client = gateway.client();
        client.send(get("/a").repeat(40));
        for turn in 1..=3 {
            let response = client.response("GET");
            assert!(response.text() == body, "the body of {turn} came changed");
            let close = response.field("connection") == Some("close");
            assert_eq!(close, turn == 3);
        }
        assert_ends_well(&client);
    }
    settle();
    assert_eq!(origin.requests().len(), 15);
}

fn a_refused_head_is_answered_behind_a_pipeline(driver: Driver) {
    let origin = echoing();
    let gateway = Setup::proxy(driver, origin.address()).start();
    for _ in 0..5 {
        let mut client = gateway.client();
        let broken = "GET /broken HTTP/1.1\r\nHost : x\r\n\r\n";
        client.send(get("/a") + broken + &get("/never").repeat(100));
        assert_eq!(client.response("GET").text(), "/a");
        let response = client.response("GET");
        assert_eq!(response.status, 400);
        assert_eq!(response.field("connection"), Some("close"));
        assert_ends_well(&client);
    }
}

/// A second listener, and a route that holds a request until it is told to go on.
fn two_listeners(driver: Driver, origin: &Origin) -> (Gateway, String) {
    let setup = Setup::new(driver);
    let address = format!("unix:{}", setup.dir().join("second.sock").display());
    let gateway = setup
        .body(&format!(
            "[[listener]]\nname = \"second\"\nlisten = {address:?}"
        ))
        .upstream("app", origin.address(), "")
        .catch_all("app")
        .start();
    (gateway, address)
}

fn remove_second(gateway: &mut Gateway, origin: &Origin) {
    gateway.rewrite(|setup| {
        setup
            .without_body()
            .upstream("app", origin.address(), "")
            .catch_all("app")
    });
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
}

fn a_removed_listener_serves_what_it_has_taken(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/held" {
                let _ = gone.lock().unwrap().recv();
            }
            conn.send(ok(&request.target));
        }
    });
    let (mut gateway, address) = two_listeners(driver, &origin);
    let mut held = Client::connect(&address);
    held.send(get("/held"));
    let mut idle = Client::connect(&address);
    assert_eq!(idle.get("/idle").text(), "/idle");
    let mut begun = Client::connect(&address);
    begun.send("GET /begun HTTP/1.1\r\nHo");
    origin.wait_for_requests(2);
    settle();
    remove_second(&mut gateway, &origin);
    wait_until("nobody listens any more", || {
        std::os::unix::net::UnixStream::connect(&address["unix:".len()..]).is_err()
    });
    go.send(()).unwrap();
    begun.send("st: gateway.test\r\n\r\n");
    for (client, text) in [(&mut held, "/held"), (&mut begun, "/begun")] {
        let response = client.response("GET");
        assert_eq!(response.text(), text);
        assert_eq!(response.field("connection"), Some("close"));
        assert_ends_well(client);
    }
    // One that waits gets one more answer, or an end.
    if idle.try_send(get("/more"))
        && let Ok(response) = idle.try_response("GET")
    {
        assert_eq!(response.text(), "/more");
        assert_eq!(response.field("connection"), Some("close"));
    }
    assert_eq!(gateway.get("/other").text(), "/other");
}

fn a_removed_listener_serves_its_queue(driver: Driver) {
    let origin = echoing();
    for _ in 0..5 {
        let (mut gateway, address) = two_listeners(driver, &origin);
        let mut clients: Vec<Client> = (0..60)
            .map(|i| {
                let mut client = Client::connect(&address);
                client.send(get(&format!("/{i}")));
                client
            })
            .collect();
        remove_second(&mut gateway, &origin);
        for (i, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.response("GET").text(), format!("/{i}"));
        }
    }
}

fn a_pooled_connection_that_just_closed_costs_no_request(driver: Driver) {
    let origin = Origin::start(|conn| {
        if let Some(request) = conn.request() {
            conn.send(ok(&request.target));
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for turn in 0..200 {
        let target = format!("/{turn}");
        let response = client.exchange(format!(
            "POST {target} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1\r\n\r\nx"
        ));
        assert_eq!(response.text(), target);
        // It has closed; the gateway may not have been told yet.
        wait_until("the origin closes", || origin.open() == 0);
    }
    assert_eq!(origin.requests().len(), 200);
}
