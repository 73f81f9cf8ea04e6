//! A load generator of real fleet nodes.
