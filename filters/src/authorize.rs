//! What somebody may do: rules that allow and deny, by who makes a request and by the request
//! itself. A rule that denies wins, and where rules allow, what none of them allows is refused.
//!
//! Who has proved nothing is asked to (401) where that might help; anybody else gets 403, which
//! says no more than that.

mod hours;
mod rule;

use ringgate_core::answer;
use ringgate_core::chain::{RequestPhase, Verdict};

use crate::Filter;
use crate::auth::{NO_CREDENTIALS, offered_challenges};
pub use hours::{Days, Hours};
pub use rule::{Names, Needed, Rule, What, Who};

/// In logs and metrics.
pub const FORBIDDEN: &str = "forbidden";

/// Rules.
#[derive(Debug)]
pub struct Authorize {
    /// One has to hold; `None` allows all.
    pub allow: Option<Box<[Rule]>>,
    /// None may hold.
    pub deny: Box<[Rule]>,
}

/// What the rules come to.
enum Decision<'r> {
    Allowed(Option<&'r Rule>),
    Denied(&'r Rule),
    /// None that allows holds; whether one would for somebody else.
    NotAllowed(Elsewhere),
}

/// Whether somebody else might be allowed what is refused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Elsewhere {
    Perhaps,
    No,
}

impl Authorize {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let elsewhere = match self.decide(phase) {
            Decision::Allowed(_) => return Verdict::Continue,
            // A rule that denies does so to whom it names.
            Decision::Denied(rule) if rule.who.is_anybody() => Elsewhere::No,
            Decision::Denied(_) => Elsewhere::Perhaps,
            Decision::NotAllowed(elsewhere) => elsewhere,
        };
        refuse(phase, elsewhere)
    }

    fn decide(&self, phase: &RequestPhase<'_, Filter>) -> Decision<'_> {
        let (head, attributes) = (&*phase.head, &*phase.attributes);
        let holds = |rule: &&Rule| rule.holds(head, attributes, phase.unix_ms);
        if let Some(rule) = self.deny.iter().find(holds) {
            return Decision::Denied(rule);
        }
        let Some(allow) = &self.allow else {
            return Decision::Allowed(None);
        };
        if let Some(rule) = allow.iter().find(holds) {
            return Decision::Allowed(Some(rule));
        }
        let of_others = |rule: &Rule| rule.what.holds(head, attributes, phase.unix_ms);
        Decision::NotAllowed(match allow.iter().any(of_others) {
            true => Elsewhere::Perhaps,
            false => Elsewhere::No,
        })
    }

    pub(crate) fn describe(&self) -> String {
        let one_of = |rules: usize| match rules {
            1 => "1 rule".to_owned(),
            rules => format!("one of {rules} rules"),
        };
        let deny = one_of(self.deny.len());
        match (&self.allow, self.deny.is_empty()) {
            (None, _) => format!("authorize: all but what {deny} denies"),
            (Some(allow), true) => format!("authorize: what {} allows", one_of(allow.len())),
            (Some(allow), false) => {
                let allow = one_of(allow.len());
                format!("authorize: what {allow} allows, but not what {deny} denies")
            }
        }
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        Some(match self.decide(phase) {
            Decision::Allowed(None) => "no rule denies it".to_owned(),
            Decision::Allowed(Some(rule)) => format!("{} allows it", rule.name),
            Decision::Denied(rule) => format!("{} denies it", rule.name),
            Decision::NotAllowed(Elsewhere::Perhaps) => {
                "no rule allows it to who makes it".to_owned()
            }
            Decision::NotAllowed(Elsewhere::No) => "no rule allows it to anybody".to_owned(),
        })
    }
}

#[cold]
fn refuse(phase: &mut RequestPhase<'_, Filter>, elsewhere: Elsewhere) -> Verdict {
    let proved = phase.attributes.principal.as_deref();
    let is_known = proved.is_some_and(|principal| !principal.schemes.is_empty());
    let challenges = match is_known || elsewhere == Elsewhere::No {
        true => Vec::new(),
        false => offered_challenges(phase.scratch),
    };
    // 401 has to say how to do better (RFC 9110, 15.5.2).
    let (status, code) = match challenges.is_empty() {
        true => (403, FORBIDDEN),
        false => (401, NO_CREDENTIALS),
    };
    let id = phase.attributes.request_id.as_bytes();
    let mut answer = answer::refusal(status, code, phase.head, id);
    for challenge in challenges {
        let value = challenge.into_bytes().into();
        answer.fields.push(("www-authenticate".into(), value));
    }
    Verdict::Respond(Box::new(answer))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
