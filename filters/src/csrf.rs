//! The origin check against cross-site request forgery: what a page of another site makes a
//! browser send is refused.
//!
//! Browsers say themselves where a request comes from, in `Sec-Fetch-Site` (Fetch Metadata) and
//! `Origin`, which no page can set. Both have to agree with what is allowed, where they are.

use ringgate_core::answer;
use ringgate_core::chain::{RequestPhase, Verdict};
use ringgate_core::http::{Known, Method, RequestHead};

use crate::Filter;
use crate::cors::CROSS_SITE;
use crate::origin::{Claim, Origins, Sameness, is_own};

/// Whose pages may change something.
#[derive(Debug)]
pub struct Csrf {
    /// Beside the gateway's own.
    pub origins: Origins,
    /// Whether `Referer` is asked where nothing better is there.
    pub referer: Referer,
    /// What becomes of requests that do not say where they come from.
    pub unmarked: Unmarked,
}

/// Whether `Referer` is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Referer {
    /// It says nothing.
    Ignored,
    /// It counts where there is neither `Sec-Fetch-Site` nor `Origin`.
    Asked,
}

/// What becomes of requests that do not say where they come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmarked {
    /// They pass if they carry no cookie: without one there is nothing to forge.
    WithoutCookie,
    /// They pass.
    Pass,
    /// They are refused.
    Refuse,
}

/// What the browser says of the page that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    /// Nothing.
    Unsaid,
    /// It is of the same origin.
    Same,
    /// There is no page: the user has typed the address.
    Nobody,
    /// It is another, or nothing that a browser would say.
    Other,
}

impl Csrf {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        if self.refused(phase).is_none() {
            return Verdict::Continue;
        }
        let id = phase.attributes.request_id.as_bytes();
        let answer = answer::refusal(403, CROSS_SITE, phase.head, id);
        Verdict::Respond(Box::new(answer))
    }

    /// Why a request is refused.
    fn refused(&self, phase: &RequestPhase<'_, Filter>) -> Option<&'static str> {
        let head = &*phase.head;
        if !may_change(head) {
            return None;
        }
        let own = |origin, sameness| is_own(origin, head, phase.attributes, sameness);
        match (site(head), Claim::of(head)) {
            (_, Claim::Several) => Some("it names several origins"),
            (_, Claim::Origin(origin)) if self.origins.allow(origin) => None,
            (Site::Other, _) => Some("a page of another site asks"),
            // The browser has compared the schemes; a proxy in front may have changed ours.
            (Site::Same, Claim::Origin(origin)) if own(origin, Sameness::Host) => None,
            (_, Claim::Origin(origin)) if own(origin, Sameness::Whole) => None,
            (_, Claim::Origin(_)) => Some("a page of another origin asks"),
            (Site::Same | Site::Nobody, Claim::None) => None,
            (Site::Unsaid, Claim::None) => self.refused_unmarked(phase),
        }
    }

    fn refused_unmarked(&self, phase: &RequestPhase<'_, Filter>) -> Option<&'static str> {
        let head = &*phase.head;
        if self.referer == Referer::Asked
            && let Some(referer) = head.fields.value(Known::Referer)
        {
            let origin = origin_of(referer);
            let own = is_own(origin, head, phase.attributes, Sameness::Whole);
            let allowed = own || self.origins.allow(origin);
            return (!allowed).then_some("a page of another origin asks, by its Referer");
        }
        match self.unmarked {
            Unmarked::Pass => None,
            Unmarked::WithoutCookie if !head.fields.has(Known::Cookie) => None,
            Unmarked::WithoutCookie => Some("it carries a cookie and does not say who asks"),
            Unmarked::Refuse => Some("it does not say who asks"),
        }
    }

    pub(crate) fn describe(&self) -> String {
        format!("csrf: its own origin and {}", self.origins.describe())
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        let why = match self.refused(phase) {
            Some(why) => why,
            None if may_change(phase.head) => "it may ask",
            None => "its method changes nothing",
        };
        Some(why.to_owned())
    }
}

/// Whether a request may change something: by its method (RFC 9110, 9.2.1), or because it opens
/// a WebSocket, which no browser asks permission for.
fn may_change(head: &RequestHead) -> bool {
    let is_safe = matches!(head.method, Method::Get | Method::Head | Method::Options);
    !is_safe || head.upgrade().is_some() || head.fields.has(Known::SecWebsocketKey)
}

fn site(head: &RequestHead) -> Site {
    let mut values = head.fields.values_of("sec-fetch-site");
    match (values.next(), values.next()) {
        (None, _) => Site::Unsaid,
        (Some(b"same-origin"), None) => Site::Same,
        (Some(b"none"), None) => Site::Nobody,
        _ => Site::Other,
    }
}

/// The origin of a URL: all before its path.
fn origin_of(url: &[u8]) -> &[u8] {
    let behind = url.windows(3).position(|part| part == b"://");
    let host = behind.map_or(url.len(), |at| at + 3);
    let rest = url.get(host..).unwrap_or_default();
    let end = rest.iter().position(|b| b"/?#\\".contains(b));
    &url[..end.map_or(url.len(), |end| host + end)]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_core::chain::Scheme;

    fn filter(referer: Referer, unmarked: Unmarked) -> Filter {
        Filter::Csrf(Box::new(Csrf {
            origins: Origins {
                exact: [b"https://app.test".as_slice().into()].into(),
                ..Origins::default()
            },
            referer,
            unmarked,
        }))
    }

    fn request(method: Method, fields: &[(&str, &str)]) -> Exchange {
        let mut exchange = Exchange::default();
        exchange.head.method = method;
        exchange.head.set_authority(b"api.test").unwrap();
        exchange.attributes.authority = exchange.head.authority_span();
        exchange.attributes.scheme = Scheme::Https;
        for (name, value) in fields {
            let added = exchange.head.fields.add(name, value.as_bytes());
            added.unwrap();
        }
        exchange
    }

    fn may(fields: &[(&str, &str)]) -> bool {
        let filter = filter(Referer::Ignored, Unmarked::WithoutCookie);
        passes(&request(Method::Post, fields).request_head(&filter))
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let (site, origin) = ("sec-fetch-site", "origin");
        assert!(may(&[(site, "same-origin"), (origin, "https://api.test")]));
        assert!(may(&[(site, "same-origin")]));
        assert!(may(&[(site, "none")]));
        assert!(may(&[(site, "cross-site"), (origin, "https://app.test")]));
        assert!(may(&[(origin, "https://api.test")]));
        for fields in [
            &[(site, "cross-site"), (origin, "https://evil.test")][..],
            &[(site, "cross-site")],
            &[(site, "same-site"), (origin, "https://other.test")],
            &[(site, "same-origin"), (origin, "https://evil.test")],
            &[(site, "none"), (origin, "https://evil.test")],
            &[(site, "Same-Origin")],
            &[(site, "same-origin"), (site, "cross-site")],
            &[(origin, "https://evil.test")],
            &[(origin, "https://api.test.evil.test")],
            &[(origin, "http://api.test")],
            &[(origin, "null")],
            &[(origin, "https://api.test"), (origin, "https://evil.test")],
        ] {
            assert!(!may(fields), "{fields:?}");
        }
    }

    #[test]
    fn what_changes_nothing_passes_but_for_websockets() {
        let filter = filter(Referer::Ignored, Unmarked::Refuse);
        let foreign = [("origin", "https://evil.test")];
        for (method, passed) in [
            (Method::Get, true),
            (Method::Head, true),
            (Method::Options, true),
            (Method::Trace, false),
            (Method::Extension, false),
        ] {
            let verdict = request(method, &foreign).request_head(&filter);
            assert_eq!(passes(&verdict), passed, "{method:?}");
        }
        let handshake = [foreign[0], ("sec-websocket-key", "AAAA")];
        let verdict = request(Method::Get, &handshake).request_head(&filter);
        let Verdict::Respond(answer) = verdict else {
            panic!("a handshake passed")
        };
        assert_eq!((answer.status, answer.code), (403, "cross_site"));
    }

    #[test]
    fn who_says_nothing_passes_without_a_cookie() {
        let cookie = [("cookie", "a=b")];
        for (unmarked, bare, with_cookie) in [
            (Unmarked::WithoutCookie, true, false),
            (Unmarked::Pass, true, true),
            (Unmarked::Refuse, false, false),
        ] {
            let filter = filter(Referer::Ignored, unmarked);
            let asks = |fields| passes(&request(Method::Post, fields).request_head(&filter));
            assert_eq!((asks(&[]), asks(&cookie)), (bare, with_cookie));
        }
    }

    #[test]
    fn a_referer_counts_where_it_is_asked() {
        let filter = filter(Referer::Asked, Unmarked::Pass);
        for (referer, passed) in [
            ("https://api.test/form?x", true),
            ("https://app.test/", true),
            ("https://evil.test/https://api.test/", false),
            ("https://api.test@evil.test/", false),
            ("https://api.test\\.evil.test/", true),
            ("about:blank", false),
        ] {
            let mut exchange = request(Method::Post, &[("referer", referer)]);
            assert_eq!(passes(&exchange.request_head(&filter)), passed, "{referer}");
        }
    }
}
