//! What a fleet node is, and how anything speaks to it.
