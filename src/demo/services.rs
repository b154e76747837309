//! The demo's services: small, in memory, on ports that the system chooses, on a thread of
//! their own.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

/// Where the services answer.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// The service `users`.
    pub users: SocketAddr,
    /// The service `products`.
    pub products: SocketAddr,
    /// Its next release.
    pub products_next: SocketAddr,
    /// The service `orders`.
    pub orders: SocketAddr,
}

/// Starts the services; they end with the process.
///
/// # Errors
/// When no port or thread can be had.
pub fn start() -> io::Result<Addresses> {
    let mut bound = Vec::new();
    let mut serve = |router: Router| {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr();
        bound.push((listener, router));
        address
    };
    let addresses = Addresses {
        users: serve(users())?,
        products: serve(products("1.4.2"))?,
        products_next: serve(products("2.0.0-rc1"))?,
        orders: serve(orders())?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("demo-services".to_owned())
        .spawn(move || runtime.block_on(run(bound)))?;
    Ok(addresses)
}

async fn run(bound: Vec<(TcpListener, Router)>) {
    for (listener, router) in bound {
        // A listener that the runtime does not take leaves its service unreachable, which the
        // gateway then reports; the others go on.
        if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
            tokio::spawn(async move { axum::serve(listener, router).await });
        }
    }
    std::future::pending::<()>().await;
}

fn users() -> Router {
    Router::new()
        .route("/users", get(|| async { ok("users", &json!(people())) }))
        .route(
            "/users/{id}",
            get(|Path(id): Path<String>| async move { one("users", "user", &id, people()) }),
        )
        .route("/v2/users/{id}", get(user_v2))
        .route("/whoami", any(whoami))
}

fn people() -> Vec<Value> {
    let person = |id: u32, name: &str, email: &str, city: &str, since: &str| {
        json!({ "id": id, "name": name, "email": email, "city": city, "member_since": since })
    };
    vec![
        person(1, "Amara Okafor", "amara@example.com", "Lagos", "2021-03-14"),
        person(2, "Jonas Lindqvist", "jonas@example.com", "Malmö", "2022-11-02"),
        person(3, "Mei Tanaka", "mei@example.com", "Osaka", "2023-06-21"),
        person(4, "Lucía Ferrer", "lucia@example.com", "Valencia", "2024-01-09"),
    ]
}

async fn user_v2(Path(id): Path<String>) -> Response {
    let found = people().into_iter().find(|user| has_id(user, &id));
    let Some(user) = found else {
        return missing("users", "user", &id);
    };
    let name = user["name"].as_str().unwrap_or_default();
    let (given, family) = name.split_once(' ').unwrap_or((name, ""));
    let version_2 = json!({
        "version": 2,
        "user": { "id": user["id"], "name": { "given": given, "family": family } },
        "links": { "self": format!("/api/users/{id}"), "orders": format!("/api/orders?user={id}") },
    });
    ok("users", &version_2)
}

async fn whoami(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let fields = headers.iter();
    let fields: serde_json::Map<String, Value> = fields
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), json!(value))
        })
        .collect();
    let seen = json!({ "method": method.as_str(), "path": uri.to_string(), "fields": fields });
    let pretty = serde_json::to_string_pretty(&seen).unwrap_or_default();
    reply("users", StatusCode::OK, pretty)
}

fn products(release: &'static str) -> Router {
    let goods = move || goods(release);
    Router::new()
        .route(
            "/products",
            get(move || async move { ok("products", &json!({ "release": release, "products": goods() })) }),
        )
        .route(
            "/products/release",
            get(move || async move { ok("products", &json!({ "service": "products", "release": release })) }),
        )
        .route(
            "/products/{id}",
            get(move |Path(id): Path<String>| async move { one("products", "product", &id, goods()) }),
        )
}

fn goods(release: &str) -> Vec<Value> {
    let product = |id: u32, name: &str, cents: u32, stock: u32| {
        json!({ "id": id, "name": name, "price_cents": cents, "currency": "EUR", "stock": stock })
    };
    let mut goods = vec![
        product(1, "Enamel mug", 1_290, 214),
        product(2, "Linen notebook", 1_850, 77),
        product(3, "Desk lamp", 6_400, 12),
    ];
    if release.starts_with('2') {
        goods.push(product(4, "Wool blanket", 8_900, 40));
    }
    goods
}

type Orders = Arc<Mutex<Vec<Value>>>;

fn orders() -> Router {
    let placed = vec![
        json!({ "id": 1001, "user_id": 1, "product_id": 2, "quantity": 3, "status": "delivered" }),
        json!({ "id": 1002, "user_id": 3, "product_id": 1, "quantity": 1, "status": "packed" }),
    ];
    Router::new()
        .route("/orders", get(list_orders).post(place_order))
        .route("/orders/{id}", get(order_by_id))
        .route("/slow", get(slow))
        .with_state(Arc::new(Mutex::new(placed)))
}

async fn list_orders(State(orders): State<Orders>) -> Response {
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ok("orders", &json!(orders))
}

async fn order_by_id(State(orders): State<Orders>, Path(id): Path<String>) -> Response {
    let orders = orders.lock().unwrap_or_else(PoisonError::into_inner).clone();
    one("orders", "order", &id, orders)
}

async fn place_order(State(orders): State<Orders>, body: Bytes) -> Response {
    let wanted: Option<Value> = serde_json::from_slice(&body).ok();
    let number = |key: &str| wanted.as_ref()?.get(key)?.as_u64();
    let (Some(user), Some(product)) = (number("user_id"), number("product_id")) else {
        let error = json!({ "error": "an order needs user_id and product_id" });
        return reply("orders", StatusCode::BAD_REQUEST, error.to_string());
    };
    let mut orders = orders.lock().unwrap_or_else(PoisonError::into_inner);
    if orders.len() == ORDERS_MAX {
        orders.remove(0);
    }
    let last = orders.last().and_then(|order| order["id"].as_u64());
    let id = last.unwrap_or(1000) + 1;
    let order = json!({
        "id": id,
        "user_id": user,
        "product_id": product,
        "quantity": number("quantity").unwrap_or(1),
        "status": "placed",
    });
    orders.push(order.clone());
    let location = [(header::LOCATION, format!("/api/orders/{id}"))];
    let created = reply("orders", StatusCode::CREATED, order.to_string());
    (location, created).into_response()
}

/// A demo that somebody leaves under load must not grow.
const ORDERS_MAX: usize = 1000;

async fn slow() -> Response {
    tokio::time::sleep(Duration::from_secs(3)).await;
    ok("orders", &json!({ "took_seconds": 3 }))
}

fn has_id(value: &Value, id: &str) -> bool {
    value["id"].to_string() == id
}

fn one(service: &'static str, what: &str, id: &str, all: Vec<Value>) -> Response {
    match all.into_iter().find(|value| has_id(value, id)) {
        Some(value) => ok(service, &value),
        None => missing(service, what, id),
    }
}

fn ok(service: &'static str, value: &Value) -> Response {
    reply(service, StatusCode::OK, value.to_string())
}

fn missing(service: &'static str, what: &str, id: &str) -> Response {
    let error = json!({ "error": format!("there is no {what} {id}") });
    reply(service, StatusCode::NOT_FOUND, error.to_string())
}

/// JSON with a line end, so that a terminal's prompt stands on its own line.
fn reply(service: &'static str, status: StatusCode, json: String) -> Response {
    let fields = [
        ("content-type", "application/json"),
        ("x-service", service),
        ("x-internal-build", "7f3c21d"),
    ];
    (status, fields, json + "\n").into_response()
}
