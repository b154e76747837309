//! Chains: the filters that listeners put before the routes. Listeners that name the same ones in
//! the same order share a chain.

use ringgate_config::model::{FilterId, Listener};
use ringgate_config::{Config, Spanned};

/// The filters of each chain, in the order of the listeners.
pub(super) fn of(config: &Config) -> Vec<&[Spanned<FilterId>]> {
    let mut chains: Vec<&[Spanned<FilterId>]> = Vec::new();
    for listener in &config.listeners {
        if !listener.filters.is_empty() && position(&chains, listener).is_none() {
            chains.push(&listener.filters);
        }
    }
    chains
}

/// Which of the chains is a listener's.
pub(super) fn position(chains: &[&[Spanned<FilterId>]], listener: &Listener) -> Option<usize> {
    let ids = |chain: &[Spanned<FilterId>]| -> Vec<FilterId> {
        chain.iter().map(|id| id.value).collect()
    };
    let own = ids(&listener.filters);
    chains.iter().position(|chain| ids(chain) == own)
}
