//! A scenario: a TOML file that says who takes part in a load test, what happens in which order
//! and what must hold.
//!
//! ```text
//! file ──► tree (values with places) ──include, --set, ${…}──► tree ──read, check──► Scenario
//! ```
//!
//! All mistakes are told at once, each with file, line, column, the nearest valid name and what to
//! write. Nothing of a scenario is looked at again as text after this.

mod asserts;
mod behaviour;
mod capabilities;
mod collectives;
mod fleets;
mod keys;
mod load;
mod mistake;
mod model;
mod paces;
mod phases;
mod read;
mod renewal;
mod share;
mod spread;
mod text;
mod tokens;
mod topology;
mod tree;
mod words;

pub use behaviour::Behaviour;
pub use capabilities::Capabilities;
pub use collectives::collectives;
pub(crate) use keys::{Key, Kind, Need, OP_KEYS, SCENARIO, Section};
pub use load::{Assignment, load, parse};
pub(crate) use mistake::suggestion;
pub use mistake::{Location, Mistake, Mistakes, Source, nearest};
pub use model::{
    Abort, Action, Assert, BrokerLink, Call, External, Fact, FaultOf, FaultOp, Fleet, Generator,
    Limits, LinkEffect, LinkFault, Moment, Op, Output, Phase, Preflight, ProgressStep, Provisioner,
    Reconnect, Renewal, RequestOp, Scenario, Spread, Target, Tier, Topology, Until,
};
pub use share::{Share, ShareError, split};
pub use text::{ANSWER, PING, ScenarioText};
pub use words::{
    AssertLevel, Check, CutMode, Do, Expect, FaultKind, Format, Issues, KeyKind, LinkKind, Manage,
    Model, NewKey, OnFail, Outcome, PaceKind, Reached, ReconnectPolicy, Role, SourceAddress, Start,
    Tls, Verify,
};
