//! Patterns by segment, so that a publish looks only at those that can match.

use foldhash::fast::RandomState;
use std::collections::HashMap;

use super::destination::Destination;
use super::pattern::{Pattern, Segment};

/// Values filed under patterns. A node without values and children is removed, so the tree is never larger than what
/// is subscribed now.
#[derive(Debug)]
pub struct Trie<T> {
    root: Node<T>,
    len: usize,
}

#[derive(Debug)]
struct Node<T> {
    literal: HashMap<Box<str>, Node<T>, RandomState>,
    one: Option<Box<Node<T>>>,
    here: Vec<T>,
    rest: Vec<T>,
}

impl<T: PartialEq> Trie<T> {
    /// An empty trie.
    pub fn new() -> Self {
        Self { root: Node::new(), len: 0 }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Files `value` under `pattern`.
    pub fn insert(&mut self, pattern: &Pattern, value: T) {
        let mut node = &mut self.root;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) => node.literal.entry(text.into()).or_insert_with(Node::new),
                Segment::One => node.one.get_or_insert_with(|| Box::new(Node::new())),
                Segment::Rest => {
                    node.rest.push(value);
                    self.len += 1;
                    return;
                }
            };
        }
        node.here.push(value);
        self.len += 1;
    }

    /// Takes one value equal to `value` away; `false` if there was none.
    pub fn remove(&mut self, pattern: &Pattern, value: &T) -> bool {
        let removed = self.root.remove(&mut pattern.segments(), value);
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `visit` for each value whose pattern matches.
    pub fn for_each_match(&self, destination: &Destination, mut visit: impl FnMut(&T)) {
        if self.len > 0 {
            self.root.visit(destination.segments(), &mut visit);
        }
    }
}

impl<T: PartialEq> Default for Trie<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: PartialEq> Node<T> {
    fn new() -> Self {
        Self { literal: HashMap::default(), one: None, here: Vec::new(), rest: Vec::new() }
    }

    fn is_empty(&self) -> bool {
        self.literal.is_empty() && self.one.is_none() && self.here.is_empty() && self.rest.is_empty()
    }

    // Depth is bounded by the segments of a destination, and so by DESTINATION_BYTES_MAX / 2.
    fn visit<'a>(&self, mut name: impl Iterator<Item = &'a str> + Clone, visit: &mut impl FnMut(&T)) {
        let Some(piece) = name.next() else {
            self.here.iter().for_each(visit);
            return;
        };
        self.rest.iter().for_each(&mut *visit);
        if let Some(child) = self.literal.get(piece) {
            child.visit(name.clone(), visit);
        }
        if let Some(child) = &self.one {
            child.visit(name, visit);
        }
    }

    fn remove<'a>(&mut self, segments: &mut impl Iterator<Item = Segment<'a>>, value: &T) -> bool {
        match segments.next() {
            None => take(&mut self.here, value),
            Some(Segment::Rest) => take(&mut self.rest, value),
            Some(Segment::Literal(text)) => {
                let Some(child) = self.literal.get_mut(text) else { return false };
                let removed = child.remove(segments, value);
                if child.is_empty() {
                    self.literal.remove(text);
                }
                removed
            }
            Some(Segment::One) => {
                let Some(child) = &mut self.one else { return false };
                let removed = child.remove(segments, value);
                if child.is_empty() {
                    self.one = None;
                }
                removed
            }
        }
    }
}

fn take<T: PartialEq>(values: &mut Vec<T>, value: &T) -> bool {
    let position = values.iter().position(|v| v == value);
    position.map(|i| values.remove(i)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn piece() -> impl Strategy<Value = &'static str> {
        prop_oneof![Just("a"), Just("b"), Just("c"), Just("*")]
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        (prop::collection::vec(piece(), 1..5), any::<bool>()).prop_map(|(pieces, rest)| {
            let tail = if rest { "/**" } else { "" };
            Pattern::parse(&format!("/topic/{}{tail}", pieces.join("/"))).unwrap()
        })
    }

    fn name() -> impl Strategy<Value = Destination> {
        prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c")], 1..6)
            .prop_map(|pieces| Destination::internal(&format!("/topic/{}", pieces.join("/"))))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_a_naive_matcher_finds(
            patterns in prop::collection::vec(pattern(), 0..20),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            names in prop::collection::vec(name(), 1..10),
        ) {
            let mut trie = Trie::new();
            let mut naive: Vec<(Pattern, usize)> = patterns.into_iter().enumerate().map(|(i, p)| (p, i)).collect();
            for (pattern, i) in &naive {
                trie.insert(pattern, *i);
            }
            for index in removed {
                if naive.is_empty() { break }
                let (pattern, i) = naive.remove(index.index(naive.len()));
                prop_assert!(trie.remove(&pattern, &i));
            }
            prop_assert_eq!(trie.len(), naive.len());
            for name in names {
                let mut found = Vec::new();
                trie.for_each_match(&name, |i| found.push(*i));
                found.sort_unstable();
                let expected: Vec<_> = naive.iter().filter(|(p, _)| p.matches(&name)).map(|(_, i)| *i).collect();
                prop_assert_eq!(found, expected);
            }
            for (pattern, i) in &naive {
                prop_assert!(trie.remove(pattern, i));
            }
            prop_assert!(trie.root.is_empty());
        }
    }
}
