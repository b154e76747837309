//! The little HTTP that the bench speaks itself: GETs on a kept connection, with a declared
//! length in the answer.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its whole body.
    pub body: Vec<u8>,
}

/// A connection that stays open between requests.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream })
    }

    /// Asks for a path and reads the whole answer.
    ///
    /// # Errors
    /// Those of the system, and an answer that is not HTTP or has no `Content-Length`.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(path, "")
    }

    /// The same with a further field, such as `X-User: alice`; empty for none.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub fn ask(&mut self, path: &str, line: &str) -> io::Result<Answer> {
        // The admin API answers to its own address only.
        let host = self.stream.peer_addr()?;
        let end = if line.is_empty() { "" } else { "\r\n" };
        let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{line}{end}\r\n");
        self.stream.write_all(head.as_bytes())?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if let Some(answer) = parse(&bytes)? {
                return Ok(answer);
            }
            let mut block = [0; 16 * 1024];
            match self.stream.read(&mut block)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                length => bytes.extend_from_slice(&block[..length]),
            }
        }
    }

    /// Whether the peer has kept it open and sent nothing unasked.
    ///
    /// # Errors
    /// Those of the system.
    pub fn is_quiet(&self) -> io::Result<bool> {
        self.stream.set_nonblocking(true)?;
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock))
    }
}

/// One GET on a connection of its own.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::get`].
pub fn fetch(address: SocketAddr, path: &str) -> io::Result<Answer> {
    Connection::open(address)?.get(path)
}

fn parse(bytes: &[u8]) -> io::Result<Option<Answer>> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut fields);
    let parsed = head.parse(bytes).map_err(|e| wrong(e.to_string()))?;
    let (httparse::Status::Complete(start), Some(status)) = (parsed, head.code) else {
        return Ok(None);
    };
    let length = head
        .headers
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case("content-length"))
        .and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok())
        .ok_or_else(|| wrong(format!("a response {status} without a length")))?;
    Ok(bytes[start..].get(..length).map(|body| Answer {
        status,
        body: body.to_vec(),
    }))
}

const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

    #[test]
    fn an_answer_is_complete_at_its_last_byte_only() {
        for end in 0..WHOLE.len() {
            assert_eq!(parse(&WHOLE[..end]).unwrap(), None, "{end}");
        }
        let answer = parse(WHOLE).unwrap().unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b"hello"[..]));
    }

    #[test]
    fn an_answer_without_a_length_is_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(parse(b"SSH-2.0-x\r\n").is_err());
    }
}
