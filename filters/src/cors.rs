//! CORS (the Fetch standard, 3.2): which origins' pages may read answers.
//!
//! Preflights are answered here. Of other answers, those of the gateway among them, whatever the
//! origin server says of CORS is replaced by what the configuration says.

use ringgate_core::answer;
use ringgate_core::chain::{Answer, BodyVerdict, RequestPhase, ResponsePhase, Verdict};
use ringgate_core::http::{FieldLine, Fields, Known, Method, RequestHead};

use crate::Filter;
use crate::origin::{Claim, Every, Origins, Sameness, is_own};

/// A page of another site has made a browser send it: the log code.
pub const CROSS_SITE: &str = "cross_site";

/// What pages of other origins may do.
#[derive(Debug)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`; empty for none beyond those that need no preflight.
    pub methods: Box<str>,
    /// `Access-Control-Allow-Headers`; empty for none.
    pub headers: Box<str>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Option<FieldLine>,
    /// Whether credentials may come along. Never with [`Every::Any`].
    pub credentials: Credentials,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: u64,
    /// Whether pages of public networks may ask a gateway in a private one.
    pub private_network: PrivateNetwork,
    /// What becomes of requests of other origins.
    pub others: Others,
}

/// Whether cookies and the like may come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// They may not.
    Omit,
    /// They may.
    Include,
}

/// Whether pages of public networks may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateNetwork {
    /// They may not.
    Refuse,
    /// They may.
    Allow,
}

/// What becomes of requests of origins that are not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// They pass, and their browser keeps the answer from the page.
    Pass,
    /// 403.
    Refuse,
}

/// Who has answered a preflight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Preflight {
    /// None has come, or nobody has.
    #[default]
    Open,
    /// A filter of this kind, whose answer stays as it is.
    Answered,
}

/// Fields of responses that are the gateway's to set.
const SAID: [&str; 7] = [
    "access-control-allow-origin",
    "access-control-allow-credentials",
    "access-control-allow-methods",
    "access-control-allow-headers",
    "access-control-expose-headers",
    "access-control-max-age",
    "access-control-allow-private-network",
];

const PRIVATE_NETWORK: &str = "access-control-request-private-network";

impl Cors {
    pub(crate) fn preflight(&self, phase: &mut RequestPhase<'_, Filter>) -> Option<Box<Answer>> {
        phase.scratch.preflight = Preflight::Answered;
        let Claim::Origin(origin) = Claim::of(phase.head) else {
            return Some(refusal(phase));
        };
        if !self.origins.allow(origin) {
            return Some(match self.others {
                Others::Refuse => refusal(phase),
                Others::Pass => no_content(Vec::new()),
            });
        }
        let mut fields: Vec<(Box<str>, Box<[u8]>)> = Vec::new();
        let mut put = |name: &str, value: &[u8]| fields.push((name.into(), value.into()));
        put("access-control-allow-origin", self.allowed(origin));
        if self.credentials == Credentials::Include {
            put("access-control-allow-credentials", b"true");
        }
        for (name, value) in [
            ("access-control-allow-methods", &self.methods),
            ("access-control-allow-headers", &self.headers),
        ] {
            if !value.is_empty() {
                put(name, value.as_bytes());
            }
        }
        put(
            "access-control-max-age",
            self.max_age.to_string().as_bytes(),
        );
        let asked = phase.head.fields.value_of(PRIVATE_NETWORK);
        if self.private_network == PrivateNetwork::Allow && asked == Some(b"true") {
            put("access-control-allow-private-network", b"true");
        }
        Some(no_content(fields))
    }

    /// What an allowed origin is told: itself, or that everybody is allowed.
    fn allowed<'o>(&self, origin: &'o [u8]) -> &'o [u8] {
        match self.origins.every {
            Every::Any => b"*",
            Every::Listed => origin,
        }
    }

    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        phase.scratch.preflight = Preflight::Open;
        if self.others == Others::Pass {
            return Verdict::Continue;
        }
        let (head, attributes) = (&*phase.head, &*phase.attributes);
        let passes = match Claim::of(head) {
            Claim::None => true,
            Claim::Origin(origin) => {
                self.origins.allow(origin) || is_own(origin, head, attributes, Sameness::Whole)
            }
            Claim::Several => false,
        };
        match passes {
            true => Verdict::Continue,
            false => Verdict::Respond(refusal(phase)),
        }
    }

    pub(crate) fn response_head(&self, phase: &mut ResponsePhase<'_, Filter>) -> BodyVerdict {
        if phase.scratch.preflight == Preflight::Answered {
            return BodyVerdict::Continue;
        }
        let fields = &mut phase.head.fields;
        for name in SAID {
            fields.remove(name);
        }
        if self.depends_on_origin() {
            vary_by_origin(fields);
        }
        // A preflight that another filter has answered, or the gateway, is told nothing here.
        if is_preflight(phase.request) {
            return BodyVerdict::Continue;
        }
        let origin = match (Claim::of(phase.request), self.origins.every) {
            // The same for everybody, so that caches may keep it.
            (_, Every::Any) => b"*".as_slice(),
            (Claim::Origin(origin), Every::Listed) if self.origins.allow(origin) => origin,
            _ => return BodyVerdict::Continue,
        };
        // A head that is full loses what the page may read, not the answer.
        if fields.set(SAID[0], origin).is_ok() && self.credentials == Credentials::Include {
            let _ = fields.set("access-control-allow-credentials", b"true");
        }
        if let Some(line) = &self.expose_headers {
            let _ = fields.set_line(line);
        }
        BodyVerdict::Continue
    }

    /// Whether requests of different origins get different answers.
    fn depends_on_origin(&self) -> bool {
        self.origins.every == Every::Listed || self.others == Others::Refuse
    }

    pub(crate) fn describe(&self) -> String {
        let credentials = match self.credentials {
            Credentials::Include => ", with credentials",
            Credentials::Omit => "",
        };
        let others = match self.others {
            Others::Refuse => ", others are refused",
            Others::Pass => "",
        };
        let origins = self.origins.describe();
        format!("cors: {origins}{credentials}{others}")
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        Some(match Claim::of(phase.head) {
            Claim::None => return None,
            Claim::Several => "it names several origins".to_owned(),
            Claim::Origin(origin) => {
                let is_allowed = match self.origins.allow(origin) {
                    true => "is allowed",
                    false => "is not allowed",
                };
                format!("{} {is_allowed}", String::from_utf8_lossy(origin))
            }
        })
    }
}

fn refusal(phase: &RequestPhase<'_, Filter>) -> Box<Answer> {
    let id = phase.attributes.request_id.as_bytes();
    let mut answer = answer::refusal(403, CROSS_SITE, phase.head, id);
    answer
        .fields
        .push(("vary".into(), b"Origin".as_slice().into()));
    Box::new(answer)
}

fn no_content(mut fields: Vec<(Box<str>, Box<[u8]>)>) -> Box<Answer> {
    let vary = b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
    fields.push(("vary".into(), vary.as_slice().into()));
    Box::new(Answer {
        status: 204,
        fields,
        ..Answer::default()
    })
}

fn is_preflight(request: &RequestHead) -> bool {
    request.method == Method::Options
        && request.fields.has(Known::Origin)
        && request.fields.has(Known::AccessControlRequestMethod)
}

/// Says that answers differ by origin, where that is not said yet (RFC 9110, 12.5.5).
pub(crate) fn vary_by_origin(fields: &mut Fields) {
    let mut lists = fields.values(Known::Vary);
    let is_said = lists.any(|list| {
        let mut names = list.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        names.any(|name| name == b"*" || name.eq_ignore_ascii_case(b"origin"))
    });
    drop(lists);
    if !is_said {
        let _ = fields.add("vary", b"Origin");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
