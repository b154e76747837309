//! A server that misbehaves as its paths ask, and counts what it sees.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A running server; it ends with the process.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
}

/// What it has seen.
#[derive(Default)]
pub struct Seen {
    pub accepted: AtomicU64,
    pub requests: AtomicU64,
    pub body_bytes: AtomicU64,
    /// Held while a request is answered: whoever stalls, stalls everybody.
    one_at_a_time: Mutex<()>,
}

/// When the server stops for a while, once.
#[derive(Clone, Copy)]
pub struct Stall {
    /// At which request.
    pub at: u64,
    /// How long.
    pub length: Duration,
}

impl Server {
    pub fn start() -> Server {
        Server::with(None)
    }

    pub fn stalling(stall: Stall) -> Server {
        Server::with(Some(stall))
    }

    fn with(stall: Option<Stall>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &seen, stall));
            }
        });
        Server { address, seen }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn accepted(&self) -> u64 {
        self.seen.accepted.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> u64 {
        self.seen.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut stream: TcpStream, seen: &Seen, stall: Option<Stall>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        let Some((path, length)) = next_request(&mut stream, &mut bytes)? else {
            return Ok(());
        };
        let turn = seen.one_at_a_time.lock();
        let turn = turn.unwrap_or_else(PoisonError::into_inner);
        let number = seen.requests.fetch_add(1, Ordering::SeqCst) + 1;
        seen.body_bytes.fetch_add(length as u64, Ordering::SeqCst);
        if let Some(stall) = stall.filter(|stall| stall.at == number) {
            thread::sleep(stall.length);
        }
        drop(turn);
        if !answer(&mut stream, &path)? {
            return Ok(());
        }
    }
}

/// The path and the length of the body.
fn next_request(
    stream: &mut TcpStream,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<(String, usize)>> {
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end + 4]).into_owned();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .map_or(0, |length| length.trim().parse().unwrap());
            if bytes.len() >= end + 4 + length {
                bytes.drain(..end + 4 + length);
                let path = head.split(' ').nth(1).unwrap().to_owned();
                return Ok(Some((path, length)));
            }
        }
        let mut block = [0; 64 << 10];
        match stream.read(&mut block)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&block[..count]),
        }
    }
}

/// Answers; false when the connection is not to be used any more.
fn answer(stream: &mut TcpStream, path: &str) -> io::Result<bool> {
    let mut say = |text: &str| stream.write_all(text.as_bytes());
    match path {
        "/cut" => say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")?,
        "/garbage" => say("nonsense\r\n\r\n")?,
        "/close" => say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")?,
        "/until-close" => say("HTTP/1.1 200 OK\r\n\r\nabcde")?,
        "/silent" => {
            thread::sleep(Duration::from_secs(3600));
        }
        "/hang-up" => {}
        "/reset" => {
            let socket = socket2::SockRef::from(&*stream);
            socket.set_linger(Some(Duration::ZERO))?;
        }
        "/chunked" => {
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")?;
            say("2\r\nde\r\n0\r\n\r\n")?;
            return Ok(true);
        }
        "/gone" => {
            say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(true);
        }
        _ => {
            say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")?;
            return Ok(true);
        }
    }
    Ok(false)
}
