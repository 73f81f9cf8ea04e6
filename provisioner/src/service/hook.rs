//! The hook, as the service has it: counted, and tested before any node is asked for anything.

mod watched;

use std::sync::Arc;

use super::SELF_TEST;
use crate::code::Code;
use crate::hook::HookError;
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
pub(super) async fn self_test(site: &Site, ready: &Readiness) {
    loop {
        // Looks at files and maybe at a token, which takes as long as it takes.
        let hook = Arc::clone(&site.hook);
        let tested = tokio::task::spawn_blocking(move || hook.self_test()).await;
        let healthy = match tested {
            Ok(Ok(())) => site.hook.health().await,
            Ok(Err(error)) => Err(error),
            Err(failed) => Err(HookError::new(Code::HookUnavailable, failed.to_string())),
        };
        match healthy {
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
