//! The hook, as the service has it: counted, tested before any node is asked for anything, and
//! tested again whenever an answer of it puts our own configuration in doubt.

mod watched;

use std::sync::Arc;

use super::SELF_TEST;
use crate::code::Code;
use crate::hook::{Hook, HookError};
use crate::metrics::Metrics;
use crate::ready::{Part, Readiness};
use crate::site::Site;
pub(super) use watched::Watched;

/// Has everything that is asked of the hook counted.
pub(super) fn watched(site: &mut Site, metrics: &Metrics) -> Arc<Watched> {
    let hook = Arc::new(Watched::new(Arc::clone(&site.hook), metrics.hook.clone()));
    site.hook = Arc::clone(&hook) as _;
    hook
}

/// Waits until the hook can work; a node is not asked for anything before.
pub(super) async fn self_test(hook: &Arc<Watched>, ready: &Readiness) {
    loop {
        match tested(hook).await {
            Ok(()) => {
                ready.met(Part::Hook);
                return;
            }
            Err(refusal) => {
                if ready.missed(Part::Hook, refusal.message.clone()) {
                    tracing::error!(code = %refusal.code, "{}", refusal.message);
                }
                tokio::time::sleep(SELF_TEST).await;
            }
        }
    }
}

/// Keeps readiness true to the hook while nodes are enrolled.
///
/// One answer does not decide it: a single node may have provoked that, and a member of a group
/// that is not ready loses its nodes to the others. The test decides.
pub(super) async fn watch(hook: &Arc<Watched>, ready: &Readiness) {
    loop {
        hook.doubted().await;
        self_test(hook, ready).await;
        // However many nodes meet the same fault, the backend is not tested for each.
        tokio::time::sleep(SELF_TEST).await;
    }
}

async fn tested(hook: &Arc<Watched>) -> Result<(), HookError> {
    // Looks at files and maybe at a token, which takes as long as it takes.
    let blocking = Arc::clone(hook);
    match tokio::task::spawn_blocking(move || blocking.self_test()).await {
        Ok(Ok(())) => hook.health().await,
        Ok(Err(error)) => Err(error),
        Err(failed) => Err(HookError::new(Code::HookUnavailable, failed.to_string())),
    }
}
