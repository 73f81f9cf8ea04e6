//! The ledger that several provisioners share: a JetStream key-value bucket.
//!
//! ```text
//! changes ─► writer ─► turn ─► bucket ─► replica ─► whoever waits
//!              ▲ roll of members      └─► watch ─► replica of every other member
//! ```
//!
//! Each enrolment is one [`Value`](value::Value) under `node.IDENTITY`, written only where
//! its revision is the one it was made from: the revision is the fencing token, and of two
//! members that write at the same time one learns that it lost before anything leaves it. A
//! value names its holder. A member beats under `member.ID`; when its beats end, the others
//! take over what it held at the step it had reached. Names that must be unique
//! among all enrolments are taken under `key.SPKI` and `serial.NUMBER`.
//!
//! Every member keeps a replica of the bucket in tables of the same form as the
//! embedded ledger's, so that reading is the same for both; it is made anew at each start.

mod bucket;
mod group;
mod replica;
mod roll;
mod turn;
mod value;
mod writer;

pub use bucket::{Broker, BucketError, JetStream};
pub use group::{Duty, Group, Pair};
pub(super) use replica::open as open_replica;
pub use replica::read;
pub(super) use writer::{With, start};

#[cfg(test)]
mod tests;
