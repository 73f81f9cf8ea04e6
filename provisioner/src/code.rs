//! The codes: one stable string for everything that can keep a node from being enrolled.
//!
//! The same strings appear in logs, metrics, the ledger, `provisioner show`, the output of
//! `provisioner csr check` and what a node is told. A code is never renamed and never used again
//! for something else; what it means for the node is its [`Class`].

mod refusal;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use refusal::brief;
pub use refusal::{LONGEST_SENTENCE, Refusal};

/// What a code means for the node it was given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Final for this request: the node may come back with another one, after a while.
    Refuse,
    /// The identity is frozen until a person or a policy decides; no authority is asked.
    Quarantine,
    /// Passing: the enrolment is parked and tried again, later each time.
    Defer,
    /// Our own configuration is at fault: the service is not ready.
    Fatal,
    /// The identity is taken: parked until a person or a policy decides who holds it.
    Conflict,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refuse",
            Self::Quarantine => "quarantine",
            Self::Defer => "defer",
            Self::Fatal => "fatal",
            Self::Conflict => "conflict",
        })
    }
}

/// Declares the closed set of codes with their string, class and one-sentence meaning.
macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $text:literal, $class:ident;)+) => {
        /// Why a node is not (yet) enrolled.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Code {
            /// Every code there is, in the order in which the documentation lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable string, e.g. `csr.san_wildcard`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What the code means for the node.
            #[must_use]
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }

            /// One sentence on what the code stands for.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+),)+ }
            }
        }
    };
}

codes! {
    /// A private key was sent along with the request.
    CsrPrivateKeyLeaked = "csr.private_key_leaked", Quarantine;
    /// The request is larger than a request can honestly be.
    CsrTooLarge = "csr.too_large", Refuse;
    /// Not exactly one canonical PEM block labelled `CERTIFICATE REQUEST`.
    CsrPemFormat = "csr.pem_format", Refuse;
    /// The request is not strict DER of a PKCS#10 request.
    CsrDer = "csr.der", Refuse;
    /// Bytes follow the request inside its PEM block.
    CsrDerTrailing = "csr.der_trailing", Refuse;
    /// The kind of key is not one that is certified.
    KeyAlgorithm = "key.algorithm", Refuse;
    /// The RSA modulus is not 2048, 3072 or 4096 bits.
    KeySize = "key.size", Refuse;
    /// The RSA public exponent is not 65537.
    KeyExponent = "key.exponent", Refuse;
    /// The elliptic curve is not P-256, P-384 or Ed25519.
    KeyCurve = "key.curve", Refuse;
    /// The key can be broken: small factors, close primes, ROCA or no valid point.
    KeyWeak = "key.weak", Refuse;
    /// The same public key is known under another identity.
    KeyReused = "key.reused", Quarantine;
    /// The certificate for the key was revoked; the node has to make another key.
    KeyRevoked = "key.revoked", Defer;
    /// The key an authority made can no longer be sent: it was encrypted for an exchange that the node has ended.
    KeyLost = "key.lost", Defer;
    /// The issuer's own token has ended: it issues nothing until it has a new one.
    IssuerExpired = "issuer.expired", Defer;
    /// The hook wants more in a server token than `[issuer]` allows.
    IssuerClaims = "issuer.claims", Refuse;
    /// A server token that was made is not good for its node.
    IssuerToken = "issuer.token", Defer;
    /// The signature algorithm is weak or does not belong to the key.
    CsrSigalg = "csr.sigalg", Refuse;
    /// The request is not signed by the key it asks a certificate for.
    CsrPopFailed = "csr.pop_failed", Refuse;
    /// Not exactly one common name, or one in an odd string type.
    CsrSubjectCnCount = "csr.subject_cn_count", Refuse;
    /// The name is not a lower-case host name in ASCII.
    IdentitySyntax = "identity.syntax", Refuse;
    /// The request is for another node's name.
    CsrIdentityMismatch = "csr.identity_mismatch", Refuse;
    /// The subject holds more than the common name.
    CsrSubjectAttr = "csr.subject_attr", Refuse;
    /// The request asks for the powers of an authority.
    CsrCaRequested = "csr.ca_requested", Refuse;
    /// The request carries an extension or attribute that is never granted.
    CsrExtension = "csr.extension", Refuse;
    /// The request asks for a wildcard name.
    CsrSanWildcard = "csr.san_wildcard", Refuse;
    /// The request asks for a kind of alternative name that is never granted.
    CsrSanKind = "csr.san_kind", Refuse;
    /// The request asks for an address outside the configured ranges.
    CsrSanIp = "csr.san_ip", Refuse;
    /// The request asks for too many alternative names.
    CsrSanCount = "csr.san_count", Refuse;
    /// The alternative names differ from what is granted.
    CsrSanSet = "csr.san_set", Refuse;

    /// The identity is enrolled with another key.
    IdentityExists = "identity.exists", Conflict;
    /// The identity is enrolled with another key, and its certificate has not expired yet.
    IdentityUnexpired = "identity.unexpired", Conflict;
    /// The identity is enrolled with another key, and policy lets it have no other.
    IdentityOtherKey = "identity.other_key", Conflict;
    /// The identity is enrolled, and policy lets nobody enrol twice.
    IdentityEnrolled = "identity.enrolled", Conflict;
    /// The identity was banned.
    IdentityBanned = "identity.banned", Refuse;
    /// The identity is at the end of its life.
    IdentityDecommissioned = "identity.decommissioned", Refuse;
    /// An operator refused the node.
    OperatorRefused = "operator.refused", Refuse;
    /// An operator froze the identity.
    OperatorQuarantined = "operator.quarantined", Quarantine;
    /// An operator ended the enrolment; the node may come back with a new key.
    OperatorEvicted = "operator.evicted", Defer;

    /// The node was asked back for another certificate and did not come in its time.
    RenewalUnused = "renewal.unused", Defer;
    /// The certificate is to be renewed, and the node makes a new key each time: not asked back before a person approves.
    RenewalApproval = "renewal.approval", Defer;
    /// The certificate is to be renewed, and the node's provisioning token ends before it could enrol again.
    RenewalToken = "renewal.token", Defer;
    /// The authority answered a renewal with the certificate the node has.
    RenewalSame = "renewal.same", Defer;

    /// The provisioning token is not a JWT, or longer than one can honestly be.
    JwtForm = "jwt.form", Refuse;
    /// The provisioning token's algorithm is not the one of the configured key.
    JwtAlg = "jwt.alg", Refuse;
    /// The provisioning token is not signed by a configured key.
    JwtSignature = "jwt.signature", Refuse;
    /// The provisioning token's issuer is not in the configured list.
    JwtIssuer = "jwt.issuer", Refuse;
    /// The provisioning token is expired or not valid yet.
    JwtExpired = "jwt.expired", Refuse;
    /// The provisioning token misses a claim or holds a wrong one.
    JwtClaims = "jwt.claims", Refuse;
    /// A token for one node, or a number of them, was used by others before.
    TokenUsed = "token.used", Refuse;
    /// A token that is limited to some nodes is past its time.
    TokenExpired = "token.expired", Refuse;
    /// A token was used by a node it was not made for.
    TokenScope = "token.scope", Refuse;

    /// A lifecycle event names an identity that cannot be a subject token.
    EventIdentity = "event.identity", Refuse;
    /// A lifecycle event could not be parsed.
    EventParse = "event.parse", Refuse;
    /// A lifecycle event is a repetition or out of time.
    EventStale = "event.stale", Defer;
    /// Lifecycle events come faster than one source may send them.
    EventRateLimited = "event.rate_limited", Defer;
    /// The queue of arrivals is full; the next sweep brings the node back.
    QueueFull = "queue.full", Defer;

    /// A reply names another sender than the node that was asked.
    RpcSenderMismatch = "rpc.sender_mismatch", Quarantine;
    /// More than one answer came to a request for one node.
    RpcDuplicateResponder = "rpc.duplicate_responder", Quarantine;
    /// The node did not answer in time.
    RpcTimeout = "rpc.timeout", Defer;
    /// The node answered with an error.
    RpcFailed = "rpc.failed", Defer;
    /// The node's reply could not be understood.
    RpcProtocol = "rpc.protocol", Defer;
    /// The node refused the provisioning token it was sent.
    NodeToken = "node.token", Defer;
    /// Another provisioner holds the node's lock.
    NodeLocked = "node.locked", Defer;
    /// The node was not seen with its certificate for so long that the certificate is revoked.
    NodeGone = "node.gone", Defer;
    /// The node's clock is far from ours.
    NodeClockSkew = "node.clock_skew", Defer;
    /// The node was not seen on the production network in time.
    NodeUnconfirmed = "node.unconfirmed", Defer;
    /// The node does not trust this provisioner.
    ProvUntrusted = "prov.untrusted", Defer;
    /// The inventory is larger than an inventory can honestly be.
    InventoryTooLarge = "inventory.too_large", Refuse;
    /// The inventory is not the JSON it should be.
    InventoryParse = "inventory.parse", Refuse;

    /// The helper is missing, not executable or wrongly configured.
    HookConfig = "hook.config", Fatal;
    /// The helper could not be started now.
    HookUnavailable = "hook.unavailable", Defer;
    /// The helper did not answer within its limit.
    HookTimeout = "hook.timeout", Defer;
    /// The helper ended with a status other than zero.
    HookExit = "hook.exit", Defer;
    /// The helper's answer is not one JSON object of the contract.
    HookProtocol = "hook.protocol", Defer;
    /// The helper printed more than an answer can honestly be.
    HookOutputTooLarge = "hook.output_too_large", Defer;
    /// The helper put the node off.
    HookDeferred = "hook.deferred", Defer;
    /// The helper refused the node.
    HookRefused = "hook.refused", Refuse;
    /// The helper wants the node looked at by a person.
    HookQuarantined = "hook.quarantined", Quarantine;
    /// The helper had the node shut down.
    HookShutdown = "hook.shutdown", Refuse;
    /// The helper answered with a private key, which policy forbids.
    HookKey = "hook.key", Defer;
    /// The helper asks for something this network cannot do.
    HookUnsupported = "hook.unsupported", Defer;
    /// The helper names a target that is not configured.
    HookUnknownTarget = "hook.unknown_target", Defer;
    /// No rule has a target for the node, or all of them are full.
    PlacementNone = "placement.none", Defer;

    /// The authority's files or settings are at fault.
    CaConfig = "ca.config", Fatal;
    /// The authority cannot be reached or cannot sign now.
    CaUnavailable = "ca.unavailable", Defer;
    /// The authority will not certify this request as it stands.
    CaRefused = "ca.refused", Refuse;
    /// The authority asks for a slower pace.
    CaThrottled = "ca.throttled", Defer;
    /// The authority was asked and its answer is lost: that key is not asked for again.
    CaUnknownOutcome = "ca.unknown_outcome", Defer;

    /// What was returned is not a chain of PEM certificates.
    CertFormat = "cert.format", Refuse;
    /// The certificate is for another key than the request's.
    CertKeyMismatch = "cert.key_mismatch", Refuse;
    /// The certificate is for another name than the node's.
    CertIdentityMismatch = "cert.identity_mismatch", Refuse;
    /// The certificate does not lead to a configured trust anchor.
    CertUntrusted = "cert.untrusted", Refuse;
    /// The chain cannot be completed, or holds certificates nobody knows.
    CertChainIncomplete = "cert.chain_incomplete", Refuse;
    /// The certificate is expired, or will be within a minute.
    CertExpired = "cert.expired", Refuse;
    /// The certificate is not valid yet.
    CertNotYetValid = "cert.not_yet_valid", Refuse;
    /// The certificate lives longer or shorter than policy allows.
    CertLifetime = "cert.lifetime", Refuse;
    /// The certificate holds names that were not granted.
    CertSanExtra = "cert.san_extra", Refuse;
    /// The certificate has the powers of an authority.
    CertCa = "cert.ca", Refuse;
    /// The certificate is not for client authentication, or for too much.
    CertEku = "cert.eku", Refuse;
    /// The certificate is signed with a weak algorithm.
    CertSigalg = "cert.sigalg", Refuse;
    /// The certificate's serial number was seen before.
    CertSerialReused = "cert.serial_reused", Quarantine;

    /// A setting's or policy file's name is not one that may be written.
    ConfigName = "config.name", Defer;
    /// A setting's value would change the meaning of the file.
    ConfigValue = "config.value", Defer;
    /// The configuration would leave the node in provisioning mode for ever.
    ConfigNoExit = "config.no_exit", Defer;
    /// The configuration is larger than a node may be sent.
    ConfigTooLarge = "config.too_large", Defer;
    /// A template of the configuration could not be rendered for this node.
    ConfigTemplate = "config.template", Defer;

    /// Another provisioner took the enrolment over.
    LeaseLost = "lease.lost", Defer;
    /// The connection to a broker is down.
    BrokerDown = "broker.down", Defer;
    /// The ledger cannot be written, so nothing is decided.
    LedgerUnavailable = "ledger.unavailable", Fatal;
    /// The audit log cannot be written, so nothing is issued.
    AuditUnavailable = "audit.unavailable", Fatal;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A string that is none of the codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a code of this version")]
pub struct UnknownCode(String);

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|code| code.as_str() == text)
            .ok_or_else(|| UnknownCode(text.to_owned()))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_is_one_of_a_kind_and_reads_back() {
        let mut seen = HashSet::new();
        for &code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} is used twice");
            assert_eq!(code.as_str().parse::<Code>().unwrap(), code);
            let json = serde_json::to_string(&code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert_eq!(serde_json::from_str::<Code>(&json).unwrap(), code);
        }
    }

    #[test]
    fn every_code_is_an_area_and_a_word() {
        for &code in Code::ALL {
            let (area, word) = code.as_str().split_once('.').unwrap();
            let plain = |part: &str| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            };
            assert!(plain(area) && plain(word), "{code}");
            assert!(code.meaning().trim().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn a_string_that_is_no_code_is_refused_by_name() {
        let error = "csr.nonsense".parse::<Code>().unwrap_err();
        assert!(error.to_string().contains("csr.nonsense"));
    }
}
