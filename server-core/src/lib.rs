//! What a fleet node is, and how anything speaks to it.
//!
//! In reading order:
//!
//! * [`words`]: the nouns of the field (identities, callers, subjects, time, randomness);
//! * [`wire`]: messages of Choria protocol 1 as bytes, and nothing about who may send them;
//! * [`trust`]: keys, certificates, tokens, and the verdict on a request;
//! * [`bus`]: the one seam through which everything touches the network;
//! * [`storage`] and [`server_conf`]: a node's files, and the one that says what it is;
//! * [`events`]: what a node tells of its life;
//! * [`agents`]: request in, answer out, authorization before any agent code;
//! * [`client`]: asking nodes, with an account of every answer;
//! * [`node`]: what a node is, how it starts, and the one task in which it lives.

pub mod agents;
pub mod bus;
pub mod client;
pub mod events;
pub mod node;
pub mod server_conf;
pub mod storage;
pub mod trust;
pub mod wire;
pub mod words;
