use std::sync::Arc;

use proptest::prelude::*;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::fuzz;

/// The first flight that rustls sends.
fn rustls_hello(name: &str, protocols: &[&str]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().into())
        .collect();
    let name = name.to_owned().try_into().unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut flight = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut flight).unwrap();
    }
    flight
}

/// The message of a flight that is one record.
fn message(flight: &[u8]) -> &[u8] {
    &flight[RECORD_HEADER_LEN..]
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    let mut flight = Vec::new();
    for piece in message.chunks(size) {
        flight.extend([HANDSHAKE, 3, 1]);
        flight.extend(u16::try_from(piece.len()).unwrap().to_be_bytes());
        flight.extend(piece);
    }
    flight
}

fn vector(bytes: &[u8]) -> Vec<u8> {
    [
        &u16::try_from(bytes.len()).unwrap().to_be_bytes()[..],
        bytes,
    ]
    .concat()
}

fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &vector(data)].concat()
}

fn name_list(name: &[u8]) -> Vec<u8> {
    vector(&[&[0][..], &vector(name)].concat())
}

/// A ClientHello's body up to its extensions.
fn plain_body() -> Vec<u8> {
    [&[3, 3][..], &[7; 32], &[0], &[0, 2, 0x13, 1], &[1, 0]].concat()
}

fn hello_of(body: &[u8]) -> Hello {
    let [_, len @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[CLIENT_HELLO][..], &len, body].concat();
    server_name(&records(&message, RECORD_MAX))
}

fn hello_with(extensions: &[&[u8]]) -> Hello {
    hello_of(&[plain_body(), vector(&extensions.concat())].concat())
}

fn named(name: &str) -> Hello {
    hello_with(&[&extension(SERVER_NAME, &name_list(name.as_bytes()))])
}

fn complete(name: Option<&str>, acme: AcmeTls) -> Hello {
    let name = name.map(Into::into);
    Hello::Complete(Asked { name, acme })
}

#[test]
fn a_real_hello_names_its_server() {
    let flight = rustls_hello("API.Example.com", &["h2", "http/1.1"]);
    let expected = complete(Some("api.example.com"), AcmeTls::Unoffered);
    assert_eq!(server_name(&flight), expected);
    let flight = rustls_hello("a.example", &["acme-tls/1"]);
    assert_eq!(
        server_name(&flight),
        complete(Some("a.example"), AcmeTls::Offered)
    );
    let flight = rustls_hello("192.0.2.1", &[]);
    assert_eq!(server_name(&flight), complete(None, AcmeTls::Unoffered));
}

#[test]
fn a_hello_may_lie_in_many_records() {
    let flight = rustls_hello("api.example.com", &["h2"]);
    for size in [1, 2, 3, 4, 5, 100, 200] {
        let split = records(message(&flight), size);
        let expected = complete(Some("api.example.com"), AcmeTls::Unoffered);
        assert_eq!(server_name(&split), expected, "records of {size}");
        for cut in 0..split.len() {
            assert_eq!(
                server_name(&split[..cut]),
                Hello::Partial,
                "{size} cut at {cut}"
            );
        }
    }
}

#[test]
fn what_lies_behind_the_hello_is_not_looked_at() {
    let mut flight = rustls_hello("api.example.com", &[]);
    flight.extend(b"\xff whatever");
    assert!(matches!(server_name(&flight), Hello::Complete(_)));
}

#[test]
fn other_protocols_are_told_at_once() {
    for bytes in [
        &b"G"[..],
        b"PRI * HTTP/2.0",
        b"\x15",
        b"\x80\x2e",
        b"\x16\x02",
        b"\x16\x04\x01",
    ] {
        assert_eq!(server_name(bytes), Hello::NotTls, "{bytes:?}");
    }
    assert_eq!(server_name(b""), Hello::Partial);
    assert_eq!(server_name(b"\x16"), Hello::Partial);
}

#[test]
fn refuses_records_that_hold_no_handshake() {
    for bytes in [
        // Nothing in it; too much; another type behind the first; another message.
        &b"\x16\x03\x01\x00\x00"[..],
        b"\x16\x03\x01\x40\x01",
        b"\x16\x03\x01\x00\x01\x01\x15",
        b"\x16\x03\x01\x00\x01\x01\x16\x02",
        b"\x16\x03\x01\x00\x01\x02",
        b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00",
        // A message longer than what is looked at.
        b"\x16\x03\x01\x00\x04\x01\x00\x40\x00",
        b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
    ] {
        assert_eq!(server_name(bytes), Hello::Malformed, "{bytes:x?}");
    }
}

#[test]
fn a_hello_that_does_not_end_is_cut_off() {
    // Records of one byte: the message could be complete only behind the bound.
    let mut message = vec![0; 4000];
    message[..4].copy_from_slice(&[CLIENT_HELLO, 0, 15, 156]);
    let flight = records(&message, 1);
    assert!(flight.len() > FLIGHT_MAX);
    assert_eq!(server_name(&flight[..FLIGHT_MAX - 1]), Hello::Partial);
    assert_eq!(server_name(&flight[..FLIGHT_MAX]), Hello::Malformed);
    assert_eq!(server_name(&flight), Hello::Malformed);
}

#[test]
fn a_hello_without_extensions_names_nobody() {
    assert_eq!(hello_of(&plain_body()), complete(None, AcmeTls::Unoffered));
    assert_eq!(hello_with(&[]), complete(None, AcmeTls::Unoffered));
}

#[test]
fn refuses_bodies_that_break_their_lengths() {
    let whole = [plain_body(), vector(&extension(5, b"x"))].concat();
    assert!(matches!(hello_of(&whole), Hello::Complete(_)));
    for cut in 0..whole.len() {
        // Up to the extensions it is a hello of an old client.
        let expected = match cut == plain_body().len() {
            true => complete(None, AcmeTls::Unoffered),
            false => Hello::Malformed,
        };
        assert_eq!(hello_of(&whole[..cut]), expected, "cut at {cut}");
    }
    assert_eq!(hello_of(&[&whole[..], &[0]].concat()), Hello::Malformed);
    let start = [&[3, 3][..], &[7; 32]].concat();
    for rest in [
        &[&[33][..], &[0; 33], &[0, 2, 0x13, 1, 1, 0]].concat()[..],
        &[0, 0, 0, 1, 0],
        &[0, 0, 3, 1, 2, 3, 1, 0],
        &[0, 0, 2, 0x13, 1, 0],
    ] {
        assert_eq!(
            hello_of(&[&start[..], rest].concat()),
            Hello::Malformed,
            "{rest:x?}"
        );
    }
    assert_eq!(
        hello_of(&[&[2, 3][..], &plain_body()[2..]].concat()),
        Hello::Malformed
    );
}

#[test]
fn names_are_checked_and_lower_cased() {
    let long = format!("{}.example", "a".repeat(63));
    for name in [
        "a",
        "A.B-c.Example",
        "_dmarc.example",
        "xn--bcher-kva.example",
        &long,
        "1.2.3",
    ] {
        let lower = name.to_lowercase();
        assert_eq!(named(name), complete(Some(&lower), AcmeTls::Unoffered));
    }
    let over = format!("{}.example", "a".repeat(64));
    let most = [&*"a.".repeat(126), "b"].concat();
    assert!(matches!(named(&most), Hello::Complete(_)));
    for name in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a\0b",
        "a/b",
        "-a.example",
        "a-.example",
        "*.example",
        "a:443",
        "b\u{fc}cher.example",
        &over,
        &format!("a{most}a"),
    ] {
        assert_eq!(named(name), Hello::Malformed, "{name:?}");
    }
    for address in ["192.0.2.1", "::1"] {
        assert_eq!(named(address), complete(None, AcmeTls::Unoffered));
    }
}

#[test]
fn refuses_name_lists_that_are_read_in_two_ways() {
    let one = extension(SERVER_NAME, &name_list(b"a.example"));
    let entry = |name: &[u8]| [&[0][..], &vector(name)].concat();
    let two = vector(&[entry(b"a.example"), entry(b"b.example")].concat());
    let other_type = vector(&[&[1][..], &vector(b"a.example")].concat());
    assert_eq!(hello_with(&[&one, &one]), Hello::Malformed);
    for data in [
        &two[..],
        &other_type,
        b"",
        &[0, 0],
        &[0, 1, 0],
        &[&name_list(b"a.example")[..], b"x"].concat(),
        b"\x00\x05\x00\x00\x03a",
        b"\x00\x04\x00\x00\x03a",
    ] {
        assert_eq!(
            hello_with(&[&extension(SERVER_NAME, data)]),
            Hello::Malformed,
            "{data:x?}"
        );
    }
}

#[test]
fn protocol_lists_are_read_to_their_end() {
    let offered = |list: &[u8]| hello_with(&[&extension(PROTOCOLS, &vector(list))]);
    assert_eq!(
        offered(b"\x02h2\x0aacme-tls/1"),
        complete(None, AcmeTls::Offered)
    );
    assert_eq!(
        offered(b"\x0bacme-tls/1x"),
        complete(None, AcmeTls::Unoffered)
    );
    for list in [
        &b""[..],
        b"\x00",
        b"\x0aacme-tls/1\x00",
        b"\x0aacme-tls/1\x05h2",
    ] {
        assert_eq!(offered(list), Hello::Malformed, "{list:x?}");
    }
    let twice = extension(PROTOCOLS, &vector(b"\x02h2"));
    assert_eq!(hello_with(&[&twice, &twice]), Hello::Malformed);
}

proptest! {
    #[test]
    fn any_bytes_are_judged_alike_however_they_come(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        fuzz::fuzz_client_hello(&bytes);
        fuzz::fuzz_client_hello(&[b"\x16\x03\x01", &bytes[..]].concat());
        fuzz::fuzz_client_hello(&records(&bytes, 50));
    }

    #[test]
    fn a_real_hello_with_other_bytes_never_surprises(
        edits in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        size in 1usize..600,
        cut in any::<Option<usize>>(),
    ) {
        let flight = rustls_hello("api.example.com", &["h2", "acme-tls/1"]);
        let mut message = message(&flight).to_vec();
        for (at, with) in edits {
            let at = at % message.len();
            message[at] = with;
        }
        let mut flight = records(&message, size);
        if let Some(cut) = cut {
            flight.truncate(cut % flight.len());
        }
        fuzz::fuzz_client_hello(&flight);
        if let Hello::Complete(Asked { name: Some(name), .. }) = server_name(&flight) {
            prop_assert!(is_host(&name) && *name == name.to_lowercase());
        }
    }
}
