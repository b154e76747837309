//! What is made ahead of a snapshot's first request, so that no worker has to: hash rings of
//! upstreams that are balanced by keys, and the windows of breakers.

use super::{Action, Endpoint, Route, Snapshot, Upstream};
use crate::chain::Filter;
use crate::policy::{BreakerScope, FallbackTo};

impl<F: Filter> Snapshot<F> {
    /// Makes it. For whoever installs the snapshot, off the data plane.
    pub fn prepare(&self) {
        let hashes = |route: &&Route<F>| {
            let own = route.policy.balance.as_ref();
            own.is_some_and(|choice| choice.algorithm.hashes())
        };
        for index in self.routes.iter().filter(hashes).flat_map(Route::upstreams) {
            if let Some(upstream) = self.upstreams.get(index) {
                upstream.state.ring.want();
            }
        }
        for upstream in &self.upstreams {
            if upstream.policy.balance.choice.algorithm.hashes() {
                upstream.state.ring.want();
            }
            upstream.prepare(&upstream.endpoints);
        }
    }
}

impl<F: Filter> Route<F> {
    /// The upstreams that its requests may go to, by index; some more than once.
    fn upstreams(&self) -> Vec<usize> {
        let mut all: Vec<usize> = match &self.action {
            Action::Upstream(upstream) => vec![*upstream],
            Action::Split(split) => {
                let asked = split.branches().iter().map(|branch| branch.upstream);
                asked.chain(split.weights().map(|(one, _)| one)).collect()
            }
            Action::Respond(_) | Action::Redirect(_) => Vec::new(),
        };
        all.extend(self.policy.canary.as_ref().map(|canary| canary.upstream));
        all.extend(match self.policy.fallback.as_deref().map(|one| &one.to) {
            Some(FallbackTo::Upstream(other)) => Some(*other),
            _ => None,
        });
        all
    }
}

impl Upstream {
    /// The same for these endpoints, before workers are told of them.
    pub fn prepare(&self, endpoints: &[Endpoint]) {
        if let Some(spec) = &self.policy.breaker {
            if spec.scope != BreakerScope::Endpoint {
                self.state.breaker.prepare();
            }
            if spec.scope != BreakerScope::Upstream {
                for endpoint in endpoints {
                    endpoint.state.breaker.prepare();
                }
            }
        }
        self.state.ring.prepare(endpoints);
    }
}
