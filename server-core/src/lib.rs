//! What a fleet node is, and how anything speaks to it.
//!
//! In reading order:
//!
//! * [`words`]: the nouns of the field (identities, callers, subjects, time, randomness);
//! * [`wire`]: messages of Choria protocol 1 as bytes, and nothing about who may send them;
//! * [`trust`]: keys, certificates, tokens, and the verdict on a request.

pub mod trust;
pub mod wire;
pub mod words;
