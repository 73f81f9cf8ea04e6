//! One fault on links between brokers, from its fall until the brokers are linked again.

use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{FaultEnd, Means, News, Waiting};
use crate::formation::relay::{Condition, Relayed};
use crate::formation::ties::{Tie, wait_tied};
use crate::measure::{FaultRecord, micros};
use crate::scenario::{CutMode, LinkEffect, LinkFault};

/// Does what `fault` says to its links, and tells of it.
pub(super) async fn strike(
    waiting: Waiting,
    fault: LinkFault,
    means: Means,
    teller: mpsc::Sender<News>,
) {
    // In the order of the formation, so that no two faults wait for each other.
    let own = means.links.iter();
    let own: Vec<&Relayed> = own
        .filter(|relayed| fault.links.contains(relayed.line.link()))
        .collect();
    let mut held = Vec::new();
    for relayed in &own {
        held.push(relayed.line.hold().await);
    }
    let at = means.clock.now();
    let mut records = records(&waiting, &own, micros(at));
    for relayed in &own {
        relayed.line.set(condition(fault.effect));
    }
    // A run that is over hears no news.
    let _ = teller.send(News::Fell(waiting.fallen(at))).await;
    let (mut up_us, mut fatal) = (None, None);
    if let Some(down) = waiting.fault.down {
        tokio::time::sleep_until(means.clock.instant(at.saturating_add(down))).await;
        for relayed in &own {
            relayed.line.set(Condition::Open);
        }
        let (up, restored) = (means.clock.now_us(), Instant::now());
        up_us = Some(up);
        let stand = own
            .iter()
            .map(|relayed| async { wait_tied(&relayed.ties, |tie| !is_away(tie, &means)).await });
        match try_join_all(stand).await {
            Ok(_) => {
                let relinked = micros(restored.elapsed());
                for record in &mut records {
                    record.down_us = Some(up.saturating_sub(micros(at)));
                    record.relinked_us = Some(relinked);
                }
            }
            Err(error) => {
                let kind = waiting.fault.kind;
                fatal = Some(format!("{error}, though {kind} was over by then"));
            }
        }
    }
    drop(held);
    let end = FaultEnd {
        records,
        at_us: Some(micros(at)),
        up_us,
        fatal,
    };
    let _ = teller.send(News::Over(end)).await;
}

/// Whether another fault has one of the brokers in its hands, or left it dead: its links are not
/// expected to stand.
fn is_away(tie: &Tie, means: &Means) -> bool {
    means
        .away
        .with(|away| away.contains(&tie.broker) || away.contains(&tie.peer))
}

/// What is told for each target, before anything is done to its links.
fn records(waiting: &Waiting, own: &[&Relayed], at_us: u64) -> Vec<FaultRecord> {
    let each = waiting.fault.targets.iter().map(|target| {
        let lines = own.iter().map(|relayed| relayed.line.seen());
        let lines: Vec<_> = lines.filter(|seen| seen.link.touches(target)).collect();
        // A leaf has links to all its hubs and uses one of them.
        let used = lines.iter().filter(|seen| seen.connections > 0);
        let used: Vec<String> = used.map(|seen| seen.link.to_string()).collect();
        let note = match used.is_empty() {
            true => "no connection was on any of its links".to_owned(),
            false => used.join(", "),
        };
        FaultRecord {
            at_us: Some(at_us),
            happened: !used.is_empty(),
            note,
            ..waiting.record(target)
        }
    });
    each.collect()
}

fn condition(effect: LinkEffect) -> Condition {
    match effect {
        LinkEffect::Cut {
            mode: CutMode::Reset,
        } => Condition::Reset,
        LinkEffect::Cut {
            mode: CutMode::Silent,
        } => Condition::Silent,
        LinkEffect::Slow { latency, bandwidth } => Condition::Slow {
            latency,
            bandwidth: bandwidth.map(|bandwidth| bandwidth.0),
        },
    }
}
