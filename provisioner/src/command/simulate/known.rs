//! What the ledger knows that decides about a node.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Stopped;
use crate::code::{Code, Refusal};
use crate::config::Config;
use crate::control::{self, ControlError};
use crate::judge::JudgedRequest;
use crate::ledger::{Holding, LedgerError, Policy};
use crate::report::Show;
use crate::step::{State, Step};

/// What the ledger knows.
#[derive(Default)]
pub(super) struct Known {
    /// Of the node.
    pub(super) show: Option<Show>,
    /// How many nodes are at each target.
    pub(super) placed: BTreeMap<String, u64>,
}

impl Known {
    /// What the ledger knows. Where there is none, nothing.
    pub(super) fn of(config: &Config, identity: &str) -> anyhow::Result<Self> {
        let show = match control::show(config, identity) {
            Err(ControlError::Ledger(LedgerError::Missing(_))) => return Ok(Self::default()),
            show => show?,
        };
        let placed = match config.placement.is_used() {
            true => control::status(config)?.targets,
            false => BTreeMap::new(),
        };
        Ok(Self { show, placed })
    }

    /// What was decided about the node that keeps it out.
    pub(super) fn held(&self) -> Result<(), Stopped> {
        let Some(Show { node, .. }) = &self.show else {
            return Ok(());
        };
        let held = node.state.is_tombstone() || node.state == State::Quarantined;
        let code = node.code.unwrap_or(Code::IdentityBanned);
        match held {
            true => Err((node.step, Refusal::new(code, node.says.clone()))),
            false => Ok(()),
        }
    }

    /// Whether the node may enrol with this key, where it is enrolled already (rule 38).
    pub(super) fn admits(
        &self,
        request: &JudgedRequest,
        policy: Policy,
        now: Timestamp,
    ) -> Result<(), Stopped> {
        let Some(show) = &self.show else {
            return Ok(());
        };
        let Some(enrolled) = &show.enrolled else {
            return Ok(());
        };
        let holding = Holding {
            enrolled: Some(&enrolled.key),
            until: enrolled.until,
            coming: enrolled.coming.as_deref(),
            approved: show.approved,
            renewal: show.renewal.as_ref(),
        };
        match policy.passes(holding, &request.spki_sha256_hex(), now) {
            true => Ok(()),
            false => Err((Step::Csr, policy.reprovision.keeps_out(&enrolled.key))),
        }
    }
}
