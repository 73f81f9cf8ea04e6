//! What the conductor makes of the news of faults.

use crate::measure::FaultView;
use crate::results::Ending;
use crate::scenario::FaultKind;

use super::conduct::Conductor;
use super::faults::{Fallen, FaultEnd, News};

impl Conductor<'_> {
    pub(super) async fn fault_news(&mut self, news: News) {
        match news {
            News::Fell(fallen) => self.fault_fell(fallen),
            News::Over(end) => self.fault_over(end).await,
        }
        self.draw();
    }

    fn fault_fell(&mut self, fallen: Fallen) {
        let Fallen {
            kind,
            fall,
            brokers,
        } = fallen;
        tracing::info!(fault = %fall.kind, target = %fall.targets.join(", "), "a fault falls");
        self.struck.push(FaultView {
            kind: fall.kind.clone(),
            targets: fall.targets.clone(),
            at_us: fall.at_us,
            ..FaultView::default()
        });
        let phase = self.phase_name();
        self.drive
            .chronicle
            .fault(fall.at_us, &phase, &fall.kind, &fall.targets, true);
        if !brokers {
            return;
        }
        let word = match kind {
            FaultKind::LameDuck => "lame duck",
            FaultKind::Freeze => "frozen",
            FaultKind::SlowLink => "slow",
            FaultKind::CutLink => "cut off",
            FaultKind::Kill | FaultKind::Restart => "down",
        };
        for name in &fall.targets {
            self.away.insert(name.clone(), word);
            let mut views = self.brokers.iter_mut();
            if let Some(view) = views.find(|view| view.name == *name) {
                view.state = word.to_owned();
            }
        }
        self.totals.falls.push(fall);
    }

    async fn fault_over(&mut self, end: FaultEnd) {
        for record in &end.records {
            tracing::info!(
                fault = %record.kind,
                target = %record.target,
                happened = record.happened,
                note = %record.note,
                "a fault is over"
            );
        }
        let ours = |at_us: u64| end.at_us == Some(at_us);
        let of_end = |targets: &[String]| {
            let mut records = end.records.iter();
            records.all(|record| targets.contains(&record.target))
        };
        for fall in &mut self.totals.falls {
            if ours(fall.at_us) && of_end(&fall.targets) {
                fall.up_us = end.up_us;
            }
        }
        for view in &mut self.struck {
            if ours(view.at_us) && of_end(&view.targets) {
                view.up_us = end.up_us;
            }
        }
        if let (Some(up_us), Some(first)) = (end.up_us, end.records.first()) {
            let phase = self.phase_name();
            let targets: Vec<String> = end.records.iter().map(|of| of.target.clone()).collect();
            self.drive
                .chronicle
                .fault(up_us, &phase, &first.kind, &targets, false);
        }
        for record in &end.records {
            match end.up_us {
                Some(_) => {
                    let mut views = self.brokers.iter_mut();
                    if let Some(view) = views.find(|view| view.name == record.target) {
                        view.state = "up".to_owned();
                    }
                    self.away.remove(&record.target)
                }
                // Whatever it was before, what stays away is down; what runs on stays as it is.
                None if !runs_on(&record.kind) => self.away.insert(record.target.clone(), "down"),
                None => None,
            };
        }
        self.totals.faults.extend(end.records);
        if let Some(why) = end.fatal {
            self.fail(Ending::FormationFailed(why)).await;
        }
    }
}

/// Whether a fault of this kind leaves the processes of its targets there.
fn runs_on(kind: &str) -> bool {
    let kinds = [FaultKind::Freeze, FaultKind::CutLink, FaultKind::SlowLink];
    kinds.iter().any(|of| of.word() == kind)
}
