//! What an agent says of itself.

use std::time::Duration;

use serde::Serialize;

/// Name, version, limits and actions of an agent, in the words of an agent description (DDL).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// Name: lower case letters, digits and `_`; the last word of its subject.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// SPDX licence id.
    pub license: String,
    /// Version of the agent.
    pub version: String,
    /// Where to read more.
    pub url: String,
    /// Seconds after which a call is given up, without a reply.
    pub timeout: u64,
    /// Names of its actions. Empty for an agent that is not called by action.
    pub actions: Vec<String>,
}

impl Metadata {
    /// Metadata with the project's defaults: version and licence of this crate, 10 s timeout.
    #[must_use]
    pub fn new(name: &str, description: &str, actions: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            author: "Muster".to_owned(),
            license: env!("CARGO_PKG_LICENSE").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            url: "https://choria.io".to_owned(),
            timeout: 10,
            actions: actions.iter().map(|&action| action.to_owned()).collect(),
        }
    }

    /// The same with another timeout, in seconds.
    #[must_use]
    pub fn timeout(mut self, seconds: u64) -> Self {
        self.timeout = seconds;
        self
    }

    /// The timeout as a duration.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }

    /// The entry of `rpcutil#agent_inventory`.
    pub(crate) fn inventory(&self) -> impl Serialize + '_ {
        InventoryEntry {
            agent: &self.name,
            license: &self.license,
            author: &self.author,
            timeout: self.timeout,
            name: &self.name,
            version: &self.version,
            url: &self.url,
            description: &self.description,
        }
    }
}

#[derive(Serialize)]
struct InventoryEntry<'a> {
    agent: &'a str,
    license: &'a str,
    author: &'a str,
    timeout: u64,
    name: &'a str,
    version: &'a str,
    url: &'a str,
    description: &'a str,
}
