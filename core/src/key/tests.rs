#![allow(clippy::unwrap_used)]
use super::*;
use crate::chain::PeerAddr;

fn key(parts: &[Part]) -> Key {
    Key {
        parts: parts.into(),
        ipv4_prefix: 32,
        ipv6_prefix: 64,
    }
}

fn text(key: &Key, head: &RequestHead, attributes: &Attributes) -> String {
    let mut out = Vec::new();
    key.write(head, attributes, &KeyNames::default(), &mut out);
    String::from_utf8(out).unwrap()
}

fn hash(key: &Key, head: &RequestHead, attributes: &Attributes) -> u64 {
    key.hash(7, head, attributes, &KeyNames::default())
}

fn from(ip: &str) -> Attributes {
    Attributes {
        client: PeerAddr::new(ip.parse().unwrap()),
        ..Attributes::default()
    }
}

fn with(fields: &[(&str, &str)]) -> RequestHead {
    let mut head = RequestHead::default();
    for (name, value) in fields {
        head.fields.add(name, value.as_bytes()).unwrap();
    }
    head
}

#[test]
fn addresses_count_by_their_prefix() {
    let by_ip = key(&[Part::ClientIp]);
    let head = RequestHead::default();
    let of = |ip: &str| {
        (
            hash(&by_ip, &head, &from(ip)),
            text(&by_ip, &head, &from(ip)),
        )
    };
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:1"));
    assert_eq!(of("2001:db8::1").1, "2001:db8::/64");
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
    assert_eq!(of("192.0.2.1").1, "192.0.2.1");
    assert_eq!(of("0.0.0.0").1, "-");
    let all = Key {
        ipv4_prefix: 0,
        ipv6_prefix: 0,
        ..by_ip.clone()
    };
    assert_eq!(text(&all, &head, &from("192.0.2.1")), "0.0.0.0/0");
    assert_eq!(text(&all, &head, &from("2001:db8::1")), "::/0");
}

#[test]
fn what_is_missing_is_a_value_of_its_own() {
    let user = key(&[Part::Header("x-user".into())]);
    let nobody = Attributes::default();
    let values = [
        with(&[]),
        with(&[("x-user", "")]),
        with(&[("x-user", "-")]),
        with(&[("x-user", "absent")]),
    ];
    for (index, one) in values.iter().enumerate() {
        for other in &values[index + 1..] {
            assert_ne!(hash(&user, one, &nobody), hash(&user, other, &nobody));
            assert_ne!(text(&user, one, &nobody), text(&user, other, &nobody));
        }
    }
    assert_eq!(
        hash(&user, &with(&[]), &nobody),
        hash(&user, &with(&[("x-other", "1")]), &nobody)
    );
}

#[test]
fn lines_of_a_field_are_one_list() {
    let user = key(&[Part::Header("x-user".into())]);
    let (one, two) = (
        with(&[("x-user", "a, b")]),
        with(&[("X-User", "a"), ("x-user", "b")]),
    );
    let nobody = Attributes::default();
    assert_eq!(hash(&user, &one, &nobody), hash(&user, &two, &nobody));
    assert_eq!(text(&user, &two, &nobody), "a,\\20b");
}

#[test]
fn parts_cannot_run_into_each_other() {
    let both = key(&[Part::Header("a".into()), Part::Header("b".into())]);
    let nobody = Attributes::default();
    let (one, two) = (
        with(&[("a", "x"), ("b", "yz")]),
        with(&[("a", "xy"), ("b", "z")]),
    );
    assert_ne!(hash(&both, &one, &nobody), hash(&both, &two, &nobody));
    let (one, two) = (
        with(&[("a", "x|y"), ("b", "z")]),
        with(&[("a", "x"), ("b", "y|z")]),
    );
    assert_ne!(text(&both, &one, &nobody), text(&both, &two, &nobody));
}

#[test]
fn cookies_are_found_by_their_whole_name() {
    let fields = |cookie: &str| with(&[("cookie", cookie)]).fields;
    let of = |cookie: &str| {
        value::cookie(&fields(cookie), "id").map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    assert_eq!(of("id=7").as_deref(), Some("7"));
    assert_eq!(of("xid=1; id=2; id=3").as_deref(), Some("2"));
    assert_eq!(of("a=1;id=a=b").as_deref(), Some("a=b"));
    assert_eq!(of("id=").as_deref(), Some(""));
    assert_eq!(of("id; ID=1; id2=3; a=id=9"), None);
    let far = format!("{}id=1", "a=1; ".repeat(COOKIES));
    assert_eq!(of(&far), None);
}

/// More cookies than are looked through.
const COOKIES: usize = 300;

#[test]
fn parameters_are_found_by_their_whole_name() {
    let of = |query: &str| {
        let mut text = Vec::new();
        let value = value::query(Some(query.as_bytes()), "q1");
        value.write(&mut text);
        (String::from_utf8(text).unwrap(), value.hash(7))
    };
    assert_eq!(of("q1=1&q1=2"), of("q1=1"));
    assert_eq!(of("q11=1&q1").0, "");
    assert_eq!(of("q11=1&x=q1").0, "-");
    assert!(matches!(value::query(None, "q1"), Value::Absent));
    // Nobody gets a key of their own by spelling the same otherwise.
    assert_eq!(of("%711=abc"), of("q1=abc"));
    assert_eq!(of("q%31=%61b%63"), of("q1=abc"));
    assert_eq!(of("q1=%2D"), of("q1=-"));
    assert_eq!(of("q1=-").0, "\\2d");
    assert_ne!(of("q1=%2D").1, of("").1);
    assert_eq!(of("q1=50%&q1=2").0, "50%");
    assert_eq!(of("q1=%4&x=1").0, "%4");
    assert_eq!(of("q1=%zz").0, "%zz");
    let long = "%61".repeat(200);
    assert_eq!(
        of(&format!("q1={long}")),
        of(&format!("q1={}", "a".repeat(200)))
    );
}

#[test]
fn a_hosts_spelling_and_port_do_not_matter() {
    let host = key(&[Part::Host]);
    let of = |authority: &str| {
        let mut head = RequestHead::default();
        head.set_authority(authority.as_bytes()).unwrap();
        let attributes = Attributes {
            authority: head.authority_span(),
            ..Attributes::default()
        };
        (
            hash(&host, &head, &attributes),
            text(&host, &head, &attributes),
        )
    };
    assert_eq!(of("api.example"), of("API.Example:8443"));
    assert_eq!(of("api.example"), of("api.example."));
    assert_eq!(of("API.example").1, "api.example");
    assert_eq!(of("[2001:db8::1]:80").1, "[2001:db8::1]");
    assert_eq!(of("[2001:db8::1]"), of("[2001:DB8::1]:80"));
    let long = format!("{}.example", "A".repeat(200));
    assert_eq!(of(&long), of(&long.to_lowercase()));
}

#[test]
fn routes_and_captures_go_by_name() {
    let names = [
        RouteNames {
            name: "a".into(),
            captures: ["id".into()].into(),
        },
        RouteNames::default(),
    ];
    let attributes = |route| Attributes {
        route,
        ..Attributes::default()
    };
    let of = |route| {
        let mut out = Vec::new();
        let attributes = attributes(route);
        key(&[Part::Route]).write(
            &RequestHead::default(),
            &attributes,
            &KeyNames::of(&names, &attributes),
            &mut out,
        );
        out
    };
    assert_eq!(of(Some(0)), b"a");
    assert_eq!(of(Some(9)), b"-");
    assert_eq!(of(None), b"-");
    assert_eq!(KeyNames::new(&names[0]).capture("id"), Some(0));
    assert_eq!(KeyNames::new(&names[1]).capture("id"), None);
}

#[test]
fn the_hash_is_the_same_in_every_process() {
    // What stores and other nodes know a key by: a change of these values is a break.
    let head = with(&[("x-user", "alice"), ("cookie", "id=7")]);
    let attributes = from("192.0.2.1");
    let of = |parts: &[Part]| hash(&key(parts), &head, &attributes);
    assert_eq!(
        of(&[Part::Header("x-user".into())]),
        xxh3_64_with_seed(b"alice", 7)
    );
    assert_eq!(
        of(&[Part::ClientIp, Part::Cookie("id".into())]),
        xxh3_64_with_seed(b"7", xxh3_64_with_seed(&[192, 0, 2, 1], 7))
    );
}

#[test]
fn long_values_are_told_short() {
    let user = key(&[Part::Header("x-user".into())]);
    let nobody = Attributes::default();
    let long = |last: &str| with(&[("x-user", &format!("{}{last}", "a".repeat(400)))]);
    let (one, two) = (
        text(&user, &long("1"), &nobody),
        text(&user, &long("2"), &nobody),
    );
    assert!(one.len() < 300, "{one}");
    assert_ne!(one, two);
}

#[test]
fn whole_keys_are_never_alike_for_different_values() {
    let by = key(&[Part::Header("a".into()), Part::Header("b".into())]);
    let whole = |fields: &[(&str, &str)]| {
        let mut out = Vec::new();
        let names = KeyNames::default();
        by.write_whole(&with(fields), &Attributes::default(), &names, &mut out)
            .map(|()| out)
    };
    let long = "x".repeat(VALUE_TEXT_MAX * 4);
    assert_eq!(whole(&[("a", "1")]), None, "a part is missing");
    assert_ne!(
        whole(&[("a", "12"), ("b", "3")]),
        whole(&[("a", "1"), ("b", "23")])
    );
    assert_ne!(
        whole(&[("a", ""), ("b", "1")]),
        whole(&[("a", "1"), ("b", "")])
    );
    let told = whole(&[("a", &long), ("b", "1")]).unwrap();
    assert!(told.len() > long.len(), "nothing is cut");
}
