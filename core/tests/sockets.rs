//! Sockets of the runtime boundary, on both drivers: nothing is lost, doubled or left open.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "the peers are plain sockets on threads of their own"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;

use ringgate_core::block::{Block, BlockClass};
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{self, Driver, Likely, Socket};

const WAIT: Ticks = Ticks(50);

/// Runs `ours` with one end of a connection on each driver, and `theirs` with the other end.
fn on_both<F: Future<Output = ()>>(
    ours: impl Fn(Socket) -> F + Copy + Send + 'static,
    theirs: impl Fn(TcpStream) + Copy,
) {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let runs = thread::spawn(move || {
            rt::block_on(driver, async {
                rt::spawn(async { rt::every_tick(|| true).await.unwrap() });
                ours(Socket::adopt(OwnedFd::from(accepted)).unwrap()).await;
                // What was dropped is closed when the loop comes round.
                rt::pause(Ticks(2)).await;
            })
            .unwrap();
        });
        // It stays open until ours has ended.
        let _held = peer.try_clone().unwrap();
        theirs(peer);
        runs.join().unwrap();
    }
}

fn patterned(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 251) as u8).collect()
}

#[test]
fn a_receive_that_began_early_brings_its_bytes_to_whoever_waits_first() {
    on_both(
        |socket| async move {
            socket.recv_early(BlockClass::Small);
            assert!(socket.is_quiet());
            let (result, block) = socket.recv_block(BlockClass::Head, Likely::Later).await;
            assert_eq!((result.unwrap(), &block[..]), (5, &b"first"[..]));
            socket
                .send(Block::from_slice(b"go on"), || WAIT)
                .await
                .0
                .unwrap();
            let mut held = Block::new(BlockClass::Small);
            held.append(b"held ");
            socket.recv_early(BlockClass::Small);
            let (result, block) = socket.recv(held).await;
            assert_eq!((result.unwrap(), &block[..]), (6, &b"held second"[..]));
        },
        |mut peer| {
            peer.write_all(b"first").unwrap();
            peer.read_exact(&mut [0; 5]).unwrap();
            peer.write_all(b"second").unwrap();
            assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        },
    );
}

#[test]
fn a_socket_that_is_dropped_while_it_receives_is_closed() {
    on_both(
        |socket| async move {
            socket.recv_early(BlockClass::Large);
            drop(socket);
        },
        |mut peer| assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0),
    );
}

#[test]
fn sends_that_nobody_waits_for_arrive_whole_and_in_order() {
    const SMALL: usize = 15_000;
    const ROUNDS: usize = 200;
    on_both(
        |socket| async move {
            for _ in 0..ROUNDS {
                let block = Block::from_slice(&patterned(SMALL));
                socket.send_behind(block, || WAIT).await.unwrap();
            }
            socket
                .send(Block::from_slice(b"end"), || WAIT)
                .await
                .0
                .unwrap();
            assert!(socket.is_settled());
        },
        |mut peer| {
            let mut all = Vec::new();
            // A reader that lets the buffers between fill.
            thread::sleep(std::time::Duration::from_millis(100));
            peer.read_to_end(&mut all).unwrap();
            assert!(all.ends_with(b"end"));
            all.truncate(all.len() - 3);
            assert_eq!(all.len(), SMALL * ROUNDS);
            let expected = patterned(SMALL);
            assert!(all.chunks(SMALL).all(|piece| piece == expected));
        },
    );
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    on_both(
        |socket| async move {
            let failed = loop {
                let block = Block::from_slice(&patterned(15_000));
                if let Err(error) = socket.send_behind(block, || Ticks(2)).await {
                    break error;
                }
            };
            assert_eq!(failed.kind(), std::io::ErrorKind::TimedOut);
            assert!(socket.is_cut());
        },
        |_never_read| {},
    );
}

#[test]
fn what_was_sent_in_vain_while_nobody_waited_is_told() {
    on_both(
        |socket| async move {
            socket.shutdown(Shutdown::Write);
            let sent = socket.send_behind(Block::from_slice(b"late"), || WAIT);
            let sent = sent.await;
            rt::pause(Ticks(2)).await;
            assert!(sent.is_err() || !socket.is_settled());
            assert!(sent.and(socket.flush(WAIT).await).is_err());
        },
        |_idle| {},
    );
}

#[test]
fn a_payload_that_has_gone_out_holds_no_block() {
    on_both(
        |socket| async move {
            let block = Block::from_slice(&patterned(15_000));
            let at = block.memory().as_ptr();
            socket.send_behind(block, || WAIT).await.unwrap();
            rt::pause(Ticks(2)).await;
            assert_eq!(Block::new(BlockClass::Small).memory().as_ptr(), at);
        },
        |_idle| {},
    );
}

#[test]
fn a_second_loop_on_a_thread_goes_on_with_the_operations_of_the_first() {
    for driver in [Driver::IoUring, Driver::Epoll] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let (mut other, others) = UnixStream::pair().unwrap();
        let first = async {
            let socket = Socket::adopt(OwnedFd::from(ours)).unwrap();
            rt::spawn(async move {
                let _ = socket.recv(Block::new(BlockClass::Head)).await;
            });
            rt::spawn(async { rt::every_tick(|| true).await.unwrap() });
            rt::pause(Ticks(1)).await;
        };
        rt::block_on(driver, first).unwrap();
        theirs.write_all(b"for the first").unwrap();
        other.write_all(b"for the second").unwrap();
        let second = async {
            let socket = Socket::adopt(OwnedFd::from(others)).unwrap();
            rt::yield_turn().await;
            socket.recv(Block::new(BlockClass::Head)).await
        };
        let (result, block) = rt::block_on(driver, second).unwrap();
        assert_eq!((result.unwrap(), &block[..]), (14, &b"for the second"[..]));
        // The socket was dropped with the last thing that the loop did.
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
    }
}
