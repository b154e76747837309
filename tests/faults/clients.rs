//! Clients that vanish in every phase, and what they leave behind: nothing.

use crate::support::{
    Driver, Gateway, Origin, Setup, get, ok, on_both_drivers, settle, wait_until,
};

on_both_drivers!(
    nothing_is_left_of_clients_that_vanish_in_any_phase,
    nothing_leaks_over_two_thousand_aborted_requests,
    slow_drip_heads_end_and_free_their_place,
    garbage_is_answered_and_forgotten,
);

/// Answers by target: at once, never, half, or without end.
fn moody() -> Origin {
    Origin::start(|conn| {
        while let Some(request) = conn.request() {
            match request.target.as_str() {
                "/never" => return conn.stall(),
                "/half" => {
                    conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
                    return conn.stall();
                }
                "/endless" => {
                    conn.send("HTTP/1.1 200 OK\r\n\r\n");
                    while conn.send(vec![b'x'; 1 << 16]) {}
                    return;
                }
                other => conn.send(ok(other)),
            };
        }
    })
}

/// What a client has sent when it vanishes.
const PHASES: &[&str] = &[
    "",
    "G",
    "GET /a HTTP/1.1\r\nHost: gate",
    "GET /never HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    "GET /half HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    "GET /endless HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: gateway.test\r\n\r\nGET /b HTTP/1.1\r\nHo",
    "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 100\r\n\r\nhalf",
    "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nha",
    "POST /a HTTP/1.1\r\nHost: gateway.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n",
    "POST /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    "GET /never HTTP/1.1\r\nHost: gateway.test\r\n\r\nGET /never HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
];

#[derive(Clone, Copy, Debug)]
enum Leaving {
    Reset,
    Close,
}

fn leave(gateway: &Gateway, sent: &str, how: Leaving) {
    let mut client = gateway.client();
    client.try_send(sent);
    match how {
        Leaving::Reset => client.reset(),
        Leaving::Close => drop(client),
    }
}

/// Waits until the gateway holds no more descriptors than `most`.
fn descriptors_come_back(gateway: &Gateway, most: usize) {
    wait_until(
        &format!("{} descriptors fall to {most}", gateway.descriptors()),
        || gateway.descriptors() <= most,
    );
}

fn nothing_is_left_of_clients_that_vanish_in_any_phase(driver: Driver) {
    let origin = moody();
    let gateway = Setup::new(driver)
        .upstream("app", origin.address(), "keepalive_max = 1")
        .catch_all("app")
        .start();
    assert_eq!(gateway.get("/warm").text(), "/warm");
    settle();
    let before = gateway.descriptors();
    for sent in PHASES {
        for how in [Leaving::Reset, Leaving::Close] {
            for pause in [false, true] {
                let mut client = gateway.client();
                client.try_send(sent);
                if pause {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                match how {
                    Leaving::Reset => client.reset(),
                    Leaving::Close => drop(client),
                }
                assert_eq!(
                    gateway.get("/mine").text(),
                    "/mine",
                    "after {sent:?} {how:?}"
                );
            }
        }
    }
    descriptors_come_back(&gateway, before + 1);
    assert!(
        origin.open() <= 1 || {
            wait_until("the origin's connections end", || origin.open() <= 1);
            true
        }
    );
}

fn nothing_leaks_over_two_thousand_aborted_requests(driver: Driver) {
    let origin = moody();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let round = |count: usize| {
        for i in 0..count {
            let how = if i % 3 == 0 {
                Leaving::Close
            } else {
                Leaving::Reset
            };
            leave(&gateway, PHASES[i % PHASES.len()], how);
            if i % 50 == 0 {
                assert_eq!(gateway.get("/mine").text(), "/mine");
            }
        }
    };
    // The first rounds fill pools and caches that stay.
    round(2000);
    wait_until("the first round is over", || origin.open() <= 64);
    round(2000);
    wait_until("the second round is over", || origin.open() <= 64);
    let descriptors = gateway.descriptors();
    let memory = gateway.resident();
    round(2000);
    descriptors_come_back(&gateway, descriptors + 8);
    let grown = gateway.resident().saturating_sub(memory);
    eprintln!("resident memory: {memory} bytes, then {grown} more");
    // 4 KiB for each request would be seen; an arena of the allocator more is none.
    assert!(grown <= 8 << 20, "resident memory grew by {grown} bytes");
    wait_until("no connection is counted any more", || {
        // The scrape itself comes through the admin listener.
        gateway.metric("ringgate_worker_connections", &[]) < 1.0
    });
}

fn slow_drip_heads_end_and_free_their_place(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "header_timeout", "\"1s\"")
        .set("limits", "connections_max", "300")
        .start();
    let mut drips: Vec<_> = (0..250).map(|_| gateway.client()).collect();
    // A head that never becomes whole, one byte at a time for as long as it is taken.
    let mut bytes = b"GET / HTTP/1.1\r\nX-Drip: 0123456789".iter().cycle();
    wait_until("slow heads end", || {
        let byte = *bytes.next().unwrap();
        drips.retain_mut(|client| client.try_send([byte]));
        std::thread::sleep(std::time::Duration::from_millis(20));
        if byte == b'G' {
            assert_eq!(gateway.get("/a").status, 200, "others are served meanwhile");
        }
        drips.is_empty()
    });
    assert_eq!(
        origin
            .requests()
            .iter()
            .filter(|r| r.target != "/a")
            .count(),
        0
    );
    wait_until("their places are free", || gateway.get("/a").status == 200);
}

fn garbage_is_answered_and_forgotten(driver: Driver) {
    let origin = Origin::named("x");
    let gateway = Setup::proxy(driver, origin.address()).start();
    // A fixed xorshift, so that a failure comes again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..300 {
        let mut bytes = Vec::new();
        for _ in 0..64 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        let mut client = gateway.client();
        client.try_send(&bytes);
        client.finish_sending();
        client.rest();
    }
    assert!(origin.requests().is_empty());
    assert_eq!(gateway.client().exchange(get("/a")).text(), "x");
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}
