//! Traffic policies between a request and its upstream: retries, hedges, breakers, fallbacks,
//! copies, splits and limits of concurrency.

mod breakers;
mod departures;
mod limits;
mod notices;
mod retries;
mod shares;
mod standins;

use crate::support::{Driver, Origin, Setup};

/// An address that refuses connections.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A gateway in front of these endpoints of one upstream, with further lines of it.
fn in_front_of(driver: Driver, endpoints: &[&str], more: &str) -> Setup {
    Setup::new(driver)
        .body(&format!(
            "[[upstream]]\nname = \"app\"\nendpoints = {endpoints:?}\n{more}\n"
        ))
        .catch_all("app")
}

/// An answer of this status with a short body.
fn status(code: u16) -> Vec<u8> {
    format!("HTTP/1.1 {code} Said\r\nContent-Length: 4\r\n\r\nsaid").into_bytes()
}

/// An origin that answers everything with this status.
fn saying(code: u16) -> Origin {
    Origin::answering(status(code))
}
