//! Answers of the gateway's own: constants, redirects, refusals and faults. They pass the
//! same filters and the same encoder as an origin's.

use bytes::Bytes;

use crate::block::Block;
use crate::chain::{Answer, BodyMode, Filter, Run};
use crate::client::{Client, Close, Next};
use crate::error::{Fault, Origin, Phase};
use crate::exchange::Exchange;
use crate::grpc;
use crate::halves::{CLIENT, Deadline, Last, Piece, Sink};
use crate::http::h1::{self, ResponseOut, encode::reason_of, encode_response};
use crate::http::{BodyLen, Known, Method, RequestHead};
use crate::http2;
use crate::link::{Head, Link};
use crate::upgrade;
use crate::worker::Installed;

/// Sends the answer to a fault.
pub(crate) async fn fault<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    fault: Fault,
    close: Close,
) -> Next {
    // Whoever broke the protocol cannot be followed any further.
    let close = match fault {
        Fault::RequestHead(_)
        | Fault::RequestBody(_)
        | Fault::HeadTimeout
        | Fault::BodyTimeout
        | Fault::SlowClient => Close::Yes,
        // What follows a CONNECT is meant for a tunnel; it must not be read as requests.
        _ if exchange.request.method == Method::Connect => Close::Yes,
        _ => close,
    };
    let id = exchange.attributes.request_id.as_bytes();
    let answer = match is_grpc(&exchange.request) {
        true => of_fault_to_grpc(fault, &exchange.request, id),
        false => of_fault(fault, &exchange.request, id),
    };
    send(client, installed, exchange, &answer, close).await
}

/// Sends an answer.
pub(crate) async fn send<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    answer: &Answer,
    close: Close,
) -> Next {
    if exchange.account.fault.is_none() {
        exchange.account.code = answer.code;
    }
    let body = compose(client, installed, exchange, answer);
    if upgrade::would_open(&exchange.request, exchange.response.status) {
        exchange.response.status = 501;
    }
    let status = exchange.response.status;
    let framing = match status {
        204 | 304 => BodyLen::None,
        _ => BodyLen::Length(body.len() as u64),
    };
    let out = client.connection_out(&exchange.request, close);
    encode(client, installed, exchange, framing, out);
    let piece = Piece {
        block: match exchange.request.method {
            Method::Head => Block::empty(),
            _ if framing == BodyLen::None => Block::empty(),
            _ => body,
        },
        last: Last::Yes,
    };
    let mut sink = Sink::new(
        &client.link,
        framing,
        client.limits.send_timeout,
        // The exchange's own time may be what has run out.
        Deadline::default(),
        &CLIENT,
    )
    .at_least(client.limits.rate_min);
    if out == h1::Connection::KeepAlive {
        sink = sink.without_waiting();
    }
    exchange.account.status = status;
    let head = head(client, exchange);
    let sent = sink.start(head, Some(piece), b"").await;
    exchange.account.sent = sink.sent();
    match sent {
        Err(fault) => {
            exchange.account.phase = Phase::ResponseBody;
            exchange.note(fault);
            Next::Close
        }
        Ok(()) if out != h1::Connection::Close => Next::KeepAlive,
        Ok(()) => Next::Linger,
    }
}

/// Fills the response head and runs the route's filters over it; returns the body.
fn compose<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    answer: &Answer,
) -> Block {
    fill(exchange, answer);
    let mut body = Block::from_slice(&answer.body);
    let program = installed
        .snapshot
        .program(exchange.account.route, exchange.attributes.listener);
    let Some(program) = program.filter(|program| !program.steps().is_empty()) else {
        return body;
    };
    let worker = &*client.worker;
    let run = Run::new(program, worker.core(), &worker.filters, &exchange.scratch);
    let passed = run
        .response_head(
            &mut exchange.response,
            &exchange.request,
            &exchange.attributes,
        )
        .and_then(|()| match run.response_body_mode() {
            BodyMode::Skip => Ok(()),
            _ => run.response_body(&mut body, true, 0, &mut Vec::new()),
        });
    match passed {
        Ok(()) => body,
        Err(instead) => {
            exchange.account.code = instead.code;
            fill(exchange, &instead);
            Block::from_slice(&instead.body)
        }
    }
}

fn fill<F: Filter>(exchange: &mut Exchange<F>, answer: &Answer) {
    let head = &mut exchange.response;
    head.clear();
    head.status = answer.status;
    head.framing = BodyLen::Length(answer.body.len() as u64);
    for (name, value) in &answer.fields {
        // The configuration checked constants; a filter's invalid field is left out rather
        // than sent.
        let _ = head.fields.add(name, value);
    }
}

/// Writes the response head into `exchange.out`.
pub(crate) fn encode<F: Filter>(
    client: &Client<F>,
    installed: &Installed<F>,
    exchange: &mut Exchange<F>,
    framing: BodyLen,
    out: h1::Connection,
) {
    let policy = &installed.snapshot.forwarding;
    let id = exchange.attributes.request_id.as_bytes();
    let id = response_id(policy.request_id.as_deref(), id, &mut exchange.response);
    exchange.out.clear();
    client.worker.with_date(|date| {
        let send = ResponseOut {
            framing,
            connection: out,
            client: exchange.request.version,
            request_id: id,
            via: b"",
            date,
        };
        encode_response(&exchange.response, &send, &mut exchange.out);
    });
}

/// The response head that was written into `exchange.out`, as the client's link takes it.
fn head<'h, F: Filter>(client: &Client<F>, exchange: &'h Exchange<F>) -> Head<'h> {
    match &client.link {
        Link::Http1(_) => Head::Bytes(&exchange.out),
        Link::Http2(_) => {
            let status = exchange.response.status;
            Head::Response(http2::response(status, &exchange.out))
        }
    }
}

/// The id as the encoder takes it: it knows the usual field, any other is set here.
pub(crate) fn response_id<'a>(
    name: Option<&str>,
    id: &'a [u8],
    head: &mut crate::http::ResponseHead,
) -> &'a [u8] {
    match name {
        Some("x-request-id") => id,
        Some(name) if !id.is_empty() => {
            let _ = head.fields.set(name, id);
            b""
        }
        _ => b"",
    }
}

/// The answer to a fault: small JSON, or text for clients that prefer it. What went wrong
/// behind the gateway is not told; the request id leads to the log line that says it.
pub fn of_fault(fault: Fault, request: &RequestHead, request_id: &[u8]) -> Answer {
    let row = fault.row();
    let status = row.status.unwrap_or(500);
    let code = match row.origin {
        Origin::Upstream => "origin_unavailable",
        Origin::Internal if status == 500 => "internal",
        _ => row.code,
    };
    let mut answer = of_status(status, code, request, request_id);
    if matches!(fault, Fault::TunnelRefused | Fault::TraceRefused) {
        let methods = SERVER_METHODS.as_bytes().into();
        answer.fields.push(("allow".into(), methods));
    }
    if status == 503 {
        let seconds = b"1".as_slice().into();
        answer.fields.push(("retry-after".into(), seconds));
    }
    answer
}

/// The answer of a filter that refuses a request: like that to a fault, with a log code of the
/// filter's own. A request of gRPC gets a status that says to come back later for 429 and 503,
/// else what its client would make of the HTTP status.
pub fn refusal(
    status: u16,
    code: &'static str,
    request: &RequestHead,
    request_id: &[u8],
) -> Answer {
    let answer = match is_grpc(request) {
        true => {
            let grpc_status = match status {
                429 => grpc::Status::ResourceExhausted,
                status => grpc::Status::of_http(status),
            };
            let message = grpc_message(status, code, request_id);
            grpc::trailers_only(grpc_status, &message, code)
        }
        false => of_status(status, code, request, request_id),
    };
    Answer { code, ..answer }
}

fn of_status(status: u16, code: &str, request: &RequestHead, request_id: &[u8]) -> Answer {
    let reason = reason_of(status);
    let id = String::from_utf8_lossy(request_id);
    let (content_type, body) = match prefers_text(request) {
        true => {
            let id = if id.is_empty() {
                String::new()
            } else {
                format!("request id: {id}\n")
            };
            (
                "text/plain; charset=utf-8",
                format!("{status} {reason}\n{code}\n{id}"),
            )
        }
        false => {
            // Request ids are made of characters that need no escaping in JSON.
            let id = if id.is_empty() {
                String::new()
            } else {
                format!(",\"request_id\":\"{id}\"")
            };
            (
                "application/json",
                format!("{{\"status\":{status},\"error\":\"{reason}\",\"code\":\"{code}\"{id}}}\n"),
            )
        }
    };
    Answer {
        status,
        fields: vec![("content-type".into(), content_type.as_bytes().into())],
        body: Bytes::from(body),
        code: "",
    }
}

/// Whether the request is one of gRPC, which wants its errors as trailers.
fn is_grpc(request: &RequestHead) -> bool {
    let content_type = request.fields.value(Known::ContentType);
    content_type.is_some_and(grpc::is_grpc)
}

/// The answer to a fault as gRPC has it: a status of its own, and the words of the other form.
fn of_fault_to_grpc(fault: Fault, request: &RequestHead, request_id: &[u8]) -> Answer {
    let row = fault.row();
    let plain = of_fault(fault, request, request_id);
    let code = match row.origin {
        Origin::Upstream => "origin_unavailable",
        _ => row.code,
    };
    let message = grpc_message(plain.status, code, request_id);
    grpc::trailers_only(grpc::Status::of_fault(fault), &message, "")
}

fn grpc_message(status: u16, code: &str, request_id: &[u8]) -> String {
    let mut message = format!("{} ({code}", reason_of(status));
    if !request_id.is_empty() {
        message.push_str(", request id ");
        message.push_str(&String::from_utf8_lossy(request_id));
    }
    message.push(')');
    message
}

/// What the gateway as a whole takes: the value of `Allow` where no route is asked.
pub(crate) const SERVER_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Whether `Accept` weighs some kind of text higher than JSON (RFC 9110, 12.5.1).
fn prefers_text(request: &RequestHead) -> bool {
    let (mut text, mut json) = (0, 0);
    for item in request
        .fields
        .values(Known::Accept)
        .flat_map(|list| list.split(|b| *b == b','))
    {
        let mut parts = item.split(|b| *b == b';').map(<[u8]>::trim_ascii);
        let media = parts.next().unwrap_or_default();
        let weight = parts
            .find_map(|part| part.strip_prefix(b"q="))
            .map_or(1000, thousandths);
        if media.starts_with(b"text/") {
            text = text.max(weight);
        } else if [&b"application/json"[..], b"application/*", b"*/*"].contains(&media) {
            json = json.max(weight);
        }
    }
    text > json
}

/// A weight such as `0.85` in thousandths.
fn thousandths(weight: &[u8]) -> u32 {
    let digit = |at: usize| match weight.get(at) {
        Some(digit @ b'0'..=b'9') => u32::from(digit - b'0'),
        _ => 0,
    };
    (digit(0) * 1000 + digit(2) * 100 + digit(3) * 10 + digit(4)).min(1000)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn prefers(accept: &str) -> bool {
        let mut head = RequestHead::default();
        head.fields.add("accept", accept.as_bytes()).unwrap();
        prefers_text(&head)
    }

    #[test]
    fn text_is_for_those_who_prefer_it() {
        assert!(prefers("text/html,application/xml;q=0.9,*/*;q=0.8"));
        assert!(prefers("text/plain"));
        assert!(prefers("application/json;q=0.2, text/plain;q=0.25"));
        assert!(!prefers("*/*"));
        assert!(!prefers("application/json, text/plain"));
        assert!(!prefers("text/plain;q=0"));
        assert!(!prefers("text/html;q=0.5, application/*"));
    }

    #[test]
    fn a_fault_behind_the_gateway_is_not_told() {
        let head = RequestHead::default();
        for fault in [
            Fault::ConnectFailed,
            Fault::OriginClosed,
            Fault::ResponseTimeout,
        ] {
            let answer = of_fault(fault, &head, b"id-1");
            let body = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(!body.contains(fault.row().code), "{body}");
            assert!(body.contains("\"request_id\":\"id-1\""), "{body}");
        }
    }
}
