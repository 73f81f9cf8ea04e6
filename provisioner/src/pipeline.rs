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
mod holds;
pub(crate) mod inspect;
mod issue;
mod place;
pub(crate) mod question;
pub mod queue;
pub(crate) mod restart;
mod retry;
mod seal;
pub(crate) mod settle;
pub(crate) mod sign;
pub(crate) mod signals;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use context::{Context, Places, now};
pub(crate) use holds::Holds;
pub(crate) use place::Places as PromisedPlaces;
pub(crate) use settle::Stop;

use crate::step::Step;
use admission::Probe;
use confirm::Confirmed;
use inspect::Found;
use queue::{Queue, Ticket};
use server_core::words::Identity;

/// Takes one node all the way, or says why not and parks it.
pub(crate) async fn enrol(context: Arc<Context>, ticket: Ticket, probe: Probe) {
    let node = ticket.identity.clone();
    let _seat = Seat {
        queue: &context.queue,
        node: &node,
    };
    let outcome = Box::pin(steps(&context, ticket, probe)).await;
    settle::settle(&context, &node, outcome).await;
}

/// The place in the queue of a node that is worked on, given back should its flow end by a defect:
/// it would stay taken for ever, and the node never be tried again.
struct Seat<'a> {
    queue: &'a Mutex<Queue>,
    node: &'a Identity,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.leave(self.node);
        }
    }
}

async fn steps(context: &Context, ticket: Ticket, probe: Probe) -> Result<Confirmed, (Step, Stop)> {
    let at = |step| move |stop| (step, stop);
    let ours = context.take_over(&ticket.identity).await;
    ours.map_err(at(Step::Queue))?;
    let found = inspect::run(context, ticket, probe).await;
    let restarted = match found.map_err(at(Step::Inspect))? {
        Found::Beyond(restarted) => restarted,
        Found::Enrolled(confirmed) => return Ok(confirmed),
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
    // One that may never have heard of its restart is not one that came back from it.
    let step = match restarted.certain {
        true => Step::Confirm,
        false => Step::Restart,
    };
    confirm::run(context, restarted).await.map_err(at(step))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::panic::catch_unwind;

    use jiff::Timestamp;

    use super::arrive::Arrival;
    use super::queue::Offer;
    use super::*;
    use crate::ledger::Source;

    #[test]
    fn a_flow_that_ends_by_a_defect_gives_its_place_back() {
        let arrival = Arrival {
            identity: Identity::parse("n1.example.net").unwrap(),
            source: Source::Startup,
            at: Timestamp::UNIX_EPOCH,
            version: None,
        };
        let queue = Mutex::new(Queue::new(8));
        let seat = Seat {
            queue: &queue,
            node: &arrival.identity,
        };
        queue.lock().unwrap().offer(&arrival);
        queue.lock().unwrap().take().unwrap();
        drop(seat);
        assert_eq!(queue.lock().unwrap().offer(&arrival), Offer::Known);
        let ended = catch_unwind(|| {
            let _seat = Seat {
                queue: &queue,
                node: &arrival.identity,
            };
            panic!("a defect");
        });
        assert!(ended.is_err());
        assert_eq!(queue.lock().unwrap().offer(&arrival), Offer::Queued);
    }
}
