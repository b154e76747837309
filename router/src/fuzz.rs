//! Fuzz entry points as plain functions: they panic if an invariant does not hold. A fuzzer
//! calls them with whatever it likes, a unit test with the files under `router/corpus`.

use crate::path::{Backslash, DotSegments, EncodedSlash, Merge, Normal, PathPolicy, normalise};
use crate::{
    Captures, HeaderPredicate, HostPattern, Lookup, MethodSet, PathPattern, QueryPredicate, Reason,
    Request, RouteSpec, Router, RouterBuilder, RouterOptions, Template, TrailingSlash, ValueTest,
    Verdict,
};

/// Normalises `data` (the first byte chooses the policy): the result must be canonical, and
/// must not contain what the policy refuses.
///
/// # Panics
/// If it is not.
pub fn fuzz_path(data: &[u8]) {
    let Some((&choice, raw)) = data.split_first() else {
        return;
    };
    let policy = PathPolicy {
        encoded_slash: match choice & 3 {
            0 | 3 => EncodedSlash::Reject,
            1 => EncodedSlash::Keep,
            _ => EncodedSlash::Decode,
        },
        backslash: if choice & 4 == 0 {
            Backslash::Reject
        } else {
            Backslash::Slash
        },
        merge_slashes: if choice & 8 == 0 {
            Merge::Merge
        } else {
            Merge::Keep
        },
        dot_segments: if choice & 16 == 0 {
            DotSegments::Resolve
        } else {
            DotSegments::Reject
        },
    };
    let mut once = Vec::new();
    match normalise(raw, &policy, &mut once) {
        Err(_) => return,
        Ok(Normal::Unchanged) => once = raw.to_vec(),
        Ok(Normal::Rewritten) => {}
    }
    let again = normalise(&once, &policy, &mut Vec::new());
    assert_eq!(
        again,
        Ok(Normal::Unchanged),
        "normalising twice changes the path"
    );
    assert_eq!(once.first(), Some(&b'/'));
    assert!(
        once.iter()
            .all(|byte| byte.is_ascii_graphic() && *byte != b'\\')
    );
    for segment in once.split(|&byte| byte == b'/') {
        assert!(!matches!(segment, b"." | b".."), "a dot segment is left");
    }
    if policy.merge_slashes == Merge::Merge {
        assert!(
            !once.windows(2).any(|pair| pair == b"//"),
            "an empty segment is left"
        );
    }
}

/// Builds a router from the lines of `data` and sends it the requests among them.
///
/// A line `? METHOD HOST PATH QUERY [NAME VALUE]...` is a request; any other line
/// `PATH [HOST] [METHODS] [h:NAME=VALUE] [q:KEY=VALUE] [t:TEMPLATE]` is a route. What does not
/// parse is left out. Lookups must agree with explanations and with each route by itself;
/// witnesses of conflicts must prove them.
///
/// # Panics
/// If they do not.
pub fn fuzz_router(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut builder = RouterBuilder::new(RouterOptions {
        trailing_slash: match data.first() {
            Some(b'!') => TrailingSlash::Ignore,
            Some(b'~') => TrailingSlash::Redirect,
            _ => TrailingSlash::Strict,
        },
        ..RouterOptions::default()
    });
    let mut templates = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("? ")).take(64) {
        if let Some((spec, template)) = parse_route(line) {
            builder.route(spec);
            templates.push(template);
        }
    }
    let Ok(router) = builder.build() else {
        return;
    };
    for line in text.lines().filter_map(|line| line.strip_prefix("? ")) {
        check_request(&router, &templates, line);
    }
    for conflict in router.conflicts() {
        let witness = &conflict.witness;
        let request = Request {
            host: witness.host.as_bytes(),
            path: witness.path.as_bytes(),
            query: witness.query.as_bytes(),
            method: witness.method.as_bytes(),
        };
        let fields = witness.headers.as_slice();
        let found = router.lookup(&request, fields, &mut Captures::new());
        assert!(
            matches!(found, Lookup::Found(winner) if winner != conflict.route),
            "{witness} proves nothing: {found:?}"
        );
    }
}

fn parse_route(line: &str) -> Option<(RouteSpec, Option<Template>)> {
    let mut words = line.trim_start_matches(['!', '~']).split_ascii_whitespace();
    let mut spec = RouteSpec::new(PathPattern::parse(words.next()?).ok()?);
    let mut template = None;
    for word in words {
        if let Some(condition) = word.strip_prefix("h:") {
            let (name, value) = condition.split_once('=')?;
            spec.headers
                .push(HeaderPredicate::new(name, parse_test(value)).ok()?);
        } else if let Some(condition) = word.strip_prefix("q:") {
            let (key, value) = condition.split_once('=')?;
            spec.query
                .push(QueryPredicate::new(key, parse_test(value)).ok()?);
        } else if let Some(text) = word.strip_prefix("t:") {
            template = Some(Template::parse(text, &spec.path).ok()?);
        } else if word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b',')
        {
            spec.methods = MethodSet::of(word.split(',')).ok()?;
        } else {
            spec.hosts.push(HostPattern::parse(word).ok()?);
        }
    }
    Some((spec, template))
}

fn parse_test(value: &str) -> ValueTest {
    match value {
        "*" => ValueTest::Present,
        "!" => ValueTest::Absent,
        _ => match value.strip_suffix('*') {
            Some(prefix) => ValueTest::prefix(prefix),
            None if value.contains('|') => ValueTest::one_of(value.split('|')),
            None => ValueTest::exact(value),
        },
    }
}

fn check_request(router: &Router, templates: &[Option<Template>], line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let [method, host, path, query, fields @ ..] = words.as_slice() else {
        return;
    };
    let fields: Vec<(&str, &str)> = fields
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect();
    let request = Request {
        host: host.as_bytes(),
        path: path.as_bytes(),
        query: query.as_bytes(),
        method: method.as_bytes(),
    };
    let mut captures = Captures::new();
    let found = router.lookup(&request, fields.as_slice(), &mut captures);
    if let Lookup::Found(route) = found {
        assert_eq!(captures.len(), router.capture_names(route).len());
        let mut out = Vec::new();
        if let Some(Some(template)) = templates.get(route.index()) {
            template.expand(request.path, &captures, &mut out);
        }
    }
    for candidate in router.candidates(&request, fields.as_slice()) {
        match candidate.verdict {
            Verdict::Won => assert_eq!(found, Lookup::Found(candidate.route)),
            Verdict::Lost(Reason::LessSpecific { than }) => assert_eq!(found, Lookup::Found(than)),
            Verdict::Lost(_) => assert_ne!(found, Lookup::Found(candidate.route)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn corpus(name: &str) -> Vec<Vec<u8>> {
        let directory = format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(directory).unwrap();
        files
            .map(|file| std::fs::read(file.unwrap().path()).unwrap())
            .collect()
    }

    #[test]
    fn path_corpus_holds() {
        let files = corpus("path");
        assert!(!files.is_empty());
        for file in files {
            for line in file.split(|&byte| byte == b'\n') {
                fuzz_path(line);
                for policy in 0..32 {
                    fuzz_path(&[&[policy], line].concat());
                }
            }
        }
    }

    #[test]
    fn router_corpus_holds() {
        let files = corpus("router");
        assert!(!files.is_empty());
        for file in files {
            fuzz_router(&file);
            for cut in 0..file.len().min(2000) {
                fuzz_router(&file[..cut]);
            }
        }
    }

    proptest! {
        #[test]
        fn random_input_holds(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_path(&data);
            fuzz_router(&data);
        }
    }
}
