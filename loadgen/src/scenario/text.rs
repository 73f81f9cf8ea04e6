//! A scenario as it travels: the text of its files with what was said on the command line, from
//! which any machine reads the same.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::load::{Assignment, Files, parse_from};
use super::mistake::{Mistakes, Source};
use super::model::{Action, Limits, Op, Phase, RequestOp, Scenario, Target};
use super::words::Expect;
use crate::pace::Pace;

/// The phase and the operation with which `loadgen up` asks the whole fleet once.
pub const ANSWER: &str = "answer";
/// The operation of [`ANSWER`].
pub const PING: &str = "ping";

/// How long an answer of the whole fleet is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// Everything a scenario is read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScenarioText {
    /// Its files, the scenario itself first.
    files: Vec<Source>,
    /// Parameters given on the command line.
    set: Vec<Assignment>,
    /// Only what brings the fleet up is wanted.
    only_up: bool,
}

impl ScenarioText {
    /// Reads the scenario; no file of this machine is looked at.
    ///
    /// # Errors
    /// Every mistake, in file order.
    pub fn read(&self) -> Result<Scenario, Mistakes> {
        let (path, text) = match self.files.first() {
            Some(first) => (&*first.path, &*first.text),
            None => ("", ""),
        };
        let files = Files::Given(&self.files);
        let mut scenario = parse_from(files, Path::new(path), text, &self.set)?;
        if self.only_up {
            scenario.only_bring_up();
        }
        Ok(scenario)
    }
}

impl Scenario {
    /// What it was read from.
    pub fn text(&self) -> ScenarioText {
        ScenarioText {
            files: self.sources.clone(),
            set: self.assignments.clone(),
            only_up: self.only_up,
        }
    }

    /// Leaves what brings the fleet up, and asks the whole fleet once at the end.
    pub fn only_bring_up(&mut self) {
        self.only_up = true;
        self.asserts.clear();
        self.limits = Limits::default();
        let brings_up =
            |op: &Op| matches!(op.action, Action::Connect { .. } | Action::Provision { .. });
        for phase in &mut self.phases {
            phase.ops.retain(brings_up);
            phase.keep.clear();
        }
        let location = self.phases.first().map(|phase| phase.location.clone());
        self.phases.retain(|phase| !phase.ops.is_empty());
        let Some(location) = location else { return };
        self.phases.push(Phase {
            name: ANSWER.to_owned(),
            about: "every node answers".to_owned(),
            until: None,
            timeout: None,
            duration: None,
            warmup: 0,
            keep: Vec::new(),
            ops: vec![Op {
                name: PING.to_owned(),
                action: Action::Request(RequestOp {
                    to: Target::All,
                    call: None,
                    expect: Expect::OneReplyPerNode,
                    collect: ANSWER_WITHIN,
                }),
                pace: Pace::Every {
                    every: Duration::from_secs(1),
                    count: Some(1),
                },
                location: location.clone(),
            }],
            location,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::plan::Plan;

    #[test]
    fn a_scenario_that_travelled_comes_to_the_same_plan() {
        let folder = tempfile::tempdir().unwrap();
        let quickstart = include_str!("../../../scenarios/quickstart.toml");
        let file = folder.path().join("some.toml");
        // One section in a file of its own: what is included travels along.
        let limits = quickstart.find("[limits]").unwrap();
        let (before, after) = quickstart.split_at(limits);
        let text = format!("include = [\"rest/more.toml\"]\n{before}");
        std::fs::write(&file, text).unwrap();
        std::fs::create_dir(folder.path().join("rest")).unwrap();
        std::fs::write(folder.path().join("rest/more.toml"), after).unwrap();
        let set = [Assignment {
            name: "nodes".to_owned(),
            value: "77".to_owned(),
        }];
        for only_up in [false, true] {
            let mut here = super::super::load(&file, &set).unwrap();
            if only_up {
                here.only_bring_up();
            }
            let told = serde_json::to_string(&here.text()).unwrap();
            let text: ScenarioText = serde_json::from_str(&told).unwrap();
            std::fs::rename(folder.path().join("rest"), folder.path().join("away")).unwrap();
            let there = text.read().unwrap();
            std::fs::rename(folder.path().join("away"), folder.path().join("rest")).unwrap();
            assert_eq!(there.nodes(), 77);
            assert_eq!(Plan::new(here).sha256(), Plan::new(there).sha256());
        }
    }
}
