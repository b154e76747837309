//! Mixes as text, and what is drawn from them.

use super::*;

fn mix(text: &str) -> std::result::Result<Mix, String> {
    let target: http::Uri = "http://a.example:81/".parse().unwrap();
    let requests = parse(text)?.into_iter();
    let requests = requests.map(|raw| Request::of(raw, &[], &target, Reuse::Kept, None));
    let requests = requests.collect::<std::result::Result<Vec<_>, _>>()?;
    Mix::new(requests).map_err(|fault| fault.to_string())
}

fn texts(mix: &Mix, count: usize) -> Vec<String> {
    let mut draws = mix.draws(0, 1);
    let texts = std::iter::repeat_with(|| {
        let drawn = mix.draw(&mut draws);
        let mut text = Vec::new();
        mix.request(drawn)
            .encode(drawn, |piece| text.extend_from_slice(piece));
        assert!(text.len() <= mix.head_max());
        String::from_utf8(text).unwrap()
    });
    texts.take(count).collect()
}

#[test]
fn a_request_is_encoded_with_its_fields_and_the_length_of_its_body() {
    let mix = mix("[[request]]\nmethod = 'PUT'\npath = '/x?y=1'\n\
                   headers = ['Accept: a/b', 'host: other']\nbody = 'abc'")
    .unwrap();
    assert_eq!(
        texts(&mix, 1),
        ["PUT /x?y=1 HTTP/1.1\r\nHost: other\r\naccept: a/b\r\nContent-Length: 3\r\n\r\n"]
    );
    assert_eq!(mix.whole_max(), mix.head_max() + 3);
}

#[test]
fn ordered_paths_go_round() {
    let mix = mix("[[request]]\npaths = ['/a', '/{8..10}']\norder = 'sequential'").unwrap();
    let texts = texts(&mix, 5);
    let paths: Vec<&str> = texts.iter().map(|t| t.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/a", "/8", "/9", "/10", "/a"]);
}

#[test]
fn weights_are_kept_to_and_draws_repeat() {
    let mix =
        mix("[[request]]\npath = '/often'\nweight = 3\n[[request]]\npath = '/{1..50}'").unwrap();
    let first = texts(&mix, 4000);
    let often = first.iter().filter(|text| text.contains("/often")).count();
    assert!((2900..3100).contains(&often), "{often}");
    assert_eq!(first, texts(&mix, 4000));
    let rare: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(rare.len(), 51);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    let error = mix("[[request]]\nweight = 1\npfad = '/x'").unwrap_err();
    assert!(
        error.contains("line 3") && error.contains("pfad"),
        "{error}"
    );
}

#[test]
fn contradictions_are_refused() {
    for (text, says) in [
        ("", "no [[request]]"),
        ("[[request]]\npath = '/'\npaths = ['/']", "either"),
        ("[[request]]\npaths = []", "empty"),
        ("[[request]]\nbody = 'a'\nbody_size = '3'", "one of"),
        ("[[request]]\nbody_size = 'x'", "not a size"),
        (
            "[[request]]\nbody_file = '/nowhere/at/all'",
            "/nowhere/at/all",
        ),
        ("[[request]]\nweight = 0", "at least 1"),
        ("[[request]]\npath = 'x'", "begins with"),
        ("[[request]]\nheaders = ['x']", "no header"),
        (
            "[[request]]\nheaders = ['content-length: 1']",
            "leave it out",
        ),
        ("[[request]]\nmethod = 'A B'", "no method"),
        ("[[request]]\nmethod = 'CONNECT'", "tunnel"),
    ] {
        let error = mix(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn a_call_is_one_message_with_its_fields() {
    let mix = mix("[[request]]\ngrpc = true\nbody = 'abc'\nheaders = ['x-a: b']").unwrap();
    let drawn = mix.draw(&mut mix.draws(0, 1));
    let request = mix.request(drawn);
    assert_eq!(&request.body[..], b"\0\0\0\0\x03abc");
    let head = request.to_http2(drawn);
    assert_eq!(head.method(), http::Method::POST);
    assert_eq!(head.headers()["content-type"], "application/grpc");
    assert_eq!(head.headers()["te"], "trailers");
    assert_eq!(head.headers()["x-a"], "b");
}

#[test]
fn http2_gets_the_same_request() {
    let mix = mix("[[request]]\npath = '/{7..7}?q'\nheaders = ['X-A: b', 'Host: h']").unwrap();
    let drawn = mix.draw(&mut mix.draws(0, 1));
    let request = mix.request(drawn).to_http2(drawn);
    assert_eq!(request.uri(), "http://h/7?q");
    assert_eq!(request.headers().len(), 1);
    assert_eq!(request.headers()["x-a"], "b");
}
