//! What a node keeps between provisioning calls.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::trust::ecdh::NodeSecret;
use crate::words::UnixTime;

/// How long one provisioner keeps others away, counted from its last locked call.
const LOCK: Duration = Duration::from_secs(120);

/// The provisioning state of one node.
#[derive(Default)]
pub(crate) struct ProvisionState(Mutex<Inner>);

#[derive(Default)]
pub(super) struct Inner {
    holder: Option<(String, UnixTime)>,
    /// The secret of the last `jwt` call; only it can be used by `configure`.
    pub(super) secret: Option<NodeSecret>,
    /// A restart or stop was promised.
    pub(super) leaving: bool,
}

impl ProvisionState {
    /// A poisoned lock leaves nothing half done here.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Takes or extends the lock for this pair; false while another pair holds it.
    pub(super) fn take_lock(&mut self, sender: &str, caller: &str, now: UnixTime) -> bool {
        let pair = format!("{sender}.{caller}");
        let free = self
            .holder
            .as_ref()
            .is_none_or(|(holder, until)| *holder == pair || now >= *until);
        if free {
            self.holder = Some((pair, now.plus(LOCK)));
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pair_at_a_time_for_two_minutes_from_its_last_call() {
        let mut state = Inner::default();
        let at = UnixTime::from_secs;
        assert!(state.take_lock("host1", "choria=p", at(0)));
        assert!(!state.take_lock("host2", "choria=p", at(1)));
        assert!(!state.take_lock("host1", "choria=q", at(1)));
        assert!(state.take_lock("host1", "choria=p", at(100)));
        assert!(!state.take_lock("host2", "choria=p", at(219)));
        assert!(state.take_lock("host2", "choria=p", at(220)));
    }
}
