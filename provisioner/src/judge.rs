//! The judges: pure functions that say of one thing from outside whether it may go on.
//!
//! [`request`] judges a node's certificate request, [`token`] its provisioning token and
//! [`configuration`] what is about to be sent to it. Each returns a type that only a judge can
//! make, so that nothing unjudged fits into the next step, or a [`crate::code::Refusal`].

mod blocked;
pub mod configuration;
pub(crate) mod extensions;
pub mod identity;
mod inventory;
pub(crate) mod key;
mod pem;
pub mod policy;
mod possession;
mod proof;
mod reply;
pub mod request;
mod shipped;
pub mod token;
mod weak;

pub use blocked::BlockedKeys;
pub use inventory::judge_inventory;
pub use key::KeyKind;
pub use policy::RequestPolicy;
pub use possession::judge_possession;
pub(crate) use possession::judge_proof;
pub use reply::{CsrReply, Ed25519Reply};
pub use request::{JudgedRequest, judge, judge_beside};
pub use shipped::judge_shipped;
