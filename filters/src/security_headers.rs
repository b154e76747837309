//! What browsers are told to be careful about, in fields of every response.

use ringgate_core::chain::{BodyVerdict, ResponsePhase, Scheme};
use ringgate_core::http::FieldLine;

use crate::Filter;
use crate::origin::own_scheme;

/// Fields of responses.
#[derive(Debug, Default)]
pub struct SecurityHeaders {
    /// Each takes the place of those of its name.
    pub set: Box<[FieldLine]>,
    /// Each comes beside those of its name.
    pub beside: Box<[FieldLine]>,
    /// `Strict-Transport-Security`, which counts over TLS alone (RFC 6797, 7.2).
    pub hsts: Option<FieldLine>,
    /// What becomes of fields that are there already.
    pub present: Present,
    /// What becomes of fields that say which software made a response.
    pub software: Software,
}

/// What becomes of fields that the origin server has set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Present {
    /// They are replaced.
    #[default]
    Replaced,
    /// They stay.
    Kept,
}

/// What becomes of fields that say which software made a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Software {
    /// They stay.
    #[default]
    Told,
    /// They are taken out.
    Hidden,
}

impl SecurityHeaders {
    pub(crate) fn response_head(&self, phase: &mut ResponsePhase<'_, Filter>) -> BodyVerdict {
        let fields = &mut phase.head.fields;
        let is_secure = own_scheme(phase.request, phase.attributes) == Scheme::Https;
        let hsts = self.hsts.as_ref().filter(|_| is_secure);
        // As with any constant field, a head that is full does not cost the response.
        for line in self.set.iter().chain(hsts) {
            if self.present == Present::Replaced || fields.value_of(line.name()).is_none() {
                let _ = fields.set_line(line);
            }
        }
        for line in &self.beside {
            if self.present == Present::Replaced || fields.value_of(line.name()).is_none() {
                let _ = fields.add_line(line);
            }
        }
        if self.software == Software::Hidden {
            fields.remove("server");
            fields.remove("x-powered-by");
        }
        BodyVerdict::Continue
    }

    pub(crate) fn describe(&self) -> String {
        let lines = self.set.iter().chain(&self.beside).chain(&self.hsts);
        let names: Vec<&str> = lines.map(FieldLine::name).collect();
        format!("security_headers: {}", names.join(" "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::Exchange;
    use ringgate_core::http::{ResponseHead, Trust};

    fn line(name: &str, value: &str) -> FieldLine {
        FieldLine::new(name, value).unwrap()
    }

    fn filter(present: Present) -> Filter {
        Filter::SecurityHeaders(SecurityHeaders {
            set: [line("x-frame-options", "DENY")].into(),
            beside: [line("content-security-policy", "frame-ancestors 'none'")].into(),
            hsts: Some(line("strict-transport-security", "max-age=1")),
            present,
            software: Software::Hidden,
        })
    }

    /// The fields of a response to which an origin server has added its own.
    fn after(exchange: &mut Exchange, present: Present, own: &[(&str, &str)]) -> Vec<String> {
        let mut head = ResponseHead::default();
        for (name, value) in own {
            head.fields.add(name, value.as_bytes()).unwrap();
        }
        exchange.response_head(&filter(present), &mut head);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = head.fields.iter();
        let mut all: Vec<String> = fields
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn fields_are_set_and_those_of_the_origin_replaced_or_kept() {
        let own = [
            ("x-frame-options", "SAMEORIGIN"),
            ("content-security-policy", "default-src *"),
            ("server", "x/1.0"),
            ("x-powered-by", "y"),
        ];
        let policy = "content-security-policy: default-src *";
        let ancestors = "content-security-policy: frame-ancestors 'none'";
        assert_eq!(
            after(&mut Exchange::default(), Present::Replaced, &own),
            [policy, ancestors, "x-frame-options: DENY"]
        );
        assert_eq!(
            after(&mut Exchange::default(), Present::Kept, &own),
            [policy, "x-frame-options: SAMEORIGIN"]
        );
        assert_eq!(
            after(&mut Exchange::default(), Present::Kept, &[]),
            [ancestors, "x-frame-options: DENY"]
        );
    }

    #[test]
    fn strict_transport_is_for_tls_alone() {
        let hsts = "strict-transport-security: max-age=1".to_owned();
        let mut plain = Exchange::default();
        let fields = &mut plain.head.fields;
        fields.add("x-forwarded-proto", b"https").unwrap();
        assert!(!after(&mut plain, Present::Replaced, &[]).contains(&hsts));
        plain.attributes.trust = Trust::Trusted;
        assert!(after(&mut plain, Present::Replaced, &[]).contains(&hsts));
        let mut secure = Exchange::default();
        secure.attributes.scheme = Scheme::Https;
        assert!(after(&mut secure, Present::Replaced, &[]).contains(&hsts));
    }
}
