//! The agents of a node, in a fixed order, shared by every node that carries the same ones.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Agent, AgentContext, Answer, Call, Metadata};
use super::{choria_provision, choria_util, discovery, muster, rpcutil};

/// Agents, sorted by name.
#[derive(Clone, Default)]
pub struct AgentSet {
    names: Vec<String>,
    agents: Vec<Arc<dyn Agent>>,
}

impl AgentSet {
    /// What a node in provisioning mode carries, and nothing else.
    #[must_use]
    pub fn provisioning() -> Self {
        Self::of(vec![
            Arc::new(discovery::Discovery::new()),
            Arc::new(rpcutil::RpcUtil::new()),
            Arc::new(choria_util::ChoriaUtil::new()),
            Arc::new(choria_provision::ChoriaProvision::new()),
        ])
    }

    /// What a node on the production network carries, `count` agents in all: `discovery`, `rpcutil`,
    /// `choria_util`, `choria_provision` where a provisioning token is still in place, `muster`, and
    /// beyond these idle load agents `muster_load_1`, `muster_load_2` and so on.
    #[must_use]
    pub fn production(count: usize, with_token: bool) -> Self {
        let mut agents: Vec<Arc<dyn Agent>> = vec![
            Arc::new(discovery::Discovery::new()),
            Arc::new(rpcutil::RpcUtil::new()),
            Arc::new(choria_util::ChoriaUtil::new()),
        ];
        if with_token {
            agents.push(Arc::new(choria_provision::ChoriaProvision::new()));
        }
        agents.push(Arc::new(muster::Muster::new()));
        let idle = count.saturating_sub(agents.len());
        agents.extend((1..=idle).map(|number| Arc::new(Idle::new(number)) as Arc<dyn Agent>));
        agents.truncate(count);
        Self::of(agents)
    }

    fn of(agents: Vec<Arc<dyn Agent>>) -> Self {
        let mut set = Self::default();
        for agent in agents {
            set.add(agent);
        }
        set
    }

    /// Adds an agent, replacing one of the same name.
    pub fn add(&mut self, agent: Arc<dyn Agent>) {
        let name = agent.metadata().name.clone();
        match self.names.binary_search(&name) {
            Ok(at) => self.agents[at] = agent,
            Err(at) => {
                self.names.insert(at, name);
                self.agents.insert(at, agent);
            }
        }
    }

    /// The agent of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Agent>> {
        let at = self.names.binary_search_by(|one| one.as_str().cmp(name));
        at.ok().and_then(|at| self.agents.get(at))
    }

    /// Names in order.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// All agents, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Agent>> {
        self.agents.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.agents.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.agents.is_empty()
    }
}

/// An agent that only costs a subscription: fleets carry more agents than a load test calls.
struct Idle(Metadata);

impl Idle {
    fn new(number: usize) -> Self {
        Self(Metadata::new(
            &format!("muster_load_{number}"),
            "Costs a subscription and does nothing",
            &["nothing"],
        ))
    }
}

#[async_trait]
impl Agent for Idle {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, _: &AgentContext<'_>, _: &Call) -> Answer {
        Answer::ok(serde_json::Map::new())
    }
}
