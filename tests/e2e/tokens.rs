//! Clients and origins that do what they like, all at once, for a few seconds: every request
//! carries a token that its origin puts all over the answer. No answer may show another's
//! token, and afterwards nothing is left: no gauge, no descriptor.

use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::message::{ReadError, Reader};
use crate::support::{
    Conn, Driver, Framing, Gateway, Origin, Peer, Request, Setup, on_both_drivers, wait_until,
};

on_both_drivers!(no_answer_carries_another_requests_token);

/// How long the storm lasts.
const STORM: Duration = Duration::from_secs(8);
/// Clients that act at once.
const CLIENTS: u64 = 12;

/// Xorshift.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// Mostly small, now and then more than a block.
    fn repeats(&mut self) -> usize {
        match self.roll(8) {
            0 => 0,
            1..=5 => self.roll(60),
            6 => 1000 + self.roll(3000),
            _ => self.roll(30_000),
        }
    }

    fn pause(&mut self, one_in: usize) {
        if self.roll(one_in) == 0 {
            thread::sleep(Duration::from_micros(self.roll(3000) as u64));
        }
    }
}

/// `text` as one chunk.
fn chunk(text: &str) -> String {
    match text.len() {
        0 => String::new(),
        size => format!("{size:x}\r\n{text}\r\n"),
    }
}

/// Requests that came to the origin mixed up.
type Mixed = Arc<Mutex<Vec<Request>>>;

/// An origin that answers with the request's token, in whatever way comes to its mind.
fn moody(mixed: Mixed) -> Origin {
    Origin::start(move |conn| {
        let mut dice = Dice((0x9e37_79b9 * (conn.index as u64 + 1)) | 1);
        while let Some(head) = conn.head() {
            let token = head.target.trim_start_matches('/').to_owned();
            if head.fields.all("x-token") != [&token] {
                mixed.lock().unwrap().push(head.clone());
            }
            if head.fields.has("expect") && dice.roll(2) == 0 {
                conn.send("HTTP/1.1 100 Continue\r\n\r\n");
            }
            if !one_mood(conn, &mut dice, head, &mixed) {
                return;
            }
        }
    })
}

/// Whether the connection stays.
fn one_mood(conn: &mut Conn, dice: &mut Dice, head: Request, mixed: &Mixed) -> bool {
    let early = dice.roll(6) == 0;
    let token = &head.target[1..];
    if !early {
        let Some(request) = conn.body(head.clone()) else {
            return false;
        };
        let mut parts = request.body.chunks(token.len());
        let trailers = request.trailers.all("x-trailer");
        if !parts.all(|part| part == token.as_bytes()) || trailers.iter().any(|t| *t != token) {
            mixed.lock().unwrap().push(request);
        }
    }
    match dice.roll(16) {
        0 => return false,
        1 => {
            conn.reset();
            return false;
        }
        2 => {
            conn.send(format!(
                "HTTP/1.1 103 Early Hints\r\nX-Token: {token}\r\n\r\n"
            ));
        }
        _ => {}
    }
    dice.pause(10);
    let stays = answer(conn, dice, token);
    // An early answer leaves the rest of the request to be read, or not.
    match early {
        true => stays && dice.roll(2) == 0 && conn.body(head).is_some(),
        false => stays,
    }
}

fn answer(conn: &mut Conn, dice: &mut Dice, token: &str) -> bool {
    let body = token.repeat(dice.repeats());
    let head = format!("HTTP/1.1 200 OK\r\nX-Token: {token}\r\n");
    let mut closes = dice.roll(8) == 0;
    let said = if closes { "Connection: close\r\n" } else { "" };
    let message = match dice.roll(3) {
        0 => format!("{head}{said}Content-Length: {}\r\n\r\n{body}", body.len()),
        1 => {
            let (one, two) = body.split_at(dice.roll(body.len() + 1));
            format!(
                "{head}{said}Transfer-Encoding: chunked\r\n\r\n{}{}0\r\nX-Trailer: {token}\r\n\r\n",
                chunk(one),
                chunk(two)
            )
        }
        _ => {
            closes = true;
            format!("{head}\r\n{body}")
        }
    };
    if dice.roll(12) == 0 {
        conn.send(&message[..dice.roll(message.len())]);
        if dice.roll(2) == 0 {
            conn.reset();
        }
        return false;
    }
    let cut = dice.roll(message.len());
    let sent = conn.send(&message[..cut]);
    dice.pause(6);
    sent && conn.send(&message[cut..]) && !closes
}

/// A request with a token, as the bytes of its head and its body.
struct Sent {
    token: String,
    method: &'static str,
    head: String,
    body: String,
}

fn request(dice: &mut Dice, serial: &AtomicUsize) -> Sent {
    let token = format!("token-{:07}", serial.fetch_add(1, Ordering::Relaxed));
    let start = |method: &str| {
        format!("{method} /{token} HTTP/1.1\r\nHost: gateway.test\r\nX-Token: {token}\r\n")
    };
    let body = token.repeat(dice.repeats());
    let expect = match dice.roll(6) {
        0 => "Expect: 100-continue\r\n",
        _ => "",
    };
    let (method, fields, body) = match dice.roll(4) {
        0 | 1 => ("GET", String::new(), String::new()),
        2 => (
            "PUT",
            format!("{expect}Content-Length: {}\r\n", body.len()),
            body,
        ),
        _ => (
            "POST",
            format!("{expect}Transfer-Encoding: chunked\r\n"),
            format!("{}0\r\nX-Trailer: {token}\r\n\r\n", chunk(&body)),
        ),
    };
    Sent {
        head: format!("{}{fields}\r\n", start(method)),
        token,
        method,
        body,
    }
}

/// Reads an answer and looks at everything in it that might be another's. False when the
/// connection cannot go on.
fn check(reader: &mut Reader<Peer>, sent: &Sent, answers: &AtomicUsize) -> bool {
    loop {
        let mut response = match reader.response_head(sent.method) {
            Ok(response) => response,
            Err(error) => return end_of(error),
        };
        let token = Some(sent.token.as_str());
        match response.status {
            100 => continue,
            103 => {
                assert_eq!(response.field("x-token"), token);
                continue;
            }
            200 => assert_eq!(response.field("x-token"), token),
            status => assert!([408, 502, 504].contains(&status), "{response:?}"),
        }
        let closes = response.field("connection") == Some("close");
        let outcome = reader.response_body(&mut response);
        if response.status == 200 {
            let body = match &outcome {
                Ok(()) => response.body.clone(),
                // What came of it until it was cut.
                Err(_) if response.framing == Framing::Length => reader.held().to_vec(),
                Err(_) => Vec::new(),
            };
            let mine = body
                .chunks(sent.token.len())
                .all(|part| sent.token.as_bytes().starts_with(part));
            assert!(mine, "{} got another's body", sent.token);
            for trailer in response.trailers.all("x-trailer") {
                assert_eq!(Some(trailer), token);
            }
            answers.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
        }
        return match outcome {
            Ok(()) => !closes,
            Err(error) => end_of(error),
        };
    }
}

fn end_of(error: ReadError) -> bool {
    match error {
        ReadError::Closed | ReadError::Cut(_) => false,
        error => panic!("{error}"),
    }
}

/// One connection of a moody client. Ends when the gateway, or the client, has enough.
fn visit(gateway: &Gateway, dice: &mut Dice, serial: &AtomicUsize, answers: &AtomicUsize) {
    let peer = Peer::connect(gateway.address()).unwrap();
    let mut writer = peer.tcp().try_clone().unwrap();
    let mut reader = Reader::new(peer);
    for _ in 0..1 + dice.roll(12) {
        let count = [1, 1, 1, 2, 4][dice.roll(5)];
        let batch: Vec<Sent> = (0..count).map(|_| request(dice, serial)).collect();
        let mut bytes = Vec::new();
        for sent in &batch {
            bytes.extend_from_slice(sent.head.as_bytes());
            bytes.extend_from_slice(sent.body.as_bytes());
        }
        if dice.roll(10) == 0 {
            let part = dice.roll(bytes.len());
            let _ = writer.write_all(&bytes[..part]);
            dice.pause(2);
            if dice.roll(2) == 0 {
                reader.source().reset();
            }
            return;
        }
        // The gateway holds back who does not read, so both happen at once.
        let (mut half, cut) = (writer.try_clone().unwrap(), dice.roll(bytes.len()));
        let pause = dice.roll(4) == 0;
        let goes_on = thread::scope(|scope| {
            scope.spawn(move || {
                let sent = half.write_all(&bytes[..cut]).is_ok();
                if pause {
                    thread::sleep(Duration::from_millis(2));
                }
                sent && half.write_all(&bytes[cut..]).is_ok()
            });
            let answered = batch.iter().all(|sent| check(&mut reader, sent, answers));
            if !answered {
                // The writer may wait for a gateway that reads no more.
                let _ = writer.shutdown(std::net::Shutdown::Both);
            }
            answered
        });
        if !goes_on || dice.roll(15) == 0 {
            return;
        }
    }
}

fn no_answer_carries_another_requests_token(driver: Driver) {
    let mixed = Mixed::default();
    let origin = moody(Arc::clone(&mixed));
    let gateway = Setup::new(driver)
        .set("runtime", "workers", "2")
        .set("listener", "half_close", "\"allow\"")
        .set("limits", "header_timeout", "\"1s\"")
        .set("limits", "body_timeout", "\"1s\"")
        .upstream(
            "app",
            origin.address(),
            "idle_timeout = \"300ms\"\nresponse_timeout = \"2s\"\nread_timeout = \"2s\"",
        )
        .catch_all("app")
        .start();
    gateway.metrics();
    let baseline = gateway.descriptors();
    let (serial, answers) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let end = Instant::now() + STORM;
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (gateway, serial, answers) = (&gateway, &serial, &answers);
            scope.spawn(move || {
                let mut dice = Dice(0x5eed_0001 + client * 0x9e37_79b9);
                while Instant::now() < end {
                    visit(gateway, &mut dice, serial, answers);
                }
            });
        }
    });
    assert!(answers.load(Ordering::Relaxed) > 100, "{answers:?} answers");
    let strange = origin
        .failures()
        .into_iter()
        .filter(|f| !f.contains("cut short"));
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(*mixed.lock().unwrap(), Vec::new());
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
    for gauge in [
        "ringgate_worker_active_requests",
        "ringgate_upstream_active_requests",
        "ringgate_worker_connections",
        "ringgate_listener_connections",
    ] {
        wait_until(gauge, || gateway.metric(gauge, &[]) == 0.0);
    }
    wait_until("descriptors are given back", || {
        gateway.descriptors() <= baseline
    });
}
