//! Waiting for a state, with a limit.

use std::time::{Duration, Instant};

/// Waits until it is so.
pub(crate) async fn soon(what: &str, mut state: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !state() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
