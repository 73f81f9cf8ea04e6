//! What operators tell: carried out beside the running service, or on the ledger
//! of one that is stopped, by the same function.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use server_core::words::Identity;

use super::Live;
use crate::crl::Publisher;
use crate::ledger::{
    Act, Applied, Change, Ledger, LedgerError, Order, Pause, Reason, Ruling, Verb,
};
use crate::report;

/// Longest reason that is kept, characters.
const LONGEST_REASON: usize = 500;

/// What can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "tell", rename_all = "lowercase")]
pub enum Command {
    /// A decision about one node.
    Order {
        /// The node.
        identity: String,
        /// What.
        verb: Verb,
        /// Why.
        why: String,
        /// The node may be one nobody has heard of.
        in_advance: bool,
        /// Why its certificates are revoked, where the verb leaves that open.
        #[serde(default)]
        revoke: Option<Reason>,
    },
    /// To make and publish a new list of revoked certificates.
    List,
    /// To take up no new node.
    Pause {
        /// Why.
        why: String,
    },
    /// To take nodes up again.
    Resume {
        /// Why.
        why: String,
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Told {
    /// The node is as it was told to be.
    Done(Ruling),
    /// The order does not fit what the node is.
    Unfit {
        /// What it is, and what fits.
        says: String,
    },
    /// Nobody has heard of the node.
    Unknown {
        /// A known name much like it.
        nearest: Option<String>,
    },
    /// What was told cannot be right.
    Invalid {
        /// Why.
        says: String,
    },
    /// A list of revoked certificates was published.
    Listed {
        /// Its number.
        number: u64,
        /// How many certificates are on it.
        entries: usize,
    },
    /// The service is paused, or is not.
    Service {
        /// The pause there is now.
        paused: Option<Pause>,
        /// It was so before.
        already: bool,
    },
}

/// Does what an operator tells. `live` is the running service, if one runs.
pub(super) async fn carry_out(
    ledger: &Ledger,
    command: Command,
    by: String,
    live: Option<&dyn Live>,
    publisher: Option<Arc<Publisher>>,
) -> Result<Told, LedgerError> {
    let at = live.map_or_else(Timestamp::now, Live::now);
    match command {
        Command::List => Ok(list(publisher, at, &by).await),
        Command::Order {
            identity,
            verb,
            why,
            in_advance,
            revoke,
        } => {
            let order = Order {
                verb,
                by,
                why: plain(&why),
                in_advance,
                revoke,
            };
            decide(ledger, identity, order, at, live).await
        }
        Command::Pause { why } => {
            let why = plain(&why);
            pause(ledger, true, Pause { since: at, by, why }, live).await
        }
        Command::Resume { why } => {
            let why = plain(&why);
            pause(ledger, false, Pause { since: at, by, why }, live).await
        }
    }
}

async fn list(publisher: Option<Arc<Publisher>>, at: Timestamp, by: &str) -> Told {
    let Some(publisher) = publisher else {
        let says = "no list of revoked certificates is published; see [ca.crl]".to_owned();
        return Told::Unfit { says };
    };
    tracing::info!(by, "a list of revoked certificates is asked for");
    match publisher.make(at).await {
        Ok(published) => Told::Listed {
            number: published.list.number,
            entries: published.list.entries,
        },
        Err(error) => Told::Invalid {
            says: error.to_string(),
        },
    }
}

async fn decide(
    ledger: &Ledger,
    identity: String,
    order: Order,
    at: Timestamp,
    live: Option<&dyn Live>,
) -> Result<Told, LedgerError> {
    let Ok(node) = Identity::parse(&identity) else {
        let says = format!("{identity:?} cannot be the name of a node");
        return Ok(Told::Invalid { says });
    };
    let (verb, by, why) = (order.verb, order.by.clone(), order.why.clone());
    let act = Act::Ordered(order);
    let change = Change { identity, at, act };
    Ok(match ledger.commit(change).await? {
        Applied::Ordered(ruling) => {
            if !ruling.already {
                let state = ruling.state;
                tracing::info!(%node, %verb, %state, code = verb.code().map(tracing::field::display), by, why, "decided");
                if let Some(live) = live {
                    live.decided(&node, state);
                }
            }
            Told::Done(ruling)
        }
        Applied::Unfit(says) => Told::Unfit { says },
        // An order is judged by what is known of the node alone.
        _ => Told::Unknown {
            nearest: report::nearest(ledger.store(), node.as_str())?,
        },
    })
}

async fn pause(
    ledger: &Ledger,
    on: bool,
    pause: Pause,
    live: Option<&dyn Live>,
) -> Result<Told, LedgerError> {
    let before = ledger.store().pause()?;
    if before.is_some() == on {
        return Ok(Told::Service {
            paused: before,
            already: true,
        });
    }
    ledger.set_pause(on, pause.clone()).await?;
    let word = if on { "paused" } else { "resumed" };
    tracing::warn!(by = pause.by, why = pause.why, "{word}");
    if let Some(live) = live {
        live.paused(on);
    }
    Ok(Told::Service {
        paused: on.then_some(pause),
        already: false,
    })
}

/// A reason as one line that can be shown anywhere.
fn plain(why: &str) -> String {
    let kept = why.trim().chars().take(LONGEST_REASON);
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
