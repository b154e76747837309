//! The relay between plain sockets of the standard library.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::*;

fn relay_to(to: SocketAddr) -> SocketAddr {
    let (address, mut listeners) = serve::listen("127.0.0.1:0".parse().unwrap(), 1).unwrap();
    let listener = listeners.pop().unwrap();
    let driver = DriverChoice::Auto.driver().unwrap();
    serve::start("relay", None, driver, move || {
        serve::accept_all(listener, move |client| {
            rt::spawn(connect_and_pass(client, Addr::Tcp(to)));
        })
    })
    .unwrap();
    address
}

fn pair() -> (TcpStream, TcpStream) {
    let origin = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(relay_to(origin.local_addr().unwrap())).unwrap();
    let (origin, _) = origin.accept().unwrap();
    for side in [&client, &origin] {
        side.set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
    }
    (client, origin)
}

#[test]
fn passes_bytes_both_ways_at_once() {
    let (mut client, mut origin) = pair();
    let bytes: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let back = bytes.iter().rev().copied().collect::<Vec<u8>>();
    let (mut up, mut down) = (origin.try_clone().unwrap(), client.try_clone().unwrap());
    let senders = [
        thread::spawn({
            let bytes = bytes.clone();
            move || client.write_all(&bytes).unwrap()
        }),
        thread::spawn({
            let back = back.clone();
            move || origin.write_all(&back).unwrap()
        }),
    ];
    let reader = thread::spawn(move || {
        let mut got = vec![0; 3_000_000];
        up.read_exact(&mut got).unwrap();
        got
    });
    let mut got = vec![0; back.len()];
    down.read_exact(&mut got).unwrap();
    assert!(got == back);
    assert!(reader.join().unwrap() == bytes);
    for sender in senders {
        sender.join().unwrap();
    }
}

#[test]
fn a_half_closed_side_still_receives() {
    let (mut client, mut origin) = pair();
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = String::new();
    origin.read_to_string(&mut question).unwrap();
    assert_eq!(question, "question");
    origin.write_all(b"answer").unwrap();
    drop(origin);
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
}

#[test]
fn a_client_without_an_origin_is_closed() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut client = TcpStream::connect(relay_to(gone)).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
}
