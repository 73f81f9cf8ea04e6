//! The local workers: child processes of the coordinator, each with a log of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::link::Address;
use super::{SEAT, TOKEN};
use crate::guard::RunMark;
use crate::process::{Launch, Process, ProcessError, ending, last_words};

/// The environment variable with the threads a worker's runtime has.
pub(super) const THREADS: &str = "LOADGEN_WORKER_THREADS";

/// The local workers by number.
#[derive(Debug, Default)]
pub(super) struct Children(BTreeMap<u32, Process>);

/// A local worker that is there no more.
#[derive(Debug)]
pub(super) struct Ended {
    /// Its number.
    pub(super) worker: u32,
    /// It ended of itself and says that all is well: its last words may still be on the way.
    pub(super) in_order: bool,
    /// Its end in words.
    pub(super) why: String,
}

impl Children {
    /// Starts `count` workers that join at `address`; their logs are in `folder`.
    pub(super) fn start(
        count: u32,
        program: &Path,
        address: &Address,
        folder: &Path,
        mark: &RunMark,
    ) -> Result<Self, ProcessError> {
        let mut children = Self::default();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = (cores / count.max(1) as usize).max(1);
        for worker in 0..count {
            let name = format!("worker-{worker}");
            let mut args: Vec<OsString> =
                vec!["worker".into(), "--join".into(), address.url.clone().into()];
            if let Some(ca) = &address.ca {
                args.extend(["--control-ca".into(), ca.into()]);
            }
            let launch = Launch {
                name: &name,
                program,
                args,
                log: folder.join(format!("{name}.log")),
            };
            let mut environment: Vec<(&str, OsString)> = vec![
                (SEAT, worker.to_string().into()),
                (THREADS, threads.to_string().into()),
            ];
            // Where everybody on the machine can read command lines, a token is not one's argument.
            environment.extend(address.token.clone().map(|token| (TOKEN, token.into())));
            let process = Process::start_with(launch, &environment, mark)?;
            children.0.insert(worker, process);
        }
        Ok(children)
    }

    /// Those that ended, with their end in words; each is told once.
    pub(super) fn ended(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        for (worker, process) in &mut self.0 {
            if let Some(status) = process.ended() {
                let (pid, log) = (process.pid(), process.log());
                let said = last_words(log).map_or("none".to_owned(), |line| format!("{line:?}"));
                let in_order = status.success();
                let (status, log) = (ending(status), log.display());
                ended.push(Ended {
                    worker: *worker,
                    in_order,
                    why: format!(
                        "worker {worker} (process {pid}) ended with {status} during the run; its \
                         last words: {said} (log: {log})"
                    ),
                });
            }
        }
        for Ended { worker, .. } in &ended {
            self.0.remove(worker);
        }
        ended
    }

    /// Ends one at once, if it still runs.
    pub(super) async fn kill(&mut self, worker: u32) {
        if let Some(mut process) = self.0.remove(&worker) {
            process.kill().await;
        }
    }

    /// Where a worker's words are, for one that runs and says nothing.
    pub(super) fn log(&self, worker: u32) -> Option<PathBuf> {
        Some(self.0.get(&worker)?.log().to_owned())
    }

    /// Waits until all have ended by themselves, and kills those that have not after `within`.
    pub(super) async fn leave(&mut self, within: Duration) {
        let deadline = tokio::time::Instant::now() + within;
        let still = |processes: &mut BTreeMap<u32, Process>| {
            processes.retain(|_, process| process.ended().is_none());
            !processes.is_empty()
        };
        while still(&mut self.0) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for (worker, process) in &mut self.0 {
            tracing::warn!(worker, "a worker did not leave in time and is killed");
            process.kill().await;
        }
        self.0.clear();
    }
}
