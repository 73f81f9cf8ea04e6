//! The policies of one node, and the store that lets nodes with the same text share them.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;

use super::{ActionPolicy, Groups};
use crate::storage::{Storage, StorageError};
use crate::wire::FilterSubject;

/// Different policy texts kept at once; a fleet has a handful.
const KEPT: usize = 256;

/// Parsed policies by text, for all nodes of a process.
pub struct PolicyStore {
    policies: Mutex<LruCache<Vec<u8>, Arc<ActionPolicy>>>,
    groups: Mutex<LruCache<Vec<u8>, Arc<Groups>>>,
    sets: Mutex<LruCache<Names, Policies>>,
}

/// What tells one set from another: agents with their policies' addresses, and the groups' address.
/// The set that is kept beside it keeps the addresses from being used again.
type Names = (Vec<(String, usize)>, usize);

impl Default for PolicyStore {
    fn default() -> Self {
        let kept = NonZeroUsize::new(KEPT).unwrap_or(NonZeroUsize::MIN);
        Self {
            policies: Mutex::new(LruCache::new(kept)),
            groups: Mutex::new(LruCache::new(kept)),
            sets: Mutex::new(LruCache::new(kept)),
        }
    }
}

impl PolicyStore {
    /// Reads the policies of a node from its storage.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn load(&self, storage: &dyn Storage) -> Result<Policies, StorageError> {
        let mut by_agent = BTreeMap::new();
        for file in storage.list("policies")? {
            let Some(agent) = file.strip_suffix(".policy") else {
                continue;
            };
            if let Some(text) = storage.read(&format!("policies/{file}"))? {
                let policy = parsed(&self.policies, text, |text| {
                    let policy = ActionPolicy::parse(text);
                    for warning in policy.warnings() {
                        tracing::warn!(file = storage.describe(&format!("policies/{file}")), %warning, "policy");
                    }
                    policy
                });
                by_agent.insert(agent.to_owned(), policy);
            }
        }
        let groups = storage.read("policies/groups")?.unwrap_or_default();
        let groups = parsed(&self.groups, groups, Groups::parse);
        Ok(self.set(by_agent, groups))
    }

    /// The set of these policies, one for all nodes that have the same.
    fn set(&self, by_agent: BTreeMap<String, Arc<ActionPolicy>>, groups: Arc<Groups>) -> Policies {
        let address = |policy: &Arc<ActionPolicy>| Arc::as_ptr(policy).addr();
        let agents = by_agent.iter();
        let agents = agents.map(|(agent, policy)| (agent.clone(), address(policy)));
        let names = (agents.collect(), Arc::as_ptr(&groups).addr());
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = sets.get_or_insert(names, || Policies(Arc::new(Set { by_agent, groups })));
        set.clone()
    }
}

fn parsed<T>(
    known: &Mutex<LruCache<Vec<u8>, Arc<T>>>,
    text: Vec<u8>,
    parse: impl Fn(&str) -> T,
) -> Arc<T> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&text) {
        return Arc::clone(found);
    }
    let fresh = Arc::new(parse(&String::from_utf8_lossy(&text)));
    known.put(text, Arc::clone(&fresh));
    fresh
}

/// The policies of one node.
#[derive(Debug, Clone, Default)]
pub struct Policies(Arc<Set>);

#[derive(Debug, Default)]
struct Set {
    by_agent: BTreeMap<String, Arc<ActionPolicy>>,
    groups: Arc<Groups>,
}

impl Policies {
    /// Whether the caller may run the action of the agent. Without a policy of the agent's own,
    /// `fallback` (such as `default`) is asked where one is named; without that, nothing is allowed.
    #[must_use]
    pub fn allow(
        &self,
        agent: &str,
        fallback: Option<&str>,
        caller: &str,
        action: &str,
        node: &dyn FilterSubject,
    ) -> bool {
        let Set { by_agent, groups } = &*self.0;
        by_agent
            .get(agent)
            .or_else(|| by_agent.get(fallback?))
            .is_some_and(|policy| policy.allows(groups, caller, action, node))
    }
}
