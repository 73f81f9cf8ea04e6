//! The floor: what a bare client reaches on the same brokers, with the same bytes, so that what our
//! nodes cost can be told as a ratio.
//!
//! ```text
//! Brokers (started once) ──► bare ──► ours ──► ours ──► bare ──► Report (one line of JSON)
//! Exchange (request and reply bytes of a real ping) ──► Swarm (bare), Asker (bare)
//! ```
//!
//! A bare connection connects, subscribes and answers, and does nothing else: no identity, no
//! verification, no reconnect, no timers.

pub mod asker;
pub mod brokers;
pub mod crew;
pub mod exchange;
pub mod ours;
pub mod protocol;
pub mod report;
pub mod socket;
pub mod swarm;
