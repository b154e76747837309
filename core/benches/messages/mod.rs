//! What the benches of heads and bodies work on: messages as clients, browsers and services send
//! them, and what the gateway does with each. Every bench and the instruction counts use these,
//! so that all figures are about the same bytes.
#![allow(dead_code, reason = "each bench uses its part")]

use ringgate_core::access::{Plain, Record, Said, Timing};
use ringgate_core::block::{Block, BlockClass};
use ringgate_core::http::h1::{
    ChunkedDecoder, HeadLimits, Parse, Relay, RequestOut, ResponseOut, Resume, encode_request,
    encode_response, parse_request, parse_response,
};
use ringgate_core::http::{Emit, Forwarding, Method, RequestHead, ResponseHead, Trust, Version};

/// What a service asks another.
pub const SMALL_REQUEST: &[u8] = b"GET /api/users/7 HTTP/1.1\r\n\
Host: api.example.com\r\n\
User-Agent: bench/1\r\n\
Accept: */*\r\n\r\n";

/// What a browser asks: 14 fields, 768 bytes.
pub const BROWSER_REQUEST: &[u8] = b"GET /api/users/7/orders?page=2&sort=-created HTTP/1.1\r\n\
Host: api.example.com\r\n\
Connection: keep-alive\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n\
Accept: application/json, text/plain, */*\r\n\
Accept-Encoding: gzip, deflate, br, zstd\r\n\
Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n\
Cache-Control: no-cache\r\n\
Cookie: session=6f1d2c3b4a5968778695a4b3c2d1e0f0; theme=dark; consent=all; region=eu-central\r\n\
Origin: https://app.example.com\r\n\
Referer: https://app.example.com/users/7\r\n\
Sec-Fetch-Dest: empty\r\n\
Sec-Fetch-Mode: cors\r\n\
Sec-Fetch-Site: same-site\r\n\
X-Request-Id: 01JD7Q3V9K3W4Z5Y6X7V8T9S0R\r\n\r\n";

/// What a service answers, as far as its head goes.
pub const SMALL_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Content-Type: application/json\r\n\
Content-Length: 47\r\n\
Date: Sun, 22 Nov 2026 20:05:19 GMT\r\n\r\n";

/// The same behind a framework: 13 fields.
pub const LONG_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
Server: nginx/1.22.1\r\n\
Date: Sun, 22 Nov 2026 20:05:19 GMT\r\n\
Content-Type: application/json; charset=utf-8\r\n\
Content-Length: 18420\r\n\
Connection: keep-alive\r\n\
Cache-Control: private, max-age=0, must-revalidate\r\n\
ETag: W/\"47f4-9Jq3cQ8b1mN0pXvYw2uTzR5sKdE\"\r\n\
Last-Modified: Sun, 22 Nov 2026 19:58:01 GMT\r\n\
Set-Cookie: session=6f1d2c3b4a5968778695a4b3c2d1e0f0; Path=/; HttpOnly; Secure; SameSite=Lax\r\n\
Strict-Transport-Security: max-age=31536000; includeSubDomains\r\n\
Vary: Origin, Accept-Encoding\r\n\
X-Content-Type-Options: nosniff\r\n\
X-Frame-Options: DENY\r\n\r\n";

/// A chunked body: `count` chunks of `size` bytes and the last one, without trailers.
pub fn chunked(size: usize, count: usize) -> Vec<u8> {
    let chunk = [
        format!("{size:x}\r\n").as_bytes(),
        &vec![b'x'; size],
        b"\r\n",
    ]
    .concat();
    [&chunk.repeat(count)[..], b"0\r\n\r\n"].concat()
}

/// A request that was received, and the memory to handle it in, warm from one request before.
pub struct Request {
    received: Block,
    head: RequestHead,
    out: Vec<u8>,
}

impl Request {
    /// A connection that has just received `bytes`, a whole head.
    pub fn received(bytes: &[u8]) -> Request {
        let mut request = Request {
            received: Block::from_slice(bytes),
            head: RequestHead::default(),
            out: Vec::with_capacity(4096),
        };
        assert!(request.forward() > 0, "the head is accepted");
        request
    }

    /// Parses and checks the head; its length.
    #[inline(never)]
    pub fn parse(&mut self) -> usize {
        self.head.clear();
        let limits = HeadLimits::default();
        let mut resume = Resume::default();
        match parse_request(&self.received, &limits, &mut resume, &mut self.head) {
            Ok(Parse::Complete { head_len }) => head_len,
            Ok(Parse::Partial) | Err(_) => 0,
        }
    }

    /// Parses the head and writes it as an untrusted client's request goes to an origin, with
    /// the fields that the gateway adds by default; the new length.
    #[inline(never)]
    pub fn forward(&mut self) -> usize {
        if self.parse() == 0 {
            return 0;
        }
        self.head
            .fields
            .put_text(std::mem::take(&mut self.received));
        let head = &self.head;
        let send = RequestOut {
            framing: head.framing,
            expect: Relay::Pass,
            te: Relay::Pass,
            forwarding: Some(Forwarding {
                identity: None,
                peer: b"192.0.2.7",
                trust: Trust::Untrusted,
                proto: b"http",
                host: head.authority(),
                emit: Emit::default(),
                request_id: REQUEST_ID,
                via: b"ringgate",
            }),
            ..RequestOut::default()
        };
        self.out.clear();
        encode_request(head, &send, &mut self.out);
        self.received = self.head.fields.take_text();
        self.out.len()
    }
}

/// A response head that was received, and the memory to handle it in, warm from one before.
pub struct Response {
    received: Block,
    head: ResponseHead,
    out: Vec<u8>,
}

impl Response {
    /// A connection to an origin that has just received `bytes`, a whole head.
    pub fn received(bytes: &[u8]) -> Response {
        let mut response = Response {
            received: Block::from_slice(bytes),
            head: ResponseHead::default(),
            out: Vec::with_capacity(4096),
        };
        assert!(response.forward() > 0, "the head is accepted");
        response
    }

    /// Parses and checks the head; its length.
    #[inline(never)]
    pub fn parse(&mut self) -> usize {
        self.head.clear();
        let limits = HeadLimits::default();
        let mut resume = Resume::default();
        let head = &mut self.head;
        match parse_response(&self.received, &limits, &mut resume, Method::Get, head) {
            Ok(Parse::Complete { head_len }) => head_len,
            Ok(Parse::Partial) | Err(_) => 0,
        }
    }

    /// Parses the head and writes it as the client gets it; the new length.
    #[inline(never)]
    pub fn forward(&mut self) -> usize {
        if self.parse() == 0 {
            return 0;
        }
        self.head
            .fields
            .put_text(std::mem::take(&mut self.received));
        let send = ResponseOut {
            framing: self.head.framing,
            client: Version::Http11,
            request_id: REQUEST_ID,
            via: b"ringgate",
            date: b"Sun, 22 Nov 2026 20:05:19 GMT",
            ..ResponseOut::default()
        };
        self.out.clear();
        encode_response(&self.head, &send, &mut self.out);
        self.received = self.head.fields.take_text();
        self.out.len()
    }
}

/// Decodes a chunked body that came in blocks of 16 KiB, in place, and leaves what it decoded in
/// `body`, which is of no use afterwards; the bytes of data.
#[inline(never)]
pub fn decode(body: &mut [u8], decoder: &mut ChunkedDecoder) -> usize {
    decoder.reset();
    let mut data = 0;
    for block in body.chunks_mut(BlockClass::Small.size()) {
        data += match decoder.decode(block) {
            Ok(decoded) => decoded.data.len(),
            Err(_) => 0,
        };
    }
    data
}

/// The log record of a small GET that was answered.
pub fn record() -> Record<'static> {
    Record {
        unix_ms: 1_795_377_919_123,
        request_id: Plain::known(REQUEST_ID),
        client: Plain::known(b"192.0.2.7"),
        listener: "public",
        said: Said::Request {
            method: b"GET",
            host: b"api.example.com",
            target: b"/api/users/7/orders?page=2&sort=-created",
            version: Version::Http11,
        },
        consumer: None,
        scheme: None,
        status: 200,
        route: Some("users"),
        upstream: Some("users-service"),
        fallback_for: None,
        dry_run: [None; 4],
        endpoint: Some("10.1.2.3:8080"),
        attempts: 1,
        received: 0,
        sent: 1847,
        timing: Timing {
            total: 812,
            head: 9,
            policy: 3,
            connect: Some(0),
            wait: Some(774),
            relay: Some(21),
        },
        termination: *b"--",
        code: None,
        referer: Some(b"https://app.example.com/users/7"),
        user_agent: Some(b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
    }
}

const REQUEST_ID: &[u8] = b"01JD7Q3V9K3W4Z5Y6X7V8T9S0R";
