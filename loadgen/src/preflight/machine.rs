//! What this machine has, as far as it tells.

use procfs::Current as _;

use crate::resources::raise_descriptor_limit;

/// The limits of this machine. What cannot be read is absent and not judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Descriptors a process may have, after the soft limit was raised to the hard one.
    pub descriptors: Option<u64>,
    /// First and last local port given to outgoing connections.
    pub port_range: Option<(u16, u16)>,
    /// Memory that can be had without swapping, bytes; of the container where it has a limit.
    pub memory_available: Option<u64>,
    /// Connections that may wait to be accepted at one listener (somaxconn).
    pub backlog: Option<u64>,
}

impl Machine {
    /// Looks at this machine, raising the limit of descriptors first.
    pub fn look() -> Self {
        Self {
            descriptors: raise_descriptor_limit(),
            port_range: local_port_range(),
            memory_available: memory_available(),
            backlog: backlog(),
        }
    }
}

/// First and last local port given to outgoing connections.
pub fn local_port_range() -> Option<(u16, u16)> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut numbers = text.split_whitespace().map(str::parse);
    let (low, high) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some((low, high))
}

fn backlog() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}

fn memory_available() -> Option<u64> {
    let machine = procfs::Meminfo::current().ok()?.mem_available;
    match (machine, container_headroom()) {
        (Some(machine), Some(container)) => Some(machine.min(container)),
        (machine, container) => machine.or(container),
    }
}

/// What the control group still allows, where it has a limit (cgroup v2).
fn container_headroom() -> Option<u64> {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok();
    let limit: u64 = read("memory.max")?.trim().parse().ok()?;
    let used: u64 = read("memory.current")?.trim().parse().ok()?;
    Some(limit.saturating_sub(used))
}
