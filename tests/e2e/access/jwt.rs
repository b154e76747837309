//! Signed tokens, and the keys that they are verified with: written, or fetched from an issuer
//! that comes, goes, and changes its keys.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::support::{Driver, Gateway, Origin, Response, Setup, on_both_drivers, run, wait_until};

on_both_drivers!(
    a_token_passes_and_its_claims_reach_the_origin,
    what_is_wrong_is_said_in_the_challenge_and_the_log,
    tokens_come_in_cookies_and_queries,
    a_new_key_of_the_issuer_is_fetched_when_it_is_needed,
    keys_stay_while_the_issuer_is_away,
    before_keys_are_there_nobody_is_let_in,
    a_flood_of_unknown_keys_asks_the_issuer_once,
    explain_says_what_is_wrong_with_a_token,
);

const ISSUER: &str = "https://issuer.example";

/// A key of an issuer.
struct Key {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(kid: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        Self { kid, pair }
    }

    /// A token with more claims, each behind a comma, that is good for so many seconds.
    fn token(&self, seconds: i64, more: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let exp = now.as_secs().strict_add_signed(seconds);
        let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.kid);
        let claims = format!(r#"{{"iss":"{ISSUER}","aud":"api","sub":"alice","exp":{exp}{more}}}"#);
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.unwrap()))
    }

    fn jwk(&self) -> String {
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(32);
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        format!(
            r#"{{"kty":"EC","crv":"P-256","kid":"{}","x":"{}","y":"{}"}}"#,
            self.kid,
            encode(x),
            encode(y)
        )
    }

    fn pem(&self) -> String {
        let der = self.pair.public_key().as_der().unwrap();
        let body = STANDARD.encode(der.as_ref());
        format!("-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----")
    }
}

/// An issuer that shows its keys.
struct Issuer {
    server: Origin,
    keys: Arc<Mutex<Vec<String>>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn new(keys: &[&Key]) -> Self {
        let keys: Vec<String> = keys.iter().map(|key| key.jwk()).collect();
        let keys = Arc::new(Mutex::new(keys));
        let asked = Arc::new(AtomicUsize::new(0));
        let (shown, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        let server = Origin::replying(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            let keys: Vec<String> = shown.lock().unwrap().clone();
            let body = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
            json(&body).into_bytes()
        });
        Self {
            server,
            keys,
            asked,
        }
    }

    fn show(&self, keys: &[&Key]) {
        *self.keys.lock().unwrap() = keys.iter().map(|key| key.jwk()).collect();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.server.address())
    }
}

fn json(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A gateway whose one route asks for a token; `keys` says where the issuer's are.
fn guarded(driver: Driver, origin: &Origin, keys: &str, filter: &str) -> Setup {
    Setup::new(driver)
        .upstream("app", origin.address(), "")
        .body(&format!(
            "[[issuer]]\nname = \"main\"\nissuer = \"{ISSUER}\"\nalgorithms = [\"ES256\"]\n\
             audiences = [\"api\"]\nleeway = \"0s\"\n{keys}\n\
             [filter.token]\ntype = \"jwt\"\nissuers = [\"main\"]\n{filter}"
        ))
        .route("all", "/{r*}", "upstream = \"app\"\nfilters = [\"token\"]")
}

fn written(key: &Key) -> String {
    format!(
        "keys = [{{ kid = \"{}\", alg = \"ES256\", pem = \"\"\"\n{}\"\"\" }}]",
        key.kid,
        key.pem()
    )
}

fn fetched(issuer: &Issuer) -> String {
    format!("jwks_url = \"{}\"\nrefetch_min = \"1h\"", issuer.url())
}

fn ask(gateway: &Gateway, token: &str) -> Response {
    ask_with(gateway, token, "")
}

fn ask_with(gateway: &Gateway, token: &str, more: &str) -> Response {
    gateway.client().exchange(format!(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
    ))
}

fn wait_for_keys(gateway: &Gateway) {
    gateway.wait_for_metric(
        "ringgate_jwks_fetches_total",
        &[("issuer", "main"), ("result", "loaded")],
        1.0,
    );
}

fn a_token_passes_and_its_claims_reach_the_origin(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let claims = "claims = { x-tenant = \"tenant\" }";
    let gateway = guarded(driver, &origin, &written(&key), claims).start();
    let token = key.token(300, r#","tenant":"blue","scope":"read write""#);
    // A client cannot say who it is itself, in whatever case it spells the names.
    let forged = "X-Subject: admin\r\nx-tenant: red\r\nX-SCOPES: all\r\nX-Consumer: root\r\n";
    for _ in 0..2 {
        assert_eq!(ask_with(&gateway, &token, forged).status, 200);
    }
    for request in origin.requests() {
        assert_eq!(request.fields.all("x-subject"), ["alice"]);
        assert_eq!(request.fields.all("x-tenant"), ["blue"]);
        assert_eq!(request.fields.all("x-scopes"), ["read write"]);
        assert_eq!(request.fields.all("x-consumer"), [""; 0]);
        assert!(request.fields.has("authorization"));
    }
    // Neither the token nor anything of it is written anywhere.
    let logged = gateway.log_lines(2).join("\n");
    assert!(!logged.contains(&token[..20]), "{logged}");
}

fn what_is_wrong_is_said_in_the_challenge_and_the_log(driver: Driver) {
    let (origin, key, other) = (Origin::named("x"), Key::new("a"), Key::new("a"));
    let gateway = guarded(driver, &origin, &written(&key), "realm = \"shop\"").start();
    let none = gateway.get("/a");
    assert_eq!(none.status, 401);
    let plain = "Bearer realm=\"shop\"";
    assert_eq!(none.field("www-authenticate"), Some(plain));
    for (token, code) in [
        (key.token(-1, ""), "expired_credentials"),
        (other.token(300, ""), "invalid_credentials"),
        (key.token(300, r#","sub":"twice""#), "invalid_credentials"),
        ("no.token".to_owned(), "invalid_credentials"),
    ] {
        let response = ask(&gateway, &token);
        assert_eq!(response.status, 401);
        let challenge = response.field("www-authenticate").unwrap();
        let begin = "Bearer realm=\"shop\", error=\"invalid_token\"";
        assert!(challenge.starts_with(begin), "{challenge}");
        assert!(response.text().contains(code), "{}", response.text());
    }
    assert!(origin.requests().is_empty());
}

fn tokens_come_in_cookies_and_queries(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let places = "cookie = \"session\"\nquery = \"token\"\nhide = true";
    let gateway = guarded(driver, &origin, &written(&key), places).start();
    let token = key.token(300, "");
    let with_cookie = format!(
        "GET /a HTTP/1.1\r\nHost: gateway.test\r\nCookie: x=1; session={token}; y=2\r\n\r\n"
    );
    assert_eq!(gateway.client().exchange(with_cookie).status, 200);
    assert_eq!(
        gateway.get(&format!("/a?x=1&token={token}&y=2")).status,
        200
    );
    assert_eq!(ask(&gateway, &token).status, 401, "no place for it");
    let twice = format!("/a?token={token}&token={token}");
    assert_eq!(gateway.get(&twice).status, 400);
    let requests = origin.requests();
    assert_eq!(requests[0].fields.one("cookie"), Some("x=1; y=2"));
    assert_eq!(requests[1].target, "/a?x=1&y=2");
    let logged = gateway.log_lines(4).join("\n");
    assert!(!logged.contains(&token), "{logged}");
}

fn a_new_key_of_the_issuer_is_fetched_when_it_is_needed(driver: Driver) {
    let (origin, old, new) = (Origin::named("x"), Key::new("old"), Key::new("new"));
    let issuer = Issuer::new(&[&old]);
    let gateway = guarded(driver, &origin, &fetched(&issuer), "").start();
    wait_for_keys(&gateway);
    assert_eq!(ask(&gateway, &old.token(300, "")).status, 200);
    // Both for a while, then the new one alone.
    issuer.show(&[&old, &new]);
    assert_eq!(ask(&gateway, &new.token(300, "")).status, 200);
    assert_eq!(ask(&gateway, &old.token(300, "")).status, 200);
    assert_eq!(issuer.asked(), 2);
    let page = gateway.admin("GET", "/issuers").json();
    let shown = &page["issuers"][0];
    assert_eq!(shown["name"], "main");
    assert_eq!(shown["keys"][1]["kid"], "new");
    assert_eq!(shown["fetch"]["loaded"], 2);
}

fn keys_stay_while_the_issuer_is_away(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let away = Arc::new(AtomicUsize::new(0));
    let (gone, jwk) = (Arc::clone(&away), key.jwk());
    let server = Origin::replying(move |_| match gone.load(Ordering::SeqCst) {
        0 => json(&format!(r#"{{"keys":[{jwk}]}}"#)).into_bytes(),
        _ => b"HTTP/1.1 500 Gone\r\nContent-Length: 0\r\n\r\n".to_vec(),
    });
    let keys = format!(
        "jwks_url = \"http://{}/k\"\nrefetch_min = \"1s\"",
        server.address()
    );
    let mut gateway = guarded(driver, &origin, &keys, "").start();
    wait_for_keys(&gateway);
    away.store(1, Ordering::SeqCst);
    // Somebody asks for a key that nobody knows of: the issuer cannot say.
    let unknown = Key::new("unknown");
    assert_eq!(ask(&gateway, &unknown.token(300, "")).status, 503);
    let failed = [("issuer", "main"), ("result", "failed")];
    gateway.wait_for_metric("ringgate_jwks_fetches_total", &failed, 1.0);
    assert_eq!(ask(&gateway, &key.token(300, "")).status, 200);
    // They are kept over a reload, too.
    gateway.rewrite(|setup| setup.route("more", "/more", "respond = { status = 204 }"));
    assert_eq!(gateway.reload().status, 200);
    assert_eq!(ask(&gateway, &key.token(300, "")).status, 200);
    let page = gateway.admin("GET", "/issuers").json();
    assert!(page["issuers"][0]["fetch"]["error"].is_string(), "{page}");
    away.store(0, Ordering::SeqCst);
    wait_until("the issuer is asked again", || {
        let page = gateway.admin("GET", "/issuers").json();
        page["issuers"][0]["fetch"]["error"].is_null()
    });
}

fn before_keys_are_there_nobody_is_let_in(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let issuer = Origin::answering("HTTP/1.1 503 Later\r\nContent-Length: 0\r\n\r\n");
    let keys = format!("jwks_url = \"http://{}/k\"", issuer.address());
    let gateway = guarded(driver, &origin, &keys, "").start();
    let response = ask(&gateway, &key.token(300, ""));
    assert_eq!(response.status, 503);
    assert!(response.text().contains("auth_unavailable"));
    assert_eq!(gateway.log_line()["code"], "auth_unavailable");
    assert!(origin.requests().is_empty());
}

fn a_flood_of_unknown_keys_asks_the_issuer_once(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let issuer = Issuer::new(&[&key]);
    let gateway = guarded(driver, &origin, &fetched(&issuer), "").start();
    wait_for_keys(&gateway);
    let good = key.token(300, "");
    let unknown = Key::new("unknown");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..50 {
                    let token = unknown.token(300, &format!(r#","n":{n}"#));
                    assert_eq!(ask(&gateway, &token).status, 401);
                    assert_eq!(ask(&gateway, &good).status, 200);
                }
            });
        }
    });
    assert_eq!(issuer.asked(), 2, "once at the start, once for all of them");
}

fn explain_says_what_is_wrong_with_a_token(driver: Driver) {
    let (origin, key) = (Origin::named("x"), Key::new("a"));
    let gateway = guarded(driver, &origin, &written(&key), "").start();
    let explain = |token: &str| {
        let field = format!("authorization: Bearer {token}");
        let file = gateway.file().to_str().unwrap();
        let url = "http://gateway.test/a";
        let said = run(&["explain", file, "GET", url, "--header", &field]);
        assert!(!said.stdout.contains(token), "{}", said.stdout);
        said.stdout
    };
    let expired = explain(&key.token(-5, ""));
    assert!(expired.contains("it has expired"), "{expired}");
    let good = explain(&key.token(300, ""));
    assert!(good.contains("alice"), "{good}");
}
