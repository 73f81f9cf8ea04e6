//! Sets the stage, lets the run play on it, and clears it, whatever happens in between.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::coordinator::{Chronicle, Drive, Driven, Hold};
use crate::guard::RunMark;
use crate::measure::{RunState, Totals};
use crate::plan::Plan;
use crate::results::Ending;
use crate::site::{Programs, Site};
use crate::view::Logs;
use crate::worker::clock::RunClock;

use super::{Holding, WORKERS};

/// What the stage is set with.
pub(super) struct Staging<'a> {
    pub(super) run: &'a str,
    pub(super) plan: &'a Arc<Plan>,
    pub(super) programs: &'a Programs,
    pub(super) folder: &'a Path,
    pub(super) mark: &'a RunMark,
    pub(super) clock: RunClock,
    pub(super) stop: &'a CancellationToken,
    pub(super) states: &'a watch::Sender<Arc<RunState>>,
    pub(super) logs: &'a Logs,
}

impl Staging<'_> {
    /// Starts the site, drives the run and takes the site down, whatever happens in between.
    pub(super) async fn play(
        &self,
        chronicle: &mut dyn Chronicle,
        hold: Option<Holding<'_>>,
    ) -> Driven {
        let scenario = &self.plan.scenario;
        let starting = Site::start(scenario, self.run, self.folder, self.programs, self.mark);
        let started = tokio::select! {
            started = Box::pin(starting) => started,
            // What had been started is killed as it is let go.
            () = self.stop.cancelled() => return Driven::nothing(Ending::Interrupted),
        };
        let mut site = match started {
            Ok(site) => site,
            Err(error) => return Driven::nothing(Ending::FormationFailed(error.to_string())),
        };
        let driving = self.drive(&mut site, chronicle, hold);
        let driven = std::panic::AssertUnwindSafe(driving).catch_unwind().await;
        site.stop().await;
        driven.unwrap_or_else(|panic| {
            let why = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            let why = why.unwrap_or_else(|| "without a word".to_owned());
            Driven::nothing(Ending::Failed(format!("loadgen panicked: {why}")))
        })
    }

    async fn drive(
        &self,
        site: &mut Site,
        chronicle: &mut dyn Chronicle,
        mut hold: Option<Holding<'_>>,
    ) -> Driven {
        if let Some(holding) = &mut hold
            && let Err(error) = (holding.ready)(site)
        {
            return Driven::nothing(Ending::Failed(format!("{error:#}")));
        }
        let within = hold.as_ref().and_then(|hold| hold.within);
        let mut up = hold.map(|hold| {
            let states = self.states.clone();
            let up = hold.up;
            move |totals: &Totals| up(&states.borrow(), totals)
        });
        let hold = up.as_mut().map(|up| Hold { up, within });
        let drive = Drive {
            run: self.run,
            plan: Arc::clone(self.plan),
            workers: WORKERS,
            site,
            mark: self.mark.clone(),
            clock: self.clock,
            stop: self.stop.clone(),
            states: self.states,
            logs: self.logs,
            chronicle,
            hold,
        };
        Box::pin(drive.run()).await
    }
}
