//! What a process uses: CPU, memory, descriptors; of this process and of those it started.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procfs::WithCurrentSystemInfo as _;
use procfs::process::Process;

/// What one process uses at one moment. A figure that could not be read is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// CPU seconds since the process started, user and system.
    pub cpu_s: Option<f64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Open descriptors.
    pub descriptors: Option<u64>,
}

impl Usage {
    /// Of this process.
    pub fn own() -> Self {
        Process::myself().map_or_else(|_| Self::default(), |process| Self::read(&process))
    }

    /// Of the process `pid`.
    pub fn of(pid: u32) -> Self {
        let process = i32::try_from(pid)
            .ok()
            .and_then(|pid| Process::new(pid).ok());
        process.map_or_else(Self::default, |process| Self::read(&process))
    }

    fn read(process: &Process) -> Self {
        let stat = process.stat().ok();
        let descriptors = process.fd_count().ok();
        Self {
            cpu_s: stat
                .as_ref()
                .map(|stat| (stat.utime + stat.stime) as f64 / ticks_per_second()),
            rss_bytes: stat.as_ref().map(|stat| stat.rss_bytes().get()),
            descriptors: descriptors.and_then(|count| u64::try_from(count).ok()),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            cpu_s: sum(self.cpu_s, other.cpu_s),
            rss_bytes: sum(self.rss_bytes, other.rss_bytes),
            descriptors: sum(self.descriptors, other.descriptors),
        }
    }
}

fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}

fn ticks_per_second() -> f64 {
    static TICKS: OnceLock<f64> = OnceLock::new();
    *TICKS.get_or_init(|| procfs::ticks_per_second() as f64)
}

/// Raises this process's limit of descriptors as far as it may, and tells what it is then.
/// Children inherit it.
pub fn raise_descriptor_limit() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Some(hard);
    }
    Some(soft)
}

/// This process's limit of descriptors.
pub fn descriptor_limit() -> Option<u64> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .ok()
        .map(|(soft, _)| soft)
}
