//! A route with filters and one exchange on it, without a network: what the benches of the chain
//! and the instruction counts run.
#![allow(dead_code, reason = "each bench uses its part")]

use std::cell::RefCell;
use std::sync::Arc;

use ringgate_core::block::Block;

use ringgate_core::chain::{Attributes, Position, Program, Progress, Run, Step, Subject};
use ringgate_core::http::h1::{HeadLimits, Parse, Resume, parse_request, parse_response};
use ringgate_core::http::{FieldLine, Method, RequestHead, ResponseHead};
use ringgate_core::rt::clock::Stamp;
use ringgate_core::stats::{CoreIndex, PerCore};
use ringgate_filters::{BodyLimit, Core, Filter, HeaderEdits, Headers, Rewrite, Scratch};

/// An exchange on a route whose filters have run once before, as on a warm worker.
pub struct Exchange {
    program: Program<Filter>,
    request: RequestHead,
    response: ResponseHead,
    attributes: Attributes,
    core: RefCell<Core>,
    scratch: RefCell<Scratch>,
}

impl Exchange {
    /// An exchange on a route with these filters. Both heads are received, not yet filtered.
    pub fn on(filters: Vec<Filter>, request: &[u8], response: &[u8]) -> Exchange {
        let steps = filters
            .into_iter()
            .enumerate()
            .map(|(number, filter)| Step {
                name: format!("filter-{number}").into(),
                filter: Arc::new(filter),
                stats: Arc::new(PerCore::new(1)),
            });
        let mut exchange = Exchange {
            program: Program::new(steps.collect()),
            request: RequestHead::default(),
            response: ResponseHead::default(),
            attributes: Attributes::default(),
            core: RefCell::default(),
            scratch: RefCell::default(),
        };
        // The first reading of the clock calibrates it.
        let _ = Stamp::now().nanos_since(Stamp::now());
        for _ in 0..2 {
            exchange.receive(request, response);
            assert!(exchange.filter_request() && exchange.filter_response());
        }
        exchange.receive(request, response);
        exchange
    }

    /// Receives both heads anew, into the same memory.
    pub fn receive(&mut self, request: &[u8], response: &[u8]) {
        let limits = HeadLimits::default();
        self.request.clear();
        self.attributes.principal = None;
        let block = Block::from_slice(request);
        let parsed = parse_request(&block, &limits, &mut Resume::default(), &mut self.request);
        assert!(matches!(parsed, Ok(Parse::Complete { .. })));
        self.request.fields.put_text(block);
        self.response.clear();
        let block = Block::from_slice(response);
        let mut resume = Resume::default();
        let head = &mut self.response;
        let parsed = parse_response(&block, &limits, &mut resume, Method::Get, head);
        assert!(matches!(parsed, Ok(Parse::Complete { .. })));
        self.response.fields.put_text(block);
    }

    /// Runs the request-head phase; whether every filter let the request pass.
    #[inline(never)]
    pub fn filter_request(&mut self) -> bool {
        let run = Run::new(&self.program, CoreIndex(0), &self.core, &self.scratch);
        let subject = Subject {
            head: &mut self.request,
            attributes: &mut self.attributes,
            unix_ms: 0,
        };
        let progress = run.request_head(Position(0), subject);
        matches!(progress, Progress::Passed)
    }

    /// Runs the response-head phase; whether every filter let the response pass.
    #[inline(never)]
    pub fn filter_response(&mut self) -> bool {
        let run = Run::new(&self.program, CoreIndex(0), &self.core, &self.scratch);
        run.response_head(&mut self.response, &self.request, &self.attributes)
            .is_ok()
    }

    /// Shows a piece of the request body to the filters; whether it passed.
    #[inline(never)]
    pub fn filter_body(&mut self, piece: &mut Block) -> bool {
        let run = Run::new(&self.program, CoreIndex(0), &self.core, &self.scratch);
        run.request_body(piece, false, 0, &mut Vec::new()).is_ok()
    }
}

/// `count` filters that each set a field of the request and one of the response.
pub fn header_filters(count: usize) -> Vec<Filter> {
    let edits = |side: &str, number| HeaderEdits {
        set: FieldLine::new(&format!("x-{side}-{number}"), "bench")
            .into_iter()
            .collect(),
        ..HeaderEdits::default()
    };
    (0..count)
        .map(|number| {
            Filter::Headers(Headers {
                request: edits("request", number),
                response: edits("response", number),
            })
        })
        .collect()
}

/// One filter that limits bodies to 1 MiB.
pub fn body_limit() -> Vec<Filter> {
    vec![Filter::BodyLimit(BodyLimit { max: 1 << 20 })]
}

/// One filter that puts `/v2` in the place of `/api`.
pub fn rewrite() -> Vec<Filter> {
    vec![Filter::Rewrite(Rewrite::Prefix {
        strip: "/api".into(),
        add: "/v2".into(),
    })]
}
