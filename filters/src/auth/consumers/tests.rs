use super::*;

fn key(byte: u8, begins_ms: u64, ends_ms: u64) -> StoredKey {
    StoredKey {
        proof: KeyProof::Digest([byte; 32]),
        begins_ms,
        ends_ms,
    }
}

fn directory() -> Directory {
    let app = Registered {
        consumer: Consumer {
            name: "app".into(),
            groups: ["partners".into()].into(),
            tags: ["ios".into()].into(),
        },
        keys: vec![key(1, 0, 100), key(2, 50, u64::MAX)],
        subjects: vec![("https://issuer.example".into(), "alice".into())],
        user: Some("app-user".into()),
        certificates: vec![
            CertificateName::Fingerprint("ab".into()),
            CertificateName::San("app.internal".into()),
        ],
    };
    let hashed = StoredKey {
        proof: KeyProof::Hash {
            id: "k1".into(),
            hash: "$argon2id$x".into(),
        },
        begins_ms: 0,
        ends_ms: u64::MAX,
    };
    let batch = Registered {
        consumer: Consumer {
            name: "batch".into(),
            ..Consumer::default()
        },
        keys: vec![hashed],
        certificates: vec![CertificateName::Subject("CN=batch".into())],
        ..Registered::default()
    };
    Directory::new([app, batch])
}

fn name_of(directory: &Directory, state: KeyState) -> &str {
    match state {
        KeyState::Of(index) => &directory.consumer(index).unwrap().name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_has_its_time_and_two_may_overlap() {
    let directory = directory();
    assert_eq!(name_of(&directory, directory.key(&[1; 32], 99)), "app");
    assert_eq!(directory.key(&[1; 32], 100), KeyState::Expired);
    assert_eq!(directory.key(&[2; 32], 49), KeyState::Early);
    assert_eq!(name_of(&directory, directory.key(&[2; 32], 50)), "app");
    assert_eq!(directory.key(&[3; 32], 50), KeyState::Unknown);
}

#[test]
fn digests_that_begin_alike_are_told_apart() {
    let with_end = |end: u8| {
        let mut digest = [7; 32];
        digest[31] = end;
        digest
    };
    let keys = [1, 2, 3].map(|end| Registered {
        consumer: Consumer {
            name: end.to_string().into(),
            ..Consumer::default()
        },
        keys: vec![StoredKey {
            proof: KeyProof::Digest(with_end(end)),
            begins_ms: 0,
            ends_ms: u64::MAX,
        }],
        ..Registered::default()
    });
    let directory = Directory::new(keys);
    for end in [1, 2, 3] {
        let state = directory.key(&with_end(end), 0);
        assert_eq!(name_of(&directory, state), end.to_string());
    }
    assert_eq!(directory.key(&with_end(4), 0), KeyState::Unknown);
}

#[test]
fn consumers_are_found_by_what_they_prove() {
    let directory = directory();
    let name = |found: Option<&Consumer>| found.map(|consumer| consumer.name.to_string());
    let app = Some("app".to_owned());
    assert_eq!(name(directory.by_name("app")), app);
    assert_eq!(name(directory.by_user("app-user")), app);
    assert_eq!(name(directory.by_user("app")), None);
    assert_eq!(
        name(directory.by_subject("https://issuer.example", "alice")),
        app
    );
    assert_eq!(
        name(directory.by_subject("https://other.example", "alice")),
        None
    );
    let (hash, state) = directory.hashed_key("k1", 0).unwrap();
    assert_eq!(&**hash, "$argon2id$x");
    assert_eq!(name_of(&directory, state), "batch");
}

#[test]
fn certificates_are_known_by_fingerprint_then_names_then_subject() {
    let directory = directory();
    let found = |fingerprint: &str, sans: &[&str], subject: &str| {
        let identity = ClientIdentity {
            subject: subject.into(),
            sans: sans.iter().map(|san| (*san).into()).collect(),
            fingerprint: fingerprint.into(),
        };
        let found = directory.by_certificate(&identity);
        found.map(|consumer| consumer.name.to_string())
    };
    let (app, batch) = (Some("app".to_owned()), Some("batch".to_owned()));
    assert_eq!(found("ab", &[], "CN=batch"), app);
    assert_eq!(found("cd", &["DNS:x", "DNS:app.internal"], "CN=batch"), app);
    assert_eq!(found("cd", &[], "CN=batch"), batch);
    assert_eq!(found("cd", &[], ""), None);
}

#[test]
fn a_core_makes_a_principal_once() {
    let one = directory();
    let mut principals = Principals::default();
    let KeyState::Of(index) = one.key(&[1; 32], 0) else {
        panic!("the key is good")
    };
    let first = principals.of(&one, index, "api_key").unwrap();
    let again = principals.of(&one, index, "api_key").unwrap();
    assert!(std::rc::Rc::ptr_eq(&first, &again));
    assert_eq!(first.consumer.as_deref(), Some("app"));
    assert!(first.is_in("partners") && first.schemes == ["api_key"]);
    let later = principals.of(&directory(), index, "api_key").unwrap();
    assert!(!std::rc::Rc::ptr_eq(&first, &later));
    assert_eq!(first, later);
}

#[test]
fn nothing_of_a_key_is_shown() {
    let shown = format!("{:?} {:?}", directory(), key(1, 0, 1));
    assert_eq!(shown, "Directory(2 consumers) StoredKey");
}
