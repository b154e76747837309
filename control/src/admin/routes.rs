//! What the admin API answers. Calls into the node run on blocking threads: a slow or
//! panicking one costs that answer and nothing else.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware::map_response};
use serde_json::{Value, json};
use tracing::{error, warn};

use super::guard::Guard;
use super::limits;
use crate::acme::Board;
use crate::counters::Counters;
use crate::exposition::Exposition;
use crate::node::{Cause, Drain, Node, Readiness};
use crate::reload::Reloader;
use crate::supervise::panic_text;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Api {
    node: Arc<dyn Node>,
    reloader: Arc<Reloader>,
    pub(super) counters: Arc<Counters>,
    board: Arc<Board>,
}

impl Api {
    pub(super) fn new(
        node: &Arc<dyn Node>,
        reloader: &Arc<Reloader>,
        counters: &Arc<Counters>,
        board: &Arc<Board>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            reloader: Arc::clone(reloader),
            counters: Arc::clone(counters),
            board: Arc::clone(board),
        }
    }

    /// Asks the node on a blocking thread.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Node) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let node = Arc::clone(&self.node);
        let answer = tokio::task::spawn_blocking(move || question(&*node)).await;
        answer.map_err(|failure| {
            if let Ok(panic) = failure.try_into_panic() {
                let panic = panic_text(panic.as_ref());
                error!(panic, "an admin request panicked; please report this");
            }
            failed(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the answer could not be made; the log says why",
            )
        })
    }

    /// Asks the node for JSON.
    async fn show(&self, question: fn(&dyn Node) -> Value) -> Response {
        match self.ask(question).await {
            Ok(value) => respond(StatusCode::OK, &value),
            Err(response) => response,
        }
    }
}

pub(super) fn router(api: Api, guard: Guard) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route(
            "/config",
            get(async |State(api): State<Api>| api.show(|node| node.config()).await),
        )
        .route(
            "/upstreams",
            get(async |State(api): State<Api>| api.show(|node| node.upstreams()).await),
        )
        .route(
            "/routes",
            get(async |State(api): State<Api>| api.show(|node| node.routes()).await),
        )
        .route(
            "/version",
            get(async |State(api): State<Api>| api.show(|node| node.version()).await),
        )
        .route(
            "/acme",
            get(async |State(api): State<Api>| {
                respond(StatusCode::OK, &api.board.to_json(SystemTime::now()))
            }),
        )
        .route(
            "/oauth",
            get(async |State(api): State<Api>| {
                respond(StatusCode::OK, &api.counters.oauth.to_json())
            }),
        )
        .route("/issuers", get(issuers))
        .merge(limits::router())
        .route("/reload", post(reload))
        .route(
            "/upstreams/{upstream}/endpoints/{endpoint}/drain",
            post(async |state, path| drain(state, path, Drain::Begin).await),
        )
        .route(
            "/upstreams/{upstream}/endpoints/{endpoint}/undrain",
            post(async |state, path| drain(state, path, Drain::End).await),
        )
        .route("/routes/{route}/canary/resume", post(resume_canary))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(guard, admit))
        .layer(map_response(harden))
        .with_state(api)
}

const ENDPOINTS: [(&str, &str, &str); 18] = [
    ("GET", "/", "this list"),
    ("GET", "/metrics", "metrics in the Prometheus text format"),
    ("GET", "/healthz", "200 while the process lives"),
    (
        "GET",
        "/readyz",
        "200 when traffic is welcome, else 503 with the reasons",
    ),
    (
        "GET",
        "/config",
        "the configuration in force, secrets redacted",
    ),
    (
        "GET",
        "/upstreams",
        "upstreams and the state of their endpoints",
    ),
    ("GET", "/routes", "routes in order of precedence"),
    ("GET", "/version", "version and build facts"),
    (
        "GET",
        "/acme",
        "certificates that are ordered, and how they stand",
    ),
    (
        "GET",
        "/oauth",
        "the gateway's own tokens for origins, and how they stand; not the tokens",
    ),
    (
        "GET",
        "/issuers",
        "issuers of tokens, their keys, and how fetching them goes",
    ),
    (
        "GET",
        "/limits",
        "rate limits and quotas, and the servers they are shared through",
    ),
    (
        "GET",
        "/quotas",
        "what keys have used: ?filter=NAME, and &key=TEXT for one",
    ),
    (
        "POST",
        "/quotas/reset",
        "let a key begin anew: ?filter=NAME&key=TEXT",
    ),
    (
        "POST",
        "/reload",
        "read the configuration again and say what changed",
    ),
    (
        "POST",
        "/upstreams/NAME/endpoints/ADDRESS/drain",
        "give an endpoint no new requests until it is undrained or the process ends",
    ),
    (
        "POST",
        "/upstreams/NAME/endpoints/ADDRESS/undrain",
        "bring a drained endpoint back",
    ),
    (
        "POST",
        "/routes/NAME/canary/resume",
        "let a halted canary start anew",
    ),
];

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match guard.admit(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err((status, message)) => {
            warn!(
                path = parts.uri.path(),
                reason = message,
                "admin request refused"
            );
            failed(status, &message)
        }
    }
}

async fn harden(mut response: Response) -> Response {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn index(headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let rows: String = ENDPOINTS
            .iter()
            .map(|(method, path, what)| {
                let name = match *method {
                    "GET" => format!("<a href=\"{path}\">{path}</a>"),
                    _ => (*path).to_owned(),
                };
                format!("<tr><td>{method}<td>{name}<td>{what}\n")
            })
            .collect();
        let page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Ringgate admin</title>\n\
             <h1>Ringgate admin API</h1>\n<table>\n{rows}</table>\n"
        );
        return ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response();
    }
    let lines: String = ENDPOINTS
        .iter()
        .map(|(method, path, what)| format!("{method:4} {path:41} {what}\n"))
        .collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], lines).into_response()
}

async fn metrics(State(api): State<Api>) -> Response {
    let counters = Arc::clone(&api.counters);
    let board = Arc::clone(&api.board);
    let text = api
        .ask(move |node| {
            let mut out = Exposition::with_capacity(METRICS_CAPACITY);
            node.metrics(&mut out);
            counters.write(&mut out);
            board.write(&mut out, SystemTime::now());
            if let Some(quotas) = node.quotas() {
                quotas.store.metrics(&mut out);
            }
            out.finish()
        })
        .await;
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, Exposition::CONTENT_TYPE)], text).into_response(),
        Err(response) => response,
    }
}

async fn issuers(State(api): State<Api>) -> Response {
    match api.ask(|node| node.issuers()).await {
        Ok(issuers) => {
            let shown = api.counters.jwks.to_json(&issuers, SystemTime::now());
            respond(StatusCode::OK, &shown)
        }
        Err(response) => response,
    }
}

async fn healthz() -> Response {
    respond(StatusCode::OK, &json!({ "status": "alive" }))
}

async fn readyz(State(api): State<Api>) -> Response {
    match api.ask(|node| node.readiness()).await {
        Ok(Readiness::Ready) => respond(StatusCode::OK, &json!({ "status": "ready" })),
        Ok(Readiness::NotReady(reasons)) => respond(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "status": "not_ready", "reasons": reasons }),
        ),
        Err(response) => response,
    }
}

async fn reload(State(api): State<Api>) -> Response {
    match api.reloader.reload(Cause::Admin).await {
        Ok(report) => respond(StatusCode::OK, &report),
        Err(refused) => {
            let status = StatusCode::from_u16(refused.refusal.status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            respond(status, &refused)
        }
    }
}

async fn drain(
    State(api): State<Api>,
    Path((upstream, endpoint)): Path<(String, String)>,
    to: Drain,
) -> Response {
    let answer = api.ask(move |node| node.drain(&upstream, &endpoint, to));
    found(answer.await)
}

async fn resume_canary(State(api): State<Api>, Path(route): Path<String>) -> Response {
    found(api.ask(move |node| node.resume_canary(&route)).await)
}

/// An answer about something by name, which there may not be.
fn found(answer: Result<Result<Value, String>, Response>) -> Response {
    match answer {
        Ok(Ok(value)) => respond(StatusCode::OK, &value),
        Ok(Err(missing)) => failed(StatusCode::NOT_FOUND, &missing),
        Err(response) => response,
    }
}

async fn unknown(uri: Uri) -> Response {
    let endpoints: Vec<_> = ENDPOINTS
        .iter()
        .map(|(method, path, what)| json!({ "method": method, "path": path, "what": what }))
        .collect();
    respond(
        StatusCode::NOT_FOUND,
        &json!({
            "error": format!("the admin API has no {:?}", uri.path()),
            "endpoints": endpoints,
        }),
    )
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    failed(
        StatusCode::METHOD_NOT_ALLOWED,
        &format!(
            "{} does not take {method}; the Allow field says what it takes",
            uri.path()
        ),
    )
}

pub(super) fn failed(status: StatusCode, message: &str) -> Response {
    respond(status, &json!({ "error": message }))
}

/// Indented, for people with curl; programs do not mind.
pub(super) fn respond(status: StatusCode, value: &impl serde::Serialize) -> Response {
    match serde_json::to_string_pretty(value) {
        Ok(mut text) => {
            text.push('\n');
            (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
        }
        Err(cause) => {
            error!(%cause, "an admin answer could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A first guess; ten thousand routes need some 20 MiB and grow it a few times.
const METRICS_CAPACITY: usize = 64 * 1024;
