//! The trie while routes are inserted: nodes with growable lists, frozen at the end.

use super::{Alternative, Choice, Entry, INLINE, Kind, NONE, Node, Trie};
use crate::TrailingSlash;
use crate::pattern::Part;

/// A trie under construction; holds a tree of paths per root.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    nodes: Vec<DraftNode>,
    roots: Vec<usize>,
}

#[derive(Debug, Default)]
struct DraftNode {
    label: Vec<u8>,
    /// Sorted by the first byte of the label; at most one per byte.
    children: Vec<usize>,
    /// In the order in which they are tried.
    alternatives: Vec<DraftAlternative>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct DraftAlternative {
    kind: Kind,
    suffix: Box<[u8]>,
    child: usize,
}

impl Draft {
    /// Starts another tree of paths; returns its number.
    pub(crate) fn add_root(&mut self) -> u32 {
        let node = self.add_node(Vec::new());
        self.roots.push(node);
        (self.roots.len() - 1) as u32
    }

    /// Adds a route under the root `root`. Entries of one pattern stay in insertion order
    /// until [`Draft::freeze`] sorts them.
    pub(crate) fn insert(&mut self, root: u32, parts: &[Part], slash: TrailingSlash, entry: Entry) {
        let mut node = self.roots[root as usize];
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Literal(literal) => {
                    let is_last = index + 1 == parts.len();
                    let before_rest = parts.get(index + 1) == Some(&Part::Rest);
                    let mut literal = &**literal;
                    if slash == TrailingSlash::Ignore
                        && let [bare @ .., b'/'] = literal
                        && (index > 0 || !bare.is_empty())
                    {
                        if is_last {
                            literal = bare;
                        } else if before_rest {
                            let end = self.descend(node, bare);
                            let tail = self.alternative(end, Kind::RestAtEnd, &[]);
                            self.nodes[tail].entries.push(entry);
                        }
                    }
                    node = self.descend(node, literal);
                }
                Part::Param { suffix } => node = self.alternative(node, Kind::Param, suffix),
                Part::Rest => node = self.alternative(node, Kind::Rest, &[]),
            }
        }
        self.nodes[node].entries.push(entry);
    }

    /// Makes the immutable trie and the nodes of its roots. `order` sorts the entries of one
    /// pattern.
    pub(crate) fn freeze(
        mut self,
        mut order: impl FnMut(&Entry, &Entry) -> std::cmp::Ordering,
    ) -> (Trie, Vec<u32>) {
        for node in &mut self.nodes {
            node.entries.sort_by(&mut order);
        }
        let mut freezer = Freezer::new(&self);
        let roots = self.roots.clone();
        let mut ids = Vec::with_capacity(roots.len());
        for root in roots {
            ids.push(freezer.tree(&self, root));
        }
        (freezer.finish(), ids)
    }

    /// The node to lay out for `node`: a node that does nothing but lead to its only child is
    /// left out, as most nodes behind a parameter and all roots.
    fn without_pass_through(&self, node: usize) -> &DraftNode {
        let source = &self.nodes[node];
        match source.children.as_slice() {
            [only]
                if source.label.is_empty()
                    && source.entries.is_empty()
                    && source.alternatives.is_empty() =>
            {
                &self.nodes[*only]
            }
            _ => source,
        }
    }

    fn add_node(&mut self, label: Vec<u8>) -> usize {
        self.nodes.push(DraftNode {
            label,
            ..DraftNode::default()
        });
        self.nodes.len() - 1
    }

    /// The node that `literal` leads to from the end of `node`, created or split as needed.
    fn descend(&mut self, mut node: usize, mut literal: &[u8]) -> usize {
        while let Some(&first) = literal.first() {
            let found = self.nodes[node]
                .children
                .binary_search_by_key(&first, |child| self.nodes[*child].label[0]);
            let child = match found {
                Ok(place) => self.nodes[node].children[place],
                Err(place) => {
                    let child = self.add_node(literal.to_vec());
                    self.nodes[node].children.insert(place, child);
                    return child;
                }
            };
            let label = &self.nodes[child].label;
            let common = label
                .iter()
                .zip(literal)
                .take_while(|(left, right)| left == right)
                .count();
            if common < label.len() {
                self.split(child, common);
            }
            node = child;
            literal = &literal[common..];
        }
        node
    }

    /// Cuts the label of `node` at `at`; what it had moves to a new child.
    fn split(&mut self, node: usize, at: usize) {
        let tail = self.nodes[node].label.split_off(at);
        let label = std::mem::take(&mut self.nodes[node].label);
        let moved = std::mem::take(&mut self.nodes[node]);
        let child = self.add_node(tail);
        self.nodes[child] = DraftNode {
            label: std::mem::take(&mut self.nodes[child].label),
            ..moved
        };
        self.nodes[node] = DraftNode {
            label,
            children: vec![child],
            ..DraftNode::default()
        };
    }

    /// The node behind an alternative of `node`. Longer suffixes are tried first, because they
    /// are more specific; then the plain parameter, then the rest.
    fn alternative(&mut self, node: usize, kind: Kind, suffix: &[u8]) -> usize {
        let rank = |kind: Kind, suffix: &[u8]| {
            let kind = match kind {
                Kind::Param => 0,
                Kind::Rest => 1,
                Kind::RestAtEnd => 2,
            };
            (kind, std::cmp::Reverse(suffix.len()), suffix.to_vec())
        };
        let wanted = rank(kind, suffix);
        let found = self.nodes[node]
            .alternatives
            .binary_search_by(|known| rank(known.kind, &known.suffix).cmp(&wanted));
        match found {
            Ok(place) => self.nodes[node].alternatives[place].child,
            Err(place) => {
                let child = self.add_node(Vec::new());
                let suffix = suffix.into();
                self.nodes[node].alternatives.insert(
                    place,
                    DraftAlternative {
                        kind,
                        suffix,
                        child,
                    },
                );
                child
            }
        }
    }
}

/// Lays nodes out so that the children of a node are neighbours, near their parent.
struct Freezer {
    nodes: Vec<Node>,
    labels: Vec<u8>,
    alternatives: Vec<Alternative>,
    entries: Vec<Entry>,
}

/// A node to lay out: its draft, its place, and what it inherits.
struct Task {
    draft: usize,
    id: u32,
    fail: u32,
    fail_alternative: u32,
    captures: u8,
    since_capture: u16,
}

impl Freezer {
    fn new(draft: &Draft) -> Self {
        Freezer {
            nodes: Vec::with_capacity(draft.nodes.len()),
            labels: Vec::new(),
            alternatives: Vec::new(),
            entries: Vec::new(),
        }
    }

    fn reserve(&mut self, count: usize) -> u32 {
        let first = self.nodes.len();
        self.nodes.resize(first + count, EMPTY);
        first as u32
    }

    fn tree(&mut self, draft: &Draft, start: usize) -> u32 {
        let root = self.reserve(1);
        let mut tasks = vec![Task {
            draft: start,
            id: root,
            fail: NONE,
            fail_alternative: 0,
            captures: 0,
            since_capture: 0,
        }];
        while let Some(task) = tasks.pop() {
            self.node(draft, &task, &mut tasks);
        }
        root
    }

    fn node(&mut self, draft: &Draft, task: &Task, tasks: &mut Vec<Task>) {
        let source = draft.without_pass_through(task.draft);
        let children = self.reserve(source.children.len());
        let mut node = Node {
            label: self.labels.len() as u32,
            label_len: source.label.len() as u16,
            child_count: source.children.len() as u8,
            children,
            alternatives: self.alternatives.len() as u32,
            alternative_count: source.alternatives.len() as u32,
            entries: self.entries.len() as u32,
            entry_count: source.entries.len() as u32,
            fail: task.fail,
            fail_alternative: task.fail_alternative,
            since_capture: task.since_capture + source.label.len() as u16,
            captures: task.captures,
            ..EMPTY
        };
        for (slot, byte) in node.inline.iter_mut().zip(&source.label) {
            *slot = *byte;
        }
        if source.label.len() > INLINE {
            self.labels.extend_from_slice(&source.label);
        }
        self.entries.extend_from_slice(&source.entries);
        for (slot, child) in node.index.iter_mut().zip(&source.children) {
            *slot = draft.nodes[*child].label[0];
        }
        let (fail, fail_alternative) = if source.alternatives.is_empty() {
            (task.fail, task.fail_alternative)
        } else {
            (task.id, 0)
        };
        for (place, child) in source.children.iter().enumerate() {
            tasks.push(Task {
                draft: *child,
                id: children + place as u32,
                fail,
                fail_alternative,
                captures: task.captures,
                since_capture: node.since_capture,
            });
        }
        let first_choice = self.reserve(source.alternatives.len());
        if let [only] = source.alternatives.as_slice()
            && only.kind == Kind::Param
            && only.suffix.is_empty()
        {
            node.choice = Choice::Param;
            node.alternatives = first_choice;
        }
        for (place, alternative) in source.alternatives.iter().enumerate() {
            let is_last = place + 1 == source.alternatives.len();
            let id = first_choice + place as u32;
            if node.choice == Choice::Listed {
                self.alternatives.push(Alternative {
                    kind: alternative.kind,
                    suffix: self.labels.len() as u32,
                    suffix_len: alternative.suffix.len() as u16,
                    child: id,
                });
                self.labels.extend_from_slice(&alternative.suffix);
            }
            tasks.push(Task {
                draft: alternative.child,
                id,
                fail: if is_last { task.fail } else { task.id },
                fail_alternative: if is_last {
                    task.fail_alternative
                } else {
                    place as u32 + 1
                },
                captures: task.captures + 1,
                since_capture: alternative.suffix.len() as u16,
            });
        }
        self.nodes[task.id as usize] = node;
    }

    fn finish(self) -> Trie {
        let first_bytes = self
            .nodes
            .iter()
            .map(|node| node.inline[0])
            .chain([0; 16])
            .collect();
        let steps = self.steps();
        Trie {
            nodes: self.nodes.into(),
            first_bytes,
            labels: self.labels.into(),
            alternatives: self.alternatives.into(),
            entries: self.entries.into(),
            steps,
        }
    }

    /// A walk enters a node, then at worst the subtree of one static child and those of all
    /// alternatives. Children have higher numbers than their parents.
    fn steps(&self) -> u64 {
        let mut below = vec![0_u64; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate().rev() {
            let children =
                node.children as usize..node.children as usize + usize::from(node.child_count);
            let statics = below[children].iter().copied().max().unwrap_or(0);
            let first = node.alternatives as usize;
            let listed = match node.choice {
                Choice::Param => first..first + 1,
                Choice::Listed => {
                    let choices =
                        &self.alternatives[first..first + node.alternative_count as usize];
                    choices.first().map_or(0..0, |choice| {
                        let first = choice.child as usize;
                        first..first + choices.len()
                    })
                }
            };
            let others = below[listed].iter().copied();
            below[id] = others.fold(1 + statics, u64::saturating_add);
        }
        below.into_iter().max().unwrap_or(0)
    }
}

const EMPTY: Node = Node {
    inline: [0; INLINE],
    index: [0; 8],
    label: 0,
    label_len: 0,
    child_count: 0,
    children: 0,
    alternatives: 0,
    entries: 0,
    entry_count: 0,
    fail: NONE,
    fail_alternative: 0,
    alternative_count: 0,
    since_capture: 0,
    captures: 0,
    choice: Choice::Listed,
};
