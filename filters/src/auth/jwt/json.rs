//! JSON of tokens and key sets, read strictly: a name twice in one object, at any depth, is an
//! error (RFC 7519, 4 and RFC 8725, 2.4 leave it open, and parsers differ in which one counts),
//! and so are depths and sizes that no token needs.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// A value. Members are in the order written, and no name occurs twice.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::auth) enum Json {
    Null,
    Bool(bool),
    /// As it is shown: whole numbers digit by digit, others in the shortest form.
    Number(Number),
    Text(Box<str>),
    List(Vec<Json>),
    Object(Object),
}

/// A number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::auth) enum Number {
    Natural(u64),
    Negative(i64),
    Real(f64),
}

/// The members of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::auth) struct Object(Vec<(Box<str>, Json)>);

/// How large a document may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::auth) struct Bounds {
    /// Objects and lists within each other.
    pub(in crate::auth) depth_max: usize,
    /// Values of any kind.
    pub(in crate::auth) values_max: usize,
}

/// The text is no JSON object within the bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) struct NoObject;

impl Object {
    /// Reads one whole document that is an object.
    pub(in crate::auth) fn parse(text: &[u8], bounds: Bounds) -> Result<Object, NoObject> {
        let text = std::str::from_utf8(text).map_err(|_| NoObject)?;
        let left = Cell::new(bounds.values_max);
        let seed = Value {
            left: &left,
            depth: bounds.depth_max,
        };
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let value = seed.deserialize(&mut deserializer).map_err(|_| NoObject)?;
        deserializer.end().map_err(|_| NoObject)?;
        match value {
            Json::Object(object) => Ok(object),
            _ => Err(NoObject),
        }
    }

    /// The value of a name.
    pub(in crate::auth) fn member(&self, name: &str) -> Option<&Json> {
        let mut members = self.0.iter();
        members.find(|(own, _)| **own == *name).map(|(_, v)| v)
    }

    /// Names and values, in the order written.
    pub(in crate::auth) fn iter(&self) -> impl Iterator<Item = (&str, &Json)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }
}

impl Json {
    pub(in crate::auth) fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(in crate::auth) fn object(&self) -> Option<&Object> {
        match self {
            Json::Object(object) => Some(object),
            _ => None,
        }
    }

    pub(in crate::auth) fn list(&self) -> Option<&[Json]> {
        match self {
            Json::List(list) => Some(list),
            _ => None,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Natural(number) => number.fmt(f),
            Number::Negative(number) => number.fmt(f),
            Number::Real(number) => number.fmt(f),
        }
    }
}

#[derive(Clone, Copy)]
struct Value<'a> {
    /// Values that may still come.
    left: &'a Cell<usize>,
    /// How deep it may still go.
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let left = self.left.get();
        if left == 0 {
            return Err(D::Error::custom("too many values"));
        }
        self.left.set(left - 1);
        deserializer.deserialize_any(self)
    }
}

impl Value<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Value { depth, ..self }),
            None => Err(E::custom("too deep")),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(Number::Natural(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(Number::Negative(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(Number::Real(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.into()))
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        while let Some(value) = seq.next_element_seed(inner)? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let inner = self.inner()?;
        let mut members: Vec<(Box<str>, Json)> = Vec::new();
        while let Some(name) = map.next_key::<Box<str>>()? {
            // Objects are small by the bound on values, so looking through them is cheap; but
            // not for whoever makes one object of all the values.
            let known = match members.len() > LOOKED_THROUGH_MAX {
                true => return Err(A::Error::custom("too many members")),
                false => members.iter().any(|(own, _)| *own == name),
            };
            if known {
                return Err(A::Error::custom("a name twice"));
            }
            let value = map.next_value_seed(inner)?;
            members.push((name, value));
        }
        Ok(Json::Object(Object(members)))
    }
}

/// Members of one object.
const LOOKED_THROUGH_MAX: usize = 256;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        depth_max: 3,
        values_max: 12,
    };

    fn parse(text: &str) -> Result<Object, NoObject> {
        Object::parse(text.as_bytes(), BOUNDS)
    }

    #[test]
    fn an_object_has_its_members() {
        let text = r#" {"a":"x","b":[1,-2,1.5,true,null],"c":{"d":"\u0061"}} "#;
        let object = parse(text).unwrap();
        assert_eq!(object.member("a").and_then(Json::text), Some("x"));
        let numbers: Vec<String> = object.member("b").and_then(Json::list).unwrap()[..3]
            .iter()
            .map(|value| match value {
                Json::Number(number) => number.to_string(),
                _ => String::new(),
            })
            .collect();
        assert_eq!(numbers, ["1", "-2", "1.5"]);
        let inner = object.member("c").and_then(Json::object).unwrap();
        assert_eq!(inner.member("d").and_then(Json::text), Some("a"));
        assert_eq!(object.member("d"), None);
        assert_eq!(object.iter().count(), 3);
    }

    #[test]
    fn a_name_twice_is_refused_at_every_depth_and_in_every_spelling() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":3}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"a":2}]}"#,
        ] {
            assert_eq!(parse(text), Err(NoObject), "{text}");
        }
        assert!(parse(r#"{"a":{"a":1},"A":2}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_or_has_something_behind_it_is_refused() {
        for text in [
            "",
            "1",
            "[]",
            "\"a\"",
            "null",
            "{",
            "{}{}",
            "{} x",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":1e999}",
            "\u{feff}{}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1,}",
        ] {
            assert_eq!(parse(text), Err(NoObject), "{text:?}");
        }
        assert_eq!(Object::parse(b"{\"a\":\"\xff\"}", BOUNDS), Err(NoObject));
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        assert!(parse(r#"{"a":{"b":{}}}"#).is_ok());
        assert_eq!(parse(r#"{"a":{"b":{"c":{}}}}"#), Err(NoObject));
        assert!(parse(r#"{"a":[1,2,3,4,5,6,7,8,9,0]}"#).is_ok());
        assert_eq!(parse(r#"{"a":[1,2,3,4,5,6,7,8,9,0,1]}"#), Err(NoObject));
        let deep = "[".repeat(100_000);
        assert_eq!(parse(&format!("{{\"a\":{deep}")), Err(NoObject));
    }
}
