//! Where endpoints may be and how requests are shared among them.

use std::collections::HashMap;

use crate::support::{Client, Driver, Origin, Setup, get, ok, on_both_drivers, wait_until};

on_both_drivers!(
    connects_to_a_unix_socket,
    listens_on_a_unix_socket,
    shares_requests_by_weight,
    resolves_a_name,
    answers_503_while_a_name_has_no_address,
    serves_ipv6_clients_and_endpoints,
    tries_the_next_endpoint_when_one_refuses,
    listens_on_several_addresses,
    serves_with_several_workers,
    takes_over_a_socket_file_that_was_left_behind,
    tells_origins_nothing_false_about_unix_clients,
    keeps_no_more_idle_connections_than_told,
);

fn connects_to_a_unix_socket(driver: Driver) {
    let setup = Setup::new(driver);
    let path = setup.dir().join("origin.sock");
    let origin = Origin::start_unix(&path, |conn| {
        while let Some(request) = conn.request() {
            conn.send(ok(&request.target));
        }
    });
    let gateway = setup
        .upstream("app", origin.address(), "")
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    for i in 0..10 {
        assert_eq!(client.get(&format!("/{i}")).text(), format!("/{i}"));
    }
    assert_eq!(origin.accepted(), 1);
}

fn listens_on_a_unix_socket(driver: Driver) {
    let origin = Origin::named("x");
    let setup = Setup::proxy(driver, origin.address());
    let address = format!("unix:{}", setup.dir().join("gateway.sock").display());
    let quoted = format!("{address:?}");
    let mut gateway = setup.set("listener", "listen", &quoted).start();
    let mut client = Client::connect(&address);
    assert_eq!(client.get("/a").text(), "x");
    assert_eq!(client.get("/b").text(), "x");
    assert!(gateway.stop().success());
}

fn shares_requests_by_weight(driver: Driver) {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = [\"{}\", {{ address = \"{}\", weight = 3 }}]",
            a.address(),
            b.address()
        ))
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    let mut order = String::new();
    let mut count: HashMap<String, usize> = HashMap::new();
    for _ in 0..400 {
        let name = client.get("/x").text().to_owned();
        order.push_str(&name);
        *count.entry(name).or_default() += 1;
    }
    assert_eq!((count["a"], count["b"]), (100, 300), "{order}");
    assert!(
        !order.contains("aa"),
        "the light endpoint never gets two in a row: {order}"
    );
}

fn resolves_a_name(driver: Driver) {
    let origin = Origin::named("x");
    let port = origin.address().rsplit(':').next().unwrap().to_owned();
    let gateway = Setup::proxy(driver, &format!("localhost:{port}")).start();
    wait_until("the name has an address", || {
        gateway.get("/a").status == 200
    });
    assert_eq!(gateway.get("/a").text(), "x");
}

fn answers_503_while_a_name_has_no_address(driver: Driver) {
    // RFC 2606: this name never exists.
    let gateway = Setup::proxy(driver, "nowhere.invalid:80").start();
    assert_eq!(gateway.get("/a").status, 503);
    assert_eq!(gateway.log_line()["code"], "no_endpoint");
}

fn serves_ipv6_clients_and_endpoints(driver: Driver) {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else {
        eprintln!("this machine has no IPv6 loopback address");
        return;
    };
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let mut stream = listener.accept().unwrap().0;
        let mut block = [0; 4096];
        while matches!(stream.read(&mut block), Ok(n) if n > 0) {
            stream.write_all(ok("six").as_bytes()).unwrap();
        }
    });
    let gateway = Setup::proxy(driver, &address)
        .set("listener", "listen", "\"[::1]:0\"")
        .set("forwarded", "forwarded", "true")
        .start();
    assert_eq!(gateway.get("/a").text(), "six");
}

fn tries_the_next_endpoint_when_one_refuses(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = [\"127.0.0.1:1\", \"{}\"]",
            origin.address()
        ))
        .catch_all("app")
        .start();
    let statuses: Vec<u16> = (0..10).map(|_| gateway.get("/a").status).collect();
    // Retries to other endpoints come with their own issue; without them the refusing
    // endpoint's share fails, and nothing else does.
    assert!(
        statuses.iter().all(|s| *s == 200 || *s == 502),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().filter(|s| **s == 200).count() >= 5,
        "{statuses:?}"
    );
}

fn listens_on_several_addresses(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .body("[[listener]]\nname = \"second\"\nlisten = \"127.0.0.1:0\"")
        .start();
    assert_ne!(gateway.listener("public"), gateway.listener("second"));
    assert_eq!(gateway.get("/a").text(), "x");
    assert_eq!(
        Client::connect(gateway.listener("second")).get("/b").text(),
        "x"
    );
}

fn serves_with_several_workers(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "workers", "2")
        .start();
    assert_eq!(gateway.readiness()["workers"], 2);
    let mut clients: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(get("/a"));
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "x");
    }
    gateway.wait_for_metric("ringgate_requests_total", &[], 40.0);
}

fn takes_over_a_socket_file_that_was_left_behind(driver: Driver) {
    let origin = Origin::named("x");
    let setup = Setup::proxy(driver, origin.address());
    let path = setup.dir().join("gateway.sock");
    // A listener that is gone leaves its file.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let address = format!("unix:{}", path.display());
    let quoted = format!("{address:?}");
    let gateway = setup.set("listener", "listen", &quoted).start();
    assert_eq!(Client::connect(&address).get("/a").text(), "x");
    drop(gateway);
}

fn tells_origins_nothing_false_about_unix_clients(driver: Driver) {
    let origin = Origin::named("x");
    let setup = Setup::proxy(driver, origin.address());
    let address = format!("unix:{}", setup.dir().join("gateway.sock").display());
    let quoted = format!("{address:?}");
    let gateway = setup
        .set("listener", "listen", &quoted)
        .set("forwarded", "trusted", "[\"192.0.2.0/24\"]")
        .start();
    let response = Client::connect(&address)
        .exchange("GET /a HTTP/1.1\r\nHost: gateway.test\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n");
    assert_eq!(response.text(), "x");
    let request = origin.request();
    let told = request.fields.all("x-forwarded-for").join(", ");
    assert!(!told.contains("203.0.113.9"), "{told}");
    drop(gateway);
}

fn keeps_no_more_idle_connections_than_told(driver: Driver) {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let origin = Origin::start(move |conn| {
        while conn.request().is_some() {
            let _ = gone.lock().unwrap().recv();
            conn.send(ok("x"));
        }
    });
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "keepalive_max = 4")
        .catch_all("app")
        .start();
    let mut clients: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.send(get("/a"));
    }
    origin.wait_for_requests(40);
    assert_eq!(origin.open(), 40);
    for _ in 0..40 {
        go.send(()).unwrap();
    }
    for client in &mut clients {
        assert_eq!(client.response("GET").text(), "x");
    }
    wait_until("four are kept", || origin.open() == 4);
    assert_eq!(
        gateway.metric("ringgate_upstream_idle_connections", &[]),
        4.0
    );
}
