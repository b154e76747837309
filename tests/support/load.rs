//! Load for limits: connections that press as hard as they can, and when each answer came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Client;

/// When a request began and its answer was there, and what it was.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub sent: Instant,
    pub answered: Instant,
    pub status: u16,
}

/// Connections that press until they are asked to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Told>>>,
}

impl Load {
    /// `connections` to each address, each sending `request` again and again.
    pub fn start(addresses: &[&str], connections: usize, request: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let each = addresses.iter().flat_map(|a| vec![*a; connections]);
        let threads = each.map(|address| {
            let (address, request) = (address.to_owned(), request.to_owned());
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || press(&address, &request, &stop))
        });
        Self {
            threads: threads.collect(),
            stop,
        }
    }

    /// Presses on for a while, then stops.
    pub fn for_time(self, time: Duration) -> Vec<Told> {
        std::thread::sleep(time);
        self.stop()
    }

    /// Stops, and tells all answers in the order of sending.
    pub fn stop(self) -> Vec<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads {
            all.extend(thread.join().unwrap());
        }
        all.sort_by_key(|told| told.sent);
        all
    }
}

fn press(address: &str, request: &str, stop: &AtomicBool) -> Vec<Told> {
    let mut client = Client::connect(address);
    let mut all = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let sent = Instant::now();
        let response = client.exchange(request);
        all.push(Told {
            sent,
            answered: Instant::now(),
            status: response.status,
        });
        if response.field("connection") == Some("close") {
            // It has carried as many requests as a connection may.
            client = Client::connect(address);
        }
    }
    all
}

/// Answers of this status.
pub fn count(all: &[Told], status: u16) -> usize {
    all.iter().filter(|told| told.status == status).count()
}

/// The most 200s that began and ended within one window of `per`: so many were admitted in it
/// for certain, whatever the machine was busy with meanwhile.
pub fn most_within(all: &[Told], per: Duration) -> usize {
    let passed: Vec<&Told> = all.iter().filter(|told| told.status == 200).collect();
    let windows = passed.iter().enumerate().map(|(first, begin)| {
        let end = begin.sent + per;
        let within = passed[first..].iter().take_while(|told| told.sent < end);
        within.filter(|told| told.answered <= end).count()
    });
    windows.max().unwrap_or(0)
}

/// From the first request to the last answer.
pub fn span(all: &[Told]) -> Duration {
    match (all.first(), all.iter().map(|told| told.answered).max()) {
        (Some(first), Some(last)) => last - first.sent,
        _ => Duration::ZERO,
    }
}
