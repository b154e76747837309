//! Fast and slow peers side by side: steady progress is never cut for being slow, and nobody's
//! speed keeps a core from the others.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::sys::Signal;
use crate::support::{Client, Conn, Driver, Origin, Setup, get, ok, on_both_drivers};

on_both_drivers!(
    a_slow_but_steady_reader_gets_its_whole_body,
    a_slow_but_steady_origin_gets_a_whole_upload,
    a_slow_reader_of_a_tunnel_is_not_idle,
    a_busy_direction_keeps_a_silent_one_open,
    a_fast_download_leaves_turns_to_others,
    a_fast_upload_leaves_turns_to_others,
    a_fast_download_does_not_hold_up_the_end,
);

/// More than the buffers between two peers hold.
const LARGE: usize = 24 << 20;

/// Reads slices of so many bytes at a steady pace, for longer than the deadlines of these
/// cases.
fn sip(client: &Client, slices: usize, size: usize) -> usize {
    let mut slice = vec![0; size];
    let mut socket = client.peer().tcp();
    let mut received = 0;
    for _ in 0..slices {
        received += socket.read(&mut slice).unwrap();
        thread::sleep(Duration::from_millis(40));
    }
    received
}

fn a_slow_but_steady_reader_gets_its_whole_body(driver: Driver) {
    // A constant is sent in one piece, which takes longer than the deadline as a whole.
    let gateway = Setup::new(driver)
        .set("limits", "send_timeout", "\"1s\"")
        .route(
            "large",
            "/large",
            &format!("respond = {{ body = \"{}\" }}", "x".repeat(LARGE)),
        )
        .start();
    let mut client = gateway.client();
    client.send(get("/large"));
    // So slow that a send is not told of any progress within the deadline.
    let received = sip(&client, 120, 16 << 10);
    assert!(received < LARGE, "it was not slow");
    assert!(client.takes(LARGE - received), "the answer was cut");
    assert_eq!(gateway.log_line()["end"], "--");
}

fn a_slow_but_steady_origin_gets_a_whole_upload(driver: Driver) {
    const SIZE: usize = 16 << 20;
    let origin = Origin::start(|conn| {
        let Some(head) = conn.head() else { return };
        for _ in 0..80 {
            if conn.take(128 << 10).is_none() {
                return;
            }
            thread::sleep(Duration::from_millis(40));
        }
        conn.take(SIZE - 80 * (128 << 10));
        conn.count(&head);
        conn.send(ok("all"));
    });
    let gateway = Setup::new(driver)
        .upstream(
            "app",
            origin.address(),
            "read_timeout = \"2s\"\nresponse_timeout = \"2s\"",
        )
        .catch_all("app")
        .start();
    let mut client = gateway.client();
    client.send(format!(
        "PUT /a HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: {SIZE}\r\n\r\n"
    ));
    client.send(vec![b'x'; SIZE]);
    assert_eq!(client.response("PUT").text(), "all");
}

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: gateway.test\r\nConnection: Upgrade\r\n\
                       Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\n\r\n";

fn a_slow_reader_of_a_tunnel_is_not_idle(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(SWITCHING);
        conn.send(vec![b'x'; LARGE]);
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "tunnel_idle_timeout", "\"1s\"")
        .start();
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    // A block at this pace takes longer than the tunnel may be idle.
    let mut socket = client.peer().tcp();
    let (mut slice, mut received) = (vec![0; 4 << 10], 0);
    for _ in 0..80 {
        received += socket.read(&mut slice).unwrap();
        thread::sleep(Duration::from_millis(60));
    }
    assert!(client.takes(LARGE - received), "the tunnel was cut");
}

fn a_busy_direction_keeps_a_silent_one_open(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.request();
        conn.send(SWITCHING);
        for _ in 0..30 {
            conn.send("tick");
            thread::sleep(Duration::from_millis(100));
        }
        conn.stall();
    });
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "tunnel_idle_timeout", "\"1s\"")
        .start();
    let mut client = gateway.client();
    assert_eq!(client.exchange(UPGRADE).status, 101);
    assert_eq!(client.take(30 * 4), b"tick".repeat(30));
    client.expect_closed();
    origin.wait_until_closed();
}

impl Client {
    /// Whether `count` more bytes come before the end; none may be held back here.
    fn takes(&self, count: usize) -> bool {
        let mut left = count;
        let mut block = vec![0; 1 << 20];
        let mut socket = self.peer().tcp();
        while left > 0 {
            match socket.read(&mut block) {
                Ok(received) if received > 0 => left = left.saturating_sub(received),
                _ => return false,
            }
        }
        true
    }
}

/// Streams without an end on `/endless`, takes whatever is uploaded, answers the rest.
fn tireless() -> Origin {
    Origin::start(|conn: &mut Conn| {
        while let Some(head) = conn.head() {
            match head.target.as_str() {
                "/endless" => {
                    conn.send("HTTP/1.1 200 OK\r\n\r\n");
                    let piece = vec![b'x'; 1 << 18];
                    while conn.send(&piece) {}
                    return;
                }
                "/sink" => {
                    while conn.take(1 << 16).is_some() {}
                    return;
                }
                target => conn.send(ok(target)),
            };
        }
    })
}

/// Runs `act` while a thread keeps one exchange as busy as it can, and tells whether it
/// was busy to the end.
fn beside(work: impl FnMut() -> usize + Send + 'static, act: impl FnOnce()) -> bool {
    let (done, moved) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (stop, count) = (Arc::clone(&done), Arc::clone(&moved));
    let mut work = work;
    let worker = thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let step = work();
            if step == 0 {
                return false;
            }
            count.fetch_add(step as u64, Ordering::Relaxed);
        }
        true
    });
    crate::support::wait_until("the stream flows", || {
        moved.load(Ordering::Relaxed) > LARGE as u64
    });
    act();
    done.store(true, Ordering::Relaxed);
    worker.join().unwrap()
}

fn download(client: &Client) -> impl FnMut() -> usize + Send + 'static {
    let mut socket = client.peer().tcp().try_clone().unwrap();
    let mut block = vec![0; 1 << 20];
    move || socket.read(&mut block).unwrap_or(0)
}

fn a_fast_download_leaves_turns_to_others(driver: Driver) {
    let origin = tireless();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut busy = gateway.client();
    busy.send(get("/endless"));
    let flowed = beside(download(&busy), || {
        let mut client = gateway.client();
        for turn in 0..200 {
            let target = format!("/{turn}");
            assert_eq!(client.get(&target).text(), target);
        }
    });
    assert!(flowed, "the download ended");
}

fn a_fast_upload_leaves_turns_to_others(driver: Driver) {
    let origin = tireless();
    let gateway = Setup::proxy(driver, origin.address())
        .set("limits", "body_max", "\"off\"")
        .start();
    let mut busy = gateway.client();
    busy.send("PUT /sink HTTP/1.1\r\nHost: gateway.test\r\nContent-Length: 99999999999\r\n\r\n");
    let mut socket = busy.peer().tcp().try_clone().unwrap();
    let piece = vec![b'x'; 1 << 18];
    let upload = move || {
        use std::io::Write as _;
        socket.write(&piece).unwrap_or(0)
    };
    let flowed = beside(upload, || {
        let mut client = gateway.client();
        for turn in 0..200 {
            let target = format!("/{turn}");
            assert_eq!(client.get(&target).text(), target);
        }
    });
    assert!(flowed, "the upload ended");
}

fn a_fast_download_does_not_hold_up_the_end(driver: Driver) {
    let origin = tireless();
    let mut gateway = Setup::proxy(driver, origin.address())
        .set("runtime", "shutdown_grace", "\"500ms\"")
        .start();
    let mut busy = gateway.client();
    busy.send(get("/endless"));
    let mut idle = gateway.client();
    assert_eq!(idle.get("/idle").text(), "/idle");
    beside(download(&busy), || {
        gateway.signal(Signal::Terminate);
        idle.expect_closed();
        gateway.wait();
    });
    origin.wait_until_closed();
}
