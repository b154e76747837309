use proptest::prelude::*;

use super::*;
use crate::fuzz;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn whole(bytes: &[u8]) -> ProxyHeader {
    match read(bytes) {
        Ok(Read::Complete { len, header }) if len == bytes.len() => header,
        other => panic!("{other:?}"),
    }
}

fn refused(bytes: &[u8]) -> ProxyError {
    read(bytes).unwrap_err()
}

/// A binary header with this command, family and what follows the length.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    bytes.extend([command, family]);
    bytes.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
    bytes.extend(rest);
    bytes
}

/// 192.0.2.1:1000 to 192.0.2.2:443.
const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 3, 232, 1, 187];

fn tcp4_with(attributes: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[&V4, attributes].concat())
}

#[test]
fn a_line_names_both_addresses() {
    let header = whole(b"PROXY TCP4 192.0.2.1 192.0.2.255 0 65535\r\n");
    assert_eq!(header.version, ProxyVersion::V1);
    assert_eq!(header.source, Some(addr("192.0.2.1:0")));
    assert_eq!(header.destination, Some(addr("192.0.2.255:65535")));
    let header = whole(b"PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 1 443\r\n");
    assert_eq!(header.source, Some(addr("[2001:db8::1]:1")));
    assert_eq!(header.destination, Some(addr("[::ffff:192.0.2.1]:443")));
}

#[test]
fn an_unknown_line_is_skipped_to_its_end() {
    for line in [
        &b"PROXY UNKNOWN\r\n"[..],
        b"PROXY UNKNOWN \r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff and more 65535\r\n",
    ] {
        let header = whole(line);
        assert_eq!((header.source, header.destination), (None, None));
    }
}

#[test]
fn the_longest_line_passes_and_no_longer_one() {
    let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {full} {full} 65535 65535\r\n");
    assert_eq!(longest.len(), 104);
    whole(longest.as_bytes());
    let line = |len: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(len - 16));
    whole(line(107).as_bytes());
    assert_eq!(refused(line(108).as_bytes()), ProxyError::LineTooLong);
    assert_eq!(
        refused(&line(108).as_bytes()[..106]),
        ProxyError::LineTooLong
    );
    assert_eq!(read(&line(108).as_bytes()[..105]), Ok(Read::Partial));
    assert_eq!(read(&line(107).as_bytes()[..106]), Ok(Read::Partial));
}

#[test]
fn refuses_lines_that_differ_in_a_byte() {
    for line in [
        "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4\t192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 \0\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY UNKNOWN\tx\r\n",
        "PROXY \r\n",
    ] {
        assert_eq!(refused(line.as_bytes()), ProxyError::Line, "{line:?}");
    }
}

#[test]
fn refuses_addresses_of_the_other_family_and_odd_spellings() {
    for (line, why) in [
        ("TCP4 2001:db8::1 2001:db8::2 1 2", ProxyError::Address),
        ("TCP6 192.0.2.1 192.0.2.2 1 2", ProxyError::Address),
        ("TCP4 192.0.2.01 192.0.2.2 1 2", ProxyError::Address),
        ("TCP4 192.0.2 192.0.2.2 1 2", ProxyError::Address),
        ("TCP4 0xc0.0.2.1 192.0.2.2 1 2", ProxyError::Address),
        ("TCP6 fe80::1%1 fe80::2 1 2", ProxyError::Address),
        ("TCP6 [::1] ::1 1 2", ProxyError::Address),
        ("TCP4 192.0.2.1 192.0.2.2 01 2", ProxyError::Port),
        ("TCP4 192.0.2.1 192.0.2.2 00 2", ProxyError::Port),
        ("TCP4 192.0.2.1 192.0.2.2 +1 2", ProxyError::Port),
        ("TCP4 192.0.2.1 192.0.2.2 -1 2", ProxyError::Port),
        ("TCP4 192.0.2.1 192.0.2.2 1 65536", ProxyError::Port),
        ("TCP4 192.0.2.1 192.0.2.2 1 ", ProxyError::Port),
    ] {
        assert_eq!(
            refused(format!("PROXY {line}\r\n").as_bytes()),
            why,
            "{line}"
        );
    }
}

#[test]
fn a_binary_header_names_both_addresses() {
    let header = whole(&tcp4_with(b""));
    assert_eq!(header.version, ProxyVersion::V2);
    assert_eq!(header.source, Some(addr("192.0.2.1:1000")));
    assert_eq!(header.destination, Some(addr("192.0.2.2:443")));
    let mut v6 = [0; 36];
    (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 3, 4);
    let header = whole(&binary(0x21, 0x21, &v6));
    assert_eq!(header.source, Some(addr("[::1]:3")));
    assert_eq!(header.destination, Some(addr("[::2]:4")));
}

#[test]
fn the_sockets_own_address_counts_where_the_header_names_none() {
    for bytes in [
        binary(0x20, 0x00, b""),
        // The family and addresses of LOCAL are skipped, whatever they are.
        binary(0x20, 0x11, &V4),
        binary(0x20, 0x11, b"x"),
        binary(0x20, 0xff, b"whatever"),
        binary(0x21, 0x00, b"whatever"),
        binary(0x21, 0x31, &[b'u'; 216]),
        binary(0x21, 0x31, &[&[b'u'; 216][..], &[0x04, 0, 1, 0]].concat()),
    ] {
        let header = whole(&bytes);
        assert_eq!((header.source, header.destination), (None, None));
    }
}

#[test]
fn refuses_what_no_stream_has() {
    for (command, family, rest, why) in [
        (0x11, 0x11, &V4[..], ProxyError::Version),
        (0x31, 0x11, &V4, ProxyError::Version),
        (0x22, 0x11, &V4, ProxyError::Command),
        (0x2f, 0x11, &V4, ProxyError::Command),
        (0x21, 0x12, &V4, ProxyError::Family),
        (0x21, 0x10, &V4, ProxyError::Family),
        (0x21, 0x01, &V4, ProxyError::Family),
        (0x21, 0x41, &V4, ProxyError::Family),
        (0x21, 0x11, &V4[..11], ProxyError::Length),
        (0x21, 0x21, &[0; 35], ProxyError::Length),
        (0x21, 0x31, &[0; 215], ProxyError::Length),
    ] {
        assert_eq!(
            refused(&binary(command, family, rest)),
            why,
            "{command:x} {family:x}"
        );
    }
}

#[test]
fn a_header_is_bounded_before_it_has_come() {
    let longest = binary(0x20, 0x00, &[0; HEADER_MAX - 16]);
    whole(&longest);
    let longer = binary(0x20, 0x00, &[0; HEADER_MAX - 15]);
    assert_eq!(refused(&longer[..16]), ProxyError::TooLong);
}

#[test]
fn attributes_are_skipped_but_must_fill_the_header() {
    whole(&tcp4_with(&[
        0x01, 0, 2, b'h', b'2', 0x04, 0, 0, 0xee, 0, 1, 9,
    ]));
    for attributes in [
        &[0x01][..],
        &[0x01, 0],
        &[0x01, 0, 1],
        &[0x01, 0, 0, 0x01],
        &[0x01, 0xff, 0xff, 0],
        &[0x03, 0, 3, 0, 0, 0],
        &[0x03, 0, 5, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(refused(&tcp4_with(attributes)), ProxyError::Attribute);
    }
}

/// A header with a right checksum between two other attributes.
fn checked() -> Vec<u8> {
    let mut bytes = tcp4_with(&[0x04, 0, 1, 7, 0x03, 0, 4, 0, 0, 0, 0, 0x01, 0, 1, b'x']);
    let sum = !v2::crc32c(u32::MAX, &bytes);
    bytes[35..39].copy_from_slice(&sum.to_be_bytes());
    bytes
}

#[test]
fn a_checksum_is_verified_where_there_is_one() {
    // The check value of CRC-32C.
    assert_eq!(!v2::crc32c(u32::MAX, b"123456789"), 0xe306_9283);
    let bytes = checked();
    whole(&bytes);
    for at in [16, 20, 27, 31, 35, 38, 42] {
        let mut wrong = bytes.clone();
        wrong[at] ^= 0x10;
        assert_eq!(refused(&wrong), ProxyError::Checksum, "at {at}");
    }
    let twice = [0x03, 0, 4, 0, 0, 0, 0, 0x03, 0, 4, 0, 0, 0, 0];
    assert_eq!(refused(&tcp4_with(&twice)), ProxyError::Attribute);
}

#[test]
fn other_protocols_differ_at_a_byte_that_tells() {
    for (bytes, told_at) in [
        (&b"GET / HTTP/1.1\r\n"[..], 1),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 3),
        (b"POST / HTTP/1.1\r\n", 2),
        (b"PROPFIND / HTTP/1.1\r\n", 4),
        (b"PROXY /x HTTP/1.1\r\n", 7),
        (b"\x16\x03\x01\x02\x00\x01", 1),
        (b"\r\nGET / HTTP/1.1", 3),
        (b"\r\n\r\nGET / HTTP/1.1", 5),
    ] {
        assert_eq!(read(&bytes[..told_at - 1]), Ok(Read::Partial), "{bytes:?}");
        assert!(read(&bytes[..told_at]).is_err(), "{bytes:?}");
    }
}

#[test]
fn what_cannot_be_named_is_written_as_such() {
    for (source, destination) in [
        (None, None),
        (Some(addr("192.0.2.1:1")), None),
        (None, Some(addr("192.0.2.1:1"))),
    ] {
        let mut line = Vec::new();
        write(ProxyVersion::V1, source, destination, &mut line);
        assert_eq!(line, b"PROXY UNKNOWN\r\n");
        let mut bytes = Vec::new();
        write(ProxyVersion::V2, source, destination, &mut bytes);
        assert_eq!(bytes, binary(0x20, 0, b""));
    }
}

#[test]
fn addresses_of_two_families_are_written_in_one() {
    let written = |source, destination| {
        let mut line = Vec::new();
        let (source, destination) = (Some(addr(source)), Some(addr(destination)));
        write(ProxyVersion::V1, source, destination, &mut line);
        String::from_utf8(line).unwrap()
    };
    assert_eq!(
        written("[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2"),
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    );
    assert_eq!(
        written("192.0.2.1:1", "[2001:db8::2]:2"),
        "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2\r\n"
    );
}

fn addrs() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(
        source in addrs(),
        destination in addrs(),
        behind in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        for version in [ProxyVersion::V1, ProxyVersion::V2] {
            let mut bytes = Vec::new();
            write(version, Some(source), Some(destination), &mut bytes);
            let header_len = bytes.len();
            bytes.extend(&behind);
            let Ok(Read::Complete { len, header }) = read(&bytes) else {
                panic!("{version:?} does not read back")
            };
            prop_assert_eq!((len, header.version), (header_len, version));
            prop_assert_eq!(header.source.map(canonical), Some(canonical(source)));
            prop_assert_eq!(header.destination.map(canonical), Some(canonical(destination)));
            fuzz::fuzz_proxy_protocol(&bytes);
        }
    }

    #[test]
    fn any_bytes_are_judged_alike_however_they_come(
        begin in prop_oneof![
            Just(b"".to_vec()),
            Just(b"PROXY ".to_vec()),
            Just(b"PROXY TCP4 ".to_vec()),
            Just(b"PROXY TCP6 1::1 ".to_vec()),
            Just(b"PROXY UNKNOWN".to_vec()),
            Just(b"\r\n\r\n\0\r\nQUIT\n".to_vec()),
            Just(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0".to_vec()),
            Just(tcp4_with(&[0x03, 0, 4])),
            Just(checked()),
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        flip in any::<Option<(usize, u8)>>(),
    ) {
        let mut bytes = [begin, rest].concat();
        if let Some((at, with)) = flip
            && !bytes.is_empty()
        {
            let at = at % bytes.len();
            bytes[at] ^= with;
        }
        fuzz::fuzz_proxy_protocol(&bytes);
    }
}
