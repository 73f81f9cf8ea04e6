//! The fault run: fleets are enrolled while everything but the generator's workers is killed, and
//! afterwards nobody may be missing, signed for twice or hold a second certificate.
//!
//! ```text
//! seed ──► Plan (who is killed when) ──► scenario.toml ──► loadgen run ──► Findings ──► Report
//!                                                            ▲                ▲
//!                     pooled helpers, killed from here ──────┘                │
//!                     summary, audit logs of all provisioners, helper's book ─┘
//! ```
//!
//! What a run came to is read from four books that are kept apart: loadgen's own count of its
//! nodes, the provisioners' ledger, their audit logs, and the list a helper keeps of what it signed.

pub mod check;
pub mod drive;
pub mod hunt;
pub mod plan;
pub mod report;
pub mod scenario;
