//! Random exchanges from fixed seeds: every framing, every size, cut into random pieces on
//! both sides at once. Each body must arrive whole and at its own client.

use std::thread;
use std::time::Duration;

use crate::support::{Client, Conn, Driver, Origin, Setup, on_both_drivers};

on_both_drivers!(
    random_exchanges_arrive_intact,
    random_pipelines_arrive_intact,
    random_aborts_spoil_no_other_exchange,
);

/// Xorshift; a failure comes again with the same seed.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    /// Mostly small, now and then around the sizes of buffers.
    fn size(&mut self) -> usize {
        match self.roll(10) {
            0 => 0,
            1..=4 => self.roll(200),
            5 | 6 => 4090 + self.roll(12),
            7 => 16_380 + self.roll(10),
            8 => 65_530 + self.roll(12),
            _ => self.roll(400_000),
        }
    }

    /// Sends `bytes` in random pieces with short pauses between some.
    fn pieces(&mut self, bytes: &[u8], mut send: impl FnMut(&[u8]) -> bool) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let most = if self.roll(3) == 0 { 64 } else { 50_000 };
            let (piece, behind) = rest.split_at((1 + self.roll(most)).min(rest.len()));
            if !send(piece) {
                return false;
            }
            rest = behind;
            if self.roll(20) == 0 {
                thread::sleep(Duration::from_micros(500));
            }
        }
        true
    }

    /// Frames `body`: its fields and the bytes of the message behind them.
    fn frame(&mut self, body: &[u8], may_close: bool) -> (String, Vec<u8>, bool) {
        match self.roll(if may_close { 5 } else { 4 }) {
            0 | 1 => (
                format!("Content-Length: {}\r\n", body.len()),
                body.to_vec(),
                false,
            ),
            4 => ("Connection: close\r\n".to_owned(), body.to_vec(), true),
            _ => (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                self.chunked(body),
                false,
            ),
        }
    }

    fn chunked(&mut self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let most = [1, 17, 5000, 70_000][self.roll(4)];
            let (chunk, behind) = rest.split_at((1 + self.roll(most)).min(rest.len()));
            let extension = ["", ";x", ";name=\"v\""][self.roll(3)];
            out.extend(format!("{:x}{extension}\r\n", chunk.len()).into_bytes());
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
            rest = behind;
        }
        out.extend_from_slice(if self.roll(4) == 0 {
            b"0\r\nX-T: 1\r\n\r\n"
        } else {
            b"0\r\n\r\n"
        });
        out
    }
}

/// The bytes that `seed` stands for.
fn content(seed: u64, size: usize) -> Vec<u8> {
    let mut dice = Dice(seed | 1);
    (0..size).map(|_| dice.roll(256) as u8).collect()
}

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// Answers `/SEED/SIZE` with that content, framed at random, and the sum of what it got.
fn origin() -> Origin {
    Origin::start(|conn| {
        while let Some(head) = conn.head() {
            let mut parts = head.target.trim_start_matches('/').split('/');
            let seed: u64 = parts.next().unwrap().parse().unwrap();
            let size: usize = parts.next().unwrap().parse().unwrap();
            let mut dice = Dice(seed.wrapping_mul(31) | 1);
            let Some(request) = conn.body(head) else {
                return;
            };
            let token = sum(&request.body);
            if dice.roll(6) == 0 {
                conn.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n");
            }
            if !answer(conn, &mut dice, &content(seed, size), token) {
                return;
            }
        }
    })
}

/// False when the connection ends with this answer.
fn answer(conn: &mut Conn, dice: &mut Dice, body: &[u8], token: u64) -> bool {
    let (fields, bytes, closes) = dice.frame(body, true);
    let mut message = format!("HTTP/1.1 200 OK\r\nX-Sum: {token}\r\n{fields}\r\n").into_bytes();
    message.extend(bytes);
    dice.pieces(&message, |piece| conn.send(piece)) && !closes
}

/// One request with the answer it must get.
struct Exchange {
    bytes: Vec<u8>,
    sent: u64,
    expected: Vec<u8>,
}

fn exchange(dice: &mut Dice) -> Exchange {
    let (seed, size) = (dice.roll(1 << 40) as u64, dice.size());
    let body_size = dice.size();
    let body = content(seed ^ 0x5555, body_size);
    let (fields, bytes, _) = dice.frame(&body, false);
    let mut message =
        format!("POST /{seed}/{size} HTTP/1.1\r\nHost: gateway.test\r\n{fields}\r\n").into_bytes();
    message.extend(bytes);
    Exchange {
        bytes: message,
        sent: sum(&body),
        expected: content(seed, size),
    }
}

fn check(client: &mut Client, exchange: &Exchange, what: &str) {
    let response = loop {
        let response = client.response("POST");
        if response.status != 103 {
            break response;
        }
    };
    assert_eq!(response.status, 200, "{what}");
    let sum = exchange.sent.to_string();
    assert_eq!(
        response.field("x-sum"),
        Some(sum.as_str()),
        "{what}: the request came changed"
    );
    assert!(
        response.body == exchange.expected,
        "{what}: the response came changed"
    );
}

fn random_exchanges_arrive_intact(driver: Driver) {
    let origin = origin();
    let gateway = Setup::proxy(driver, origin.address()).start();
    thread::scope(|scope| {
        for worker in 0..4_u64 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut dice = Dice(0x1234_5678_9abc + worker * 7919);
                let mut client = gateway.client();
                for turn in 0..300 {
                    let exchange = exchange(&mut dice);
                    dice.pieces(&exchange.bytes, |piece| client.try_send(piece));
                    check(
                        &mut client,
                        &exchange,
                        &format!("worker {worker}, turn {turn}"),
                    );
                }
            });
        }
    });
    assert_eq!(origin.failures(), Vec::<String>::new());
}

fn random_pipelines_arrive_intact(driver: Driver) {
    let origin = origin();
    let gateway = Setup::proxy(driver, origin.address()).start();
    let mut dice = Dice(0xfeed_f00d);
    for round in 0..30 {
        let exchanges: Vec<Exchange> = (0..1 + dice.roll(12))
            .map(|_| exchange(&mut dice))
            .collect();
        let all: Vec<u8> = exchanges.iter().flat_map(|e| e.bytes.clone()).collect();
        let mut client = gateway.client();
        // Sending and receiving at once: the gateway holds back who does not read.
        let mut writer = client.peer().tcp().try_clone().unwrap();
        let mut cutter = Dice(round + 77);
        let sending = thread::spawn(move || {
            use std::io::Write as _;
            cutter.pieces(&all, |piece| writer.write_all(piece).is_ok())
        });
        for (turn, exchange) in exchanges.iter().enumerate() {
            check(
                &mut client,
                exchange,
                &format!("round {round}, turn {turn}"),
            );
        }
        assert!(sending.join().unwrap());
    }
    assert_eq!(origin.failures(), Vec::<String>::new());
}

/// Sends a part of an exchange, perhaps reads a part of the answer, and vanishes.
fn abandon(client: Client, exchange: &Exchange, dice: &mut Dice) {
    let mut client = client;
    let part = dice.roll(exchange.bytes.len() + 1);
    let whole = dice.roll(2) == 0;
    let bytes = if whole {
        &exchange.bytes[..]
    } else {
        &exchange.bytes[..part]
    };
    dice.pieces(bytes, |piece| client.try_send(piece));
    if whole && dice.roll(2) == 0 {
        client.peer().patience(Duration::from_millis(5));
        let _ = client.take_some();
    }
    if dice.roll(2) == 0 {
        client.reset();
    }
}

fn random_aborts_spoil_no_other_exchange(driver: Driver) {
    let origin = origin();
    // The same, but it breaks off somewhere in half of its answers.
    let breaking = Origin::start(|conn| {
        while let Some(request) = conn.request() {
            let mut dice = Dice(sum(request.target.as_bytes()) | 1);
            let mut message = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
            message.extend(vec![b'x'; 100_000]);
            let part = dice.roll(message.len() * 2).min(message.len());
            dice.pieces(&message[..part], |piece| conn.send(piece));
            if part < message.len() {
                if dice.roll(2) == 0 {
                    conn.reset();
                }
                return;
            }
        }
    });
    let gateway = Setup::new(driver)
        .set("runtime", "workers", "2")
        .upstream("app", origin.address(), "")
        .upstream("breaking", breaking.address(), "")
        .route("breaking", "/breaking/{rest*}", "upstream = \"breaking\"")
        .catch_all("app")
        .start();
    thread::scope(|scope| {
        for worker in 0..3_u64 {
            let gateway = &gateway;
            scope.spawn(move || {
                let mut dice = Dice(0xabc_def0 + worker * 104_729);
                for _ in 0..150 {
                    abandon(gateway.client(), &exchange(&mut dice), &mut dice);
                    let mut client = gateway.client();
                    client.send(crate::support::get(&format!(
                        "/breaking/{}",
                        dice.roll(1 << 30)
                    )));
                    match client.try_response("GET") {
                        Ok(response) if response.status == 200 => {
                            assert_eq!(response.body.len(), 100_000);
                        }
                        Ok(response) => assert_eq!(response.status, 502),
                        Err(_) => {}
                    }
                }
            });
            scope.spawn(move || {
                let mut dice = Dice(0x777_1234 + worker * 15_485_863);
                let mut client = gateway.client();
                for turn in 0..150 {
                    let exchange = exchange(&mut dice);
                    dice.pieces(&exchange.bytes, |piece| client.try_send(piece));
                    check(
                        &mut client,
                        &exchange,
                        &format!("worker {worker}, turn {turn}"),
                    );
                }
            });
        }
    });
    assert_eq!(gateway.metric("ringgate_worker_panics_total", &[]), 0.0);
}
