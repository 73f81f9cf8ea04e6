//! The agent every node has: its facts, inventory, counters and settings.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Agent, AgentContext, Answer, Call, Metadata, Mode, Surroundings};
use crate::wire::rpc::StatusCode;

pub(super) struct RpcUtil(Metadata);

const ACTIONS: &[&str] = &[
    "agent_inventory",
    "collective_info",
    "daemon_stats",
    "get_config_item",
    "get_data",
    "get_fact",
    "get_facts",
    "inventory",
    "ping",
];

/// Data plugins of `get_data`; none while provisioning.
const DATA_PLUGINS: &[&str] = &["choria", "config_item"];

impl RpcUtil {
    pub(super) fn new() -> Self {
        Self(Metadata::new("rpcutil", "Choria RPC Utilities", ACTIONS).timeout(2))
    }
}

#[async_trait]
impl Agent for RpcUtil {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, context: &AgentContext<'_>, call: &Call) -> Answer {
        let node = context.node();
        let answered = match call.action.as_str() {
            "ping" => Ok(Answer::ok(json!({ "pong": context.now().secs() }))),
            "get_fact" => get_fact(context, call),
            "get_facts" => get_facts(context, call),
            "agent_inventory" => Ok(agent_inventory(node)),
            "inventory" => Ok(inventory(node)),
            "daemon_stats" => Ok(daemon_stats(node)),
            "collective_info" => Ok(Answer::ok(json!({
                "main_collective": node.main_collective(),
                "collectives": node.collectives,
            }))),
            "get_config_item" => get_config_item(node, call),
            "get_data" => get_data(context, call),
            other => Err(Answer::refused(
                StatusCode::UnknownAction,
                format!("Unknown action {other} for agent rpcutil"),
            )),
        };
        answered.unwrap_or_else(|refusal| refusal)
    }
}

#[derive(Deserialize)]
struct FactInput {
    #[serde(default)]
    fact: String,
}

fn get_fact(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let FactInput { fact } = call.input()?;
    let value = context.fact(&fact);
    Ok(Answer::ok(json!({ "fact": fact, "value": value })))
}

#[derive(Deserialize)]
struct FactsInput {
    #[serde(default)]
    facts: String,
}

fn get_facts(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let FactsInput { facts } = call.input()?;
    let values: std::collections::BTreeMap<_, _> = facts
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| (name, context.fact(name)))
        .collect();
    Ok(Answer::ok(json!({ "values": values })))
}

fn agent_inventory(node: &Surroundings) -> Answer {
    let agents: Result<Vec<Value>, _> = node
        .agents
        .iter()
        .map(|agent| serde_json::to_value(agent.metadata().inventory()))
        .collect();
    match agents {
        Ok(agents) => Answer::ok(json!({ "agents": agents })),
        Err(error) => Answer::refused(StatusCode::UnknownError, error.to_string()),
    }
}

fn inventory(node: &Surroundings) -> Answer {
    Answer::ok(json!({
        "agents": node.agents.names(),
        "classes": *node.classes,
        "collectives": node.collectives,
        "data_plugins": data_plugins(node),
        "facts": node.facts.value(),
        "machines": [],
        "main_collective": node.main_collective(),
        "version": *node.version,
        "upgradable": false,
    }))
}

fn daemon_stats(node: &Surroundings) -> Answer {
    let counted = node.counters.values();
    Answer::ok(json!({
        "agents": node.agents.names(),
        "configfile": node.storage.describe(crate::server_conf::SERVER_CONF),
        "filtered": counted.filtered,
        "pid": std::process::id(),
        "passed": counted.passed,
        "threads": ["one task per node"],
        "replies": counted.replies,
        "starttime": node.started.secs(),
        "ttlexpired": counted.ttlexpired,
        "events": counted.events,
        "times": { "cstime": 0, "cutime": 0, "stime": 0, "utime": 0 },
        "total": counted.total,
        "unvalidated": counted.unvalidated,
        "validated": counted.validated,
        "version": *node.version,
    }))
}

#[derive(Deserialize)]
struct ItemInput {
    #[serde(default)]
    item: String,
}

fn get_config_item(node: &Surroundings, call: &Call) -> Result<Answer, Answer> {
    let ItemInput { item } = call.input()?;
    Ok(match config_item(node, &item) {
        Some(value) => Answer::ok(json!({ "item": item, "value": value })),
        None => Answer::aborted("Unknown key"),
    })
}

#[derive(Deserialize)]
struct DataInput {
    #[serde(default)]
    source: String,
    #[serde(default)]
    query: String,
}

fn get_data(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let DataInput { source, query } = call.input()?;
    let node = context.node();
    Ok(match (node.mode, source.as_str()) {
        (Mode::Provisioning, _) => Answer::aborted("Could not load data sources"),
        (Mode::Production, "choria") => Answer::ok(choria_data(context)),
        (Mode::Production, "config_item") => {
            let value = config_item(node, &query);
            let value = value.map(|value| json!({ "present": true, "value": value }));
            Answer::ok(value.unwrap_or_else(|| json!({ "present": false, "value": "" })))
        }
        (Mode::Production, _) => Answer::aborted("Unknown data plugin"),
    })
}

fn choria_data(context: &AgentContext<'_>) -> Value {
    let node = context.node();
    let counted = node.counters.values();
    json!({
        "agents": node.agents.names(),
        "agents_count": node.agents.len(),
        "built": "unknown",
        "classes": *node.classes,
        "classes_count": node.classes.len(),
        "commit": "unknown",
        "configfile": node.storage.describe(crate::server_conf::SERVER_CONF),
        "connected_broker": node.server(),
        "cpus": std::thread::available_parallelism().map_or(1, usize::from),
        "events": counted.events,
        "filtered": counted.filtered,
        "license": env!("CARGO_PKG_LICENSE"),
        "machines": [],
        "machines_count": 0,
        "passed": counted.passed,
        "pid": std::process::id(),
        "provisioning": node.mode == Mode::Provisioning,
        "replies": counted.replies,
        "total": counted.total,
        "ttlexpired": counted.ttlexpired,
        "unvalidated": counted.unvalidated,
        "uptime": context.now().since(node.started).as_secs(),
        "validated": counted.validated,
        "version": *node.version,
    })
}

fn data_plugins(node: &Surroundings) -> &'static [&'static str] {
    match node.mode {
        Mode::Provisioning => &[],
        Mode::Production => DATA_PLUGINS,
    }
}

/// A setting's value; what is secret by its name is there but not told.
fn config_item(node: &Surroundings, item: &str) -> Option<Value> {
    let value = match item {
        "identity" => json!(node.identity),
        "collectives" => json!(node.collectives),
        "main_collective" => json!(node.main_collective()),
        key if is_secret(key) => node.conf.get(key).map(|_| json!("(not told)"))?,
        key => json!(node.conf.get(key)?),
    };
    Some(value)
}

fn is_secret(key: &str) -> bool {
    let last = key.rsplit('.').next().unwrap_or(key).to_ascii_lowercase();
    ["pass", "password", "token", "secret"]
        .iter()
        .any(|word| last == *word || last.ends_with(&format!("_{word}")))
}
