//! Pauses between attempts: exponential, with full jitter, so that clients that failed together
//! do not come back together (M. Brooker, "Exponential Backoff And Jitter", 2015).

use std::time::Duration;

use crate::policy;

/// The pause before a retry, the first of which is 1: anything up to `backoff`, doubled with
/// each further one, but never more than `backoff_max`. `random` is uniform over all its values.
pub fn pause(spec: &policy::Retry, retry: u8, random: u64) -> Duration {
    let doublings = u32::from(retry.saturating_sub(1)).min(30);
    let most = spec.backoff.saturating_mul(1 << doublings);
    let most = most.min(spec.backoff_max.max(spec.backoff));
    let nanos = (u128::from(random) * most.as_nanos()) >> u64::BITS;
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resilience::retry::tests::spec;

    #[test]
    fn pauses_double_up_to_their_bound() {
        let spec = policy::Retry {
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_millis(150),
            ..spec()
        };
        let longest = |retry| pause(&spec, retry, u64::MAX).as_micros();
        let longest: Vec<u128> = [1, 2, 3, 4, 255].map(longest).into();
        assert_eq!(longest, [24_999, 49_999, 99_999, 149_999, 149_999]);
        assert_eq!(pause(&spec, 3, 0), Duration::ZERO);
        assert_eq!(pause(&spec, 3, 1 << 63), Duration::from_millis(50));
    }
}
