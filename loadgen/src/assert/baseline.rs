//! Values of earlier runs that asserts compare with.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::catalogue::Recorded;
use super::expression::{Expression, Target};
use crate::scenario::Assert;

/// An earlier run, as the manifest of a run tells what it was compared with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BaselineRun {
    /// The folder as the scenario names it.
    pub named: String,
    /// The folder it is, links followed.
    pub folder: String,
    /// Identifier of the run.
    pub run: String,
    /// Every metric of it that was measured, by its name.
    #[serde(skip)]
    pub metrics: BTreeMap<String, Recorded>,
}

/// The value of a metric in a baseline run, in `verdict.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BaselineValue {
    /// The folder as the scenario names it.
    pub folder: String,
    /// Identifier of the run.
    pub run: String,
    /// Its value of the same metric, in the metric's unit.
    pub value: f64,
    /// The value for people.
    pub shown: String,
}

/// The baseline runs of a scenario by the folder it names, read before anything starts.
#[derive(Clone, Debug, Default)]
pub struct Baselines {
    runs: BTreeMap<String, BaselineRun>,
    skipped: bool,
}

impl Baselines {
    /// Compare with nothing: what would be compared is not judged.
    pub fn skipped() -> Self {
        Self {
            skipped: true,
            ..Self::default()
        }
    }

    /// Takes an earlier run in.
    pub fn add(&mut self, run: BaselineRun) {
        self.runs.insert(run.named.clone(), run);
    }

    /// The runs that are compared with.
    pub fn runs(&self) -> impl Iterator<Item = &BaselineRun> {
        self.runs.values()
    }

    /// Whether comparing was left out.
    pub fn is_skipped(&self) -> bool {
        self.skipped
    }

    /// Whether an expression is judged.
    pub fn is_wanted(&self, expression: &Expression) -> bool {
        !self.skipped || !expression.compares()
    }

    /// What an expression is compared with; `None` where it names a value itself.
    pub fn value(&self, assert: &Assert, expression: &Expression) -> Option<BaselineValue> {
        let run = assert.baseline.as_ref().and_then(|of| self.runs.get(of))?;
        let recorded = run.metrics.get(&expression.metric.name())?;
        expression.compares().then(|| BaselineValue {
            folder: run.named.clone(),
            run: run.run.clone(),
            value: recorded.value,
            shown: expression.metric.metric.unit.show(recorded.value),
        })
    }
}

impl Expression {
    /// Whether it compares with a baseline.
    pub fn compares(&self) -> bool {
        matches!(self.target, Target::Baseline(_))
    }
}
