//! Where a broker stands.

use super::broker::scheme;
use super::monitor::Monitor;
use crate::scenario::{Role, Tls};

/// What stays the same of a broker whatever happens to its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The broker's name: `hub-1`.
    pub name: String,
    /// The name of its tier in the scenario: `hub`.
    pub tier: String,
    /// What it is for.
    pub role: Role,
    /// How its clients connect.
    pub tls: Tls,
    /// Where clients reach it, without the scheme: `127.0.0.1:41224`.
    pub address: String,
    /// Its monitoring endpoint; none where the broker is somebody else's.
    pub monitor: Option<Monitor>,
}

impl Post {
    /// Where clients reach it: `tls://127.0.0.1:41224`.
    pub fn url(&self) -> String {
        format!("{}://{}", scheme(self.tls), self.address)
    }

    /// The same as a node's configuration has it: a scheme only where there is no TLS.
    pub fn host(&self) -> String {
        match self.tls {
            Tls::None => self.url(),
            Tls::Server | Tls::Mutual => self.address.clone(),
        }
    }
}
