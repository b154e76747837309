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
use serde::Serialize;
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
        .route("/users", get(|| async { ok("users", &people()) }))
        .route(
            "/users/{id}",
            get(|Path(id): Path<String>| async move { one("users", "user", &id, &people()) }),
        )
        .route("/v2/users/{id}", get(user_v2))
        .route("/whoami", any(whoami))
}

#[derive(Debug, Serialize)]
struct User {
    id: u64,
    name: &'static str,
    email: &'static str,
    city: &'static str,
    member_since: &'static str,
}

fn people() -> [User; 4] {
    let user = |id, name, email, city, member_since| User {
        id,
        name,
        email,
        city,
        member_since,
    };
    [
        user(
            1,
            "Amara Okafor",
            "amara@example.com",
            "Lagos",
            "2021-03-14",
        ),
        user(
            2,
            "Jonas Lindqvist",
            "jonas@example.com",
            "Malmö",
            "2022-11-02",
        ),
        user(3, "Mei Tanaka", "mei@example.com", "Osaka", "2023-06-21"),
        user(
            4,
            "Lucía Ferrer",
            "lucia@example.com",
            "Valencia",
            "2024-01-09",
        ),
    ]
}

async fn user_v2(Path(id): Path<String>) -> Response {
    let all = people();
    let Some(user) = all.iter().find(|user| user.has_id(&id)) else {
        return missing("users", "user", &id);
    };
    let (given, family) = user.name.split_once(' ').unwrap_or((user.name, ""));
    let version_2 = json!({
        "version": 2,
        "user": { "id": user.id, "name": { "given": given, "family": family } },
        "links": { "self": format!("/api/users/{id}") },
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
    let list = move || async move {
        let products = goods(release);
        ok(
            "products",
            &json!({ "release": release, "products": products }),
        )
    };
    let item = move |Path(id): Path<String>| async move {
        one("products", "product", &id, &goods(release))
    };
    let about = move || async move {
        ok(
            "products",
            &json!({ "service": "products", "release": release }),
        )
    };
    Router::new()
        .route("/products", get(list))
        .route("/products/release", get(about))
        .route("/products/{id}", get(item))
}

#[derive(Debug, Serialize)]
struct Product {
    id: u64,
    name: &'static str,
    price_cents: u32,
    currency: &'static str,
    stock: u32,
}

fn goods(release: &str) -> Vec<Product> {
    let product = |id, name, price_cents, stock| Product {
        id,
        name,
        price_cents,
        currency: "EUR",
        stock,
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

#[derive(Debug, Clone, Serialize)]
struct Order {
    id: u64,
    user_id: u64,
    product_id: u64,
    quantity: u64,
    status: &'static str,
}

type Orders = Arc<Mutex<Vec<Order>>>;

fn orders() -> Router {
    let order = |id, user_id, product_id, quantity, status| Order {
        id,
        user_id,
        product_id,
        quantity,
        status,
    };
    let placed = vec![
        order(1001, 1, 2, 3, "delivered"),
        order(1002, 3, 1, 1, "packed"),
    ];
    Router::new()
        .route("/orders", get(list_orders).post(place_order))
        .route("/orders/{id}", get(order_by_id))
        .route("/slow", get(slow))
        .with_state(Arc::new(Mutex::new(placed)))
}

async fn list_orders(State(orders): State<Orders>) -> Response {
    let orders = orders
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    ok("orders", &orders)
}

async fn order_by_id(State(orders): State<Orders>, Path(id): Path<String>) -> Response {
    let orders = orders
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    one("orders", "order", &id, &orders)
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
    let order = Order {
        id: orders.last().map_or(1000, |last| last.id) + 1,
        user_id: user,
        product_id: product,
        quantity: number("quantity").unwrap_or(1),
        status: "placed",
    };
    orders.push(order.clone());
    let location = [(header::LOCATION, format!("/api/orders/{}", order.id))];
    let created = reply("orders", StatusCode::CREATED, text_of(&order));
    (location, created).into_response()
}

/// A demo that somebody leaves under load must not grow.
const ORDERS_MAX: usize = 1000;

async fn slow() -> Response {
    tokio::time::sleep(Duration::from_secs(3)).await;
    ok("orders", &json!({ "took_seconds": 3 }))
}

/// What a service has many of.
trait Item: Serialize {
    fn id(&self) -> u64;

    fn has_id(&self, id: &str) -> bool {
        id.parse() == Ok(self.id())
    }
}

impl Item for User {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Item for Product {
    fn id(&self) -> u64 {
        self.id
    }
}

impl Item for Order {
    fn id(&self) -> u64 {
        self.id
    }
}

fn one(service: &'static str, what: &str, id: &str, all: &[impl Item]) -> Response {
    match all.iter().find(|item| item.has_id(id)) {
        Some(item) => ok(service, item),
        None => missing(service, what, id),
    }
}

fn ok(service: &'static str, value: &impl Serialize) -> Response {
    reply(service, StatusCode::OK, text_of(value))
}

fn text_of(value: &impl Serialize) -> String {
    // Plain structs with text keys: there is nothing in them that JSON cannot say.
    serde_json::to_string(value).unwrap_or_default()
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
