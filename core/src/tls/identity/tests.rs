use super::*;
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyPair, SanType};

fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn identity(change: impl FnOnce(&mut CertificateParams)) -> ClientIdentity {
    ClientIdentity::of(&certificate(change)).unwrap()
}

fn subject_of(names: &[(DnType, DnValue)]) -> String {
    let identity = identity(|params| {
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
    });
    identity.subject.into()
}

fn utf8(text: &str) -> DnValue {
    DnValue::Utf8String(text.to_owned())
}

/// A certificate with alternative names as bytes: context tag number and content of each.
fn with_sans(names: &[(u8, &[u8])]) -> ClientIdentity {
    let mut content = Vec::new();
    for (tag, bytes) in names {
        content.push(0x80 | tag);
        push_length(&mut content, bytes.len());
        content.extend_from_slice(bytes);
    }
    let mut sequence = vec![0x30];
    push_length(&mut sequence, content.len());
    sequence.extend(content);
    identity(|params| {
        let san = CustomExtension::from_oid_content(&[2, 5, 29, 17], sequence);
        params.custom_extensions.push(san);
    })
}

fn push_length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short @ 0..128) => out.push(short),
        _ => {
            out.push(0x83);
            out.extend_from_slice(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
        }
    }
}

fn sans_of(identity: &ClientIdentity) -> Vec<&str> {
    identity.sans.iter().map(|san| &**san).collect()
}

#[test]
fn the_subject_reads_from_the_most_specific_name() {
    let text = subject_of(&[
        (DnType::CountryName, DnValue::Utf8String("DE".into())),
        (DnType::OrganizationName, utf8("Example")),
        (DnType::CommonName, utf8("alice")),
    ]);
    assert_eq!(text, "CN=alice,O=Example,C=DE");
}

#[test]
fn separators_in_a_value_are_escaped() {
    for (value, shown) in [
        ("a,O=Admins", "CN=a\\,O\\=Admins"),
        ("a+b", "CN=a\\+b"),
        ("\\", "CN=\\\\"),
        ("\"<;>", "CN=\\\"\\<\\;\\>"),
        ("#a", "CN=\\#a"),
        (" a ", "CN=\\20a\\20"),
        (" ", "CN=\\20"),
        ("", "CN="),
    ] {
        assert_eq!(subject_of(&[(DnType::CommonName, utf8(value))]), shown);
    }
}

#[test]
fn only_printable_ascii_is_left() {
    for (value, shown) in [
        (
            "a\r\nX-Client-Cert-Subject: CN=root",
            "CN=a\\0D\\0AX-Client-Cert-Subject: CN\\=root",
        ),
        ("a\0b", "CN=a\\00b"),
        ("\u{7f}", "CN=\\7F"),
        ("é", "CN=\\C3\\A9"),
        ("\u{202e}a", "CN=\\E2\\80\\AEa"),
    ] {
        assert_eq!(subject_of(&[(DnType::CommonName, utf8(value))]), shown);
    }
}

#[test]
fn a_type_without_a_short_name_has_its_value_in_hexadecimal() {
    let unknown = DnType::CustomDnType(vec![1, 2, 3, 4]);
    assert_eq!(subject_of(&[(unknown, utf8("a"))]), "1.2.3.4=#0c0161");
}

#[test]
fn text_in_sixteen_bits_is_read() {
    let value = rcgen::string::BmpString::try_from("añ").unwrap();
    let text = subject_of(&[(DnType::CommonName, DnValue::BmpString(value))]);
    assert_eq!(text, "CN=a\\C3\\B1");
}

#[test]
fn a_subject_that_is_too_long_is_left_out_whole() {
    let fits = "a".repeat(SUBJECT_BYTES_MAX - 3);
    let text = subject_of(&[(DnType::CommonName, utf8(&fits))]);
    assert_eq!(text.len(), SUBJECT_BYTES_MAX);
    for long in [
        "a".repeat(SUBJECT_BYTES_MAX - 2),
        "\0".repeat(SUBJECT_BYTES_MAX / 2),
        "a".repeat(100_000),
    ] {
        assert_eq!(subject_of(&[(DnType::CommonName, utf8(&long))]), "");
    }
    let unknown = DnType::CustomDnType(vec![1, 2, 3, 4]);
    assert_eq!(subject_of(&[(unknown, utf8(&"a".repeat(100_000)))]), "");
}

#[test]
fn alternative_names_have_their_kind() {
    let identity = identity(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::URI("spiffe://a/b?c=%20".try_into().unwrap()),
            SanType::Rfc822Name("a@b.example".try_into().unwrap()),
            SanType::IpAddress([192, 0, 2, 1].into()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
        ];
    });
    assert_eq!(
        identity.joined_sans(),
        "DNS:a.example,URI:spiffe://a/b?c=%20,EMAIL:a@b.example,IP:192.0.2.1,IP:2001:db8::1"
    );
}

#[test]
fn an_alternative_name_cannot_pass_for_two() {
    let identity = with_sans(&[
        (2, b"a,URI:spiffe://root"),
        (2, b"a\r\nX-Evil: 1"),
        (6, b"spiffe://a b\\"),
        (1, b"a\0@b"),
    ]);
    assert_eq!(
        sans_of(&identity),
        [
            "DNS:a\\2CURI:spiffe://root",
            "DNS:a\\0D\\0AX-Evil:\\201",
            "URI:spiffe://a\\20b\\5C",
            "EMAIL:a\\00@b",
        ]
    );
}

#[test]
fn malformed_and_unknown_alternative_names_are_left_out() {
    let identity = with_sans(&[
        (7, &[1, 2, 3]),
        (7, &[0; 17]),
        (2, &[0xff, 0xfe]),
        (8, &[42, 3]),
        (2, b"a.example"),
    ]);
    assert_eq!(sans_of(&identity), ["DNS:a.example"]);
}

#[test]
fn alternative_names_are_bounded_and_never_cut() {
    let many: Vec<(u8, &[u8])> = vec![(2, b"a.example"); 1000];
    assert_eq!(with_sans(&many).sans.len(), SANS_MAX);
    let long = vec![b'a'; SANS_BYTES_MAX];
    let identity = with_sans(&[(2, &long), (2, b"a.example")]);
    assert_eq!(sans_of(&identity), ["DNS:a.example"]);
    let escaped = vec![b','; SANS_BYTES_MAX / 2];
    let identity = with_sans(&[(2, &escaped), (2, b"a.example")]);
    assert_eq!(sans_of(&identity), ["DNS:a.example"]);
    let half = vec![b'a'; SANS_BYTES_MAX / 2];
    let identity = with_sans(&[(2, &half), (2, &half), (2, &half)]);
    assert!(identity.joined_sans().len() <= SANS_BYTES_MAX);
    assert_eq!(identity.sans.len(), 1);
}

#[test]
fn the_fingerprint_is_that_of_the_whole_certificate() {
    let der = certificate(|_| {});
    let identity = ClientIdentity::of(&der).unwrap();
    assert_eq!(identity.fingerprint.len(), 64);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    assert_eq!(
        &identity.fingerprint[..2],
        format!("{:02x}", digest.as_ref()[0])
    );
}

#[test]
fn what_is_no_certificate_has_no_identity() {
    let der = certificate(|params| {
        params
            .distinguished_name
            .push(DnType::CommonName, utf8("alice"));
    });
    assert!(ClientIdentity::of(&[]).is_none());
    for cut in 0..der.len() {
        assert!(ClientIdentity::of(&der[..cut]).is_none(), "{cut}");
    }
    // Whatever one byte does, nothing panics and only printable ASCII comes out.
    for at in 0..der.len() {
        for flip in [1, 0x20, 0x80, 0xff] {
            let mut hostile = der.clone();
            hostile[at] ^= flip;
            let Some(identity) = ClientIdentity::of(&hostile) else {
                continue;
            };
            let text = format!("{}{}", identity.subject, identity.joined_sans());
            assert!(
                text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
                "{at}: {text}"
            );
        }
    }
}

#[test]
fn a_certificate_is_in_its_time_from_begin_to_end() {
    let der = certificate(|params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    // 2020-01-01 and 2021-01-01, in seconds since 1970.
    let (begin, end) = (1_577_836_800, 1_609_459_200);
    let in_time = |secs| {
        let after = std::time::Duration::from_secs(secs);
        is_in_time(&der, UnixTime::since_unix_epoch(after))
    };
    let judged = [0, begin - 1, begin, end, end + 1, u64::MAX].map(in_time);
    assert_eq!(judged, [false, false, true, true, false, false]);
    assert!(!is_in_time(&[], UnixTime::now()));
}
