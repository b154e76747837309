//! Thresholds on a simulated clock, and probes against peers that mean well and peers that do not.

mod adoption;
mod answers;
mod hostile;
mod thresholds;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::failure::Failure;
use super::probe::Probe;
use super::{Address, Check, Place, Question, Speaks, Target, Way};

fn check(question: Question) -> Check {
    Check {
        question,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(20),
        unhealthy_after: 3,
        healthy_after: 2,
    }
}

fn http() -> Question {
    Question::Http {
        path: "/healthz".to_owned(),
        expect: Vec::new(),
        body: None,
    }
}

fn grpc() -> Question {
    Question::Grpc {
        service: "a.B".to_owned(),
    }
}

fn place(address: SocketAddr) -> Place {
    Place {
        address: Address::Tcp(address),
        authority: address.to_string(),
    }
}

fn target(upstream: &str, check: Check, places: &[&str]) -> Target {
    Target {
        upstream: upstream.to_owned(),
        check,
        way: Way {
            speaks: Speaks::Http1,
            tls: None,
            prelude: b"",
        },
        places: places.iter().map(|at| place(at.parse().unwrap())).collect(),
    }
}

/// Runs on a runtime of its own, as the control plane does.
fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}

/// What a probe with this check says of a peer that does `script` with its connection.
async fn asked<F>(check: Check, script: impl FnOnce(TcpStream) -> F) -> Result<(), Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let probe = Probe::new(&target("app", check, &[]), &place(address));
    let checked = tokio::spawn(async move { probe.check().await });
    let (stream, _) = listener.accept().await.unwrap();
    let peer = tokio::spawn(script(stream));
    let result = checked.await.unwrap();
    peer.abort();
    result
}

/// The head of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(read).unwrap()
}
