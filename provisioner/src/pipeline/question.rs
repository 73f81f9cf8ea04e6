//! What a node can be asked, and the calls that ask it.

use serde_json::{Value, json};
use server_core::client::{Call, ClientError};

use crate::secret::Secret;

/// What a node can be asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Question {
    /// Its provisioning token and a fresh X25519 key.
    Jwt,
    /// What it is.
    Inventory,
    /// A certificate request; over another key than the node has, where that is wanted.
    GenCsr {
        /// A node that keeps its key is to make another.
        new_key: bool,
        /// A node that keeps its key is to sign this with it.
        nonce: Option<String>,
    },
    /// A fresh Ed25519 key, and a signature over this nonce to prove that the node has it.
    Gen25519(String),
    /// To take certificate, settings and policies.
    Configure(Box<Value>),
    /// To restart.
    Restart,
    /// To leave the production network and come back to be enrolled.
    Reprovision,
    /// To end.
    Shutdown,
    /// Whether it is there.
    Ping,
}

impl Question {
    /// The action, for people.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Jwt => "choria_provision#jwt",
            Self::Inventory => "rpcutil#inventory",
            Self::GenCsr { .. } => "choria_provision#gencsr",
            Self::Gen25519(_) => "choria_provision#gen25519",
            Self::Configure(_) => "choria_provision#configure",
            Self::Restart => "choria_provision#restart",
            Self::Reprovision => "choria_provision#reprovision",
            Self::Shutdown => "choria_provision#shutdown",
            Self::Ping => "discovery",
        }
    }

    /// Whether one request serves many nodes.
    pub(crate) const fn is_shared(&self) -> bool {
        !matches!(
            self,
            Self::GenCsr { nonce: Some(_), .. }
                | Self::Gen25519(_)
                | Self::Configure(_)
                | Self::Shutdown
        )
    }

    /// The question as a call, carrying the token nodes want to see.
    pub(crate) fn call(&self, token: &Secret) -> Result<Call, ClientError> {
        let token = token.reveal();
        let provision = |action, data| Call::rpc("choria_provision", action, data);
        match self {
            Self::Jwt => provision("jwt", json!({ "token": token })),
            Self::Inventory => Call::rpc("rpcutil", "inventory", json!({})),
            Self::GenCsr { new_key, nonce } => {
                let mut data = json!({ "token": token });
                if *new_key {
                    data["new_key"] = true.into();
                }
                if let Some(nonce) = nonce {
                    data["nonce"] = nonce.as_str().into();
                }
                provision("gencsr", data)
            }
            Self::Gen25519(nonce) => {
                provision("gen25519", json!({ "nonce": nonce, "token": token }))
            }
            Self::Configure(data) => provision("configure", (**data).clone()),
            // The shortest delay a node knows: 2 s.
            Self::Restart => provision("restart", json!({ "splay": 1, "token": token })),
            Self::Reprovision => provision("reprovision", json!({ "token": token })),
            Self::Shutdown => provision("shutdown", json!({ "token": token })),
            Self::Ping => Ok(Call::ping()),
        }
    }
}
