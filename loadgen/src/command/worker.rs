//! `loadgen worker`: hosts a part of a fleet for a run that is coordinated elsewhere.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use crate::control::join::{Invitation, JoinError, take_part};
use crate::control::link::Address;
use crate::exit::Exit;
use crate::run;
use crate::view::Logs;

/// Host a part of a run's fleet, on this machine or another
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadgen run big.toml --workers 4 --remote-workers 2      here: prints the command to run there
  loadgen worker --join nats://10.0.0.7:41222 --token T    there: joins, works, ends with the run
  LOADGEN_TOKEN=T loadgen worker --join tls://broker:4222 --control-ca ca.pem

Local workers are started by loadgen run itself. Both sides must be the same loadgen. The token and
the run's throwaway keys cross the network in the clear unless the URL is tls://.")]
pub struct WorkerArgs {
    /// The run's control broker
    #[arg(long, value_name = "URL")]
    join: String,
    /// The control broker's token
    #[arg(long, value_name = "T", env = crate::control::TOKEN, hide_env_values = true)]
    token: Option<String>,
    /// The certificates to trust, for tls:// URLs
    #[arg(long, value_name = "FILE")]
    control_ca: Option<PathBuf>,
    /// Which local worker this is
    #[arg(long, hide = true, env = crate::control::SEAT)]
    seat: Option<u32>,
    /// Threads of the runtime; one for each core when left out
    #[arg(long, hide = true, env = "LOADGEN_WORKER_THREADS")]
    threads: Option<usize>,
}

/// Takes part in a run.
///
/// # Errors
/// When it cannot, or not to the end.
pub fn worker(args: WorkerArgs) -> anyhow::Result<Exit> {
    let logs = Logs::install(None).map_err(anyhow::Error::msg)?;
    logs.to_stderr()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = args.threads {
        builder.worker_threads(threads.max(1));
    }
    let runtime = builder.enable_all().build()?;
    let invitation = Invitation {
        address: Address {
            url: args.join,
            token: args.token,
            ca: args.control_ca,
        },
        seat: args.seat,
    };
    let ended = runtime.block_on(async {
        server_core::trust::install_crypto();
        let stop = CancellationToken::new();
        run::listen_for_signals(stop.clone())?;
        anyhow::Ok(Box::pin(take_part(invitation, stop, &logs)).await)
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    match ended? {
        Ok(true) => Ok(Exit::Pass),
        Ok(false) => Ok(Exit::Interrupted),
        Err(error @ (JoinError::Release(_) | JoinError::Refused(_))) => {
            eprintln!("loadgen: refused: {error}");
            Ok(Exit::Preflight)
        }
        Err(error) => Err(error.into()),
    }
}
