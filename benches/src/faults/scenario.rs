//! A plan as a scenario for loadgen.

use std::path::Path;

use super::plan::{HELPER, Plan};

/// How often everybody is asked once all are enrolled.
pub const ROUNDS: u64 = 2;

/// The text of the scenario. `helper` is the command that signs where helpers do.
#[must_use]
pub fn render(plan: &Plan, seed: u64, helper: &[String]) -> String {
    let rate = (plan.nodes as f64 / plan.arrive.as_secs_f64()).max(1.0);
    let mut text = format!(
        r#"# Written by `faults`: run {number} of seed {seed}.
schema = 1
name   = "faults"
about  = "{shape}; {kills} kills"
seed   = {seed}

[limits]
wall_time = "15m"

[topology]
manage = "local"

[[topology.broker]]
name = "provisioning"
role = "provisioning"
tls  = "server"

[[topology.broker]]
name = "hub"
tls  = "mutual"

[provisioner]
manage = "local"
count  = {provisioners}
{helper}
[[fleet]]
name  = "nodes"
nodes = {nodes}
start = "unprovisioned"

[pace.arrive]
model = "open"
kind  = "constant"
rate  = "{rate:.0}/s"

[[phase]]
name    = "enrol"
until   = {{ every = "confirmed", ratio = 1.0 }}
timeout = "8m"
  [[phase.op]]
  do    = "provision"
  fleet = "*"
  pace  = "arrive"
"#,
        number = plan.number,
        shape = plan.shape.word(),
        kills = plan.kills.len(),
        provisioners = plan.shape.provisioners,
        nodes = plan.nodes,
        helper = if plan.shape.helpers {
            format!("helper = {helper:?}\n")
        } else {
            String::new()
        },
    );
    for (number, kill) in plan.kills.iter().enumerate() {
        if kill.target == HELPER {
            continue;
        }
        text.push_str(&format!(
            r#"  [[phase.op]]
  do     = "fault"
  name   = "kill-{number}"
  kind   = "kill"
  target = "{}"
  at     = "{}ms"
  down   = "{}ms"
"#,
            kill.target,
            kill.at.as_millis(),
            kill.away.as_millis(),
        ));
    }
    text.push_str(AFTERWARDS);
    text
}

/// Once everything is up again, everybody has to be there.
const AFTERWARDS: &str = r#"
[[phase]]
name    = "back"
until   = { every = "connected", ratio = 1.0, settle = "1s" }
timeout = "2m"
  [[phase.op]]
  do      = "request"
  name    = "one"
  to      = "random:1"
  collect = "5s"
  pace    = { model = "open", kind = "every", every = "1s", count = 1 }

[[phase]]
name = "ping-all"
  [[phase.op]]
  do      = "request"
  name    = "ping"
  to      = "all"
  expect  = "one-reply-per-node"
  collect = "10s"
  pace    = { model = "open", kind = "every", every = "1s", count = 2 }

[[assert]]
phase = "enrol"
that  = ["enrol.confirmed_ratio == 1", "enrol.stuck == 0", "enrol.keys_signed_twice == 0"]

[[assert]]
phase = "ping-all"
that  = ["ping.missing == 0", "ping.duplicate == 0"]
"#;

/// The command of the helpers: the provisioner's own, which writes down what it signs in `book`.
#[must_use]
pub fn helper(program: &Path, book: &Path) -> Vec<String> {
    vec![
        program.display().to_string(),
        "ca".to_owned(),
        "answer".to_owned(),
        // Within the life of the run's intermediate.
        "--validity".to_owned(),
        "14d".to_owned(),
        "--book".to_owned(),
        book.display().to_string(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn loadgen_understands_every_shape() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        for number in 1..=4 {
            let plan = Plan::new(3, number, 200, 10);
            let helper = helper(Path::new("/opt/provisioner"), Path::new("/tmp/book"));
            std::fs::write(&file, render(&plan, 3, &helper)).unwrap();
            let scenario = loadgen::scenario::load(&file, &[]);
            let scenario = scenario.map_err(|mistakes| mistakes.to_string()).unwrap();
            assert_eq!(scenario.provisioner.count, plan.shape.provisioners);
            let rounds = format!("every = \"1s\", count = {ROUNDS} }}");
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(&rounds), "{text}");
            assert_eq!(!scenario.provisioner.helper.is_empty(), plan.shape.helpers);
            loadgen::run::CAPABILITIES
                .check(&scenario)
                .map_err(|mistakes| mistakes.to_string())
                .unwrap();
        }
    }
}
