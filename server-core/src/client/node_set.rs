//! A fixed set of nodes, numbered, so that an account of answers is a few arrays.

use std::collections::HashMap;

use crate::words::Identity;

/// Identities with dense numbers in the order given. Built once per fleet, shared by `Arc`.
#[derive(Debug, Clone, Default)]
pub struct NodeSet {
    nodes: Vec<Identity>,
    index: HashMap<Identity, u32>,
}

impl NodeSet {
    /// The set of these nodes; repeated ones count once.
    #[must_use]
    pub fn new(nodes: impl IntoIterator<Item = Identity>) -> Self {
        let mut set = Self::default();
        for node in nodes {
            let Ok(number) = u32::try_from(set.nodes.len()) else {
                break;
            };
            if !set.index.contains_key(&node) {
                set.index.insert(node.clone(), number);
                set.nodes.push(node);
            }
        }
        set
    }

    /// How many nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// A node's number.
    #[must_use]
    pub fn number(&self, node: &Identity) -> Option<u32> {
        self.index.get(node).copied()
    }

    /// The nodes in order of their numbers.
    #[must_use]
    pub fn nodes(&self) -> &[Identity] {
        &self.nodes
    }
}

impl FromIterator<Identity> for NodeSet {
    fn from_iter<T: IntoIterator<Item = Identity>>(nodes: T) -> Self {
        Self::new(nodes)
    }
}
