//! A warm keep-alive exchange allocates nothing on the worker's thread.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use ringgate_core::chain::Filter;
use ringgate_core::rt::Driver;

/// Counts allocations of data-plane threads (they are the ones named `ringgate-...`).
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static IS_WORKER: std::cell::Cell<Option<bool>> = const { std::cell::Cell::new(None) };
    static ASKING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

fn count() {
    let asking = ASKING
        .try_with(|asking| asking.replace(true))
        .unwrap_or(true);
    if asking {
        return;
    }
    let worker = IS_WORKER.try_with(|known| match known.get() {
        Some(worker) => worker,
        None => {
            let current = std::thread::current();
            let worker = current
                .name()
                .is_some_and(|name| name.starts_with("ringgate-"));
            known.set(Some(worker));
            worker
        }
    });
    if worker.unwrap_or(false) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
    let _ = ASKING.try_with(|asking| asking.set(false));
}

#[allow(unsafe_code)]
// SAFETY: every call goes to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Nothing;

impl Filter for Nothing {
    type Core = ();
    type Scratch = ();

    fn describe(&self) -> String {
        String::new()
    }
}

const WARM_UP: usize = 2_000;
const COUNTED: usize = 5_000;
/// The tick (ten a second) may grow a list of the wheel now and then; a request may not.
const TICK_ALLOWANCE: u64 = 20;

fn allocations_over(driver: Driver, request: &[u8], answer: &'static [u8]) -> u64 {
    let (addr, _heads) = support::origin(move |_| answer.to_vec());
    let engine = support::engine::<Nothing>(driver, addr, vec![Nothing]);
    let mut client = support::connect(engine.addr);
    let mut block = vec![0; 65_536];
    let mut before = 0;
    for turn in 0..WARM_UP + COUNTED {
        if turn == WARM_UP {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        client.write_all(request).unwrap();
        let mut got = 0;
        while !block[..got].ends_with(b"END") {
            got += client.read(&mut block[got..]).unwrap();
        }
    }
    assert!(before > 0, "the warm-up must have been seen to allocate");
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

#[test]
fn a_warm_route_allocates_nothing_per_request() {
    let get: &[u8] =
        b"GET /users/7?x=1 HTTP/1.1\r\nHost: api.example.com\r\nUser-Agent: test\r\n\r\n";
    let post: &[u8] = b"POST /users HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    let length: &[u8] =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nabcEND";
    for driver in [Driver::IoUring, Driver::Epoll] {
        for request in [get, post] {
            let allocations = allocations_over(driver, request, length);
            assert!(
                allocations <= TICK_ALLOWANCE,
                "{allocations} allocations in {COUNTED} requests on {driver:?}"
            );
        }
    }
}
