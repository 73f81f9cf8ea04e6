//! Free ports on loopback.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

/// `count` ports of 127.0.0.1 that nobody listens on now.
///
/// They are held open together and let go together, so they differ from each other. Somebody else
/// may take one before its owner listens; a broker that finds its port taken is given another.
///
/// # Errors
/// When the machine has no port left.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<_>>()?;
    held.iter()
        .map(|listener| listener.local_addr().map(|address| address.port()))
        .collect()
}
