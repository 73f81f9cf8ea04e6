//! Kills pooled helpers: they are children of the provisioners, which start them again themselves.

use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::{HELPER, Plan};

/// How long a helper is looked for: its provisioner may be away at that moment.
const PATIENCE: Duration = Duration::from_secs(4);
const LOOK: Duration = Duration::from_millis(10);

/// Kills what the plan says, `begin` being when the first node arrives; answers how many were hit.
/// Helpers are known by the `book` in their command line. `over` ends the hunt early.
pub fn hunt(plan: &Plan, book: &Path, begin: Instant, over: &dyn Fn() -> bool) -> u64 {
    let mut hit = 0;
    for (number, planned) in plan.kills.iter().enumerate() {
        if planned.target != HELPER {
            continue;
        }
        let due = begin + planned.at;
        while Instant::now() < due && !over() {
            std::thread::sleep(LOOK.min(due.saturating_duration_since(Instant::now())));
        }
        while !over() && due.elapsed() < PATIENCE {
            let found = helpers(book);
            if let Some(pid) = found.get(number % found.len().max(1)) {
                // It may have ended by itself since it was seen.
                hit += u64::from(kill(*pid, Signal::SIGKILL).is_ok());
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
    hit
}

/// The helpers that run now, by number.
fn helpers(book: &Path) -> Vec<Pid> {
    let book = book.as_os_str().as_encoded_bytes();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<Pid> = processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(process.path().join("cmdline")).ok()?;
            let mut words = line.split(|byte| *byte == 0);
            let ours = words.nth(1) == Some(b"ca".as_slice()) && words.any(|word| word == book);
            ours.then(|| Pid::from_raw(pid))
        })
        .collect();
    found.sort_unstable();
    found
}
