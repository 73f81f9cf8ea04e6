//! The enrolment service as a scenario wants it.

use serde::Serialize;

use crate::scenario::mistake::Location;
use crate::scenario::words::{Issues, Manage};

/// The enrolment service.
#[derive(Clone, Debug, Serialize)]
pub struct Provisioner {
    /// Who runs it.
    pub manage: Manage,
    /// What nodes get of it.
    pub issues: Issues,
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
