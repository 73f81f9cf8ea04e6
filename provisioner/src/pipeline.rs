//! The road of a node, one module and one type a step, each consumed by the next:
//!
//! ```text
//! arrive    queue    inspect     csr         sign     configure    restart     confirm
//! Arrival → Ticket → Inspected → Requested → Signed → Configured → Restarted → Confirmed
//! ```
//!
//! A step cannot be skipped because it does not compile. A step that does not
//! go on returns a `Stop`; what that means for the node is decided in one
//! place, `settle`.

pub(crate) mod admission;
pub mod arrive;
pub(crate) mod ask;
pub(crate) mod configure;
pub(crate) mod confirm;
mod context;
pub(crate) mod csr;
pub(crate) mod inspect;
pub(crate) mod question;
pub mod queue;
pub(crate) mod restart;
mod retry;
pub(crate) mod settle;
pub(crate) mod sign;
pub(crate) mod signals;

use std::sync::Arc;

pub(crate) use context::{Context, Places, now};
pub(crate) use settle::Stop;

use crate::step::Step;
use admission::Probe;
use confirm::Confirmed;
use inspect::Found;
use queue::Ticket;

/// Takes one node all the way, or says why not and parks it.
pub(crate) async fn enrol(context: Arc<Context>, ticket: Ticket, probe: Probe) {
    let node = ticket.identity.clone();
    let outcome = Box::pin(steps(&context, ticket, probe)).await;
    settle::settle(&context, &node, outcome).await;
}

async fn steps(context: &Context, ticket: Ticket, probe: Probe) -> Result<Confirmed, (Step, Stop)> {
    let at = |step| move |stop| (step, stop);
    let ours = context.take_over(&ticket.identity).await;
    ours.map_err(at(Step::Queue))?;
    let found = inspect::run(context, ticket, probe).await;
    let restarted = match found.map_err(at(Step::Inspect))? {
        Found::Beyond(restarted) => restarted,
        Found::Here(inspected) => {
            let requested = csr::run(context, inspected).await.map_err(at(Step::Csr))?;
            let signed = sign::run(context, requested)
                .await
                .map_err(at(Step::Sign))?;
            let configured = configure::run(context, signed).await;
            let configured = configured.map_err(at(Step::Configure))?;
            restart::run(context, configured)
                .await
                .map_err(at(Step::Restart))?
        }
    };
    confirm::run(context, restarted)
        .await
        .map_err(at(Step::Confirm))
}
