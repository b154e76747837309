//! What the admin API answers about rate limits and quotas.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;

use super::routes::{Api, failed, respond};
use crate::quota::{Quota, Quotas, Reset};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/limits", get(limits))
        .route("/quotas", get(quotas))
        .route("/quotas/reset", post(reset))
}

/// What is asked about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    filter: Option<String>,
    key: Option<String>,
}

async fn limits(State(api): State<Api>) -> Response {
    match api.ask(|node| node.limits()).await {
        Ok(limits) => {
            let redis = api.counters.clusters.to_json();
            respond(StatusCode::OK, &json!({ "limits": limits, "redis": redis }))
        }
        Err(response) => response,
    }
}

async fn quotas(State(api): State<Api>, Query(about): Query<About>) -> Response {
    let answer = api.ask(move |node| {
        let quotas = node.quotas();
        let (quotas, quota) = find(quotas.as_ref(), about.filter.as_deref())?;
        let key = about.key.as_deref();
        let (usages, total) = quotas.store.usages(quota, key, USAGES_MAX);
        if let (Some(key), true) = (key, usages.is_empty()) {
            return Err(no_key(&quota.filter, key));
        }
        let terms = quota.book.terms();
        Ok(json!({
            "filter": quota.filter,
            "limit": terms.limit,
            "per": terms.window.as_str(),
            "keys": total,
            "shown": usages.len(),
            "usage": usages,
        }))
    });
    match answer.await {
        Ok(Ok(answer)) => respond(StatusCode::OK, &answer),
        Ok(Err((status, message))) => failed(status, &message),
        Err(response) => response,
    }
}

async fn reset(State(api): State<Api>, Query(about): Query<About>) -> Response {
    let answer = api.ask(move |node| {
        let quotas = node.quotas();
        let (quotas, quota) = find(quotas.as_ref(), about.filter.as_deref())?;
        let Some(key) = about.key.as_deref() else {
            let message = "name the key: ?filter=NAME&key=TEXT".to_owned();
            return Err((StatusCode::BAD_REQUEST, message));
        };
        match quotas.store.reset(quota, key) {
            Ok(Reset::Done) => {
                tracing::info!(filter = &*quota.filter, "a key's quota begins anew");
                Ok(json!({ "filter": quota.filter, "key": key, "reset": true }))
            }
            Ok(Reset::Unknown) => Err(no_key(&quota.filter, key)),
            Err(error) => Err((
                StatusCode::INTERNAL_SERVER_ERROR,
                format!(
                    "the key begins anew, but a restart may bring its count back: {error}; {}",
                    error.advice()
                ),
            )),
        }
    });
    match answer.await {
        Ok(Ok(answer)) => respond(StatusCode::OK, &answer),
        Ok(Err((status, message))) => failed(status, &message),
        Err(response) => response,
    }
}

/// The quota that is meant: it may be left out where there is one alone.
fn find<'a>(
    quotas: Option<&'a Quotas>,
    filter: Option<&str>,
) -> Result<(&'a Quotas, &'a Quota), (StatusCode, String)> {
    let Some(quotas) = quotas else {
        let message = "the configuration has no quota".to_owned();
        return Err((StatusCode::NOT_FOUND, message));
    };
    let found = match (filter, &quotas.quotas[..]) {
        (Some(filter), all) => all.iter().find(|quota| &*quota.filter == filter),
        (None, [quota]) => Some(quota),
        (None, _) => None,
    };
    found.map(|quota| (quotas, quota)).ok_or_else(|| {
        let names: Vec<&str> = quotas.quotas.iter().map(|quota| &*quota.filter).collect();
        let status = match filter {
            Some(_) => StatusCode::NOT_FOUND,
            None => StatusCode::BAD_REQUEST,
        };
        let message = format!("name a quota: ?filter=NAME, one of {}", names.join(", "));
        (status, message)
    })
}

fn no_key(filter: &str, key: &str) -> (StatusCode, String) {
    let message = format!(
        "the quota \"{filter}\" has counted no key {key:?} in this window; keys are written as GET /quotas?filter={filter} shows them"
    );
    (StatusCode::NOT_FOUND, message)
}

/// Keys shown at once, those that have used most.
const USAGES_MAX: usize = 1_000;
