//! Instructions of the data plane's pure parts, counted under callgrind, which do not drift with
//! the machine. `bench-harness/instructions.toml` holds what they are; `./tests/run` fails when
//! one of them rises by more than 3 % (`ringgate-bench instructions` says how to change that).
//!
//! Each function is run once on warm memory: whatever it is given has done the same work before.
//! Only what happens in the function counts, and dropping what it returns does not. They are in
//! one binary, of the crate that sees the router and the core too, as each further binary would
//! cost one more link with all optimisations. The rate limiter is not there yet.
#![allow(clippy::unwrap_used, missing_docs)]
#![allow(
    unused_qualifications,
    clippy::disallowed_types,
    reason = "in what the macros make of these functions"
)]

#[path = "../../core/benches/messages/mod.rs"]
mod messages;
mod route;
#[path = "../../router/benches/tables/mod.rs"]
mod tables;

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use messages::{Request, Response};
use ringgate_core::access::{Format, LogBuffer, LogWriter, Target};
use ringgate_core::block::{Block, BlockClass};
use ringgate_core::http::h1::{ChunkEnd, ChunkedDecoder, Framed, frame_chunk};
use ringgate_core::http::request_id::RequestIds;
use ringgate_filters::Filter;
use ringgate_router::Router;
use ringgate_router::path::{PathPolicy, normalise};
use route::Exchange;

fn request(bytes: &[u8]) -> Box<Request> {
    Box::new(Request::received(bytes))
}

fn response(bytes: &[u8]) -> Box<Response> {
    Box::new(Response::received(bytes))
}

#[library_benchmark(setup = request)]
#[bench::small(messages::SMALL_REQUEST)]
#[bench::browser(messages::BROWSER_REQUEST)]
fn request_parse(mut request: Box<Request>) -> Box<Request> {
    black_box(request.parse());
    request
}

#[library_benchmark(setup = request)]
#[bench::small(messages::SMALL_REQUEST)]
#[bench::browser(messages::BROWSER_REQUEST)]
fn request_forward(mut request: Box<Request>) -> Box<Request> {
    black_box(request.forward());
    request
}

#[library_benchmark(setup = response)]
#[bench::small(messages::SMALL_RESPONSE)]
#[bench::long(messages::LONG_RESPONSE)]
fn response_parse(mut response: Box<Response>) -> Box<Response> {
    black_box(response.parse());
    response
}

#[library_benchmark(setup = response)]
#[bench::small(messages::SMALL_RESPONSE)]
#[bench::long(messages::LONG_RESPONSE)]
fn response_forward(mut response: Box<Response>) -> Box<Response> {
    black_box(response.forward());
    response
}

library_benchmark_group!(
    name = heads,
    benchmarks = [
        request_parse,
        request_forward,
        response_parse,
        response_forward
    ]
);

fn body(size: usize) -> (Vec<u8>, ChunkedDecoder) {
    (
        messages::chunked(size, (64 << 10) / size),
        ChunkedDecoder::default(),
    )
}

// 64 KiB of body.
#[library_benchmark(setup = body)]
#[bench::of_64(64)]
#[bench::of_1024(1024)]
fn chunks_decode((mut body, mut decoder): (Vec<u8>, ChunkedDecoder)) -> (Vec<u8>, ChunkedDecoder) {
    black_box(messages::decode(&mut body, &mut decoder));
    (body, decoder)
}

fn full_block(size: usize) -> Box<Block> {
    let mut block = Block::new(BlockClass::Small);
    block.append(&vec![b'x'; size]);
    Box::new(block)
}

#[library_benchmark]
#[bench::of_8192(full_block(8192))]
fn chunk_frame(mut block: Box<Block>) -> Box<Block> {
    let framed = frame_chunk(&mut block, ChunkEnd::Last { trailers: b"" });
    assert!(framed == Framed::Done);
    block
}

fn leased(class: BlockClass) -> BlockClass {
    drop(Block::new(class));
    class
}

// A hundred blocks, one after the other.
#[library_benchmark(setup = leased)]
#[bench::head(BlockClass::Head)]
#[bench::large(BlockClass::Large)]
fn blocks_lease(class: BlockClass) {
    for _ in 0..100 {
        black_box(Block::new(black_box(class)));
    }
}

library_benchmark_group!(
    name = bodies,
    benchmarks = [chunks_decode, chunk_frame, blocks_lease]
);

fn log(format: Format) -> (LogWriter, LogBuffer) {
    let writer = LogWriter::start(Target::File("/dev/null".into()), |_| {}).unwrap();
    let mut buffer = writer.buffer(format);
    assert!(buffer.push(&messages::record()));
    (writer, buffer)
}

#[library_benchmark(setup = log)]
#[bench::json(Format::Json)]
#[bench::combined(Format::Combined)]
fn log_line((writer, mut buffer): (LogWriter, LogBuffer)) -> (LogWriter, LogBuffer) {
    black_box(buffer.push(black_box(&messages::record())));
    (writer, buffer)
}

#[library_benchmark]
#[bench::seeded(RequestIds::seeded(7))]
fn request_id(mut ids: RequestIds) -> RequestIds {
    black_box(ids.next(black_box(1_795_377_919_123)));
    ids
}

library_benchmark_group!(name = accounts, benchmarks = [log_line, request_id]);

fn table(routes: Vec<String>) -> (Router, Vec<String>) {
    let router = tables::ours(&routes);
    let mut paths = tables::paths(&routes);
    paths.truncate(100);
    for path in &paths {
        black_box(tables::lookup(&router, path));
    }
    (router, paths)
}

// A hundred lookups.
#[library_benchmark(setup = table)]
#[bench::github(tables::github())]
#[bench::generated_10000(tables::generated(10_000))]
fn routes_lookup((router, paths): (Router, Vec<String>)) -> (Router, Vec<String>) {
    for path in &paths {
        black_box(tables::lookup(&router, black_box(path)));
    }
    (router, paths)
}

#[library_benchmark]
#[bench::canonical(
    "/repos/octocat/hello-world/issues/1347/comments",
    Vec::with_capacity(256)
)]
#[bench::encoded("/repos/octocat/hello%2Dworld/./issues//1347", Vec::with_capacity(256))]
fn path_normalise(path: &str, mut out: Vec<u8>) -> Vec<u8> {
    let normal = normalise(black_box(path.as_bytes()), &PathPolicy::default(), &mut out);
    assert!(black_box(normal).is_ok());
    out
}

library_benchmark_group!(name = routing, benchmarks = [routes_lookup, path_normalise]);

fn exchange(filters: Vec<Filter>) -> Box<Exchange> {
    Box::new(Exchange::on(
        filters,
        messages::SMALL_REQUEST,
        messages::SMALL_RESPONSE,
    ))
}

#[library_benchmark(setup = exchange)]
#[bench::none(Vec::new())]
#[bench::headers_1(route::header_filters(1))]
#[bench::headers_4(route::header_filters(4))]
#[bench::headers_16(route::header_filters(16))]
#[bench::body_limit(route::body_limit())]
#[bench::rewrite(route::rewrite())]
fn filter_request(mut exchange: Box<Exchange>) -> Box<Exchange> {
    black_box(exchange.filter_request());
    exchange
}

#[library_benchmark(setup = exchange)]
#[bench::headers_1(route::header_filters(1))]
#[bench::headers_4(route::header_filters(4))]
fn filter_response(mut exchange: Box<Exchange>) -> Box<Exchange> {
    black_box(exchange.filter_response());
    exchange
}

fn uploading(filters: Vec<Filter>) -> (Box<Exchange>, Box<Block>) {
    (exchange(filters), full_block(8192))
}

#[library_benchmark(setup = uploading)]
#[bench::body_limit(route::body_limit())]
fn filter_body(
    (mut exchange, mut piece): (Box<Exchange>, Box<Block>),
) -> (Box<Exchange>, Box<Block>) {
    black_box(exchange.filter_body(&mut piece));
    (exchange, piece)
}

library_benchmark_group!(
    name = filters,
    benchmarks = [filter_request, filter_response, filter_body]
);

main!(
    library_benchmark_groups = heads,
    bodies,
    accounts,
    routing,
    filters
);
