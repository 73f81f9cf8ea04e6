//! What is said on the control subjects, around the messages of the run itself.

use serde::{Deserialize, Serialize};

use crate::message::{FromWorker, ToWorker};

/// From a worker to the coordinator.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Up {
    /// A worker wants to take part; answered by [`Down::Welcome`] or [`Down::Refused`].
    Hello(Hello),
    /// What time is it? Answered by [`Down::Time`].
    AskTime {
        /// Number of the question.
        question: u32,
    },
    /// The clocks are put together; the worker can be given its orders.
    Joined {
        /// How far its clock may be from the coordinator's, ns.
        clock_uncertainty_ns: u64,
    },
    /// A message of the run.
    Says(Box<FromWorker>),
    /// The worker is there.
    Beat,
    /// The worker leaves before it was told to.
    Leaves {
        /// Why.
        why: String,
    },
}

/// Who wants to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Which of the local workers it is; `None` for one that was started by hand.
    pub seat: Option<u32>,
    /// The machine it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// Descriptors it may have open.
    pub descriptors: Option<u64>,
}

/// From the coordinator to a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Down {
    /// The worker takes part.
    Welcome {
        /// Its number, from 0.
        worker: u32,
        /// Identifier of the run.
        run: String,
    },
    /// It does not.
    Refused {
        /// Why, and what to do.
        why: String,
    },
    /// The time of the run when the question came in.
    Time {
        /// Number of the question.
        question: u32,
        /// Since the start of the run, ns.
        elapsed_ns: u64,
    },
    /// A message of the run.
    Work(Box<ToWorker>),
    /// The coordinator is there.
    Beat,
    /// The run is over: leave.
    Dismissed,
}

/// What one coordinator asks and tells another one on the same broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// Is anybody coordinating here?
    Anybody {
        /// The one who asks.
        run: String,
    },
    /// Yes.
    Me {
        /// The run that is going on.
        run: String,
    },
}
