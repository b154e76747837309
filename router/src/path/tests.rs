//! Behaviour of normalisation, by example and by property.

use super::*;
use proptest::prelude::*;

fn canonical(raw: &[u8], policy: &PathPolicy) -> Result<Vec<u8>, PathError> {
    let mut out = b"left over".to_vec();
    match normalise(raw, policy, &mut out)? {
        Normal::Unchanged => Ok(raw.to_vec()),
        Normal::Rewritten => Ok(out),
    }
}

fn plain(raw: &str) -> Result<String, PathError> {
    canonical(raw.as_bytes(), &PathPolicy::default()).map(|path| String::from_utf8(path).unwrap())
}

#[test]
fn leaves_canonical_paths_alone() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d-e_f~g",
        "/.well-known/x",
        "/...",
        "/a/..b/.c",
        "/caf%C3%A9",
        "/a;v=1/b",
        "/!$&'()*+,;=:@",
        "/%252e%252e/x",
        "/a%0A",
        "/.x;y",
    ] {
        let mut out = Vec::new();
        let found = normalise(path.as_bytes(), &PathPolicy::default(), &mut out);
        assert_eq!(found, Ok(Normal::Unchanged), "{path}");
    }
}

#[test]
fn rewrites_other_spellings() {
    for (raw, expected) in [
        ("/%61%7E%2D", "/a~-"),
        ("/%c3%a9", "/%C3%A9"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/..", "/"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/.", "/"),
        ("//a///b//", "/a/b/"),
        ("/a//../b", "/b"),
        ("/a|b", "/a%7Cb"),
        ("/{x}", "/%7Bx%7D"),
        ("/%252E%2e", "/%252E."),
    ] {
        assert_eq!(plain(raw).as_deref(), Ok(expected), "{raw}");
    }
}

#[test]
fn rejects_what_origins_disagree_on() {
    use PathError as E;
    for (raw, error) in [
        ("", E::NotAbsolute),
        ("a", E::NotAbsolute),
        ("%61", E::NotAbsolute),
        ("/%", E::BadEncoding),
        ("/%4", E::BadEncoding),
        ("/%4g", E::BadEncoding),
        ("/%+1", E::BadEncoding),
        ("/%u002e", E::BadEncoding),
        ("/a%00b", E::EncodedNul),
        ("/a b", E::ForbiddenByte),
        ("/a\tb", E::ForbiddenByte),
        ("/a\u{7f}", E::ForbiddenByte),
        ("/a?b", E::ForbiddenByte),
        ("/a#b", E::ForbiddenByte),
        ("/é", E::NonAscii),
        ("/a%2fb", E::EncodedSlash),
        ("/a\\b", E::Backslash),
        ("/a%5Cb", E::Backslash),
        ("/..", E::AboveRoot),
        ("/a/../../b", E::AboveRoot),
        ("/%2e%2e/b", E::AboveRoot),
        ("/a/..;/b", E::DisguisedDotSegment),
        ("/a/.;x/b", E::DisguisedDotSegment),
        ("/a/..%3bx/b", E::DisguisedDotSegment),
        ("/a/%2e%2e;/b", E::DisguisedDotSegment),
        ("/%c0%ae%c0%ae/", E::Overlong),
        ("/%e0%80%af", E::Overlong),
    ] {
        assert_eq!(plain(raw), Err(error), "{raw}");
    }
}

#[test]
fn policies_change_the_treatment_of_slashes_and_dots() {
    let keep = PathPolicy {
        encoded_slash: EncodedSlash::Keep,
        merge_slashes: Merge::Keep,
        ..PathPolicy::default()
    };
    assert_eq!(canonical(b"/a%2fb//c", &keep), Ok(b"/a%2Fb//c".to_vec()));
    assert_eq!(canonical(b"/a//../c", &keep), Ok(b"/a/c".to_vec()));
    assert_eq!(canonical(b"/a//", &keep), Ok(b"/a//".to_vec()));
    assert_eq!(
        canonical(b"/x%2f..%2fy", &keep),
        Err(PathError::DisguisedDotSegment)
    );
    assert_eq!(
        canonical(b"/..%2fy", &keep),
        Err(PathError::DisguisedDotSegment)
    );

    let open = PathPolicy {
        encoded_slash: EncodedSlash::Decode,
        backslash: Backslash::Slash,
        ..PathPolicy::default()
    };
    assert_eq!(canonical(b"/a%2f..%5cb\\c", &open), Ok(b"/b/c".to_vec()));
    assert_eq!(canonical(b"\\a", &open), Ok(b"/a".to_vec()));
    assert_eq!(canonical(b"/%2e%2e%2fa", &open), Err(PathError::AboveRoot));

    let strict = PathPolicy {
        dot_segments: DotSegments::Reject,
        ..PathPolicy::default()
    };
    assert_eq!(canonical(b"/a/%2e/b", &strict), Err(PathError::DotSegment));
}

fn any_policy() -> impl Strategy<Value = PathPolicy> {
    (0..3u8, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(encoded, slash, keep, reject)| PathPolicy {
            encoded_slash: match encoded {
                0 => EncodedSlash::Reject,
                1 => EncodedSlash::Keep,
                _ => EncodedSlash::Decode,
            },
            backslash: if slash {
                Backslash::Slash
            } else {
                Backslash::Reject
            },
            merge_slashes: if keep { Merge::Keep } else { Merge::Merge },
            dot_segments: if reject {
                DotSegments::Reject
            } else {
                DotSegments::Resolve
            },
        },
    )
}

fn path_text() -> impl Strategy<Value = String> {
    let unit = prop::sample::select(vec![
        "/", "/", ".", "..", "a", "b", ";", "%2e", "%2E", "%2f", "%5c", "\\", "%61", "%c3%a9",
        "%25", "2e", "%C0", "%AF", "|", "{", "%3b", "~", "%",
    ]);
    prop::collection::vec(unit, 0..12).prop_map(|units| format!("/{}", units.concat()))
}

proptest! {
    #[test]
    fn normalising_twice_changes_nothing(raw in path_text(), policy in any_policy()) {
        if let Ok(once) = canonical(raw.as_bytes(), &policy) {
            let mut out = Vec::new();
            prop_assert_eq!(normalise(&once, &policy, &mut out), Ok(Normal::Unchanged));
            prop_assert_eq!(once[0], b'/');
        }
    }

    #[test]
    fn spellings_of_one_path_agree(raw in path_text(), policy in any_policy(), choices in prop::collection::vec(0..3u8, 64)) {
        // Encode unreserved characters at random, and change the case of digits.
        let mut other = Vec::new();
        let mut at = 0;
        let bytes = raw.as_bytes();
        let mut choices = choices.into_iter().cycle();
        while at < bytes.len() {
            let choice = choices.next().unwrap();
            if bytes[at] == b'%' && decode_at(bytes, at).is_some() {
                let triple = &raw[at..at + 3];
                let spelled = if choice == 0 { triple.to_ascii_lowercase() } else { triple.to_ascii_uppercase() };
                other.extend_from_slice(spelled.as_bytes());
                at += 3;
                continue;
            }
            let inside_broken_triple = at >= 1 && bytes[at - 1] == b'%' || at >= 2 && bytes[at - 2] == b'%';
            if choice == 0 && is_unreserved(bytes[at]) && !inside_broken_triple {
                other.extend_from_slice(format!("%{:02x}", bytes[at]).as_bytes());
            } else {
                other.push(bytes[at]);
            }
            at += 1;
        }
        prop_assert_eq!(canonical(bytes, &policy).ok(), canonical(&other, &policy).ok());
    }

    #[test]
    fn any_bytes_are_handled(raw in prop::collection::vec(any::<u8>(), 0..40), policy in any_policy()) {
        let mut out = Vec::new();
        let _ = normalise(&raw, &policy, &mut out);
    }
}
