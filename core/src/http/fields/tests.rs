use super::*;

fn three() -> Fields {
    let mut fields = Fields::default();
    fields.add("x-a", b"1").unwrap();
    fields.add("Via", b"one").unwrap();
    fields.add("X-A", b"2").unwrap();
    fields.add("via", b"two").unwrap();
    fields
}

#[test]
fn finds_known_and_other_names_in_any_case() {
    let fields = three();
    assert_eq!(fields.value(Known::Via), Some(&b"one"[..]));
    assert_eq!(
        fields.values(Known::Via).collect::<Vec<_>>(),
        [b"one", b"two"]
    );
    assert_eq!(fields.value_of("x-a"), Some(&b"1"[..]));
    assert_eq!(fields.values_of("X-a").collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(fields.value(Known::Host), None);
    assert_eq!(fields.value(Known::Other), None);
    assert_eq!(fields.len(), 4);
}

#[test]
fn set_leaves_one_line() {
    let mut fields = three();
    fields.set("via", b"three").unwrap();
    fields.set("x-a", b"").unwrap();
    assert_eq!(fields.values(Known::Via).collect::<Vec<_>>(), [b"three"]);
    assert_eq!(fields.values_of("x-a").collect::<Vec<_>>(), [b""]);
    assert_eq!(fields.len(), 2);
}

#[test]
fn set_finds_every_other_name_whatever_its_tag() {
    let mut fields = Fields::default();
    let lines: Vec<FieldLine> = (0..300)
        .map(|i| FieldLine::new(&format!("x-{i}"), "new").unwrap())
        .collect();
    // More names than tags, so many share theirs.
    for line in &lines {
        fields.add(&line.name().to_uppercase(), b"old").unwrap();
    }
    for (set, line) in lines.iter().enumerate() {
        fields.set_line(line).unwrap();
        assert_eq!(fields.values_of(line.name()).collect::<Vec<_>>(), [b"new"]);
        assert_eq!(fields.len(), lines.len(), "after {set}");
    }
    for line in &lines {
        fields.remove(&line.name().to_uppercase());
    }
    assert!(fields.is_empty());
    fields.clear();
    assert!(lines.iter().all(|line| !fields.others.contains(line.tag)));
}

#[test]
fn removed_fields_are_gone_from_every_view() {
    let mut fields = three();
    fields.remove("VIA");
    fields.remove("x-a");
    assert!(fields.is_empty() && !fields.has(Known::Via));
    assert_eq!(fields.value_of("x-a"), None);
    let mut out = Vec::new();
    fields.write(KnownSet::default(), &mut out);
    assert_eq!(out, b"");
}

#[test]
fn refuses_what_would_break_the_line() {
    let mut fields = Fields::default();
    assert_eq!(fields.add("a b", b"x"), Err(InvalidField::Name));
    assert_eq!(fields.add("", b"x"), Err(InvalidField::Name));
    assert_eq!(fields.set("a", b"x\r\ny: z"), Err(InvalidField::Value));
    assert_eq!(fields.set("a", b"\0"), Err(InvalidField::Value));
    assert!(fields.is_empty());
}

#[test]
fn a_cleared_table_keeps_its_memory() {
    let mut fields = three();
    let (table, extra) = (fields.table.capacity(), fields.extra.capacity());
    fields.clear();
    assert!(fields.is_empty() && !fields.has(Known::Via));
    assert_eq!(
        (table, extra),
        (fields.table.capacity(), fields.extra.capacity())
    );
}

#[test]
fn a_checked_line_is_a_field_like_any_other() {
    let mut fields = three();
    let other = FieldLine::new("x-A", "3").unwrap();
    let known = FieldLine::new("Via", "").unwrap();
    fields.set_line(&other).unwrap();
    fields.set_line(&known).unwrap();
    fields.add_line(&known).unwrap();
    assert_eq!(fields.values_of("x-a").collect::<Vec<_>>(), [b"3"]);
    assert_eq!(fields.values(Known::Via).collect::<Vec<_>>(), [b"", b""]);
    let written = |fields: &Fields, skip: &[Known]| {
        let mut out = Vec::new();
        fields.write(KnownSet::of(skip), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written(&fields, &[]), "x-A: 3\r\nvia: \r\nvia: \r\n");
    assert_eq!(written(&fields, &[Known::Via]), "x-A: 3\r\n");
    fields.set("x-a", b"4").unwrap();
    assert_eq!(written(&fields, &[]), "via: \r\nvia: \r\nx-a: 4\r\n");
    fields.remove("via");
    assert_eq!(written(&fields, &[]), "x-a: 4\r\n");
}

#[test]
fn a_line_is_checked_when_it_is_made() {
    assert_eq!(FieldLine::new("a b", "x"), Err(InvalidField::Name));
    assert_eq!(FieldLine::new("", "x"), Err(InvalidField::Name));
    assert_eq!(FieldLine::new("a", "x\r\ny: z"), Err(InvalidField::Value));
    assert_eq!(FieldLine::new("a", "x").unwrap().name(), "a");
}
