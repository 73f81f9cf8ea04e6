//! ctrl-c and its kin: the first asks for the end, the second is the end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Cancels `stop` at the first SIGINT, SIGTERM or SIGHUP, and leaves at once at the second; the
/// guard ends what is still running then.
///
/// # Errors
/// When a handler cannot be installed.
pub fn listen(stop: CancellationToken) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if std::mem::replace(&mut asked, true) || stop.is_cancelled() {
                crate::view::restore_terminal();
                eprintln!("loadgen: ended at once; what it started is being ended behind it");
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            stop.cancel();
        }
    });
    Ok(())
}
