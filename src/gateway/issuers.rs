//! Issuers of tokens between the control plane, which fetches their keys, and the workers that
//! verify with them.

use ringgate_config::Config;
use ringgate_control::jwks::{Issuer, KeyFacts, Loaded, Place};
use ringgate_filters::auth::jwt::{Key, jwks};

use crate::compile::access::{Issuers, KeySources, place};

/// Has every worker verify with the keys of a document from now on.
///
/// # Errors
/// Why it is no key set. The keys that were there stay.
pub(super) fn fetched(
    sources: &KeySources,
    place: &Place,
    document: &[u8],
) -> Result<Loaded, String> {
    let set = jwks::read(document).map_err(str::to_owned)?;
    let loaded = Loaded {
        keys: facts(&set.keys),
        left_out: set.left_out.len(),
    };
    // The configuration may have another place by now.
    if let Some(source) = sources.known_of(place) {
        source.replace(set.keys);
    }
    Ok(loaded)
}

/// Nobody waits any longer for the keys of a place: they could not be fetched.
pub(super) fn missed(sources: &KeySources, place: &Place) {
    if let Some(source) = sources.known_of(place) {
        source.fail();
    }
}

/// The issuers of a configuration, for the admin API.
pub(super) fn shown(config: &Config, issuers: &Issuers) -> Vec<Issuer> {
    let each = config.issuers.iter();
    each.filter_map(|written| {
        let issuer = issuers.named(&written.name.value)?;
        Some(Issuer {
            name: written.name.to_string(),
            issuer: written.issuer.value.to_string(),
            algorithms: issuer.algorithms.iter().map(|one| one.name()).collect(),
            keys: issuer.keys.keys().map(|keys| facts(&keys)),
            place: place(written).map(|(place, _)| place),
            unknown_keys: issuer.keys.unknown(),
        })
    })
    .collect()
}

fn facts(keys: &[Key]) -> Vec<KeyFacts> {
    let each = keys.iter().map(|key| KeyFacts {
        kid: key.kid().map(str::to_owned),
        algorithms: key.algorithms().iter().map(|one| one.name()).collect(),
    });
    each.collect()
}
