//! Address rules: clients of some networks are kept out, or only those of some are let in.
//!
//! The client is the one that the trusted proxies vouch for. Of all listed networks that it is
//! in the longest decides; one that is listed to be let in and to be kept out keeps it out.

mod trie;

use std::net::IpAddr;
use std::sync::Arc;

use ringgate_core::answer;
use ringgate_core::chain::{Answer, RequestPhase, Verdict};

pub use trie::Trie;

use crate::Filter;

/// The client's address is kept out: the log code.
pub const ADDRESS_BLOCKED: &str = "address_blocked";

/// What the lists say of a network. Of two, the greater one is the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Nothing.
    Unlisted,
    /// It is let in.
    Allow,
    /// It is kept out.
    Block,
}

/// What becomes of addresses that no list names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlisted {
    /// They pass: there is a list of those to keep out, and none of those to let in.
    Pass,
    /// They are kept out: there is a list of those to let in.
    Refuse,
}

/// Who is let in and who is kept out.
#[derive(Debug)]
pub struct Address {
    rules: Trie<Rule>,
    unlisted: Unlisted,
    networks: usize,
}

/// Networks: addresses with prefix lengths.
pub type Networks = [(IpAddr, u8)];

impl Address {
    /// From lists of networks to let in and to keep out.
    pub fn new(allow: &[Arc<Networks>], block: &[Arc<Networks>], unlisted: Unlisted) -> Address {
        fn ruled(lists: &[Arc<Networks>], rule: Rule) -> impl Iterator<Item = (IpAddr, u8, Rule)> {
            let networks = lists.iter().flat_map(|list| list.iter());
            networks.map(move |(addr, len)| (*addr, *len, rule))
        }
        let all = ruled(allow, Rule::Allow).chain(ruled(block, Rule::Block));
        Address {
            rules: Trie::new(all, Rule::Unlisted, Rule::max),
            unlisted,
            networks: allow.iter().chain(block).map(|list| list.len()).sum(),
        }
    }

    /// What is said of an address. It costs the same whatever the number of networks, within a
    /// step per six bits in which they differ.
    pub fn rule(&self, addr: IpAddr) -> Rule {
        self.rules.get(addr)
    }

    /// The bytes that the rules take.
    pub fn bytes(&self) -> usize {
        self.rules.bytes()
    }

    pub(crate) fn request_head(&self, phase: &mut RequestPhase<'_, Filter>) -> Verdict {
        match self.refusal(phase) {
            None => Verdict::Continue,
            Some(answer) => Verdict::Respond(answer),
        }
    }

    /// Who is kept out is not told either which origins may ask.
    pub(crate) fn refusal(&self, phase: &RequestPhase<'_, Filter>) -> Option<Box<Answer>> {
        match (self.rule(phase.attributes.client.ip), self.unlisted) {
            (Rule::Allow, _) | (Rule::Unlisted, Unlisted::Pass) => None,
            (Rule::Block, _) | (Rule::Unlisted, Unlisted::Refuse) => {
                let id = phase.attributes.request_id.as_bytes();
                let answer = answer::refusal(403, ADDRESS_BLOCKED, phase.head, id);
                Some(Box::new(answer))
            }
        }
    }

    pub(crate) fn describe(&self) -> String {
        let others = match self.unlisted {
            Unlisted::Pass => "pass",
            Unlisted::Refuse => "are kept out",
        };
        format!("address: {} networks, others {others}", self.networks)
    }

    pub(crate) fn tell(&self, phase: &RequestPhase<'_, Filter>) -> Option<String> {
        let client = phase.attributes.client;
        let said = match (self.rule(client.ip), self.unlisted) {
            (Rule::Allow, _) => "is on a list of those to let in",
            (Rule::Block, _) => "is on a list of those to keep out",
            (Rule::Unlisted, Unlisted::Refuse) => "is on no list of those to let in",
            (Rule::Unlisted, Unlisted::Pass) => "is on no list",
        };
        let addr = String::from_utf8_lossy(client.text()).into_owned();
        Some(format!("{addr} {said}"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Exchange, passes};
    use ringgate_core::chain::PeerAddr;

    fn list(networks: &[(&str, u8)]) -> [Arc<Networks>; 1] {
        let each = networks.iter();
        [each
            .map(|(addr, len)| (addr.parse().unwrap(), *len))
            .collect()]
    }

    fn passes_from(filter: &Filter, addr: &str) -> bool {
        let mut exchange = Exchange::default();
        exchange.attributes.client = PeerAddr::new(addr.parse().unwrap());
        passes(&exchange.request_head(filter))
    }

    fn filter(allow: &[(&str, u8)], block: &[(&str, u8)], unlisted: Unlisted) -> Filter {
        Filter::Address(Address::new(&list(allow), &list(block), unlisted))
    }

    #[test]
    fn whoever_is_listed_is_kept_out() {
        let filter = filter(&[], &[("192.0.2.0", 24)], Unlisted::Pass);
        assert!(!passes_from(&filter, "192.0.2.77"));
        assert!(!passes_from(&filter, "::ffff:192.0.2.77"));
        assert!(passes_from(&filter, "192.0.3.1"));
        let mut exchange = Exchange::default();
        exchange.attributes.client = PeerAddr::new("192.0.2.1".parse().unwrap());
        let Verdict::Respond(answer) = exchange.request_head(&filter) else {
            panic!("a blocked client passed")
        };
        assert_eq!((answer.status, answer.code), (403, "address_blocked"));
    }

    #[test]
    fn a_list_of_those_to_let_in_keeps_everybody_else_out() {
        let filter = filter(
            &[("10.0.0.0", 8), ("10.1.1.1", 32)],
            &[("10.1.0.0", 16), ("10.0.0.0", 8)],
            Unlisted::Refuse,
        );
        // The same network on both lists.
        assert!(!passes_from(&filter, "10.9.9.9"));
        assert!(!passes_from(&filter, "10.1.2.3"));
        assert!(passes_from(&filter, "10.1.1.1"));
        assert!(!passes_from(&filter, "192.0.2.1"));
        assert!(!passes_from(&filter, "2001:db8::1"));
    }

    #[test]
    fn a_list_of_nobody_lets_nobody_in() {
        let filter = filter(&[], &[], Unlisted::Refuse);
        assert!(!passes_from(&filter, "127.0.0.1"));
    }
}
