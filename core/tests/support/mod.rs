//! A worker over a snapshot of one's own, and origins made of plain threads.
#![allow(dead_code)]
#![allow(
    clippy::disallowed_methods,
    reason = "clients and origins are plain threads"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use ringgate_core::arrivals::Caps;
use ringgate_core::chain::{Filter, Program, Step};
use ringgate_core::http::Emit;
use ringgate_core::http::h1::HeadLimits;
use ringgate_core::key::RouteNames;
use ringgate_core::policy::{Overload, RoutePolicy, UpstreamPolicy};
use ringgate_core::rt::wheel::Ticks;
use ringgate_core::rt::{Addr, Driver, bind};
use ringgate_core::snapshot::{
    Action, Carries, Endpoint, ForwardingPolicy, HalfClose, Http2Limits, Http2Unasked, Limits,
    Listener, Route, Snapshot, TrustedNetworks, Upstream, UpstreamHost, UpstreamHttp2,
    UpstreamProtocol,
};
use ringgate_core::stats::{CoreIndex, Registry};
use ringgate_core::worker::{OpenListener, WorkerOptions, WorkerThread, start};
use ringgate_router::path::PathPolicy;
use ringgate_router::{PathPattern, RouteSpec, RouterBuilder, RouterOptions};

/// A running worker.
pub struct Engine<F: Filter> {
    pub addr: SocketAddr,
    pub registry: Arc<Registry>,
    pub worker: WorkerThread<F>,
}

pub fn limits() -> Limits {
    Limits {
        head: HeadLimits::default(),
        body_max: 16 << 20,
        header_timeout: Ticks(100),
        idle_timeout: Ticks(600),
        body_timeout: Ticks(100),
        send_timeout: Ticks(100),
        request_timeout: Ticks(300),
        tunnel_idle_timeout: Ticks(600),
        tunnel_timeout: Ticks::NEVER,
        connections_max: 10_000,
        requests_per_connection_max: u32::MAX,
        rate_min: 0,
    }
}

/// A worker that sends every request through `filters` to `origin`.
pub fn engine<F: Filter>(driver: Driver, origin: SocketAddr, filters: Vec<F>) -> Engine<F> {
    engine_of(driver, origin, filters, |_| {})
}

/// The same with a snapshot that was changed.
pub fn engine_of<F: Filter>(
    driver: Driver,
    origin: SocketAddr,
    filters: Vec<F>,
    change: impl FnOnce(&mut Snapshot<F>),
) -> Engine<F> {
    let registry = Arc::new(Registry::new(1));
    let fd = bind(&Addr::Tcp(([127, 0, 0, 1], 0).into()), 1024).unwrap();
    let addr = TcpListener::from(fd.try_clone().unwrap())
        .local_addr()
        .unwrap();
    let mut snapshot = snapshot_of(&registry, addr, origin, filters);
    change(&mut snapshot);
    let worker = start(WorkerOptions {
        core: CoreIndex(0),
        pin: None,
        driver,
        registry: Arc::clone(&registry),
        snapshot: Arc::new(snapshot),
        listeners: vec![OpenListener {
            addr: Addr::Tcp(addr),
            fd,
        }],
        log: None,
    })
    .unwrap();
    Engine {
        addr,
        registry,
        worker,
    }
}

/// A snapshot that sends every request to `addr` through `filters` to `origin`.
pub fn snapshot_of<F: Filter>(
    registry: &Registry,
    addr: SocketAddr,
    origin: SocketAddr,
    filters: Vec<F>,
) -> Snapshot<F> {
    let path = PathPattern::parse("/{rest*}").unwrap();
    let mut router = RouterBuilder::new(RouterOptions::default());
    router.route(RouteSpec::new(path));
    let steps = filters.into_iter().enumerate().map(|(index, filter)| Step {
        name: format!("f{index}").into(),
        filter: Arc::new(filter),
        stats: registry.filter(&format!("f{index}")),
    });
    Snapshot {
        generation: 1,
        router: router.build().unwrap(),
        routes: vec![Route {
            name: "all".into(),
            names: RouteNames {
                name: "all".into(),
                captures: ["rest".into()].into(),
            },
            action: Action::Upstream(0),
            program: Program::new(steps.collect()),
            chained: [].into(),
            rewrite: None,
            timeout: None,
            body_max: None,
            upstream_host: UpstreamHost::Preserve,
            upgrades: ["websocket".into()].into(),
            stats: registry.route("all"),
            policy: RoutePolicy::default(),
            state: registry.route_state("all"),
        }],
        upstreams: vec![Upstream {
            name: "origin".into(),
            endpoints: [Endpoint {
                state: registry
                    .upstream_state("origin")
                    .endpoint(&Addr::Tcp(origin), &origin.to_string()),
                addr: Addr::Tcp(origin),
                weight: 1,
                priority: 0,
                zone: None,
                authority: origin.to_string().into(),
            }]
            .into(),
            connect_timeout: Ticks(20),
            response_timeout: Ticks(50),
            read_timeout: Ticks(50),
            idle_timeout: Ticks(600),
            idle_max: 64,
            protocol: UpstreamProtocol::Http1,
            tls: None,
            http2: UpstreamHttp2::default(),
            proxy: None,
            stats: registry.upstream("origin"),
            policy: UpstreamPolicy::default(),
            state: registry.upstream_state("origin"),
        }],
        listeners: vec![listener(addr)],
        path_policy: PathPolicy::default(),
        forwarding: ForwardingPolicy {
            trusted: TrustedNetworks::default(),
            emit: Emit::default(),
            via: Some("ringgate".into()),
            request_id: Some("x-request-id".into()),
            reserved: [].into(),
            secret_parameters: [].into(),
        },
        challenges: Arc::default(),
        overload: Overload::default(),
        chains: Vec::new(),
    }
}

/// A plain listener without bounds.
fn listener(addr: SocketAddr) -> Listener {
    Listener {
        name: "test".into(),
        addr: Addr::Tcp(addr),
        limits: limits(),
        half_close: HalfClose::Abort,
        carries: Carries::default(),
        tls: None,
        http2: Http2Limits::default(),
        h2c: Http2Unasked::Accepted,
        proxies: TrustedNetworks::default(),
        caps: Caps::default(),
        connections: Arc::default(),
        chain: None,
    }
}

/// An origin that answers each request head it reads with `answer(head)`, keep-alive.
pub fn origin(
    answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static,
) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (seen, heads) = channel();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (answer, seen) = (Arc::clone(&answer), seen.clone());
            std::thread::spawn(move || serve(stream.unwrap(), &*answer, &seen));
        }
    });
    (addr, heads)
}

fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&str) -> Vec<u8> + Send + Sync),
    seen: &std::sync::mpsc::Sender<String>,
) {
    let mut got = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") else {
            match stream.read(&mut chunk) {
                Ok(n) if n > 0 => got.extend_from_slice(&chunk[..n]),
                _ => return,
            }
            continue;
        };
        let head = String::from_utf8_lossy(&got[..end + 4]).into_owned();
        let length = head
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            })
            .unwrap_or(0usize);
        while got.len() < end + 4 + length {
            match stream.read(&mut chunk) {
                Ok(n) if n > 0 => got.extend_from_slice(&chunk[..n]),
                _ => return,
            }
        }
        let body = String::from_utf8_lossy(&got[end + 4..end + 4 + length]).into_owned();
        got.drain(..end + 4 + length);
        let _ = seen.send(head.clone() + &body);
        if stream.write_all(&answer(&head)).is_err() {
            return;
        }
    }
}

/// Sends bytes on a fresh connection and reads until the answer is `len` bytes long or ends.
pub fn ask(addr: SocketAddr, request: &str) -> String {
    let mut stream = connect(addr);
    stream.write_all(request.as_bytes()).unwrap();
    read_response(&mut stream)
}

pub fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream
}

/// Reads one response with a Content-Length, or to the end of the stream.
pub fn read_response(stream: &mut TcpStream) -> String {
    let mut got = Vec::new();
    let mut chunk = [0; 65_536];
    loop {
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end + 4]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            if let Some(length) = length
                && got.len() >= end + 4 + length
            {
                break;
            }
        }
        match stream.read(&mut chunk) {
            Ok(n) if n > 0 => got.extend_from_slice(&chunk[..n]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&got).into_owned()
}

/// Waits until `holds`, at most 20 seconds.
pub fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it never came to hold");
}
