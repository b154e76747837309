//! The ends of connections: what was sent in time is answered, the last answer arrives whole,
//! and no end is a reset.

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Command;

use crate::support::sys::Signal;
use crate::support::{
    Client, Driver, Gateway, Origin, Peer, Setup, get, ok, on_both_drivers, settle, wait_until,
};

on_both_drivers!(
    requests_sent_before_the_end_are_answered,
    connections_made_before_the_end_are_answered,
    a_request_in_pieces_is_answered_at_the_end,
    a_request_behind_a_promise_is_answered_at_the_end,
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

/// The gateway stands still, as on a busy machine, while `act` runs: all that happens
/// meanwhile meets it at once.
fn while_frozen(gateway: &Gateway, act: impl FnOnce()) {
    let kill = |signal: &str| {
        // The shell has this command even where the system has none.
        let line = format!("kill {signal} {}", gateway.pid());
        let status = Command::new("/bin/sh").args(["-c", &line]).status();
        assert!(status.unwrap().success());
    };
    kill("-STOP");
    wait_until("every thread stands still", || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
        // The state comes behind the name, which ends with the last bracket.
        let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat"));
        tasks
            .map(|task| stat(task.unwrap()).unwrap())
            .all(|stat| stat.rsplit_once(") ").unwrap().1.starts_with('T'))
    });
    act();
    kill("-CONT");
}

fn requests_sent_before_the_end_are_answered(driver: Driver) {
    let origin = echoing();
    let mut gateway = long_grace(driver, &origin).start();
    let mut clients = used_clients(&gateway, 40);
    let mut idle = used_clients(&gateway, 3);
    settle();
    while_frozen(&gateway, || {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send(get(&format!("/{i}")));
        }
        gateway.signal(Signal::Terminate);
    });
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response("GET").text(), format!("/{i}"));
        assert_ends_well(client);
    }
    for client in &mut idle {
        client.expect_closed();
    }
    assert!(gateway.wait().success());
}

fn connections_made_before_the_end_are_answered(driver: Driver) {
    let origin = echoing();
    let mut gateway = long_grace(driver, &origin).start();
    let mut clients = Vec::new();
    while_frozen(&gateway, || {
        for i in 0..40 {
            let mut client = gateway.client();
            client.send(get(&format!("/{i}")));
            clients.push(client);
        }
        gateway.signal(Signal::Terminate);
    });
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

fn a_request_behind_a_promise_is_answered_at_the_end(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        while let Some(request) = conn.request() {
            if request.target == "/first" {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
                let _ = gone.lock().unwrap().recv();
                conn.send("more");
            } else {
                conn.send(ok(&request.target));
            }
        }
    });
    for pipelined in [true, false] {
        let mut gateway = long_grace(driver, &origin).start();
        let mut client = gateway.client();
        client.send(get("/first"));
        if pipelined {
            client.send(get("/second"));
        }
        let response = client.head("GET");
        // The head promises that the connection stays, so the next request is on its way.
        assert_ne!(response.field("connection"), Some("close"));
        assert_eq!(client.take(4), b"half");
        if !pipelined {
            client.send(get("/second"));
        }
        gateway.signal(Signal::Terminate);
        wait_until("the shutdown has begun", || {
            gateway.stderr().contains("shutting down")
        });
        settle();
        go.send(()).unwrap();
        assert_eq!(client.take(4), b"more");
        let response = client.response("GET");
        assert_eq!(response.text(), "/second");
        assert_eq!(response.field("connection"), Some("close"));
        assert_ends_well(&client);
        assert!(gateway.wait().success());
    }
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

fn without_second(gateway: &mut Gateway, origin: &Origin) {
    gateway.rewrite(|setup| {
        setup
            .without_body()
            .upstream("app", origin.address(), "")
            .catch_all("app")
    });
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
    without_second(&mut gateway, &origin);
    let report = gateway.reload();
    assert_eq!(report.status, 200, "{}", report.text());
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
    let (mut gateway, address) = two_listeners(driver, &origin);
    without_second(&mut gateway, &origin);
    let mut clients = Vec::new();
    while_frozen(&gateway, || {
        for i in 0..60 {
            let mut client = Client::connect(&address);
            client.send(get(&format!("/{i}")));
            clients.push(client);
        }
        gateway.signal(Signal::Hangup);
    });
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response("GET").text(), format!("/{i}"));
    }
}

fn a_pooled_connection_that_just_closed_costs_no_request(driver: Driver) {
    let (close, closed) = std::sync::mpsc::channel::<()>();
    let closed = std::sync::Mutex::new(closed);
    let origin = Origin::start(move |conn| {
        if let Some(request) = conn.request() {
            conn.send(ok(&request.target));
            let _ = closed.lock().unwrap().recv();
        }
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for turn in 0..20 {
        let post =
            format!("POST /{turn} HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 1\r\n\r\nx");
        // Both come in one turn of the loop: the close as late as a close can come that the
        // gateway is still able to notice.
        while_frozen(&gateway, || {
            client.send(post);
            if turn > 0 {
                close.send(()).unwrap();
            }
            wait_until("the origin closes", || origin.open() == 0);
        });
        assert_eq!(client.response("POST").text(), format!("/{turn}"));
    }
    assert_eq!(origin.requests().len(), 20);
}
