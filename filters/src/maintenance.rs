//! Maintenance: everybody gets 503, but for clients of some networks and requests that carry a
//! word that only those know who are to look behind it.

use std::time::Duration;

use bytes::Bytes;
use ringgate_core::answer;
use ringgate_core::chain::{Answer, RequestPhase, Verdict};
use ringgate_core::snapshot::TrustedNetworks;

use crate::Filter;

/// Who is let through, and what the others read.
#[derive(Debug)]
pub struct Maintenance {
    enabled: Enabled,
    allow: TrustedNetworks,
    /// A field's name in lower case, and the value that lets through.
    bypass: Option<(Box<str>, Box<[u8]>)>,
    page: Page,
}

/// Whether maintenance is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// It is.
    Yes,
    /// Everything passes.
    No,
}

/// What clients read.
#[derive(Clone, Debug)]
pub struct Page {
    /// When they are asked to come back: `Retry-After`, in whole seconds.
    pub retry_after: Duration,
    /// The body; without one it is the gateway's usual.
    pub body: Option<Bytes>,
    /// The body's `Content-Type`; a checked value.
    pub content_type: Option<Box<str>>,
}

/// In logs and metrics.
pub(crate) const MAINTENANCE: &str = "maintenance";

impl Maintenance {
    /// Lets pass clients of the networks, and requests whose field of this name (in lower case)
    /// has this value.
    pub fn new(
        enabled: Enabled,
        allow: TrustedNetworks,
        bypass: Option<(Box<str>, Box<[u8]>)>,
        page: Page,
    ) -> Maintenance {
        Maintenance {
            enabled,
            allow,
            bypass,
            page,
        }
    }

    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        if self.enabled == Enabled::No || self.pass(phase).is_some() {
            return Verdict::Continue;
        }
        Verdict::Respond(Box::new(self.answer(phase)))
    }

    /// Why a request is let through.
    fn pass(&self, phase: &RequestPhase<'_, Filter>) -> Option<&'static str> {
        if self.allow.contains(phase.attributes.client.ip) {
            return Some("its client is of a network that is let through");
        }
        let (name, value) = self.bypass.as_ref()?;
        let shown = phase.head.fields.value_of(name)?;
        is_same(shown, value).then_some("it carries the word")
    }

    fn answer(&self, phase: &RequestPhase<'_, Filter>) -> Answer {
        let id = phase.attributes.request_id.as_bytes();
        let mut answer = answer::refusal(503, MAINTENANCE, phase.head, id);
        answer.fields.retain(|(name, _)| &**name != "retry-after");
        let seconds = self.page.retry_after.as_secs().max(1).to_string();
        let seconds = ("retry-after".into(), seconds.into_bytes().into());
        answer.fields.push(seconds);
        // A client of gRPC reads no body.
        if answer.status == 503
            && let Some(body) = &self.page.body
        {
            let text = self.page.content_type.as_deref();
            let text = text.unwrap_or("text/plain; charset=utf-8").as_bytes();
            answer.fields.retain(|(name, _)| &**name != "content-type");
            answer.fields.push(("content-type".into(), text.into()));
            answer.body = body.clone();
        }
        answer
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::from(match self.enabled {
            Enabled::Yes => "maintenance: on",
            Enabled::No => "maintenance: off",
        });
        if let Some((name, _)) = &self.bypass {
            text.push_str(", passed by ");
            text.push_str(name);
        }
        text
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        match self.enabled {
            Enabled::No => None,
            Enabled::Yes => self.pass(phase).map(str::to_owned),
        }
    }
}

/// Compares in a time that tells nothing of where the two differ.
fn is_same(shown: &[u8], value: &[u8]) -> bool {
    let differs = shown.iter().zip(value).fold(0, |all, (a, b)| all | (a ^ b));
    // The optimiser must not make the loop stop early.
    std::hint::black_box(differs) == 0 && shown.len() == value.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_core::chain::PeerAddr;

    fn filter(enabled: Enabled, page: Page) -> Filter {
        Filter::Maintenance(Maintenance::new(
            enabled,
            TrustedNetworks::new([("10.0.0.0".parse().unwrap(), 8)]),
            Some(("x-preview".into(), b"let me in".as_slice().into())),
            page,
        ))
    }

    fn page() -> Page {
        Page {
            retry_after: Duration::from_secs(60),
            body: None,
            content_type: None,
        }
    }

    fn field<'a>(answer: &'a Answer, name: &str) -> Vec<&'a [u8]> {
        let fields = answer.fields.iter();
        let named = fields.filter(|(known, _)| **known == *name);
        named.map(|(_, value)| &**value).collect()
    }

    #[test]
    fn everybody_is_asked_to_come_back() {
        let verdict = Exchange::default().request_head(&filter(Enabled::Yes, page()));
        let Verdict::Respond(answer) = verdict else {
            panic!("a request passed")
        };
        assert_eq!((answer.status, answer.code), (503, "maintenance"));
        assert_eq!(field(&answer, "retry-after"), [b"60"]);
        assert!(answer.body.starts_with(b"{\"status\":503"));
    }

    #[test]
    fn a_page_of_ones_own_takes_the_place_of_the_usual_one() {
        let page = Page {
            body: Some(Bytes::from_static(b"<h1>back soon</h1>")),
            content_type: Some("text/html".into()),
            ..page()
        };
        let verdict = Exchange::default().request_head(&filter(Enabled::Yes, page));
        let Verdict::Respond(answer) = verdict else {
            panic!("a request passed")
        };
        assert_eq!(field(&answer, "content-type"), [b"text/html"]);
        assert_eq!(&answer.body[..], b"<h1>back soon</h1>");
    }

    #[test]
    fn networks_and_those_who_know_the_word_pass() {
        let filter = filter(Enabled::Yes, page());
        let mut inside = Exchange::default();
        inside.attributes.client = PeerAddr::new("10.1.2.3".parse().unwrap());
        assert!(passes(&inside.request_head(&filter)));
        for (word, lets) in [("let me in", true), ("let me i", false), ("", false)] {
            let mut exchange = Exchange::default();
            exchange.attributes.client = PeerAddr::new("192.0.2.1".parse().unwrap());
            let fields = &mut exchange.head.fields;
            fields.add("X-Preview", word.as_bytes()).unwrap();
            assert_eq!(passes(&exchange.request_head(&filter)), lets, "{word:?}");
        }
        assert!(!is_same(b"let me in now", b"let me in"));
    }

    #[test]
    fn while_it_is_off_everything_passes() {
        let filter = filter(Enabled::No, page());
        assert!(passes(&Exchange::default().request_head(&filter)));
    }
}
