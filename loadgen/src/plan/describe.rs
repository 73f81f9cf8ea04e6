//! Phases and operations in words.

use crate::pace::Pace;
use crate::scenario::{Action, FaultOp, Moment, Op, Phase, ProgressStep, Reached, Target};
use crate::units::{grouped, show_duration};

/// What an operation does: `20,000 nodes connect, 200/s rising to 800/s over 20s`.
pub(super) fn operation(op: &Op, nodes: u64) -> String {
    let nodes = grouped(nodes);
    match &op.action {
        Action::Connect { .. } => format!("{nodes} nodes connect, {}", op.pace),
        Action::Provision { .. } => format!("{nodes} nodes enrolled, {}", op.pace),
        Action::Disconnect { .. } => format!("{nodes} nodes disconnect, {}", op.pace),
        Action::Churn { away, .. } => format!(
            "of {nodes} nodes some leave, {}, each for {}",
            op.pace,
            show_duration(*away)
        ),
        Action::Publish { body, .. } => format!("events of {body}, {}", op.pace),
        Action::Request(request) => {
            let asked = match &request.to {
                Target::All => format!("all {nodes}"),
                Target::Random(_) => format!("{nodes} at random"),
                Target::Fleet(name) => format!("{nodes} of {name}"),
            };
            let call = match &request.call {
                Some(call) => format!("{} {}", call.agent, call.action),
                None => "ping".to_owned(),
            };
            match &op.pace {
                Pace::Every { count: Some(1), .. } => format!("{call} to {asked}, once"),
                pace => format!("{call} to {asked}, {pace}"),
            }
        }
        Action::Fault(fault) => describe_fault(fault),
    }
}

/// `kill hub-2 at 5s, up at 15s`.
fn describe_fault(fault: &FaultOp) -> String {
    let kind = fault.kind;
    let target = match fault.link.as_ref().and_then(|link| link.peer.as_ref()) {
        Some(peer) => format!("{} to {peer}", fault.target),
        None => fault.target.clone(),
    };
    match (&fault.at, fault.down) {
        (Moment::After(at), Some(down)) => format!(
            "{kind} {target} at {}, up at {}",
            show_duration(*at),
            show_duration(*at + down)
        ),
        (Moment::After(at), None) => format!("{kind} {target} at {}", show_duration(*at)),
        (Moment::Progress { step, percent }, down) => {
            let word = ProgressStep::ALL
                .iter()
                .find(|(known, _, _)| known == step)
                .map_or("", |(_, word, _)| word);
            let down = down.map(|down| format!(", up {} later", show_duration(down)));
            let down = down.unwrap_or_default();
            format!("{kind} {target} when {percent} % are {word}{down}")
        }
    }
}

/// What ends a phase: `all connected, settle 10s`.
pub(super) fn until(phase: &Phase) -> String {
    if let Some(until) = &phase.until {
        let state = match until.every {
            Reached::Connected => "connected",
            Reached::Confirmed => "confirmed",
            Reached::Settled => "settled",
            Reached::Renewed => "renewed",
        };
        let who = if until.ratio >= 1.0 {
            "all".to_owned()
        } else {
            format!("{} %", (until.ratio * 1e6).round() / 1e4)
        };
        let settle = if until.settle.is_zero() {
            String::new()
        } else {
            format!(", settle {}", show_duration(until.settle))
        };
        return format!("{who} {state}{settle}");
    }
    if let Some(duration) = phase.duration {
        return format!("{} have passed", show_duration(duration));
    }
    let requests = |op: &Op| matches!(op.action, Action::Request(_));
    if phase.ops.iter().any(requests) {
        "all rounds collected".to_owned()
    } else {
        "all done".to_owned()
    }
}
