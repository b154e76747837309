//! A node that records what is asked of it, and a raw HTTP client.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringgate_control::{
    AdminOptions, Cause, ControlPlane, DnsOptions, Exposition, Handle, Kind, Node, Options,
    Readiness, ReloadRefused, ReloadReport, Shutdown, SignalHandling, Target, Watch,
};
use serde_json::{Value, json};

/// Long enough for any machine; only a failing test waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Reload(Cause),
    Resolved(String, String, Vec<SocketAddr>),
    Shutdown(Shutdown),
    Reopened,
    Exit(i32),
}

type OnReload = dyn Fn(Cause) -> Result<ReloadReport, ReloadRefused> + Send + Sync;

pub struct FakeNode {
    events: Mutex<Sender<Event>>,
    pub readiness: Mutex<Readiness>,
    pub targets: Mutex<Vec<Target>>,
    pub files: Mutex<Vec<PathBuf>>,
    pub on_reload: Mutex<Arc<OnReload>>,
    /// Panics left in `metrics`, `resolved`.
    pub panics: [Mutex<u32>; 2],
}

pub const METRICS: usize = 0;
pub const RESOLVED: usize = 1;

impl FakeNode {
    pub fn new() -> (Arc<Self>, Receiver<Event>) {
        let (events, seen) = channel();
        let node = Self {
            events: Mutex::new(events),
            readiness: Mutex::new(Readiness::Ready),
            targets: Mutex::default(),
            files: Mutex::default(),
            on_reload: Mutex::new(Arc::new(|_| Ok(ReloadReport::default()))),
            panics: Default::default(),
        };
        (Arc::new(node), seen)
    }

    fn tell(&self, event: Event) {
        let _ = self.events.lock().unwrap().send(event);
    }

    fn maybe_panic(&self, place: usize) {
        let panics = {
            let mut left = self.panics[place].lock().unwrap();
            let now = *left > 0;
            *left = left.saturating_sub(1);
            now
        };
        assert!(!panics, "as the test asked");
    }
}

impl Node for FakeNode {
    fn metrics(&self, out: &mut Exposition) {
        out.family("ringgate_fake_total", Kind::Counter, "A fake.");
        self.maybe_panic(METRICS);
        out.sample(&[("route", "a\"b")], 7_u64);
    }
    fn readiness(&self) -> Readiness {
        self.readiness.lock().unwrap().clone()
    }
    fn config(&self) -> Value {
        json!({ "listener": [] })
    }
    fn upstreams(&self) -> Value {
        json!([{ "name": "users" }])
    }
    fn routes(&self) -> Value {
        json!([])
    }
    fn version(&self) -> Value {
        json!({ "version": "0.1.0" })
    }
    fn reload(&self, cause: Cause) -> Result<ReloadReport, ReloadRefused> {
        self.tell(Event::Reload(cause));
        let answer = Arc::clone(&*self.on_reload.lock().unwrap());
        answer(cause)
    }
    fn resolved(&self, upstream: &str, endpoint: &str, addresses: &[SocketAddr]) {
        self.maybe_panic(RESOLVED);
        self.tell(Event::Resolved(
            upstream.to_owned(),
            endpoint.to_owned(),
            addresses.to_vec(),
        ));
    }
    fn resolve_targets(&self) -> Vec<Target> {
        self.targets.lock().unwrap().clone()
    }
    fn watched_files(&self) -> Vec<PathBuf> {
        self.files.lock().unwrap().clone()
    }
    fn shutdown(&self, cause: Shutdown) {
        self.tell(Event::Shutdown(cause));
    }
    fn reopen_logs(&self) -> io::Result<()> {
        self.tell(Event::Reopened);
        Ok(())
    }
    fn exit(&self, code: i32) {
        self.tell(Event::Exit(code));
    }
}

/// Neither signals nor files; DNS as it stands.
pub fn quiet() -> Options {
    Options {
        admin: None,
        watch: Watch::Off,
        signals: SignalHandling::Leave,
        dns: DnsOptions::default(),
    }
}

/// Starts a control plane with an admin API on a free port.
pub fn start(node: &Arc<FakeNode>, options: Options) -> (Handle, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let admin = Some(AdminOptions::new(listener));
    let node: Arc<dyn Node> = Arc::clone(node) as _;
    let handle = ControlPlane::start(node, Options { admin, ..options }).unwrap();
    (handle, address)
}

/// Sends raw bytes and reads until the other side closes.
pub fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as an end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// One request with `Host: localhost`; its status, head and body.
pub fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> (u16, String, String) {
    let answer = raw(
        address,
        &format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        ),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head["HTTP/1.1 ".len()..][..3].parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

pub fn get(address: SocketAddr, path: &str) -> (u16, String, String) {
    ask(address, "GET", path, "")
}

/// The value of one line of `/metrics`.
pub fn metric(address: SocketAddr, sample: &str) -> u64 {
    let (_, _, text) = get(address, "/metrics");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{sample} in {text}"))
        .parse()
        .unwrap()
}

/// Waits until `holds`.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let patience = std::time::Instant::now() + PATIENCE;
    while !holds() {
        assert!(std::time::Instant::now() < patience, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
