//! How nodes may behave while they are enrolled, and what is right to come of it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::Word;
use super::words::{Outcome, words};

words! {
    /// How a node behaves while it is enrolled.
    Behaviour {
        /// As it should.
        Honest = "honest",
        /// It announces itself and never answers.
        Dead = "dead",
        /// It answers half a second late, each time.
        Slow = "slow",
        /// Its answer is not one of the protocol.
        Garbled = "garbled",
        /// It answers in the name of another node.
        Impostor = "impostor",
        /// Two connections answer in its name.
        Twice = "twice",
        /// Its provisioning token was altered after it was signed.
        BadToken = "bad-token",
        /// Its provisioning token has expired.
        ExpiredToken = "expired-token",
        /// Its provisioning token says that it needs no signature.
        UnsignedToken = "unsigned-token",
        /// Its inventory is larger than an inventory can honestly be.
        BigInventory = "big-inventory",
        /// Its certificate request is not PEM.
        NotPem = "not-pem",
        /// Its certificate request is larger than one can honestly be.
        Big = "big",
        /// Its private key is sent along with its certificate request.
        LeakedKey = "leaked-key",
        /// Its certificate request names another node.
        WrongName = "wrong-name",
        /// Its certificate request asks for another node's name as well.
        ForeignSan = "foreign-san",
        /// Its certificate request asks for every name of a domain.
        WildcardSan = "wildcard-san",
        /// Its certificate request asks for the powers of an authority.
        CaRequest = "ca-request",
    }
}

impl Behaviour {
    /// What is right to come of it, and the code the provisioner should give for it (the codes of
    /// `provisioner`; a refused node is parked, as it may come back with a better request).
    pub fn outcome(self) -> (Outcome, Option<&'static str>) {
        let parked = |code| (Outcome::Parked, Some(code));
        let quarantined = |code| (Outcome::Quarantined, Some(code));
        match self {
            Self::Honest | Self::Slow => (Outcome::Confirmed, None),
            Self::Dead => parked("rpc.timeout"),
            Self::Garbled => parked("rpc.protocol"),
            Self::Impostor => quarantined("rpc.sender_mismatch"),
            Self::Twice => quarantined("rpc.duplicate_responder"),
            Self::BadToken => parked("jwt.signature"),
            Self::ExpiredToken => parked("jwt.expired"),
            Self::UnsignedToken => parked("jwt.alg"),
            Self::BigInventory => parked("inventory.too_large"),
            Self::NotPem => parked("csr.pem_format"),
            Self::Big => parked("csr.too_large"),
            Self::LeakedKey => quarantined("csr.private_key_leaked"),
            Self::WrongName => parked("csr.identity_mismatch"),
            Self::ForeignSan => parked("csr.san_set"),
            Self::WildcardSan => parked("csr.san_wildcard"),
            Self::CaRequest => parked("csr.ca_requested"),
        }
    }
}
