//! The agent through which a node is enrolled: it tells its token, makes its key, takes its
//! configuration and restarts into it.
//!
//! Every action wants the shared token of the node's provisioning token. `configure`, `gen25519`,
//! `gencsr`, `jwt` and `release_update` also take a two-minute lock for the pair of sender and caller.

mod configure;
mod keys;
mod state;

pub(crate) use state::ProvisionState;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::json;

use super::{Agent, AgentContext, Answer, Call, Metadata, Mode, Next, Surroundings};
use crate::events::EventKind;
use crate::server_conf::SERVER_CONF;
use crate::trust::ecdh::NodeSecret;

pub(super) struct ChoriaProvision(Metadata);

const ACTIONS: &[&str] = &[
    "configure",
    "gen25519",
    "gencsr",
    "jwt",
    "release_update",
    "reprovision",
    "restart",
    "shutdown",
];

const NOT_PROVISIONING: &str = "Cannot reconfigure a server that is not in provisioning mode";

/// The longest splay of a restart, in seconds: a day.
const MAX_SPLAY: u64 = 24 * 60 * 60;

impl ChoriaProvision {
    pub(super) fn new() -> Self {
        let metadata = Metadata::new("choria_provision", "Choria Provisioner", ACTIONS);
        Self(metadata.timeout(20))
    }
}

#[async_trait]
impl Agent for ChoriaProvision {
    fn metadata(&self) -> &Metadata {
        &self.0
    }

    async fn handle(&self, context: &AgentContext<'_>, call: &Call) -> Answer {
        let answered = match admit(context, call) {
            Err(refusal) => Err(refusal),
            Ok(()) => match call.action.as_str() {
                "jwt" => jwt(context),
                "gen25519" => keys::gen25519(context, call),
                "gencsr" => keys::gencsr(context, call).await,
                "configure" => configure::configure(context, call),
                "restart" => restart(context, call),
                "reprovision" => reprovision(context),
                "shutdown" => shutdown(context),
                "release_update" => release_update(context, call),
                other => Err(Answer::aborted(format!("unknown action {other}"))),
            },
        };
        answered.unwrap_or_else(|refusal| refusal)
    }
}

#[derive(Deserialize)]
struct TokenInput {
    #[serde(default)]
    token: String,
}

/// The lock first, then the token; and nothing more once the node is about to restart or stop.
fn admit(context: &AgentContext<'_>, call: &Call) -> Result<(), Answer> {
    let node = context.node();
    let mut state = node.provision.lock();
    if state.leaving {
        return Err(Answer::aborted("The node is about to restart or stop"));
    }
    let locked = matches!(
        call.action.as_str(),
        "configure" | "gen25519" | "gencsr" | "jwt" | "release_update"
    );
    if locked && !state.take_lock(&call.sender, &call.caller, context.now()) {
        return Err(Answer::aborted("Could not obtain provisioning lock"));
    }
    let TokenInput { token } = call.input()?;
    let wanted = shared_token(node);
    let same = wanted.is_empty()
        || (wanted.len() == token.len()
            && aws_lc_rs::constant_time::verify_slices_are_equal(
                wanted.as_bytes(),
                token.as_bytes(),
            )
            .is_ok());
    if same {
        return Ok(());
    }
    tracing::warn!(node = %node.identity, caller = call.caller, action = call.action,
        "a provisioning call with a wrong token was refused");
    Err(Answer::aborted("Incorrect provision token supplied"))
}

fn shared_token(node: &Surroundings) -> &str {
    node.provisioning
        .as_ref()
        .map_or("", |token| token.claims.cht.as_str())
}

/// Most actions only make sense before the node is enrolled.
fn in_provisioning(node: &Surroundings) -> Result<(), Answer> {
    match node.mode {
        Mode::Provisioning => Ok(()),
        Mode::Production => Err(Answer::aborted(NOT_PROVISIONING)),
    }
}

fn jwt(context: &AgentContext<'_>) -> Result<Answer, Answer> {
    let node = context.node();
    in_provisioning(node)?;
    let token = node
        .provisioning
        .as_ref()
        .ok_or_else(|| Answer::aborted("No Provisioning JWT file has been configured"))?;
    let secret = NodeSecret::generate()
        .map_err(|error| Answer::aborted(format!("Could not make an ECDH key: {error}")))?;
    let public = secret.public_hex().to_owned();
    node.provision.lock().secret = Some(secret);
    Ok(Answer::ok(
        json!({ "jwt": token.text.0, "ecdh_public": public }),
    ))
}

#[derive(Deserialize)]
struct RestartInput {
    #[serde(default)]
    splay: u64,
}

fn restart(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    let node = context.node();
    if node.mode == Mode::Production && shared_token(node).is_empty() {
        return Err(Answer::aborted(
            "Cannot restart a server that is not in provisioning mode or with no token set",
        ));
    }
    let RestartInput { splay } = call.input()?;
    let file = node.storage.describe(SERVER_CONF);
    match (node.rehearse)() {
        Ok(Mode::Production) => {}
        Ok(Mode::Provisioning) => {
            return Err(Answer::aborted(format!(
                "Configuration {file} enables provisioning, restart cannot continue"
            )));
        }
        Err(why) => {
            return Err(Answer::aborted(format!(
                "Configuration {file} could not be used, restart cannot continue: {why}"
            )));
        }
    }
    let splay = match splay.min(MAX_SPLAY) {
        0 => 10,
        splay => splay,
    };
    let delay = context.seconds(2, splay + 1);
    Ok(leave(node, "Restarting Choria Server", delay))
}

fn reprovision(context: &AgentContext<'_>) -> Result<Answer, Answer> {
    let node = context.node();
    if node.mode == Mode::Provisioning {
        return Err(Answer::aborted("Server is already in provisioning mode"));
    }
    if node.provisioning.is_none() {
        return Err(Answer::aborted(
            "No Provisioning JWT file has been configured",
        ));
    }
    let mut settings = std::collections::BTreeMap::from([
        ("plugin.choria.server.provision".to_owned(), "1".to_owned()),
        ("loglevel".to_owned(), "debug".to_owned()),
    ]);
    if let Some(logfile) = node.conf.get("logfile") {
        settings.insert("logfile".to_owned(), logfile.to_owned());
    }
    configure::write_conf(context, "reprovision", &settings)?;
    let delay = context.seconds(2, 11);
    Ok(leave(node, "Restarting", delay))
}

fn shutdown(context: &AgentContext<'_>) -> Result<Answer, Answer> {
    let node = context.node();
    if node.mode == Mode::Production && shared_token(node).is_empty() {
        return Err(Answer::aborted(
            "Cannot shutdown a server that is not in provisioning mode or with no token set",
        ));
    }
    let delay = context.seconds(0, 9);
    node.provision.lock().leaving = true;
    let message = format!("Shutting Choria Server down after {delay}s");
    Ok(Answer::ok(json!({ "message": message })).then(Next::Shutdown(Duration::from_secs(delay))))
}

fn release_update(context: &AgentContext<'_>, call: &Call) -> Result<Answer, Answer> {
    #[derive(Deserialize)]
    struct Input {
        #[serde(default)]
        version: String,
    }
    in_provisioning(context.node())?;
    let Input { version } = call.input()?;
    let version: String = version.chars().take(32).collect();
    Err(Answer::aborted(format!(
        "Update to version {version} refused: this node does not replace its own software"
    )))
}

/// Announces the end of this life and answers with the delay.
fn leave(node: &Surroundings, what: &str, delay: u64) -> Answer {
    node.provision.lock().leaving = true;
    Answer::ok(json!({ "message": format!("{what} after {delay}s") }))
        .announcing(EventKind::Shutdown)
        .then(Next::Restart(Duration::from_secs(delay)))
}
