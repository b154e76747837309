//! Changes the path that the origin sees; the query stays. Later filters and the route's own
//! `rewrite` see the path as it is left here; captures always mean the path that was routed.

use ringgate_core::chain::{Answer, RequestPhase, Verdict};
use ringgate_core::error::Fault;
use ringgate_router::Template;

use crate::Filter;

/// A change of the path.
#[derive(Debug)]
pub enum Rewrite {
    /// The whole path, from the captures of the route. A template is bound to one pattern, so
    /// routes with other captures need a filter of their own.
    Template {
        /// The compiled template.
        template: Template,
        /// Its text, for people.
        text: Box<str>,
    },
    /// `strip` is taken off the front where it ends a segment, then `add` is put there. Each
    /// is empty or begins with `/` and does not end with one.
    Prefix {
        /// Taken off.
        strip: Box<str>,
        /// Put in front.
        add: Box<str>,
    },
}

impl Rewrite {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let path = &mut phase.core.path;
        path.clear();
        match self {
            Rewrite::Template { template, .. } => {
                let routed = phase.head.fields.text_of(phase.attributes.routed_path);
                template.expand(routed, &phase.attributes.captures, path);
            }
            Rewrite::Prefix { strip, add } => {
                let old = phase.head.path();
                path.extend_from_slice(add.as_bytes());
                path.extend_from_slice(without_prefix(old, strip.as_bytes()));
                if path.is_empty() {
                    path.push(b'/');
                }
            }
        }
        match phase.head.set_path(path) {
            Ok(()) => Verdict::Continue,
            // A template that begins with a capture can expand to what is no path.
            Err(_) => Verdict::Respond(Box::new(Answer {
                code: Fault::RewriteFailed.row().code,
                ..ringgate_core::answer::of_fault(
                    Fault::RewriteFailed,
                    phase.head,
                    phase.attributes.request_id.as_bytes(),
                )
            })),
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Rewrite::Template { text, .. } => format!("rewrite: path becomes {text}"),
            Rewrite::Prefix { strip, add } => match (&**strip, &**add) {
                ("", add) => format!("rewrite: {add} is put in front"),
                (strip, "") => format!("rewrite: {strip} is taken off the front"),
                (strip, add) => format!("rewrite: {strip} in front becomes {add}"),
            },
        }
    }
}

/// The path without the prefix, if that ends where a segment ends.
fn without_prefix<'p>(path: &'p [u8], prefix: &[u8]) -> &'p [u8] {
    match path.strip_prefix(prefix) {
        Some(rest) if rest.is_empty() || rest[0] == b'/' => rest,
        _ => path,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_router::{Lookup, PathPattern, Request, RouteSpec, RouterBuilder, RouterOptions};

    fn prefix(strip: &str, add: &str, path: &str) -> String {
        let filter = Filter::Rewrite(Rewrite::Prefix {
            strip: strip.into(),
            add: add.into(),
        });
        let mut exchange = Exchange::default();
        exchange.head.set_path(path.as_bytes()).unwrap();
        exchange.head.set_query(Some(b"a=/api")).unwrap();
        assert!(passes(&exchange.request_head(&filter)));
        assert_eq!(exchange.head.query(), Some(&b"a=/api"[..]));
        String::from_utf8(exchange.head.path().to_vec()).unwrap()
    }

    #[test]
    fn a_prefix_is_taken_off_only_where_a_segment_ends() {
        assert_eq!(prefix("/api", "/v2", "/api/users"), "/v2/users");
        assert_eq!(prefix("/api", "/v2", "/apis/users"), "/v2/apis/users");
        assert_eq!(prefix("/api", "/v2", "/api"), "/v2");
        assert_eq!(prefix("/api", "", "/api"), "/");
        assert_eq!(prefix("/api", "", "/api/"), "/");
        assert_eq!(prefix("", "/v2", "/"), "/v2/");
    }

    fn template(pattern: &str, text: &str, path: &str) -> (Verdict, String) {
        let pattern = PathPattern::parse(pattern).unwrap();
        let filter = Filter::Rewrite(Rewrite::Template {
            template: Template::parse(text, &pattern).unwrap(),
            text: text.into(),
        });
        let mut builder = RouterBuilder::new(RouterOptions::default());
        let id = builder.route(RouteSpec::new(pattern));
        let router = builder.build().unwrap();
        let mut exchange = Exchange::default();
        exchange.head.set_path(path.as_bytes()).unwrap();
        exchange.attributes.routed_path = exchange.head.path_span();
        let request = Request {
            host: b"",
            path: path.as_bytes(),
            query: b"",
            method: b"GET",
        };
        let found = router.lookup(&request, &(), &mut exchange.attributes.captures);
        assert_eq!(found, Lookup::Found(id));
        let verdict = exchange.request_head(&filter);
        let path = String::from_utf8(exchange.head.path().to_vec()).unwrap();
        (verdict, path)
    }

    #[test]
    fn a_template_uses_the_captures_of_the_routed_path() {
        let (verdict, path) = template("/{shop}/{id}", "/items/{id}/of/{shop}", "/fruit/7%2B");
        assert!(passes(&verdict));
        assert_eq!(path, "/items/7%2B/of/fruit");
    }

    #[test]
    fn a_template_that_makes_no_path_is_answered_with_500() {
        let (verdict, path) = template("/{shop}/{id}", "{shop}", "/fruit/7");
        let Verdict::Respond(answer) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((answer.status, answer.code), (500, "rewrite_failed"));
        assert_eq!(path, "/fruit/7");
    }
}
