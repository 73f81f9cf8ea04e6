//! `loadgen guard`: the process that outlives loadgen to end what it started.

use std::thread;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::exit::Exit;
use crate::guard::{self, RunMark};

/// Arguments of the hidden `guard` subcommand.
#[derive(Debug, Args)]
pub struct GuardArgs {
    /// The mark that the processes of the run carry
    mark: String,
}

/// Waits until standard input closes, then ends every process of the run.
///
/// # Errors
/// When signals cannot be held off, or a process survives SIGKILL.
pub fn guard(args: &GuardArgs) -> anyhow::Result<Exit> {
    hold_off_signals()?;
    guard::watch(&RunMark::given(&args.mark), std::io::stdin().lock())?;
    Ok(Exit::Pass)
}

/// A guard that a signal could end would leave the run unguarded: what loadgen is sent (a closed
/// terminal, a service manager stopping the group) is taken notice of by loadgen alone.
fn hold_off_signals() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    // A handler, once installed, stays for the life of the process.
    runtime.block_on(async {
        for kind in kinds {
            let mut held = signal(kind)?;
            tokio::spawn(async move { while held.recv().await.is_some() {} });
        }
        Ok::<_, std::io::Error>(())
    })?;
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(())
}
