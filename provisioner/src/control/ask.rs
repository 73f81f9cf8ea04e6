//! Asking: one function a question, the same whether a service runs or not.

use serde::de::DeserializeOwned;

use super::{ControlError, Line, Query, answer, service_or, stopped};
use crate::audit::Anchor;
use crate::config::Config;
use crate::ledger::Revocation;
use crate::report::{Node, Show, Status};
use crate::step::State;

/// The status of the service of this configuration.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn status(config: &Config) -> Result<Status, ControlError> {
    ask(config, &Query::Status)
}

/// Its nodes.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn nodes(config: &Config, state: Option<State>) -> Result<Vec<Node>, ControlError> {
    ask(config, &Query::Nodes { state })
}

/// One node; `None` when it was never heard of.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn show(config: &Config, identity: &str) -> Result<Option<Show>, ControlError> {
    let identity = identity.to_owned();
    let renewed = config.renewal_terms();
    ask(config, &Query::Show { identity, renewed })
}

/// The known name most like one that was never heard of.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn nearest(config: &Config, identity: &str) -> Result<Option<String>, ControlError> {
    let identity = identity.to_owned();
    ask(config, &Query::Nearest { identity })
}

/// Every certificate that was revoked.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn revocations(config: &Config) -> Result<Vec<Revocation>, ControlError> {
    ask(config, &Query::Revocations)
}

/// The last line of the audit log that the ledger knows.
///
/// # Errors
/// Neither a service nor a ledger is there.
pub fn anchor(config: &Config) -> Result<Option<Anchor>, ControlError> {
    service_or(&config.state_dir, &Line::Query(Query::Anchor), || {
        let store = stopped::own(config)?;
        Ok(serde_json::from_value(answer(
            &store,
            &Query::Anchor,
            None,
        )?)?)
    })
}

fn ask<T: DeserializeOwned>(config: &Config, query: &Query) -> Result<T, ControlError> {
    service_or(&config.state_dir, &Line::Query(query.clone()), || {
        let store = stopped::read(config)?;
        Ok(serde_json::from_value(answer(&store, query, None)?)?)
    })
}
