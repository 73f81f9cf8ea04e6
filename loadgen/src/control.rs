//! How coordinator and workers find each other and talk: over a NATS broker of its own, never over
//! the network under test.
//!
//! ```text
//! coordinator: Drive ──ToWorker──► Crew ──► Link ──► control broker ──► Link ──► join ──► worker
//!                    ◄─CrewEvent── Seats ◄─ Up ─────────────────────── Down ─►  Clock
//! ```
//!
//! A worker says hello and is given a seat or refused; it then works out how its clock stands to
//! the coordinator's, and does as it is told. Both sides tell every second that they are there, and
//! each counts its own beats in which it has not heard of the other: after [`SILENCE`] the other is
//! gone. A side that is itself short of CPU counts slowly, and so holds nobody else to be gone.

pub mod broker;
mod children;
pub mod crew;
pub mod envelope;
pub mod join;
pub mod link;
pub mod seats;
pub mod subjects;
pub mod time;
pub mod words;

use std::time::Duration;

/// Number of what is said on the control subjects; raised with every change of it.
pub const PROTOCOL: u32 = 1;

/// The environment variable with the token of the control broker.
pub const TOKEN: &str = "LOADGEN_TOKEN";
/// The environment variable that tells a local worker which of them it is.
pub const SEAT: &str = "LOADGEN_SEAT";

/// How often each side tells that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);
/// How long the other side may say nothing before it counts as gone.
pub const SILENCE: Duration = Duration::from_secs(30);

/// The commit this was built from, where the build told it (`make` does).
pub fn revision() -> Option<&'static str> {
    option_env!("MUSTER_REVISION").filter(|revision| !revision.is_empty())
}

/// This build, as far as the build told: `0.1.0`, or `0.1.0+4f2a91c`.
pub fn release() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match revision() {
        Some(revision) => format!("{version}+{revision}"),
        None => version.to_owned(),
    }
}
