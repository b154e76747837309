//! A raw HTTP/1 client: it sends exactly the bytes of the case and reads strictly.

use std::io::Write;

use super::message::{ReadError, Reader, Response};
use super::{PATIENCE, Peer};

/// One connection to the gateway.
#[derive(Debug)]
pub struct Client {
    reader: Reader<Peer>,
}

impl Client {
    /// Connects to `host:port` or `unix:/path`.
    #[track_caller]
    pub fn connect(address: &str) -> Self {
        let peer = Peer::connect(address).unwrap_or_else(|e| panic!("connect {address}: {e}"));
        Self {
            reader: Reader::new(peer),
        }
    }

    /// Sends all of `bytes`.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.reader
            .source_mut()
            .write_all(bytes)
            .unwrap_or_else(|e| {
                panic!(
                    "send {:?}: {e}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(120)])
                )
            });
    }

    /// Sends `bytes` to a gateway that may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.source_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Reads the next response, interim ones included; `method` is its request's.
    #[track_caller]
    pub fn response(&mut self, method: &str) -> Response {
        self.try_response(method).unwrap_or_else(|e| {
            let seen = &self.reader.seen;
            let tail = &seen[seen.len().saturating_sub(600)..];
            panic!(
                "no response to {method}: {e}; seen: {:?}",
                String::from_utf8_lossy(tail)
            )
        })
    }

    /// Reads the next response or says why there is none.
    pub fn try_response(&mut self, method: &str) -> Result<Response, ReadError> {
        self.reader.response(method)
    }

    /// Sends `bytes` and reads the response; the method is the first word sent.
    #[track_caller]
    pub fn exchange(&mut self, bytes: impl AsRef<[u8]>) -> Response {
        let bytes = bytes.as_ref();
        let method = String::from_utf8_lossy(bytes);
        let method = method.split(' ').next().unwrap_or_default().to_owned();
        self.send(bytes);
        self.response(&method)
    }

    /// Sends a GET of `path` on this connection and reads the response.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.exchange(format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n"))
    }

    /// Reads a response's head and leaves its body in the stream.
    #[track_caller]
    pub fn head(&mut self, method: &str) -> Response {
        self.reader
            .response_head(method)
            .unwrap_or_else(|e| panic!("no response head: {e}"))
    }

    /// Reads a piece of body or tunnel of exactly `count` bytes.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        self.reader
            .take(count, "piece")
            .unwrap_or_else(|e| panic!("no {count} bytes: {e}"))
    }

    /// Receives once; whether anything came.
    pub fn take_some(&mut self) -> bool {
        matches!(self.reader.fill(), Ok(n) if n > 0)
    }

    /// Reads one chunk of a chunked body; `None` at the last.
    #[track_caller]
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        self.reader
            .chunk()
            .unwrap_or_else(|e| panic!("no chunk: {e}"))
    }

    /// Reads everything until the gateway ends the connection, by close or reset.
    pub fn rest(&mut self) -> Vec<u8> {
        match self.reader.rest() {
            Ok(bytes) => bytes,
            Err(ReadError::TimedOut) => panic!("the gateway did not close within {PATIENCE:?}"),
            Err(_) => self.reader.held().to_vec(),
        }
    }

    /// Fails unless the gateway closes now without another byte.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        let rest = self.rest();
        assert!(
            rest.is_empty(),
            "bytes before the close: {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Whether bytes, or an end, wait to be received.
    pub fn has_bytes(&self) -> bool {
        let socket = self.peer().tcp();
        socket.set_nonblocking(true).unwrap();
        let waiting = socket.peek(&mut [0; 1]);
        socket.set_nonblocking(false).unwrap();
        waiting.is_ok()
    }

    /// Ends sending and keeps receiving.
    pub fn finish_sending(&self) {
        self.reader.source().finish_sending();
    }

    /// Vanishes with a reset.
    pub fn reset(self) {
        self.reader.source().reset();
    }

    /// The socket below.
    pub fn peer(&self) -> &Peer {
        self.reader.source()
    }
}
