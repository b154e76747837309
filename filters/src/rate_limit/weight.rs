//! What a request costs.

use ringgate_core::http::RequestHead;

/// The highest cost of a request.
pub const WEIGHT_MAX: u32 = 10_000;

/// What requests cost: by a field of theirs, else by their method, else one token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Methods as sent and their cost, up to [`WEIGHT_MAX`]; 0 for those that are not counted.
    pub methods: Box<[(Box<str>, u32)]>,
    /// The field, in lower case. A value that is no number from 1 on costs one token.
    pub header: Option<Box<str>>,
    /// What a field may say at most; more counts as that. Zero stands for [`WEIGHT_MAX`].
    pub max: u32,
}

impl Weight {
    /// Tokens that a request costs; none where its method is not counted.
    #[inline]
    pub fn of(&self, head: &RequestHead) -> u32 {
        if self.header.is_none() && self.methods.is_empty() {
            return 1;
        }
        self.told(head).unwrap_or_else(|| self.by_method(head))
    }

    /// What the heaviest request costs, at least one.
    pub fn heaviest(&self) -> u32 {
        let methods = self.methods.iter();
        let methods = methods.map(|(_, weight)| (*weight).min(WEIGHT_MAX));
        let heaviest = methods.max().unwrap_or(1).max(1);
        match self.header {
            Some(_) => heaviest.max(self.max_told()),
            None => heaviest,
        }
    }

    /// What a field may say at most.
    fn max_told(&self) -> u32 {
        match self.max {
            0 => WEIGHT_MAX,
            max => max.min(WEIGHT_MAX),
        }
    }

    fn told(&self, head: &RequestHead) -> Option<u32> {
        let value = head.fields.value_of(self.header.as_ref()?)?;
        // A number that is too long for 32 bits is more than any maximum.
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let digits = std::str::from_utf8(value).ok().filter(|_| is_number);
        let said = digits.map_or(1, |digits| digits.parse().unwrap_or(u32::MAX));
        Some(said.clamp(1, self.max_told()))
    }

    fn by_method(&self, head: &RequestHead) -> u32 {
        let method = head.method_text();
        let mut methods = self.methods.iter();
        let found = methods.find(|(name, _)| name.as_bytes() == method);
        found.map_or(1, |(_, weight)| (*weight).min(WEIGHT_MAX))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ringgate_core::http::Method;

    #[test]
    #[allow(
        clippy::field_reassign_with_default,
        reason = "its other fields are private"
    )]
    fn a_field_goes_before_the_method() {
        let weight = Weight {
            methods: [("POST".into(), 5), ("OPTIONS".into(), 0)].into(),
            header: Some("x-cost".into()),
            max: 100,
        };
        let of = |method, cost: Option<&str>| {
            let mut head = RequestHead::default();
            head.method = method;
            if let Some(cost) = cost {
                head.fields.add("x-cost", cost.as_bytes()).unwrap();
            }
            weight.of(&head)
        };
        assert_eq!(of(Method::Get, None), 1);
        assert_eq!(of(Method::Post, None), 5);
        assert_eq!(of(Method::Options, None), 0, "not counted");
        assert_eq!(of(Method::Options, Some("0")), 1, "clients cannot say so");
        assert_eq!(of(Method::Post, Some("2")), 2);
        assert_eq!(of(Method::Post, Some("100000000000000")), 100);
        for odd in ["", "0", "-1", "+5", "1.5", "x", "7, 8"] {
            assert_eq!(of(Method::Post, Some(odd)), 1, "{odd:?}");
        }
        assert_eq!(Weight::default().of(&RequestHead::default()), 1);
        assert_eq!((weight.heaviest(), Weight::default().heaviest()), (100, 1));
        let weight = Weight {
            header: None,
            ..weight
        };
        assert_eq!(weight.heaviest(), 5);
    }
}
