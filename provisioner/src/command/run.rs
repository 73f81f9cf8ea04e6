//! `provisioner run`: the service, until ctrl-c or SIGTERM.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use server_core::bus::DialLimit;
use server_core::bus::nats::NatsDialer;
use server_core::words::{Seed, Shutdown, SystemClock};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::prelude::*;

use super::Exit;
use crate::config::{Config, Log};
use crate::service::{self, Outside};
use crate::site::Site;

/// For tests that kill the service at a known place: `PLACE=DURATION`, where an
/// enrolment stands still for that long. The only place is `asked`: the ledger
/// knows that an authority is asked, and it was not.
const HOLD: &str = "PROVISIONER_TEST_HOLD";

/// Run the service
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner run
  provisioner run --config /etc/muster/provisioner.toml

Everything under way is in the ledger: the service may be stopped, or killed, at any time and
goes on where it was when it is started again.

Exit status: 0 stopped as told, 1 the configuration has mistakes, 2 it could not start or go on")]
pub struct RunArgs {}

impl RunArgs {
    /// Runs until a signal says stop.
    ///
    /// # Errors
    /// When it cannot start, or a connection is over for good.
    pub fn run(&self, config: Config) -> anyhow::Result<Exit> {
        log_to_stderr(&config.log);
        let site = match Site::load(config) {
            Ok(site) => site,
            Err(mistakes) => {
                eprintln!("{mistakes}");
                return Ok(Exit::Negative);
            }
        };
        let outside = Outside {
            dialer: Arc::new(NatsDialer::new(DialLimit::default())),
            clock: Arc::new(SystemClock),
            seed: Seed::from_os(),
            hold: hold()?,
        };
        let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
        let shutdown = Shutdown::new();
        let ended = runtime.block_on(async {
            let stop = shutdown.clone();
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::spawn(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                tracing::info!("stopping");
                stop.cancel();
            });
            Ok::<_, std::io::Error>(Box::pin(service::run(site, outside, shutdown)).await)
        })?;
        // Whatever still runs is in the ledger; a blocked name lookup must not hold up the end.
        runtime.shutdown_timeout(Duration::from_secs(1));
        ended?;
        Ok(Exit::Success)
    }
}

fn hold() -> anyhow::Result<Option<(String, Duration)>> {
    let Ok(text) = std::env::var(HOLD) else {
        return Ok(None);
    };
    let (place, time) = text
        .split_once('=')
        .with_context(|| format!("{HOLD} is PLACE=DURATION"))?;
    let time = humantime::parse_duration(time).with_context(|| format!("{HOLD}={text}"))?;
    Ok(Some((place.to_owned(), time)))
}

fn log_to_stderr(log: &Log) {
    // Reading the configuration has checked the filter. The broker's client tells what the
    // service tells better, so its word counts only when it is asked for.
    let mut filter: Targets = log.level.value.parse().unwrap_or_default();
    if !log.level.value.contains("async_nats") {
        filter = filter.with_target("async_nats", tracing::Level::WARN);
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_span_events(FmtSpan::NONE);
    let registry = tracing_subscriber::registry();
    let started = if log.json {
        registry.with(layer.json().with_filter(filter)).try_init()
    } else {
        registry.with(layer.with_filter(filter)).try_init()
    };
    if started.is_err() {
        eprintln!("logging was set up before");
    }
}
