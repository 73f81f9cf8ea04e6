//! One fault from its fall to the return of its targets, all of which it takes at the same time.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{OwnedMutexGuard, mpsc};

use super::{FaultEnd, Means, News, Waiting};
use crate::formation::broker::Broker;
use crate::guard::RunMark;
use crate::measure::{FaultRecord, micros};
use crate::provisioner::{Provisioner, Status};
use crate::scenario::FaultKind;

/// How long a lame duck may take to end. Its brokers are given 10 s of grace and 30 s in all, and
/// close at least one connection a second.
const LAME_DUCK_WITHIN: Duration = Duration::from_secs(90);

/// A broker or provisioner that is in the hands of a fault: nobody else wonders where it is.
enum Held {
    Broker(OwnedMutexGuard<Broker>),
    Provisioner(OwnedMutexGuard<Provisioner>),
}

/// Does what `waiting` says, and tells of it.
pub(super) async fn strike(waiting: Waiting, means: Means, teller: mpsc::Sender<News>) {
    let mut held = take(&waiting, &means).await;
    let at = means.clock.now();
    let gone = &waiting.fault.targets;
    means.away.with(|away| away.extend(gone.iter().cloned()));
    // A run that is over hears no news.
    let _ = teller.send(News::Fell(waiting.fallen(at))).await;
    let mut end = suffer(&waiting, &means, at, &mut held).await;
    end.at_us = Some(micros(at));
    if end.up_us.is_some() {
        means
            .away
            .with(|away| away.retain(|name| !gone.contains(name)));
    }
    // They may be looked after by others again.
    drop(held);
    let _ = teller.send(News::Over(end)).await;
}

/// Takes every target; those that cannot be found are left out.
async fn take(waiting: &Waiting, means: &Means) -> Vec<Held> {
    let mut held = Vec::new();
    // Always in the same order, so that no two faults wait for each other.
    let mut targets = waiting.fault.targets.clone();
    targets.sort_unstable();
    for target in &targets {
        if let Some((_, broker)) = means.brokers.iter().find(|(name, _)| name == target) {
            held.push(Held::Broker(broker.clone().lock_owned().await));
        } else if let Some((_, own)) = means.provisioners.iter().find(|(name, _)| name == target) {
            held.push(Held::Provisioner(own.clone().lock_owned().await));
        }
    }
    held
}

async fn suffer(waiting: &Waiting, means: &Means, at: Duration, held: &mut [Held]) -> FaultEnd {
    let fault = &waiting.fault;
    let mut records: Vec<FaultRecord> = fault
        .targets
        .iter()
        .map(|target| FaultRecord {
            at_us: Some(micros(at)),
            happened: false,
            note: "it was not there to be disturbed".to_owned(),
            ..waiting.record(target)
        })
        .collect();
    let mut record_of = |name: &str, happened: bool, note: String| {
        for record in records.iter_mut().filter(|record| record.target == name) {
            (record.happened, record.note) = (happened, note.clone());
        }
    };
    for held in held.iter().filter(|held| held.runs()) {
        record_of(held.name(), true, String::new());
    }
    let fell = join_all(held.iter_mut().map(|held| held.fall(fault.kind))).await;
    let mut fatal = fell.into_iter().find_map(Result::err);
    // The ledger stands still now: what it says is how far things were when the fault fell.
    for held in held.iter() {
        if let Held::Provisioner(own) = held {
            match own.status().ask().await {
                Ok(status) => {
                    let (happened, note) = judge(&status, means.to_enrol);
                    record_of(held.name(), happened, note);
                }
                Err(error) => {
                    record_of(
                        held.name(),
                        false,
                        format!("how far things were is unknown: {error}"),
                    );
                }
            }
        }
    }
    let mut up_us = None;
    if let (Some(down), None) = (fault.down, &fatal) {
        // A lame duck is gone only when it has ended.
        let gone = match fault.kind {
            FaultKind::LameDuck => means.clock.now(),
            _ => at,
        };
        tokio::time::sleep_until(means.clock.instant(gone.saturating_add(down))).await;
        let rose = held
            .iter_mut()
            .map(|held| held.rise(fault.kind, &means.mark));
        fatal = join_all(rose).await.into_iter().find_map(Result::err);
        if fatal.is_none() {
            up_us = Some(means.clock.now_us());
        }
    }
    for record in &mut records {
        record.down_us = up_us.map(|up| up.saturating_sub(micros(at)));
    }
    FaultEnd {
        records,
        at_us: None,
        up_us,
        fatal,
    }
}

impl Held {
    fn name(&self) -> &str {
        match self {
            Self::Broker(broker) => broker.name(),
            Self::Provisioner(provisioner) => provisioner.name(),
        }
    }

    fn runs(&self) -> bool {
        match self {
            Self::Broker(broker) => broker.pid().is_some(),
            Self::Provisioner(provisioner) => provisioner.pid().is_some(),
        }
    }

    async fn fall(&mut self, kind: FaultKind) -> Result<(), String> {
        match (self, kind) {
            (Self::Broker(broker), FaultKind::Freeze) => broker.freeze(),
            (Self::Provisioner(provisioner), FaultKind::Freeze) => provisioner.freeze(),
            (Self::Broker(broker), FaultKind::Restart) => broker.stop().await,
            (Self::Broker(broker), FaultKind::LameDuck) => {
                return broker
                    .retire(LAME_DUCK_WITHIN)
                    .await
                    .map_err(|error| error.to_string());
            }
            (Self::Broker(broker), _) => broker.kill().await,
            (Self::Provisioner(provisioner), FaultKind::Restart) => provisioner.stop().await,
            (Self::Provisioner(provisioner), _) => provisioner.kill().await,
        }
        Ok(())
    }

    async fn rise(&mut self, kind: FaultKind, mark: &RunMark) -> Result<(), String> {
        match self {
            Self::Broker(broker) => {
                match kind {
                    FaultKind::Freeze => broker.thaw(),
                    _ => broker.launch(mark).map_err(|error| error.to_string())?,
                }
                broker.wait_ready().await.map_err(|error| error.to_string())
            }
            Self::Provisioner(own) => {
                match kind {
                    FaultKind::Freeze => own.thaw(),
                    _ => own.launch(mark).map_err(|error| error.to_string())?,
                }
                own.wait_ready().await.map_err(|error| error.to_string())
            }
        }
    }
}

/// A fault fell where it was meant to when it left something undone: a kill after the last
/// `configure` disturbs nobody.
fn judge(status: &Status, to_enrol: u64) -> (bool, String) {
    let configured = status.completed("configure");
    let signed = status.completed("sign");
    let happened = configured < to_enrol;
    let mut note = format!("{signed} signed and {configured} configured of {to_enrol}");
    if !happened {
        note.push_str(": nothing was left to disturb");
    }
    (happened, note)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn status(signed: u64, configured: u64) -> Status {
        serde_json::from_value(serde_json::json!({
            "service": "stopped", "confirmed": 0, "certificates_issued": signed,
            "keys_signed_twice": 0,
            "steps": { "sign": { "count": signed }, "configure": { "count": configured } },
        }))
        .unwrap()
    }

    #[test]
    fn a_kill_after_the_last_configure_missed() {
        let (happened, note) = judge(&status(400, 300), 1_000);
        assert!(happened);
        assert_eq!(note, "400 signed and 300 configured of 1000");
        let (happened, note) = judge(&status(1_000, 1_000), 1_000);
        assert!(!happened, "{note}");
    }
}
