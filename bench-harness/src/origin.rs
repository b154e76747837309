//! An origin inside the bench, for figures in which its own cost does not matter.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Listens on a port of the system's choice and answers every GET with a small constant, until
/// the process ends.
///
/// # Errors
/// When there is no port.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever leaves has had enough.
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut seen = Vec::new();
    let mut block = [0; 4096];
    loop {
        let length = stream.read(&mut block)?;
        if length == 0 {
            return Ok(());
        }
        seen.extend_from_slice(&block[..length]);
        while let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
            seen.drain(..at + 4);
            stream.write_all(RESPONSE)?;
        }
    }
}

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{\"id\":7}";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::http::Connection;

    #[test]
    fn it_answers_again_on_a_kept_connection() {
        let mut connection = Connection::open(super::start().unwrap()).unwrap();
        for _ in 0..3 {
            let answer = connection.get("/x").unwrap();
            assert_eq!((answer.status, &answer.body[..]), (200, &b"{\"id\":7}"[..]));
        }
        assert!(connection.is_quiet().unwrap());
    }
}
