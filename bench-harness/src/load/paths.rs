//! Paths to ask for: given ones, and templates such as `/users/{1..10000}`, which stand for one
//! path per number.

use serde::Deserialize;

/// The paths of one request, by number.
#[derive(Debug)]
pub struct Paths {
    templates: Vec<Template>,
    count: u64,
    order: Order,
}

/// How paths are drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Each as likely as every other.
    #[default]
    Random,
    /// One after the other, and from the first again.
    Sequential,
}

/// A path, or one for each number of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    before: String,
    after: String,
    /// The first number and how many there are; none of a plain path.
    range: Option<(u64, u64)>,
}

impl Paths {
    /// All paths of these templates.
    ///
    /// # Errors
    /// When there are none.
    pub fn new(templates: Vec<Template>, order: Order) -> Result<Paths, String> {
        let count = templates
            .iter()
            .try_fold(0_u64, |sum, template| sum.checked_add(template.count()));
        match count {
            Some(0) => Err("`paths` is empty".to_owned()),
            None => Err("`paths` stands for more paths than can be counted".to_owned()),
            Some(count) => Ok(Paths {
                templates,
                count,
                order,
            }),
        }
    }

    /// How many there are, at least one.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How they are drawn.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Length of the longest in bytes.
    pub fn length_max(&self) -> usize {
        let lengths = self.templates.iter().map(Template::length_max);
        lengths.max().unwrap_or(0)
    }

    /// Gives the pieces of the n-th path to `put`, in order.
    pub fn put(&self, number: u64, mut put: impl FnMut(&[u8])) {
        let mut at = number % self.count;
        for template in &self.templates {
            match at.checked_sub(template.count()) {
                Some(rest) => at = rest,
                None => return template.put(at, put),
            }
        }
        put(b"/");
    }
}

impl Template {
    /// Reads a path.
    ///
    /// # Errors
    /// When it is no path, or has something else in braces than one range.
    pub fn parse(text: &str) -> Result<Template, String> {
        if !text.starts_with('/') && text != "*" {
            return Err(format!("a path begins with a slash: {text:?}"));
        }
        if let Some(wrong) = text.chars().find(|c| !c.is_ascii_graphic() || *c == '#') {
            return Err(format!(
                "{wrong:?} cannot stand in a path, encode it: {text:?}"
            ));
        }
        let Some((before, rest)) = text.split_once('{') else {
            return Ok(Template {
                before: text.to_owned(),
                after: String::new(),
                range: None,
            });
        };
        let wrong = || format!("{text:?} has braces that are no range such as {{1..10000}}");
        let (range, after) = rest.split_once('}').ok_or_else(wrong)?;
        let (first, last) = range.split_once("..").ok_or_else(wrong)?;
        let first = first.trim().parse::<u64>().map_err(|_| wrong())?;
        let last = last.trim().parse::<u64>().map_err(|_| wrong())?;
        let count = last.checked_sub(first).and_then(|span| span.checked_add(1));
        if after.contains(['{', '}']) {
            return Err(wrong());
        }
        Ok(Template {
            before: before.to_owned(),
            after: after.to_owned(),
            range: Some((first, count.ok_or_else(wrong)?)),
        })
    }

    fn count(&self) -> u64 {
        self.range.map_or(1, |(_, count)| count)
    }

    fn length_max(&self) -> usize {
        let digits = if self.range.is_some() { DIGITS_MAX } else { 0 };
        self.before.len() + digits + self.after.len()
    }

    fn put(&self, number: u64, mut put: impl FnMut(&[u8])) {
        put(self.before.as_bytes());
        if let Some((first, _)) = self.range {
            let mut digits = [0; DIGITS_MAX];
            put(decimal(first + number, &mut digits));
            put(self.after.as_bytes());
        }
    }
}

fn decimal(mut number: u64, digits: &mut [u8; DIGITS_MAX]) -> &[u8] {
    let mut at = DIGITS_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// Digits of the greatest number.
const DIGITS_MAX: usize = 20;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(paths: &Paths, number: u64) -> String {
        let mut path = Vec::new();
        paths.put(number, |piece| path.extend_from_slice(piece));
        String::from_utf8(path).unwrap()
    }

    #[test]
    fn a_template_stands_for_each_number_of_its_range() {
        let template = Template::parse("/users/{98..101}/x").unwrap();
        let paths = Paths::new(vec![template], Order::Random).unwrap();
        assert_eq!(paths.count(), 4);
        assert_eq!(path(&paths, 0), "/users/98/x");
        assert_eq!(path(&paths, 3), "/users/101/x");
    }

    #[test]
    fn the_greatest_number_has_its_digits() {
        let template = Template::parse("/{18446744073709551615..18446744073709551615}").unwrap();
        let paths = Paths::new(vec![template], Order::Random).unwrap();
        assert_eq!(path(&paths, 0), "/18446744073709551615");
        assert_eq!(path(&paths, 0).len(), paths.length_max());
    }

    #[test]
    fn other_braces_are_refused() {
        for wrong in [
            "/{",
            "/{}",
            "/{a..b}",
            "/{2..1}",
            "/{1}",
            "/{1..2}/{3..4}",
            "/ü",
            "/a b",
        ] {
            assert!(Template::parse(wrong).is_err(), "{wrong}");
        }
        let all = Template::parse("/{0..18446744073709551615}");
        assert!(all.is_err());
    }
}
