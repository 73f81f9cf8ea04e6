//! The closed sets of words a scenario is written in.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::read::Word;

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every one, in the order they are explained.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it in a scenario file.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl Word for $name {
            fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.write_str(self.word()) }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = String::deserialize(deserializer)?;
                let known = Self::from_word(&word);
                known.ok_or_else(|| serde::de::Error::custom(format!("no such word: {word}")))
            }
        }
    };
}
pub(super) use words;

words! {
    /// Who starts and stops a part of the formation.
    Manage {
        /// We do.
        Local = "local",
        /// Somebody else does; we are given addresses.
        External = "external",
        /// The part does not exist.
        None = "none",
    }
}

words! {
    /// What enrolled nodes show to the production network.
    Issues {
        /// Certificates of an authority; requests are of protocol 1.
        Certificates = "certificates",
        /// Server tokens of an organization; requests are of protocol 2.
        Tokens = "tokens",
    }
}

words! {
    /// Whether a node that makes a new key each time may be renewed.
    NewKey {
        /// Once a person has approved it.
        Approval = "approval",
        /// As it comes.
        Accept = "accept",
    }
}

words! {
    /// The network a tier of brokers carries.
    Role {
        /// Where enrolled nodes live.
        Production = "production",
        /// Where nodes without credentials announce themselves.
        Provisioning = "provisioning",
    }
}

words! {
    /// How a transport is protected; requests are signed whatever this says.
    Tls {
        /// Both sides show a certificate.
        Mutual = "mutual",
        /// The broker alone shows one.
        Server = "server",
        /// Plain TCP.
        None = "none",
    }
}

words! {
    /// How a connection gets its source address.
    SourceAddress {
        /// The kernel chooses: ports are counted per destination.
        Unbound = "unbound",
        /// Bound to an address, the port chosen at connect.
        BindNoPort = "bind-no-port",
        /// Bound to an address and a port: ports are counted per source.
        Bind = "bind",
    }
}

words! {
    /// Who verifies a request that many nodes of a worker receive.
    Verify {
        /// The first of them, for all: it is compared with the last verified one.
        Shared = "shared",
        /// Each for itself.
        Each = "each",
    }
}

words! {
    /// What a failed check of the preflight does.
    OnFail {
        /// Stops the run before the first socket.
        Stop = "stop",
        /// Is told, and the run goes on.
        Warn = "warn",
    }
}

words! {
    /// What the preflight checks.
    Check {
        /// Descriptors of this process and its workers.
        Nofile = "nofile",
        /// Source ports per destination.
        Ports = "ports",
        /// Memory of nodes, brokers and provisioners.
        Memory = "memory",
        /// Connections each broker accepts.
        BrokerMaxConns = "broker-max-conns",
        /// Whether the brokers left during a fault can hold the fleet.
        SurvivorCapacity = "survivor-capacity",
        /// A monotonic clock fine enough to time with.
        Clock = "clock",
        /// Connections that may wait to be accepted.
        Backlog = "backlog",
        /// Whether brokers of somebody else can be reached and fit the scenario.
        Brokers = "brokers",
        /// nats-server, there and new enough.
        NatsServer = "nats-server",
        /// The provisioner's binary, there and of this version.
        Provisioner = "provisioner",
    }
}

words! {
    /// How nodes begin.
    Start {
        /// Without credentials, on the provisioning network.
        Unprovisioned = "unprovisioned",
        /// With certificate, CA and policies in their storage.
        Production = "production",
    }
}

words! {
    /// Algorithm of a node's key.
    KeyKind {
        /// ECDSA on P-256.
        P256 = "p256",
        /// RSA of 2,048 bits, as the original's servers make.
        Rsa2048 = "rsa2048",
        /// Ed25519.
        Ed25519 = "ed25519",
    }
}

words! {
    /// How a lost connection is opened again.
    ReconnectPolicy {
        /// A random time between two bounds.
        Jitter = "jitter",
        /// As Choria's servers do.
        Choria = "choria",
        /// As NATS clients do when nothing is set.
        NatsDefault = "nats-default",
    }
}

words! {
    /// What comes of a node's enrolment.
    Outcome {
        /// Seen to answer on the production network.
        Confirmed = "confirmed",
        /// Anything but confirmed.
        Unconfirmed = "unconfirmed",
        /// Tried again later.
        Parked = "parked",
        /// Held for an operator.
        Quarantined = "quarantined",
        /// Refused by a rule.
        Refused = "refused",
        /// Never listened to again.
        Banned = "banned",
    }
}

words! {
    /// The condition every node must meet for a phase to end.
    Reached {
        /// Connected to the production network (to the provisioning one, before enrolment).
        Connected = "connected",
        /// Confirmed by the provisioner.
        Confirmed = "confirmed",
        /// At the outcome that their fleet is expected to come to, whatever it is.
        Settled = "settled",
        /// Back on the production network with a new certificate, at least once.
        Renewed = "renewed",
    }
}

words! {
    /// What an operation does.
    Do {
        /// Opens first connections.
        Connect = "connect",
        /// Announces nodes and follows them until confirmed.
        Provision = "provision",
        /// Asks many nodes and counts the answers.
        Request = "request",
        /// Lets nodes publish events.
        Publish = "publish",
        /// Closes connections.
        Disconnect = "disconnect",
        /// Lets nodes leave and come back, over and over.
        Churn = "churn",
        /// Disturbs a broker or a provisioner.
        Fault = "fault",
    }
}

words! {
    /// What a right answer to a request is.
    Expect {
        /// Each node asked answers exactly once.
        OneReplyPerNode = "one-reply-per-node",
        /// Whatever comes.
        Any = "any",
    }
}

words! {
    /// What a fault does to its target.
    FaultKind {
        /// SIGKILL.
        Kill = "kill",
        /// SIGTERM, and started again.
        Restart = "restart",
        /// The broker asks its clients to leave, then ends.
        LameDuck = "lame-duck",
        /// SIGSTOP.
        Freeze = "freeze",
        /// Its links to other brokers are cut.
        CutLink = "cut-link",
        /// Its links to other brokers are made slow.
        SlowLink = "slow-link",
    }
}

words! {
    /// How a link is cut.
    CutMode {
        /// Connections are closed, new ones at once.
        Reset = "reset",
        /// Nothing crosses, and nobody is told.
        Silent = "silent",
    }
}

words! {
    /// What connects two brokers.
    LinkKind {
        /// Brokers of one cluster.
        Route = "route",
        /// A leaf and its hub.
        Leaf = "leaf link",
        /// Brokers of two regions.
        Gateway = "gateway",
    }
}

words! {
    /// What a breached assert means.
    AssertLevel {
        /// The run fails.
        Fail = "fail",
        /// It is told.
        Warn = "warn",
    }
}

words! {
    /// A kind of file in the results folder.
    Format {
        /// `verdict.json`, `summary.json`.
        Json = "json",
        /// `series.csv`.
        Csv = "csv",
        /// `latency.hlog`.
        Hlog = "hlog",
        /// `report.html`.
        Html = "html",
        /// `junit.xml`.
        Junit = "junit",
        /// The last scrape as text.
        Prometheus = "prometheus",
    }
}

words! {
    /// Whether the clock sets the pace, or the target does.
    Model {
        /// By the clock, however slow the target is.
        Open = "open",
        /// By what is under way.
        Closed = "closed",
    }
}

words! {
    /// The shape of a pace.
    PaceKind {
        /// The same rate throughout.
        Constant = "constant",
        /// One at a fixed interval.
        Every = "every",
        /// A rate that changes in steps.
        Ramp = "ramp",
        /// Independent arrivals at a mean rate.
        Poisson = "poisson",
        /// A fixed number under way.
        InFlight = "in-flight",
    }
}
