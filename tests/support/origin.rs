//! A scripted origin: every connection runs the case's script on a thread of its own,
//! and every byte that arrives is kept.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::message::{ReadError, Reader, Request, requests_in};
use super::{Peer, wait_until};

/// The origin; dropping it stops accepting, scripts that run go on.
#[derive(Debug)]
pub struct Origin {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    seen: Mutex<Vec<Vec<u8>>>,
    requests: Mutex<Vec<Request>>,
    failures: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    ended: AtomicUsize,
    stopped: AtomicBool,
}

impl Origin {
    /// Starts an origin that runs `script` on every connection.
    pub fn start(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self::serve(
            address,
            move || Peer::Tcp(listener.accept().unwrap().0),
            script,
        )
    }

    /// The same on a unix socket at `path`.
    pub fn start_unix(path: &Path, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let address = format!("unix:{}", path.display());
        Self::serve(
            address,
            move || Peer::Unix(listener.accept().unwrap().0),
            script,
        )
    }

    /// An origin that answers every request with the same bytes.
    pub fn answering(bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        Self::replying(move |_| bytes.clone())
    }

    /// An origin that answers each request as `reply` says.
    pub fn replying(reply: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::start(move |conn| {
            while let Some(request) = conn.request() {
                conn.send(reply(&request));
            }
        })
    }

    /// An origin that answers 200 with `name` as the body.
    pub fn named(name: &str) -> Self {
        Self::answering(ok(name))
    }

    fn serve(
        address: String,
        mut accept: impl FnMut() -> Peer + Send + 'static,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let script = Arc::new(script);
        let state = Arc::clone(&shared);
        thread::spawn(move || {
            loop {
                let peer = accept().with_deadlines();
                if state.stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Idle pooled connections outlive the patience of one case.
                peer.patience(Duration::from_secs(600));
                let index = state.accepted.fetch_add(1, Ordering::SeqCst);
                state.seen.lock().unwrap().push(Vec::new());
                let mut conn = Conn {
                    index,
                    reader: Reader::new(peer),
                    shared: Arc::clone(&state),
                    noted: 0,
                };
                let (script, state) = (Arc::clone(&script), Arc::clone(&state));
                thread::spawn(move || {
                    script(&mut conn);
                    conn.note();
                    drop(conn);
                    state.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, shared }
    }

    /// The address as a configuration's endpoint.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The bytes that each connection received, in the order of accepting.
    pub fn seen(&self) -> Vec<Vec<u8>> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The requests that scripts have read so far, over all connections.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// What scripts met that is no strict request.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// The only request that came, whole and strictly parsed.
    #[track_caller]
    pub fn request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at the origin: {requests:#?}");
        requests.remove(0)
    }

    /// Every byte of every connection, strictly parsed.
    #[track_caller]
    pub fn strict(&self) -> Vec<Request> {
        self.seen()
            .iter()
            .flat_map(|bytes| {
                requests_in(bytes)
                    .unwrap_or_else(|e| panic!("{e} in {:?}", String::from_utf8_lossy(bytes)))
            })
            .collect()
    }

    /// How many connections were accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many connections are still in their script.
    pub fn open(&self) -> usize {
        self.accepted() - self.shared.ended.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests were read.
    #[track_caller]
    pub fn wait_for_requests(&self, count: usize) {
        wait_until("the request reaches the origin", || {
            self.requests().len() >= count
        });
    }

    /// Waits until the gateway has closed every connection.
    #[track_caller]
    pub fn wait_until_closed(&self) {
        wait_until("the gateway closes its upstream connections", || {
            self.open() == 0
        });
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accept, which sees the word.
        let _ = Peer::connect(&self.address);
    }
}

/// A connection as the script sees it.
#[derive(Debug)]
pub struct Conn {
    /// The order of accepting, from 0.
    pub index: usize,
    reader: Reader<Peer>,
    shared: Arc<Shared>,
    noted: usize,
}

impl Conn {
    /// Reads one whole request; `None` when the gateway closes or sends what is none.
    pub fn request(&mut self) -> Option<Request> {
        let mut request = self.head()?;
        let outcome = self.reader.request_body(&mut request);
        self.note();
        match outcome {
            Ok(()) => {
                self.shared.requests.lock().unwrap().push(request.clone());
                Some(request)
            }
            Err(error) => self.fail(error),
        }
    }

    /// Reads a request's head and leaves the body; it is not counted as a request.
    pub fn head(&mut self) -> Option<Request> {
        let outcome = self.reader.request_head();
        self.note();
        match outcome {
            Ok(request) => Some(request),
            Err(ReadError::Closed) => None,
            Err(error) => self.fail(error),
        }
    }

    /// Reads the body of `request`, whose head was read before, and counts it.
    pub fn body(&mut self, mut request: Request) -> Option<Request> {
        let outcome = self.reader.request_body(&mut request);
        self.note();
        match outcome {
            Ok(()) => {
                self.shared.requests.lock().unwrap().push(request.clone());
                Some(request)
            }
            Err(error) => self.fail(error),
        }
    }

    /// Counts a request of which only the head will be read.
    pub fn count(&self, request: &Request) {
        self.shared.requests.lock().unwrap().push(request.clone());
    }

    /// Reads exactly `count` bytes; `None` when they never come.
    pub fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        let outcome = self.reader.take(count, "piece");
        self.note();
        outcome.ok()
    }

    /// Sends all of `bytes`; false when the gateway is gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.source_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Sends pieces with a pause after each.
    pub fn send_slowly<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> bool {
        pieces.into_iter().all(|piece| {
            let sent = self.send(piece);
            thread::sleep(Duration::from_millis(10));
            sent
        })
    }

    /// Keeps the connection and reads until the gateway closes it.
    pub fn stall(&mut self) {
        while let Ok(n) = self.reader.fill() {
            self.note();
            if n == 0 {
                break;
            }
        }
        self.note();
    }

    /// Makes the end of the script a reset.
    pub fn reset(&mut self) {
        self.reader.source().reset();
    }

    /// Ends sending and keeps receiving.
    pub fn finish_sending(&mut self) {
        self.reader.source().finish_sending();
    }

    /// The reader below.
    pub fn reader(&mut self) -> &mut Reader<Peer> {
        &mut self.reader
    }

    fn fail<T>(&self, error: ReadError) -> Option<T> {
        let failure = format!("connection {}: {error}", self.index);
        self.shared.failures.lock().unwrap().push(failure);
        None
    }

    fn note(&mut self) {
        let seen = &self.reader.seen;
        if seen.len() > self.noted {
            self.shared.seen.lock().unwrap()[self.index].extend_from_slice(&seen[self.noted..]);
            self.noted = seen.len();
        }
    }
}

/// A 200 with `body` and its length.
pub fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
