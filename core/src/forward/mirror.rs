//! Mirroring: a copy of a request for a shadow upstream. Its answer is read and thrown away, and
//! nothing of the exchange waits for it.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;

use super::Attempt;
use crate::block::Block;
use crate::call;
use crate::chain::{Call, Filter};
use crate::exchange::Exchange;
use crate::halves::Deadline;
use crate::http::Method;
use crate::rt;
use crate::rt::wheel::Ticks;

/// Copies that a core has under way at most; further ones are dropped, and counted.
const UNDER_WAY_MAX: u32 = 256;
/// Bytes of an answer that are read at most before the connection is given up.
const ANSWER_MAX: usize = 1 << 20;
/// For a whole copy, from its connection to the end of its answer.
const TIMEOUT: Ticks = Ticks(300);

/// What the client says of where it comes from; a copy says what the gateway knows.
const CLAIMS: [&[u8]; 6] = [
    b"x-forwarded-for",
    b"x-forwarded-proto",
    b"x-forwarded-host",
    b"x-forwarded-port",
    b"x-real-ip",
    b"forwarded",
];

thread_local! {
    static UNDER_WAY: Cell<u32> = const { Cell::new(0) };
}

/// A copy that is under way as long as this lives.
struct Copy;

impl Copy {
    fn begin() -> Option<Copy> {
        let under_way = UNDER_WAY.get();
        (under_way < UNDER_WAY_MAX).then(|| {
            UNDER_WAY.set(under_way + 1);
            Copy
        })
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        UNDER_WAY.set(UNDER_WAY.get() - 1);
    }
}

impl<F: Filter> Attempt<'_, F> {
    /// Sends a copy of the request to the route's shadow upstream, if it is to have one.
    pub(super) fn mirror(&self, exchange: &Exchange<F>, whole: Option<&Block>) {
        let Some(mirror) = &self.mirror else {
            return;
        };
        let worker = &self.client.worker;
        let drawn = worker.ids.borrow_mut().random();
        if drawn as f64 >= mirror.share * u64::MAX as f64 {
            return;
        }
        let stats = self.installed.snapshot.upstreams[mirror.upstream]
            .stats
            .of(worker.core());
        let request = &exchange.request;
        let fits = match whole {
            Some(whole) => whole.len() as u64 <= mirror.body_max,
            None => request.framing.is_empty(),
        };
        let plain = request.method != Method::Extension && request.upgrade().is_none();
        let copy = (fits && plain).then(Copy::begin).flatten();
        let Some(copy) = copy else {
            stats.mirror_dropped.add(1);
            return;
        };
        stats.mirrored.add(1);
        let call = self.copy(exchange, whole, mirror.upstream);
        let (worker, installed) = (Rc::clone(worker), worker.installed());
        let own = Rc::clone(&worker);
        let sending = async move {
            let _copy = copy;
            let deadline = Deadline::after(TIMEOUT);
            // Whatever becomes of it is in the shadow's own counters.
            let _ = call::run(&worker, &installed, &call, deadline).await;
        };
        rt::spawn(rt::isolate(sending, move || own.stats().panics.add(1)));
    }

    fn copy(&self, exchange: &Exchange<F>, whole: Option<&Block>, upstream: usize) -> Call {
        let request = &exchange.request;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut target = text(request.path());
        if let Some(query) = request.query() {
            target.push('?');
            target.push_str(&text(query));
        }
        let told = |name: &[u8]| CLAIMS.iter().any(|claim| name.eq_ignore_ascii_case(claim));
        let fields = request.fields.iter();
        let passed = fields.filter(|(name, _)| !call::is_own(name) && !told(name));
        let attributes = &exchange.attributes;
        let own: [(&str, &[u8]); 2] = [
            ("x-forwarded-for", attributes.client.text()),
            ("x-forwarded-proto", attributes.scheme.name().as_bytes()),
        ];
        Call {
            upstream,
            method: request.method,
            target: target.into(),
            host: text(request.authority()).into(),
            fields: passed
                .map(|(name, value)| (text(name).into(), value.into()))
                .chain(own.map(|(name, value)| (name.into(), value.into())))
                .collect(),
            body: whole.map_or_else(Bytes::new, |whole| Bytes::copy_from_slice(whole)),
            response_max: ANSWER_MAX,
        }
    }
}
