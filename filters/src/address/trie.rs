//! A trie of networks: of all networks that an address lies in, the longest one's value.
//!
//! Poptrie (Asai and Ohara, SIGCOMM 2015) with paths compressed: a node decides six bits of the
//! address at once, and says at which bit, so that the empty levels of IPv6 cost nothing. Nodes
//! and values lie in two arrays; a lookup follows indices, takes one step for every six bits in
//! which networks differ, and allocates nothing.

use std::net::IpAddr;

/// Values by network. IPv4 has a root of its own: `::/0` is every IPv6 address and no IPv4
/// address, also where the latter is written in IPv6 (RFC 4291, 2.5.5.2).
#[derive(Clone, Debug)]
pub struct Trie<V> {
    nodes: Box<[Node<V>]>,
    values: Box<[V]>,
}

/// What holds below the first `depth` bits of `path`.
#[derive(Clone, Copy, Debug)]
struct Node<V> {
    path: u128,
    /// Which of the 64 ways on lead to a node.
    onward: u64,
    /// At which of the others a new value begins.
    begins: u64,
    first_node: u32,
    first_value: u32,
    depth: u8,
    /// For addresses that leave the path before `depth`.
    otherwise: V,
}

/// A network, its address as IPv6.
#[derive(Clone, Copy, Debug)]
struct Network<V> {
    path: u128,
    len: u8,
    value: V,
}

/// Bits that a node decides.
const STRIDE: u8 = 6;
/// Bits of an IPv6 address in front of an IPv4 address (RFC 4291, 2.5.5.2).
const MAPPED: u8 = 96;
const ROOT_V6: usize = 0;
const ROOT_V4: usize = 1;

impl<V: Copy + PartialEq> Trie<V> {
    /// From addresses, prefix lengths (up to 32 of IPv4, 128 of IPv6) and values; bits beyond a
    /// prefix count for nothing. Where one network comes twice, the value that `stronger` picks
    /// holds. Addresses in none of them have the value `none`.
    pub fn new(
        networks: impl IntoIterator<Item = (IpAddr, u8, V)>,
        none: V,
        stronger: impl Fn(V, V) -> V,
    ) -> Trie<V> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (addr, len, value) in networks {
            let (path, len) = match addr {
                IpAddr::V4(_) => (bits(addr), MAPPED + len.min(32)),
                IpAddr::V6(_) => (bits(addr), len.min(128)),
            };
            let network = Network {
                path: path & mask(len),
                len,
                value,
            };
            match is_v4(path) && len >= MAPPED {
                true => v4.push(network),
                false => v6.push(network),
            }
        }
        let mut build = Build {
            nodes: vec![Node::empty(none); 2],
            values: Vec::new(),
        };
        for (root, mut networks) in [(ROOT_V6, v6), (ROOT_V4, v4)] {
            networks.sort_by_key(|network| (network.path, network.len));
            networks.dedup_by(|later, kept| {
                let same = (later.path, later.len) == (kept.path, kept.len);
                if same {
                    kept.value = stronger(kept.value, later.value);
                }
                same
            });
            build.fill(root, &networks, none);
        }
        Trie {
            nodes: build.nodes.into(),
            values: build.values.into(),
        }
    }

    /// The value of the longest network that the address lies in.
    #[inline]
    pub fn get(&self, addr: IpAddr) -> V {
        let path = bits(addr);
        let mut node = &self.nodes[match is_v4(path) {
            true => ROOT_V4,
            false => ROOT_V6,
        }];
        loop {
            if (path ^ node.path) & mask(node.depth) != 0 {
                return node.otherwise;
            }
            let way = way(path, node.depth);
            let up_to = u64::MAX >> (63 - way);
            let rank = |set: u64| (set & up_to).count_ones();
            if node.onward >> way & 1 == 0 {
                return self.values[(node.first_value + rank(node.begins) - 1) as usize];
            }
            node = &self.nodes[(node.first_node + rank(node.onward) - 1) as usize];
        }
    }

    /// The bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.values)
    }
}

impl<V: Copy> Node<V> {
    fn empty(value: V) -> Node<V> {
        Node {
            path: 0,
            onward: 0,
            begins: 0,
            first_node: 0,
            first_value: 0,
            depth: 0,
            otherwise: value,
        }
    }
}

struct Build<V> {
    nodes: Vec<Node<V>>,
    values: Vec<V>,
}

impl<V: Copy + PartialEq> Build<V> {
    /// Makes the node at `place` from networks that are sorted and distinct; `outer` is what
    /// holds around them. The depth grows by six bits with each level, so this ends.
    fn fill(&mut self, place: usize, networks: &[Network<V>], outer: V) {
        let mut node = Node::empty(outer);
        let mut values = [outer; 64];
        let mut inner = networks;
        if let [first, .., last] | [first @ last] = networks {
            let common = (first.path ^ last.path).leading_zeros();
            let shortest = networks.iter().map(|network| network.len).min();
            node.depth = shortest.unwrap_or_default().min(common as u8);
            node.path = first.path & mask(node.depth);
            // Sorted, the network that is all of this node comes first.
            if first.len == node.depth {
                values = [first.value; 64];
                inner = &networks[1..];
            }
        }
        let end = node.depth.saturating_add(STRIDE);
        let mut deeper: [&[Network<V>]; 64] = [&[]; 64];
        let mut at = 0;
        while let Some(network) = inner.get(at) {
            let way = way(network.path, node.depth) as usize;
            if network.len <= end {
                let ways = 1 << (end - network.len);
                values[way..way + ways].fill(network.value);
                at += 1;
                continue;
            }
            // A network that is as short begins no later than those inside it: what is deeper
            // and goes the same way stands together.
            let rest = &inner[at..];
            let same = |other: &Network<V>| self::way(other.path, node.depth) as usize == way;
            let count = rest.partition_point(same);
            deeper[way] = &rest[..count];
            at += count;
        }
        self.finish(place, node, &values, &deeper);
    }

    fn finish(
        &mut self,
        place: usize,
        mut node: Node<V>,
        values: &[V; 64],
        deeper: &[&[Network<V>]; 64],
    ) {
        node.first_value = self.values.len() as u32;
        let mut former = None;
        for (way, value) in values.iter().enumerate() {
            if !deeper[way].is_empty() {
                node.onward |= 1 << way;
            } else if former != Some(*value) {
                node.begins |= 1 << way;
                self.values.push(*value);
                former = Some(*value);
            }
        }
        let first = self.nodes.len();
        node.first_node = first as u32;
        let count = node.onward.count_ones() as usize;
        self.nodes.resize(first + count, Node::empty(values[0]));
        self.nodes[place] = node;
        let onward = deeper.iter().zip(values);
        let onward = onward.filter(|(networks, _)| !networks.is_empty());
        for (index, (networks, value)) in onward.enumerate() {
            self.fill(first + index, networks, *value);
        }
    }
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn is_v4(path: u128) -> bool {
    path >> 32 == 0xffff
}

/// The first `len` bits.
fn mask(len: u8) -> u128 {
    match len {
        0 => 0,
        len => u128::MAX << (128 - u32::from(len)),
    }
}

/// The six bits behind the first `depth`, with zeroes behind the last one: 0 to 63.
fn way(path: u128, depth: u8) -> u32 {
    let rest = path.checked_shl(u32::from(depth)).unwrap_or(0);
    (rest >> (128 - u32::from(STRIDE))) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn trie(networks: &[(&str, u8, u32)]) -> Trie<u32> {
        let each = networks.iter();
        let each = each.map(|(addr, len, value)| (addr.parse().unwrap(), *len, *value));
        Trie::new(each, 0, u32::max)
    }

    fn get(trie: &Trie<u32>, addr: &str) -> u32 {
        trie.get(addr.parse().unwrap())
    }

    #[test]
    fn the_longest_network_counts() {
        let trie = trie(&[
            ("10.0.0.0", 8, 1),
            ("10.1.0.0", 16, 2),
            ("10.1.2.3", 32, 3),
            ("2001:db8::", 32, 4),
            ("2001:db8::1", 128, 5),
        ]);
        for (addr, value) in [
            ("10.2.0.1", 1),
            ("10.1.255.255", 2),
            ("10.1.2.3", 3),
            ("10.1.2.2", 2),
            ("11.0.0.0", 0),
            ("9.255.255.255", 0),
            ("2001:db8::2", 4),
            ("2001:db8::1", 5),
            ("2001:db9::1", 0),
            ("::", 0),
        ] {
            assert_eq!(get(&trie, addr), value, "{addr}");
        }
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_however_it_is_written() {
        let trie = trie(&[("10.0.0.0", 8, 1), ("::ffff:10.1.0.0", 112, 2)]);
        for (addr, value) in [
            ("10.0.0.1", 1),
            ("::ffff:10.0.0.1", 1),
            ("10.1.0.1", 2),
            ("::ffff:10.1.0.1", 2),
            ("::10.0.0.1", 0),
        ] {
            assert_eq!(get(&trie, addr), value, "{addr}");
        }
    }

    #[test]
    fn all_of_ipv6_is_not_all_of_ipv4() {
        let six = trie(&[("::", 0, 1)]);
        assert_eq!((get(&six, "2001:db8::1"), get(&six, "10.0.0.1")), (1, 0));
        let four = trie(&[("0.0.0.0", 0, 1)]);
        assert_eq!((get(&four, "2001:db8::1"), get(&four, "10.0.0.1")), (0, 1));
        // What is shorter than the part that all mapped addresses share names none of them.
        assert_eq!(get(&trie(&[("::", 80, 1)]), "::ffff:10.0.0.1"), 0);
    }

    #[test]
    fn of_a_network_that_comes_twice_the_stronger_value_holds() {
        for order in [[7, 9], [9, 7]] {
            let twice = trie(&[("10.0.0.0", 8, order[0]), ("10.255.0.0", 8, order[1])]);
            assert_eq!(get(&twice, "10.3.2.1"), 9);
        }
        assert_eq!(get(&trie(&[]), "10.3.2.1"), 0);
    }

    fn networks() -> impl Strategy<Value = Vec<(IpAddr, u8, u32)>> {
        // Addresses that share much: nested and neighbouring networks.
        let v4 = (0_u32..1 << 12, 0_u8..21, 0..=32_u8);
        let v4 = v4.prop_map(|(low, shift, len)| (IpAddr::V4((low << shift).into()), len));
        let v6 = (0_u128..1 << 12, 0_u8..117, 0..=128_u8);
        let v6 = v6.prop_map(|(low, shift, len)| (IpAddr::V6((low << shift).into()), len));
        let network = prop_oneof![v4, v6];
        let network = (network, 1_u32..5).prop_map(|((addr, len), value)| (addr, len, value));
        prop::collection::vec(network, 0..60)
    }

    /// The same question asked of a list.
    fn of_list(networks: &[(IpAddr, u8, u32)], addr: IpAddr) -> u32 {
        let inside = networks.iter().filter(|(network, len, _)| {
            let len = match network {
                IpAddr::V4(_) => len + MAPPED,
                IpAddr::V6(_) => *len,
            };
            let is_v4 = is_v4(bits(*network)) && len >= MAPPED;
            (bits(*network) ^ bits(addr)) & mask(len) == 0 && is_v4 == super::is_v4(bits(addr))
        });
        let length = |network: &IpAddr, len: u8| match network {
            IpAddr::V4(_) => len + MAPPED,
            IpAddr::V6(_) => len,
        };
        let best = inside.max_by_key(|(network, len, value)| (length(network, *len), *value));
        best.map_or(0, |(_, _, value)| *value)
    }

    proptest! {
        #[test]
        fn answers_as_a_list_would(networks in networks(), flips in prop::collection::vec(0_u32..128, 0..40)) {
            let trie = Trie::new(networks.iter().copied(), 0, u32::max);
            for (addr, _, _) in &networks {
                let near = flips.iter().map(|flip| bits(*addr) ^ 1 << flip);
                for path in near.chain([bits(*addr)]) {
                    let addr = IpAddr::V6(path.into());
                    prop_assert_eq!(trie.get(addr), of_list(&networks, addr), "{}", addr);
                }
            }
        }
    }
}
