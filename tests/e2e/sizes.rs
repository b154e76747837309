//! Heads of every size around the sizes of buffers, in both directions, and bodies that
//! begin in the segment of their head.

use crate::support::{Driver, Origin, Setup, ok, on_both_drivers};

on_both_drivers!(
    request_heads_of_every_size_pass,
    response_heads_of_every_size_pass,
    bodies_of_every_size_pass_in_the_segment_of_their_head,
    a_hundred_fields_pass,
    targets_of_every_size_pass,
);

/// Small sizes, and those around powers of two.
fn sizes(max: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (0..64).collect();
    for power in (7..17).map(|p| 1_usize << p) {
        sizes.extend((power.saturating_sub(600)..power + 64).step_by(23));
    }
    sizes.retain(|size| *size <= max);
    sizes
}

fn letters(size: usize) -> String {
    (0..size)
        .map(|i| char::from(b'a' + (i % 26) as u8))
        .collect()
}

fn request_heads_of_every_size_pass(driver: Driver) {
    let origin = Origin::replying(|r| {
        let seen = r.fields.one("x-long").unwrap_or_default().len();
        ok(&format!("{seen} {}", r.body.len())).into_bytes()
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for size in sizes(32_400) {
        let response = client.exchange(format!(
            "POST /a HTTP/1.1\r\nHost: gateway.test\r\nX-Long: {}\r\nContent-Length: 3\r\n\r\nabc",
            letters(size)
        ));
        assert_eq!(response.text(), format!("{size} 3"));
    }
    let requests = origin.requests();
    assert!(requests.iter().all(|r| {
        let long = r.fields.one("x-long").unwrap_or_default();
        long == letters(long.len())
    }));
}

fn response_heads_of_every_size_pass(driver: Driver) {
    let origin = Origin::replying(|r| {
        let size = r.target.trim_start_matches('/').parse().unwrap();
        let long = letters(size);
        format!("HTTP/1.1 200 OK\r\nX-Long: {long}\r\nContent-Length: 4\r\n\r\nbody").into_bytes()
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for size in sizes(32_400) {
        let response = client.get(&format!("/{size}"));
        assert_eq!(response.status, 200, "{size}");
        assert!(
            response.field("x-long").unwrap_or_default() == letters(size),
            "{size}"
        );
        assert_eq!(response.text(), "body", "{size}");
    }
}

fn bodies_of_every_size_pass_in_the_segment_of_their_head(driver: Driver) {
    let origin = Origin::replying(|r| ok(std::str::from_utf8(&r.body).unwrap()).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for size in sizes(70_000) {
        let body = letters(size);
        let head = "POST /a HTTP/1.1\r\nHost: gateway.test\r\n";
        let plain = format!("{head}Content-Length: {size}\r\n\r\n{body}");
        assert!(
            client.exchange(plain).text() == body,
            "{size} bytes with a length"
        );
        let chunk = if size == 0 {
            String::new()
        } else {
            format!("{size:x}\r\n{body}\r\n")
        };
        let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}0\r\n\r\n");
        assert!(
            client.exchange(chunked).text() == body,
            "{size} bytes in one chunk"
        );
    }
}

fn a_hundred_fields_pass(driver: Driver) {
    let origin = Origin::replying(|r| {
        let seen = r
            .fields
            .0
            .iter()
            .filter(|(n, _)| n.starts_with("X-N-"))
            .count();
        let fields: String = (0..95).map(|i| format!("X-R-{i}: {i}\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\n{seen:02}").into_bytes()
    });
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    // With Host they are exactly the default of `headers_max`.
    let fields: String = (0..99).map(|i| format!("X-N-{i}: {i}\r\n")).collect();
    for _ in 0..2 {
        let response = client.exchange(format!(
            "GET /a HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n"
        ));
        assert_eq!(response.text(), "99");
        assert_eq!(
            response
                .fields
                .0
                .iter()
                .filter(|(n, _)| n.starts_with("X-R-"))
                .count(),
            95
        );
    }
}

fn targets_of_every_size_pass(driver: Driver) {
    let origin = Origin::replying(|r| ok(&r.target).into_bytes());
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut client = gateway.client();
    for size in sizes(8_000) {
        let target = format!("/{}?{}", letters(size / 2), letters(size - size / 2));
        assert!(client.get(&target).text() == target, "{size}");
        // Half of it encoded for no reason: it comes out in its plain spelling.
        if size < 2_000 {
            let encoded: String = letters(size).bytes().map(|b| format!("%{b:02x}")).collect();
            assert!(client.get(&format!("/{encoded}")).text() == format!("/{}", letters(size)));
        }
    }
}
