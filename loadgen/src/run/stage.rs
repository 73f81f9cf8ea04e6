//! Sets the stage, lets the run play on it, and clears it, whatever happens in between.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::assert::Baselines;
use crate::control::crew::Crew;
use crate::coordinator::{Chronicle, Drive, Driven, Hold};
use crate::guard::RunMark;
use crate::measure::{RunState, Totals};
use crate::plan::Plan;
use crate::results::Ending;
use crate::site::{Programs, Site};
use crate::view::Logs;
use crate::worker::clock::RunClock;

use super::crew::Setting;
use super::{CrewOptions, Holding};

/// What the stage is set with.
pub(super) struct Staging<'a> {
    pub(super) run: &'a str,
    pub(super) plan: &'a Arc<Plan>,
    pub(super) workers: u32,
    pub(super) crew: &'a CrewOptions,
    pub(super) programs: &'a Programs,
    pub(super) folder: &'a Path,
    pub(super) workers_folder: &'a Path,
    pub(super) mark: &'a RunMark,
    pub(super) clock: RunClock,
    pub(super) stop: &'a CancellationToken,
    pub(super) states: &'a watch::Sender<Arc<RunState>>,
    pub(super) baselines: &'a Baselines,
    pub(super) logs: &'a Logs,
}

impl Staging<'_> {
    /// Starts workers and site, drives the run and takes everything down, whatever happens in
    /// between.
    pub(super) async fn play(
        &self,
        chronicle: &mut dyn Chronicle,
        hold: Option<Holding<'_>>,
    ) -> Driven {
        let gathered = tokio::select! {
            gathered = Box::pin(self.gather()) => gathered,
            // What had been started is killed as it is let go.
            () = self.stop.cancelled() => return Driven::nothing(Ending::Interrupted),
        };
        let mut crew = match gathered {
            Ok(crew) => crew,
            Err(error) => return Driven::nothing(Ending::Failed(format!("{error:#}"))),
        };
        let driven = Box::pin(self.play_with(&mut crew, chronicle, hold)).await;
        crew.finish().await;
        driven
    }

    async fn gather(&self) -> anyhow::Result<Crew> {
        let program = std::env::current_exe()?;
        let crew = self.crew.start(Setting {
            run: self.run,
            workers: self.workers,
            folder: self.folder,
            logs: self.workers_folder,
            program: &program,
            server: &self.programs.nats_server,
            mark: self.mark,
            clock: self.clock,
        });
        let crew = crew.await?;
        if let Some(invitation) = crew.invitation() {
            tracing::info!("waiting for workers from elsewhere; run there: {invitation}");
        }
        Ok(crew)
    }

    async fn play_with(
        &self,
        crew: &mut Crew,
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
        let driving = self.drive(&mut site, crew, chronicle, hold);
        let driven = std::panic::AssertUnwindSafe(driving).catch_unwind().await;
        // Nodes end before their brokers, or they would dial in vain.
        crew.finish().await;
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
        crew: &mut Crew,
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
            workers: self.workers,
            crew,
            site,
            mark: self.mark.clone(),
            clock: self.clock,
            stop: self.stop.clone(),
            states: self.states,
            baselines: self.baselines,
            logs: self.logs,
            chronicle,
            hold,
        };
        Box::pin(drive.run()).await
    }
}
