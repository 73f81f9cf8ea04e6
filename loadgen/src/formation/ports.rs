//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::preflight::local_port_range;

/// Ports that are looked at: below them are well-known ones.
const LOOKED_AT: RangeInclusive<u16> = 10_000..=u16::MAX;

/// Where the search goes on, so that two formations of one process do not meet.
static TRIED: AtomicU32 = AtomicU32::new(0);

/// `count` ports of 127.0.0.1 that nobody listens on now, outside the range from which the system
/// gives ports to outgoing connections where there is such an outside: the port of a killed broker
/// is not given to one of the nodes that dial meanwhile.
///
/// They are held open together and let go together, so they differ from each other. Somebody else
/// may take one before its owner listens; a broker that finds its port taken is given another.
///
/// # Errors
/// When the machine has no port left.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    let quiet = quiet(local_port_range());
    let mut held = Vec::with_capacity(count);
    for _ in 0..quiet.len() {
        if held.len() == count {
            break;
        }
        let port = next_of(&quiet);
        if let Some(listener) = port.and_then(|port| listen(port).ok()) {
            held.push(listener);
        }
    }
    while held.len() < count {
        held.push(listen(0)?);
    }
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect()
}

/// The ports that are never given to outgoing connections.
fn quiet(given_out: Option<(u16, u16)>) -> Vec<u16> {
    let given_out = |port: &u16| given_out.is_some_and(|(low, high)| (low..=high).contains(port));
    LOOKED_AT.filter(|port| !given_out(port)).collect()
}

/// The next one in turn; processes begin far apart.
fn next_of(ports: &[u16]) -> Option<u16> {
    const APART: usize = 601;
    let step = TRIED.fetch_add(1, Ordering::Relaxed) as usize;
    let own = (std::process::id() as usize).wrapping_mul(APART);
    let at = own.wrapping_add(step).checked_rem(ports.len())?;
    ports.get(at).copied()
}

fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn brokers_stay_out_of_the_range_of_outgoing_connections() {
        let quiet = quiet(Some((32_768, 60_999)));
        assert_eq!(quiet.first(), Some(&10_000));
        assert!(quiet.contains(&32_767) && !quiet.contains(&32_768));
        assert!(!quiet.contains(&60_999) && quiet.contains(&61_000));
    }

    #[test]
    fn ports_differ_and_can_be_listened_on() {
        let (one, other) = (free(20).unwrap(), free(20).unwrap());
        let mut all: Vec<u16> = one.iter().chain(&other).copied().collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 40);
        drop(listen(one[0]).unwrap());
    }
}
