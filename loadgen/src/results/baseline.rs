//! The runs that asserts compare with, read from their folders before anything starts.
//!
//! A baseline is worth comparing with when it passed, did the same work, and did it on the same
//! kind of machine; anything else is refused with what to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Host;
use super::manifest::{ScenarioIdentity, Tool, workload_sha256};
use crate::assert::{BaselineRun, Baselines, Expression, Recorded, record};
use crate::measure::Totals;
use crate::scenario::{Assert, Mistake, Mistakes, Scenario};

/// The file of a results folder that holds every metric.
pub const METRICS_FILE: &str = "metrics.json";

/// What must be known of a run to compare with it.
#[derive(Debug, Deserialize)]
struct ManifestRead {
    run: String,
    tool: Tool,
    scenario: ScenarioIdentity,
    state: String,
    host: Host,
}

/// `metrics.json`: every metric an assert can name, with its value.
#[derive(Debug, Serialize, Deserialize)]
struct Metrics {
    schema: u32,
    /// Identifier of the run.
    run: String,
    metrics: BTreeMap<String, Recorded>,
}

/// The text of [`METRICS_FILE`].
///
/// # Errors
/// Never for values of these types; the serializer's signature has one.
pub fn metrics_json(
    run: &str,
    scenario: &Scenario,
    totals: &Totals,
) -> serde_json::Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(&Metrics {
        schema: 1,
        run: run.to_owned(),
        metrics: record(scenario, totals),
    })?;
    text.push(b'\n');
    Ok(text)
}

/// Reads every baseline that the asserts of a scenario compare with. `host` is this machine.
///
/// # Errors
/// One mistake for each assert whose baseline cannot be compared with, and for each value that
/// the baseline does not have.
pub fn load_baselines(scenario: &Scenario, host: &Host) -> Result<Baselines, Mistakes> {
    let mut baselines = Baselines::default();
    let mut mistakes = Vec::new();
    for assert in &scenario.asserts {
        let Some(named) = &assert.baseline else {
            continue;
        };
        let mut mistake = |message| {
            mistakes.push(Mistake {
                location: assert.location.clone(),
                message,
            });
        };
        match read(named, scenario, host) {
            Ok(run) => {
                lacking(assert, &run).for_each(&mut mistake);
                baselines.add(run);
            }
            Err(why) => mistake(format!("baseline = \"{named}\": {why}")),
        }
    }
    match mistakes.is_empty() {
        true => Ok(baselines),
        false => Err(Mistakes(mistakes)),
    }
}

/// Values an assert compares with that the baseline does not have.
fn lacking(assert: &Assert, run: &BaselineRun) -> impl Iterator<Item = String> {
    let absent =
        |that: &&Expression| that.compares() && !run.metrics.contains_key(&that.metric.name());
    assert.that.iter().filter(absent).map(move |that| {
        format!(
            "\"{}\": {}/{METRICS_FILE} has no {}, as it was not measured there or in too few \
             samples; name a run that has it, or compare with a value",
            that.text,
            run.named,
            that.metric.name()
        )
    })
}

fn read(named: &str, scenario: &Scenario, host: &Host) -> Result<BaselineRun, String> {
    let folder = Path::new(named);
    let again = again(scenario);
    if !folder.exists() {
        // A link to a run that was deleted is not there either.
        return Err(format!(
            "there is no such folder; name the results of a passing run of {}, or run once with \
             --no-baseline: a passing run becomes results/last-green",
            scenario.name
        ));
    }
    let manifest: ManifestRead = json(folder, "manifest.json")
        .map_err(|why| format!("{why}; name the results folder of a run, or {again}"))?;
    comparable(&manifest, scenario, host).map_err(|why| format!("{why}; {again}"))?;
    let metrics: Metrics = json(folder, METRICS_FILE).map_err(|why| format!("{why}; {again}"))?;
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    Ok(BaselineRun {
        named: named.to_owned(),
        folder: path.display().to_string(),
        run: manifest.run,
        metrics: metrics.metrics,
    })
}

/// How to come by a baseline that can be compared with.
fn again(scenario: &Scenario) -> String {
    format!(
        "run once with --no-baseline and keep that folder, as results/baseline/{}",
        scenario.name
    )
}

/// Why a run says nothing about this one.
fn comparable(theirs: &ManifestRead, scenario: &Scenario, host: &Host) -> Result<(), String> {
    let run = &theirs.run;
    if theirs.scenario.name != scenario.name {
        return Err(format!(
            "{run} is a run of {}, and this is {}",
            theirs.scenario.name, scenario.name
        ));
    }
    if theirs.state != "pass" {
        return Err(match theirs.state.as_str() {
            "running" => format!("{run} did not come to its end"),
            state => format!("{run} ended with {state}, and only a run that passed is a measure"),
        });
    }
    let Some(workload) = &theirs.scenario.workload_sha256 else {
        return Err(format!(
            "{run} was made by loadgen {}, which did not record what it did",
            theirs.tool.version
        ));
    };
    if *workload != workload_sha256(scenario) {
        let params = other_params(&theirs.scenario, scenario);
        let why = match params.is_empty() {
            true => "its brokers, fleets or phases are others".to_owned(),
            false => params,
        };
        return Err(format!("{run} did other work: {why}"));
    }
    if theirs.tool.profile != Tool::this().profile {
        return Err(format!(
            "{run} was made by a {} build, and this is a {} build",
            theirs.tool.profile,
            Tool::this().profile
        ));
    }
    match other_machine(&theirs.host, host) {
        Some(why) => Err(format!("{run} was made on another kind of machine: {why}")),
        None => Ok(()),
    }
}

/// `nodes = 1000 there, 2000 here`.
fn other_params(theirs: &ScenarioIdentity, ours: &Scenario) -> String {
    let value =
        |value: Option<&serde_json::Value>| value.map_or("none".to_owned(), |v| v.to_string());
    let names = theirs.params.keys().chain(ours.params.keys());
    let names: std::collections::BTreeSet<&String> = names.collect();
    let others = names.into_iter().filter_map(|name| {
        let (there, here) = (theirs.params.get(name), ours.params.get(name));
        (there != here).then(|| format!("{name} = {} there, {} here", value(there), value(here)))
    });
    others.collect::<Vec<_>>().join("; ")
}

/// What tells the kinds of two machines apart: processor, cores, and memory where it is off by more
/// than an eighth.
fn other_machine(theirs: &Host, ours: &Host) -> Option<String> {
    let told = |what: &str, there: &dyn std::fmt::Display, here: &dyn std::fmt::Display| {
        Some(format!("{there}{what} there, {here}{what} here"))
    };
    if let (Some(there), Some(here)) = (&theirs.cpu_model, &ours.cpu_model)
        && there != here
    {
        return told("", there, here);
    }
    if let (Some(there), Some(here)) = (theirs.cores, ours.cores)
        && there != here
    {
        return told(" cores", &there, &here);
    }
    if let (Some(there), Some(here)) = (theirs.memory_bytes, ours.memory_bytes)
        && there.abs_diff(here) > here / 8
    {
        let size = |bytes| crate::units::Size(bytes).brief();
        return told(" of memory", &size(there), &size(here));
    }
    None
}

fn json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<T, String> {
    let path = folder.join(name);
    let shown = path.display();
    let bytes = fs::read(&path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    serde_json::from_slice(&bytes).map_err(|error| format!("{shown} is not understood: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use serde_json::{Value, json};

    use super::*;
    use crate::assert::{AssertState, judge_all};
    use crate::measure::{Counter, OpKey, OpTotal};
    use crate::plan::Plan;
    use crate::results::Manifest;
    use crate::scenario::parse;

    const ASK: &str = include_str!("../../tests/data/ask.toml");

    fn host() -> Host {
        Host {
            cpu_model: Some("Zuse Z4".to_owned()),
            cores: Some(2),
            memory_bytes: Some(24 << 30),
            ..Host::default()
        }
    }

    /// The scenario with an assert that compares with `folder`.
    fn scenario(folder: &Path, change: (&str, &str)) -> Scenario {
        let text = format!(
            "{}\n[[assert]]\nphase = \"ask\"\nbaseline = \"{}\"\n\
             that = [\"ping.missing <= baseline * 1.5\"]\n",
            ASK.replacen(change.0, change.1, 1),
            folder.display()
        );
        let parsed = parse(Path::new("ask.toml"), &text, &[]);
        parsed.unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// A folder with the results of a run of that scenario that passed, `change`d.
    fn results(change: impl Fn(&mut Value)) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let scenario = scenario(folder.path(), ("", ""));
        let plan = Plan::new(scenario);
        let mut manifest = Manifest::begin("20261004-0912-ask-a1b2", &plan, 1, host());
        manifest.state = "pass".to_owned();
        let mut manifest = serde_json::to_value(manifest).unwrap();
        change(&mut manifest);
        let metrics = json!({ "schema": 1, "run": "r", "metrics": {
            "ask/ping.missing": { "value": 4.0, "unit": "count", "samples": 120 },
        }});
        let write = |name: &str, value: &Value| {
            std::fs::write(folder.path().join(name), value.to_string()).unwrap();
        };
        write("manifest.json", &manifest);
        write(METRICS_FILE, &metrics);
        folder
    }

    fn said(folder: &Path, change: (&str, &str), host: &Host) -> String {
        let refused = load_baselines(&scenario(folder, change), host).unwrap_err();
        refused
            .to_string()
            .replace(&folder.display().to_string(), "FOLDER")
    }

    #[test]
    fn the_limit_is_so_many_times_the_value_of_the_baseline() {
        let folder = results(|_| {});
        let scenario = scenario(folder.path(), ("seed   = 3", "seed   = 4"));
        let baselines = load_baselines(&scenario, &host()).unwrap();
        let judge = |missing| {
            let mut op = OpTotal::default();
            op.counters.add(Counter::Expected, 120);
            op.counters.add(Counter::Missing, missing);
            let mut totals = Totals::new();
            totals.ops.insert(OpKey::new("ask", "ping"), op);
            judge_all(&scenario.asserts, &totals, &baselines).remove(0)
        };
        let (held, failed) = (judge(6), judge(7));
        assert_eq!((held.state, held.limit), (AssertState::Ok, Some(6.0)));
        assert_eq!(failed.state, AssertState::Failed);
        let baseline = failed.baseline.unwrap();
        assert_eq!(
            (baseline.run.as_str(), baseline.value),
            ("20261004-0912-ask-a1b2", 4.0)
        );
        let skipped = judge_all(&scenario.asserts, &Totals::new(), &Baselines::skipped());
        assert!(skipped.is_empty());
    }

    #[test]
    fn what_cannot_be_compared_with_is_told_with_the_way_out() {
        let same = ("", "");
        let fine = results(|_| {});
        let here = tempfile::tempdir().unwrap();
        let larger = Host {
            cores: Some(64),
            ..host()
        };
        let of = |change: fn(&mut Value)| said(results(change).path(), same, &host());
        let no_metrics = results(|_| {});
        std::fs::remove_file(no_metrics.path().join(METRICS_FILE)).unwrap();
        let other_metrics = results(|_| {});
        std::fs::write(
            other_metrics.path().join(METRICS_FILE),
            r#"{"schema":1,"run":"r","metrics":{}}"#,
        )
        .unwrap();
        let all = [
            said(&here.path().join("gone"), same, &host()),
            said(here.path(), same, &host()),
            said(no_metrics.path(), same, &host()),
            said(other_metrics.path(), same, &host()),
            of(|manifest| manifest["scenario"]["name"] = "storm-15k".into()),
            of(|manifest| manifest["state"] = "fail".into()),
            of(|manifest| manifest["state"] = "running".into()),
            of(|manifest| manifest["scenario"]["workload_sha256"] = Value::Null),
            of(|manifest| manifest["tool"]["profile"] = "tuned".into()),
            of(|manifest| manifest["run"] = 5.into()),
            said(fine.path(), ("nodes = 10", "nodes = 20"), &host()),
            said(fine.path(), ("250ms", "300ms"), &host()),
            said(fine.path(), same, &larger),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
