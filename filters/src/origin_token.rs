//! The gateway's own credentials for origins: a token that the control plane got from an
//! authorisation server (RFC 6749, 4.4) is put into requests. Without one, none is forwarded.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use ringgate_core::answer;
use ringgate_core::chain::{RequestPhase, Verdict};

use crate::Filter;
use crate::auth::AUTH_UNAVAILABLE;

/// Puts the token of one client into requests.
#[derive(Debug)]
pub struct OriginToken {
    /// The client's name.
    pub client: Box<str>,
    /// The field that gets it, in lower case.
    pub field: Box<str>,
    /// Where the token is.
    pub place: Arc<TokenPlace>,
}

/// Where the control plane puts the token of a client, and workers find it. Reading takes no lock.
#[derive(Debug, Default)]
pub struct TokenPlace(ArcSwapOption<Token>);

/// A token as a field has it.
pub struct Token {
    /// The field's value, such as `Bearer abc`.
    pub value: Box<str>,
    /// It is over then, in milliseconds since the UNIX epoch.
    pub ends_ms: u64,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl TokenPlace {
    /// Replaces the token; `None` leaves requests without one.
    pub fn put(&self, token: Option<Token>) {
        self.0.store(token.map(Arc::new));
    }
}

/// The places of all clients, by name: they outlive reloads.
#[derive(Debug, Default)]
pub struct TokenPlaces {
    #[allow(
        clippy::disallowed_types,
        reason = "workers hold the places themselves"
    )]
    places: std::sync::Mutex<BTreeMap<Box<str>, Arc<TokenPlace>>>,
    filled: Filled,
}

/// What a new place has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Filled {
    #[default]
    Empty,
    /// A text that stands for a token.
    StandIn,
}

impl TokenPlaces {
    /// Places with a text in each that stands for a token, for whoever explains requests and
    /// sends none.
    pub fn pretending() -> TokenPlaces {
        TokenPlaces {
            filled: Filled::StandIn,
            ..TokenPlaces::default()
        }
    }

    /// The place of a client.
    pub fn of(&self, client: &str) -> Arc<TokenPlace> {
        let mut places = self
            .places
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // What nobody else holds is of a configuration that has gone.
        places.retain(|_, place| Arc::strong_count(place) > 1);
        let place = places.entry(client.into()).or_insert_with(|| {
            let place = TokenPlace::default();
            if self.filled == Filled::StandIn {
                place.put(Some(Token {
                    value: STAND_IN.into(),
                    ends_ms: u64::MAX,
                }));
            }
            Arc::new(place)
        });
        Arc::clone(place)
    }
}

impl OriginToken {
    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        let token = self.place.0.load();
        let token = token.as_ref().filter(|token| phase.unix_ms < token.ends_ms);
        let set = token.is_some_and(|token| {
            let value = token.value.as_bytes();
            phase.head.fields.set(&self.field, value).is_ok()
        });
        match set {
            true => Verdict::Continue,
            false => {
                let id = phase.attributes.request_id.as_bytes();
                let answer = answer::refusal(503, AUTH_UNAVAILABLE, phase.head, id);
                Verdict::Respond(Box::new(answer))
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        format!(
            "{} of the gateway's own, by oauth_client {}",
            self.field, self.client
        )
    }
}

const STAND_IN: &str = "Bearer (the gateway's own token)";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};

    fn filter(places: &TokenPlaces) -> Filter {
        Filter::OriginToken(OriginToken {
            client: "c".into(),
            field: "authorization".into(),
            place: places.of("c"),
        })
    }

    fn token(ends_ms: u64) -> Option<Token> {
        let value = "Bearer own".into();
        Some(Token { value, ends_ms })
    }

    #[test]
    fn the_gateways_token_takes_the_place_of_the_clients() {
        let places = TokenPlaces::default();
        let filter = filter(&places);
        places.of("c").put(token(1_000));
        let mut exchange = Exchange::default();
        exchange.unix_ms = 999;
        let fields = &mut exchange.head.fields;
        fields.add("authorization", b"Bearer alice").unwrap();
        fields.add("authorization", b"Bearer bob").unwrap();
        assert!(passes(&exchange.request_head(&filter)));
        let values: Vec<_> = exchange.head.fields.values_of("authorization").collect();
        assert_eq!(values, [b"Bearer own"]);
    }

    #[test]
    fn without_a_token_or_with_an_old_one_nothing_is_forwarded() {
        let places = TokenPlaces::default();
        let filter = filter(&places);
        let mut exchange = Exchange::default();
        exchange.unix_ms = 1_000;
        for held in [None, token(1_000)] {
            places.of("c").put(held);
            let Verdict::Respond(answer) = exchange.request_head(&filter) else {
                panic!("it passes")
            };
            assert_eq!((answer.status, answer.code), (503, AUTH_UNAVAILABLE));
        }
        places.of("c").put(token(1_001));
        assert!(passes(&exchange.request_head(&filter)));
        assert!(!format!("{filter:?}").contains("own"), "it is a secret");
    }
}
