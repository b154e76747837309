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
fn removed_fields_are_gone_from_every_view() {
    let mut fields = three();
    fields.remove("VIA");
    fields.remove("x-a");
    assert!(fields.is_empty() && !fields.has(Known::Via));
    assert_eq!(fields.value_of("x-a"), None);
    let mut out = Vec::new();
    fields.write(crate::http::KnownSet::default(), &mut out);
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
