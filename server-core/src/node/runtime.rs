//! Performs what the state machine decides.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::Instant;

use super::life::{Core, Life, subjects};
use super::machine::{Effect, Input, State};
use super::observer::{DialObserver, NodeEvent};
use super::plan::{self, Given, Plan};
use super::{Announce, Ended, Mode, Node, NodeError};
use crate::agents::{Rehearsal, Surroundings};
use crate::bus::Dial;
use crate::events::EventKind;
use crate::words::{Identity, Seed, Shutdown};

/// How long a last event may take before the node goes without it.
const GOODBYE: Duration = Duration::from_secs(2);

/// A running node.
struct Runner {
    given: Arc<Given>,
    node: Parts,
    plan: Option<Box<Plan>>,
    life: Option<Life>,
    /// Lives begun so far; each draws from its own random streams.
    lives: u64,
    /// The name of the present life, for what is told after it.
    identity: Identity,
}

/// What of the node is not read by plans.
struct Parts {
    dialer: Arc<dyn crate::bus::Dialer>,
    observer: Arc<dyn super::NodeObserver>,
    announce: Announce,
    seed: Seed,
}

/// Lives until the machine says it is over.
pub(super) fn run(node: Node, shutdown: Shutdown) -> BoxFuture<'static, Result<Ended, NodeError>> {
    let mut runner = Runner {
        identity: node.given.config.identity.clone(),
        given: Arc::new(node.given),
        node: Parts {
            dialer: node.dialer,
            observer: node.observer,
            announce: node.announce,
            seed: node.seed,
        },
        plan: None,
        life: None,
        lives: 0,
    };
    // Everything a node is lies in this future: what is passed by value would lie in it twice.
    Box::pin(async move { runner.run(&shutdown).await })
}

impl Runner {
    async fn run(&mut self, shutdown: &Shutdown) -> Result<Ended, NodeError> {
        let mut state = State::Loading;
        let mut effects = VecDeque::from([Effect::Load]);
        loop {
            let input = match effects.pop_front() {
                Some(Effect::Finish(how)) => {
                    let event = NodeEvent::Ended { how };
                    self.node.observer.event(&self.identity, event);
                    return Ok(how);
                }
                // Rare and large, so it takes its room only while it lasts.
                Some(effect) => Box::pin(self.perform(effect, shutdown)).await?,
                None => Some(self.serve(shutdown).await?),
            };
            if let Some(input) = input {
                let (next, more) = state.step(input);
                tracing::trace!(node = %self.identity, ?state, ?input, ?next, "node");
                state = next;
                effects.extend(more);
            }
        }
    }

    async fn serve(&mut self, shutdown: &Shutdown) -> Result<Input, NodeError> {
        match &mut self.life {
            Some(life) => life.serve(shutdown).await,
            // The machine always has an effect left without a connection.
            None => Ok(Input::StopAsked),
        }
    }

    async fn perform(
        &mut self,
        effect: Effect,
        shutdown: &Shutdown,
    ) -> Result<Option<Input>, NodeError> {
        match effect {
            Effect::Load => {
                let plan = plan::load(&self.given)?;
                let mode = plan.mode;
                self.identity = plan.identity.clone();
                self.plan = Some(Box::new(plan));
                return Ok(Some(Input::Loaded(mode)));
            }
            Effect::Dial(mode) => return self.dial(mode, shutdown).await.map(Some),
            Effect::Finish(_) => {}
            Effect::Close => {
                if let Some(life) = self.life.take() {
                    life.bus.close().await;
                }
                return Ok(Some(Input::Closed));
            }
            Effect::Subscribe => {
                if let Some(life) = &mut self.life {
                    life.subscribed();
                }
                return Ok(Some(Input::Subscribed));
            }
            Effect::AwaitPermission => {
                if let Some(permission) = self.permission() {
                    if let Some(life) = &mut self.life {
                        life.await_permission(permission);
                    }
                    return Ok(None);
                }
                return Ok(Some(Input::Permitted));
            }
            Effect::Announce => {
                if let Some(life) = &mut self.life {
                    life.announce().await;
                }
            }
            Effect::Delay(after) => {
                if let Some(life) = &mut self.life {
                    life.leave_after(after);
                }
            }
            Effect::SayGoodbye => {
                if let Some(life) = &mut self.life {
                    let goodbye = life.publish(EventKind::Shutdown);
                    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
                }
            }
        }
        Ok(None)
    }

    /// What the node waits for before its first startup event.
    fn permission(&self) -> Option<watch::Receiver<bool>> {
        match &self.node.announce {
            Announce::When(permission) if self.lives == 1 => Some(permission.clone()),
            _ => None,
        }
    }

    async fn dial(&mut self, mode: Mode, shutdown: &Shutdown) -> Result<Input, NodeError> {
        let Some(plan) = self.plan.take() else {
            return Ok(Input::StopAsked);
        };
        self.lives += 1;
        let seed = Seed(self.node.seed.0 ^ self.lives.rotate_left(48));
        let dial = self.address(&plan, seed);
        let core = Arc::new(core(&self.given, *plan, &self.node, seed));
        let begun = Instant::now();
        let link = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(Input::StopAsked),
            link = self.node.dialer.dial(dial) => link?,
        };
        core.tell(NodeEvent::Connected {
            mode,
            server: link.bus.server(),
            took: begun.elapsed(),
        });
        // The cell is empty: this life has had no connection before.
        let _ = core.node.bus.set(Arc::clone(&link.bus));
        self.life = Some(Life::new(core, link, self.given.config.alive, seed));
        Ok(Input::Connected)
    }

    fn address(&self, plan: &Plan, seed: Seed) -> Dial {
        let config = &self.given.config;
        let mut dial = Dial::new(plan.servers.clone(), plan.identity.as_str());
        dial.subscriptions = subjects(&plan.collectives, &plan.agents, &plan.identity).collect();
        dial.tls.clone_from(&plan.tls);
        dial.reconnect = config.reconnect.seeded(seed.0);
        dial.connect_timeout = plan.connect_timeout;
        dial.capacity = config.queue;
        dial.give_up_after = config.give_up_after;
        dial.progress = Some(Arc::new(DialObserver {
            identity: plan.identity.clone(),
            mode: plan.mode,
            observer: Arc::clone(&self.node.observer),
        }));
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match (plan.mode, &plan.provisioning) {
            (Mode::Provisioning, Some(token)) => {
                dial.user = given(&token.claims.chusr);
                dial.password = given(&token.claims.chpwd);
                dial.token = Some(token.text.0.clone());
            }
            _ => {
                dial.user = plan.conf.get("plugin.nats.user").and_then(given);
                dial.password = plan.conf.get("plugin.nats.pass").and_then(given);
                dial.credential.clone_from(&plan.credential);
            }
        }
        dial
    }
}

fn core(given: &Arc<Given>, plan: Plan, parts: &Parts, seed: Seed) -> Core {
    let config = &given.config;
    let rehearse: Arc<Rehearsal> = {
        let given = Arc::clone(given);
        Arc::new(move || {
            plan::load(&given)
                .map(|plan| plan.mode)
                .map_err(|error| error.to_string())
        })
    };
    Core {
        node: Surroundings {
            identity: plan.identity,
            mode: plan.mode,
            collectives: plan.collectives,
            agents: plan.agents,
            facts: plan.facts,
            classes: plan.classes,
            conf: plan.conf,
            storage: Arc::clone(&given.storage),
            version: Arc::from(config.version.as_str()),
            started: given.clock.unix(),
            clock: Arc::clone(&given.clock),
            counters: crate::agents::Counters::default(),
            key_algorithm: config.key_algorithm,
            keep_key: config.keep_key,
            provisioning: plan.provisioning,
            provision: crate::agents::ProvisionState::default(),
            servers: plan.servers,
            tls: plan.tls.is_some(),
            connect_timeout_secs: plan.connect_timeout.as_secs(),
            bus: OnceLock::new(),
            seed,
            random: OnceLock::new(),
            rehearse,
        },
        verifier: plan.verifier,
        authorization: plan.authorization,
        credential: plan.credential,
        limits: config.limits.clone(),
        depth: config.depth,
        observer: Arc::clone(&parts.observer),
    }
}
