//! Where a request carries its token.

use ringgate_core::http::{Fields, Known, RequestHead};

/// Where tokens are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In `Authorization`, behind the scheme `Bearer` (RFC 6750, 2.1).
    Bearer,
    /// The whole value of a field, by its name in lower case.
    Header(Box<str>),
    /// A cookie.
    Cookie(Box<str>),
    /// A parameter of the query (RFC 6750, 2.3).
    Query(Box<str>),
}

/// What a request has in one place, or in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::auth) enum Found<'h> {
    Nothing,
    One(&'h [u8]),
    /// An origin might look at the other one.
    Several,
}

impl Place {
    /// What all of these places have together (RFC 6750, 2: one is to be used).
    pub(in crate::auth) fn find<'h>(places: &[Place], head: &'h RequestHead) -> Found<'h> {
        let each = places.iter().map(|place| place.of(head));
        each.fold(Found::Nothing, |all, one| match (all, one) {
            (all, Found::Nothing) => all,
            (Found::Nothing, one) => one,
            _ => Found::Several,
        })
    }

    fn of<'h>(&self, head: &'h RequestHead) -> Found<'h> {
        match self {
            Place::Bearer => bearer(&head.fields),
            Place::Header(name) => single(head.fields.values_of(name)),
            Place::Cookie(name) => {
                let lines = head.fields.values(Known::Cookie);
                let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
                single(pairs.filter_map(|pair| value_of(pair.trim_ascii(), name)))
            }
            Place::Query(name) => {
                let query = head.query().into_iter();
                let pairs = query.flat_map(|query| query.split(|byte| *byte == b'&'));
                single(pairs.filter_map(|pair| value_of(pair, name)))
            }
        }
    }

    /// Takes the token out of the head.
    pub(in crate::auth) fn hide(&self, head: &mut RequestHead) {
        match self {
            Place::Bearer => {
                if !matches!(self.of(head), Found::Nothing) {
                    head.fields.remove_known(Known::Authorization);
                }
            }
            Place::Header(name) => head.fields.remove(name),
            Place::Cookie(name) => hide_cookie(head, name),
            Place::Query(name) => hide_parameter(head, name),
        }
    }
}

fn bearer(fields: &Fields) -> Found<'_> {
    let mut lines = fields.values(Known::Authorization);
    let Some(first) = lines.next() else {
        return Found::Nothing;
    };
    let second = lines.next();
    let token = token_of(first);
    match (token, second) {
        (Some(token), None) => Found::One(token),
        (None, None) => Found::Nothing,
        (first, Some(second)) => {
            let mut others = lines.chain([second]);
            match first.is_some() || others.any(|line| token_of(line).is_some()) {
                true => Found::Several,
                false => Found::Nothing,
            }
        }
    }
}

/// What is behind `Bearer`, in whatever case (RFC 9110, 11.1); empty when nothing is.
fn token_of(line: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = line.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return None;
    }
    match rest.first() {
        None => Some(rest),
        Some(b' ' | b'\t') => Some(rest.trim_ascii_start()),
        // Another scheme.
        Some(_) => None,
    }
}

fn value_of<'p>(pair: &'p [u8], name: &str) -> Option<&'p [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn single<'h>(mut values: impl Iterator<Item = &'h [u8]>) -> Found<'h> {
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => Found::One(value),
        (Some(_), Some(_)) => Found::Several,
    }
}

fn hide_cookie(head: &mut RequestHead, name: &str) {
    let lines = head.fields.values(Known::Cookie);
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    let kept = pairs.map(|pair| pair.trim_ascii());
    let kept = kept.filter(|pair| !pair.is_empty() && value_of(pair, name).is_none());
    let kept: Vec<&[u8]> = kept.collect();
    let kept = kept.join(&b"; "[..]);
    if kept.is_empty() || head.fields.set("cookie", &kept).is_err() {
        head.fields.remove_known(Known::Cookie);
    }
}

fn hide_parameter(head: &mut RequestHead, name: &str) {
    let Some(query) = head.query() else { return };
    let pairs = query.split(|byte| *byte == b'&');
    let kept: Vec<&[u8]> = pairs
        .filter(|pair| value_of(pair, name).is_none())
        .collect();
    let kept = kept.join(&b"&"[..]);
    // What is left of a query is one.
    let _ = head.set_query((!kept.is_empty()).then_some(&kept));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(fields: &[(&str, &str)]) -> RequestHead {
        let mut head = RequestHead::default();
        for (name, value) in fields {
            head.fields.add(name, value.as_bytes()).unwrap();
        }
        head
    }

    fn authorization(lines: &[&str]) -> RequestHead {
        let fields: Vec<_> = lines.iter().map(|line| ("Authorization", *line)).collect();
        with(&fields)
    }

    #[test]
    fn a_bearer_token_is_behind_its_scheme() {
        let find = |lines: &[&str]| match Place::Bearer.of(&authorization(lines)) {
            Found::One(token) => String::from_utf8(token.to_vec()).unwrap(),
            other => format!("{other:?}"),
        };
        assert_eq!(find(&["Bearer abc"]), "abc");
        assert_eq!(find(&["bEARER   abc"]), "abc");
        assert_eq!(find(&["Bearer"]), "");
        assert_eq!(find(&["Bearerabc"]), "Nothing");
        assert_eq!(find(&["Basic abc"]), "Nothing");
        assert_eq!(find(&["Bear"]), "Nothing");
        assert_eq!(find(&["Bearer a", "Bearer a"]), "Several");
        assert_eq!(find(&["Basic a", "Bearer a"]), "Several");
        assert_eq!(find(&["Basic a", "Basic a", "Bearer a"]), "Several");
        assert_eq!(find(&["Basic a", "Basic b"]), "Nothing");
        assert_eq!(find(&[]), "Nothing");
    }

    #[test]
    fn cookies_and_parameters_have_tokens() {
        let mut head = with(&[("Cookie", "a=1; token=t.t.t"), ("Cookie", "b=2")]);
        head.set_query(Some(b"x=1&jwt=q&y")).unwrap();
        let cookie = Place::Cookie("token".into());
        let query = Place::Query("jwt".into());
        assert_eq!(cookie.of(&head), Found::One(b"t.t.t"));
        assert_eq!(query.of(&head), Found::One(b"q"));
        assert_eq!(Place::Cookie("toke".into()).of(&head), Found::Nothing);
        let both = [cookie.clone(), query.clone()];
        assert_eq!(Place::find(&both, &head), Found::Several);
        cookie.hide(&mut head);
        query.hide(&mut head);
        assert_eq!(head.fields.value(Known::Cookie), Some(&b"a=1; b=2"[..]));
        assert_eq!(head.query(), Some(&b"x=1&y"[..]));
        assert_eq!(Place::find(&both, &head), Found::Nothing);
    }

    #[test]
    fn a_token_twice_in_one_place_is_not_chosen_from() {
        let mut head = with(&[
            ("Cookie", "t=1"),
            ("Cookie", "t=2"),
            ("X-T", "1"),
            ("x-t", "2"),
        ]);
        head.set_query(Some(b"t=1&t=1")).unwrap();
        for place in [
            Place::Cookie("t".into()),
            Place::Query("t".into()),
            Place::Header("x-t".into()),
        ] {
            assert_eq!(place.of(&head), Found::Several);
        }
    }

    #[test]
    fn what_is_hidden_leaves_nothing_behind() {
        let mut head = with(&[
            ("Cookie", "t=1"),
            ("X-T", "1"),
            ("Authorization", "Bearer 1"),
        ]);
        head.set_query(Some(b"t=1")).unwrap();
        for place in [
            Place::Bearer,
            Place::Cookie("t".into()),
            Place::Query("t".into()),
            Place::Header("x-t".into()),
        ] {
            place.hide(&mut head);
        }
        assert!(head.fields.is_empty());
        assert_eq!(head.query(), None);
        let mut basic = authorization(&["Basic abc"]);
        Place::Bearer.hide(&mut basic);
        assert!(basic.fields.has(Known::Authorization));
    }
}
