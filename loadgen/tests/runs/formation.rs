//! Formations of real brokers: they come up linked, nodes live on them where the plan says, and
//! every node answers.

mod asked;
mod coming_up;
mod external;
mod links;
mod runs;
