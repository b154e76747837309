//! Listeners that pass on what is not HTTP: TCP as it is, and TLS by the name it asks for.

use crate::support::certificates::Authority;
use crate::support::curl::{curl_text, try_curl};
use crate::support::{Client, Conn, Driver, Gateway, Nginx, Origin, Setup, on_both_drivers};

on_both_drivers!(
    passes_tcp_both_ways,
    passes_half_closes_of_tcp,
    passes_much_tcp_both_ways,
    lets_the_origin_speak_first,
    closes_tcp_when_nobody_is_behind,
    ends_idle_tcp,
    routes_tls_by_name,
    sends_unlisted_names_to_the_default,
    closes_unlisted_names_without_a_default,
    closes_what_is_no_tls,
    leaves_the_protocol_to_the_ends,
);

/// A gateway whose listener `raw` passes TCP to `endpoint`.
fn tcp(driver: Driver, endpoint: &str) -> Setup {
    Setup::new(driver)
        .body(
            "[[listener]]\nname = \"raw\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"tcp\"\n\
             upstream = \"app\"",
        )
        .upstream("app", endpoint, "")
        .route("ping", "/ping", "respond = { status = 204 }")
}

fn echo(conn: &mut Conn) {
    loop {
        let held = conn.reader().held().len();
        if held > 0 {
            let bytes = conn.take(held).unwrap();
            conn.send(bytes);
        }
        if !matches!(conn.reader().fill(), Ok(n) if n > 0) {
            break;
        }
    }
}

fn passes_tcp_both_ways(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tcp(driver, origin.address()).start();
    let mut client = Client::connect(gateway.listener("raw"));
    for bytes in [&b"one"[..], b"\x00\xff\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"] {
        client.send(bytes);
        assert_eq!(client.take(bytes.len()), bytes);
    }
    drop(client);
    origin.wait_until_closed();
}

fn passes_half_closes_of_tcp(driver: Driver) {
    let origin = Origin::start(|conn| {
        let all = conn.reader().rest().unwrap();
        conn.send(format!("{} bytes", all.len()));
    });
    let gateway = tcp(driver, origin.address()).start();
    let mut client = Client::connect(gateway.listener("raw"));
    client.send(vec![7; 100_000]);
    client.finish_sending();
    assert_eq!(client.rest(), b"100000 bytes");
}

fn passes_much_tcp_both_ways(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tcp(driver, origin.address()).start();
    let mut client = Client::connect(gateway.listener("raw"));
    let piece: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    for _ in 0..20 {
        client.send(&piece);
        assert!(client.take(piece.len()) == piece, "bytes came changed");
    }
}

fn lets_the_origin_speak_first(driver: Driver) {
    let origin = Origin::start(|conn| {
        conn.send("220 mail.test ESMTP\r\n");
        echo(conn);
    });
    let gateway = tcp(driver, origin.address()).start();
    let mut client = Client::connect(gateway.listener("raw"));
    assert_eq!(client.take(21), b"220 mail.test ESMTP\r\n");
}

fn closes_tcp_when_nobody_is_behind(driver: Driver) {
    let gateway = tcp(driver, "127.0.0.1:1").start();
    Client::connect(gateway.listener("raw")).expect_closed();
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "connect_failed")], 1.0);
    assert_eq!(gateway.get("/ping").status, 204);
}

fn ends_idle_tcp(driver: Driver) {
    let origin = Origin::start(echo);
    let gateway = tcp(driver, origin.address())
        .set("limits", "tunnel_idle_timeout", "\"1s\"")
        .start();
    let mut client = Client::connect(gateway.listener("raw"));
    client.send("x");
    assert_eq!(client.take(1), b"x");
    client.rest();
    origin.wait_until_closed();
    gateway.wait_for_metric("ringgate_faults_total", &[("code", "tunnel_idle")], 1.0);
}

/// Two TLS origins behind a listener `raw` that tells them apart by name.
struct Named {
    gateway: Gateway,
    authority: Authority,
    _origins: [Nginx; 2],
}

impl Named {
    fn start(driver: Driver, default: &str) -> Self {
        let authority = Authority::new();
        let origins = ["one.test", "*.two.test"].map(|name| {
            let pair = authority.server(&[name, "unlisted.test"]);
            Nginx::listening(
                "ssl http2",
                &format!(
                    "ssl_certificate {};\nssl_certificate_key {};\n\
                     location / {{ return 200 \"{name} $server_protocol\"; }}",
                    pair.cert(),
                    pair.key()
                ),
            )
        });
        let gateway = Setup::new(driver)
            .body(&format!(
                "[[listener]]\nname = \"raw\"\nlisten = \"127.0.0.1:0\"\nprotocol = \"tls\"\n\
                 {default}\n\
                 [[listener.sni]]\nnames = [\"one.test\"]\nupstream = \"one\"\n\
                 [[listener.sni]]\nnames = [\"*.two.test\"]\nupstream = \"two\"\n"
            ))
            .upstream("one", &origins[0].address(), "")
            .upstream("two", &origins[1].address(), "")
            .route("ping", "/ping", "respond = { status = 204 }")
            .start();
        Self {
            gateway,
            authority,
            _origins: origins,
        }
    }

    fn arguments(&self, name: &str, how: &str) -> Vec<String> {
        let port = self.gateway.listener("raw").rsplit(':').next().unwrap();
        vec![
            how.to_owned(),
            "--cacert".to_owned(),
            self.authority.trust(),
            "--resolve".to_owned(),
            format!("{name}:{port}:127.0.0.1"),
            format!("https://{name}:{port}/"),
        ]
    }

    /// What the origin behind `name` says; its certificate is verified.
    #[track_caller]
    fn get(&self, name: &str, how: &str) -> String {
        let arguments = self.arguments(name, how);
        curl_text(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn fails(&self, name: &str) -> bool {
        let arguments = self.arguments(name, "--http1.1");
        !try_curl(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).success
    }
}

fn routes_tls_by_name(driver: Driver) {
    let named = Named::start(driver, "");
    assert_eq!(named.get("one.test", "--http1.1"), "one.test HTTP/1.1");
    assert_eq!(named.get("a.two.test", "--http1.1"), "*.two.test HTTP/1.1");
    assert_eq!(named.get("b.two.test", "--http1.1"), "*.two.test HTTP/1.1");
}

fn sends_unlisted_names_to_the_default(driver: Driver) {
    let named = Named::start(driver, "upstream = \"two\"");
    assert_eq!(named.get("one.test", "--http1.1"), "one.test HTTP/1.1");
    assert_eq!(
        named.get("unlisted.test", "--http1.1"),
        "*.two.test HTTP/1.1"
    );
}

fn closes_unlisted_names_without_a_default(driver: Driver) {
    let named = Named::start(driver, "");
    assert!(named.fails("unlisted.test"));
    let labels = [("code", "no_server_name")];
    named
        .gateway
        .wait_for_metric("ringgate_faults_total", &labels, 1.0);
    assert_eq!(named.get("one.test", "--http1.1"), "one.test HTTP/1.1");
}

fn closes_what_is_no_tls(driver: Driver) {
    let named = Named::start(driver, "upstream = \"two\"");
    let mut client = Client::connect(named.gateway.listener("raw"));
    client.send("SSH-2.0-OpenSSH_9.2\r\n");
    client.rest();
    assert_eq!(named.get("one.test", "--http1.1"), "one.test HTTP/1.1");
}

fn leaves_the_protocol_to_the_ends(driver: Driver) {
    let named = Named::start(driver, "");
    assert_eq!(named.get("one.test", "--http2"), "one.test HTTP/2.0");
    assert_eq!(named.get("a.two.test", "--http2"), "*.two.test HTTP/2.0");
}
