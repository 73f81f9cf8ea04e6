//! The enrolment service as a scenario wants it.

use serde::Serialize;

use crate::scenario::mistake::Location;
use crate::scenario::words::Manage;

/// The enrolment service.
#[derive(Clone, Debug, Serialize)]
pub struct Provisioner {
    /// Who runs it.
    pub manage: Manage,
    /// How many.
    pub count: u32,
    /// The pooled helper that signs for them; the built-in authority where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub helper: Option<Vec<String>>,
    /// Where it is written, or the scenario's beginning.
    #[serde(skip)]
    pub location: Location,
}
