//! The enrolment service as a scenario wants it.

use std::time::Duration;

use serde::Serialize;

use crate::scenario::mistake::Location;
use crate::scenario::words::{Issues, Manage, NewKey};
use crate::units::as_text;

/// The enrolment service.
#[derive(Clone, Debug, Serialize)]
pub struct Provisioner {
    /// Who runs it.
    pub manage: Manage,
    /// What nodes get of it.
    pub issues: Issues,
    /// How long that is valid.
    #[serde(serialize_with = "as_text")]
    pub validity: Duration,
    /// How nodes are asked back before its end, if they are.
    pub renewal: Option<Renewal>,
    /// How many.
    pub count: u32,
    /// Pooled helper processes that sign for each; 0 where each signs itself.
    pub helpers: u32,
    /// The helper's command; the provisioner's own where it is empty.
    pub helper: Vec<String>,
    /// Where it is written, or the scenario's beginning.
    #[serde(skip)]
    pub location: Location,
}

/// Nodes that are asked back before their certificates end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Renewal {
    /// Percent of a certificate's life that is left when the time of its renewal begins.
    pub left: u32,
    /// Percent of that time over which nodes are spread.
    pub spread: u32,
    /// Nodes asked back in a minute.
    pub rate: u32,
    /// Nodes asked back that are not enrolled again yet.
    pub at_once: u32,
    /// How long a node has to come.
    #[serde(serialize_with = "as_text")]
    pub window: Duration,
    /// What is done about nodes that make new keys.
    pub new_key: NewKey,
}

impl Provisioner {
    /// How old a certificate is when the time of its renewal begins; `None` where none is renewed,
    /// and where it is somebody else who says how long they are valid.
    pub fn renewed_after(&self) -> Option<Duration> {
        let theirs = self.manage == Manage::External || !self.helper.is_empty();
        let renewal = self.renewal.as_ref().filter(|_| !theirs)?;
        Some(self.validity * 100_u32.saturating_sub(renewal.left) / 100)
    }
}
