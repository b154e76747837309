//! Splits: one of several upstreams by what a request carries, else by weight.

use crate::http::RequestHead;
use crate::policy::SplitBranch;

/// Upstreams with weights.
#[derive(Clone, Debug)]
pub struct Split {
    /// Index of an upstream and the running sum of weights up to and with it.
    targets: Box<[(usize, u32)]>,
    /// Branches that requests meeting their conditions go to, in order.
    asked: Box<[SplitBranch]>,
}

impl Split {
    /// From upstream indices and weights; none when all weights are zero.
    pub fn new(targets: &[(usize, u32)]) -> Option<Split> {
        let mut sum = 0u32;
        let mut cumulative = Vec::new();
        for (upstream, weight) in targets.iter().filter(|(_, weight)| *weight > 0) {
            sum = sum.checked_add(*weight)?;
            cumulative.push((*upstream, sum));
        }
        (sum > 0).then(|| Split {
            targets: cumulative.into(),
            asked: [].into(),
        })
    }

    /// From branches; none when the weights of all are zero.
    pub fn of(branches: &[SplitBranch]) -> Option<Split> {
        let weights = branches
            .iter()
            .map(|branch| (branch.upstream, branch.weight));
        let asked = branches.iter().filter(|branch| !branch.when.is_empty());
        let asked = asked.cloned().collect();
        let split = Split::new(&weights.collect::<Vec<_>>())?;
        Some(Split { asked, ..split })
    }

    /// The upstream of the first branch whose conditions the request meets.
    pub fn asked(&self, head: &RequestHead) -> Option<usize> {
        let mut branches = self.asked.iter();
        let branch = branches.find(|branch| branch.when.hold(head))?;
        Some(branch.upstream)
    }

    /// Its branches with conditions, in order.
    pub fn branches(&self) -> &[SplitBranch] {
        &self.asked
    }

    /// The upstream for a uniform random draw.
    pub fn pick(&self, random: u64) -> usize {
        let total = self.targets.last().map_or(1, |(_, sum)| *sum);
        let point = ((u128::from(random) * u128::from(total)) >> 64) as u32;
        let index = self.targets.partition_point(|(_, sum)| *sum <= point);
        self.targets[index.min(self.targets.len() - 1)].0
    }

    /// Upstream indices with their own weights.
    pub fn weights(&self) -> impl Iterator<Item = (usize, u32)> + '_ {
        let mut before = 0;
        self.targets.iter().map(move |(upstream, sum)| {
            let weight = sum - before;
            before = *sum;
            (*upstream, weight)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Condition, Conditions};
    use ringgate_router::ValueTest;

    #[test]
    fn a_split_draws_by_weight() {
        let split = Split::new(&[(7, 95), (8, 0), (9, 5)]);
        let Some(split) = split else {
            panic!("weights are not all zero")
        };
        assert_eq!(split.pick(0), 7);
        assert_eq!(split.pick(u64::MAX / 100 * 94), 7);
        assert_eq!(split.pick(u64::MAX / 100 * 96), 9);
        assert_eq!(split.pick(u64::MAX), 9);
        assert_eq!(split.weights().collect::<Vec<_>>(), [(7, 95), (9, 5)]);
        assert!(Split::new(&[(1, 0)]).is_none());
    }

    #[test]
    fn conditions_win_over_weights() {
        let when = |headers: &[(&str, ValueTest)], cookies: &[(&str, ValueTest)]| {
            let all = |list: &[(&str, ValueTest)]| {
                let conditions = list.iter().map(|(name, test)| Condition {
                    name: (*name).into(),
                    test: test.clone(),
                });
                conditions.collect()
            };
            Conditions {
                headers: all(headers),
                cookies: all(cookies),
            }
        };
        let branch = |upstream, weight, when| SplitBranch {
            upstream,
            weight,
            when,
        };
        let split = Split::of(&[
            branch(1, 1, Conditions::default()),
            branch(2, 0, when(&[("x-beta", ValueTest::exact("yes"))], &[])),
            branch(3, 0, when(&[], &[("beta", ValueTest::prefix("1"))])),
            branch(
                4,
                0,
                when(
                    &[("x-old", ValueTest::Present), ("cookie", ValueTest::Absent)],
                    &[],
                ),
            ),
        ]);
        let Some(split) = split else {
            panic!("one branch has a weight")
        };
        let asked = |fields: &[(&str, &str)]| {
            let mut head = RequestHead::default();
            for (name, value) in fields {
                assert!(head.fields.add(name, value.as_bytes()).is_ok());
            }
            split.asked(&head)
        };
        assert_eq!(asked(&[]), None);
        assert_eq!(asked(&[("x-beta", "yes")]), Some(2));
        assert_eq!(
            asked(&[("x-beta", "no"), ("cookie", "a=b; beta=12")]),
            Some(3)
        );
        assert_eq!(asked(&[("x-old", "")]), Some(4));
        assert_eq!(asked(&[("x-old", ""), ("cookie", "a=b")]), None);
        assert_eq!(split.pick(u64::MAX), 1);
    }
}
