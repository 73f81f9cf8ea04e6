//! The nouns of the field, each valid by construction.
//!
//! Nothing here touches a network or a disk; time and randomness are values that callers pass in.

mod backoff;
mod caller;
mod causes;
mod identity;
mod seed;
pub mod subject;
mod time;

pub use backoff::Backoff;
pub use caller::{CallerId, CallerIdError};
pub use causes::causes;
pub use identity::{Collective, Identity, IdentityError};
pub use seed::Seed;
pub use time::{Clock, ManualClock, SystemClock, UnixTime};
/// The signal which ends a task and everything it started.
pub use tokio_util::sync::CancellationToken as Shutdown;
