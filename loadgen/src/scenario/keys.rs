//! Every section and key a scenario may have: the one place that says so.
//!
//! The reader refuses what is not here, error messages suggest from here, and `loadgen schema`
//! prints it.

mod kind;

use kind::key;
pub(crate) use kind::{Key, Kind, Need, Section};

use Kind::{
    Bandwidth, Choice, ChoiceList, Data, Duration, Moment, Name, Named, Number, NumberOr, Pace,
    Rate, Size, Table, Tables, Text, TextList, Whole,
};
use Need::{Default, Optional, Required};

/// The version of the format this tool reads.
pub(crate) const SCHEMA: i64 = 1;

#[rustfmt::skip] // one key a line, so that this reads as the table it is
pub(crate) static SCENARIO: Section = Section {
    title: "the scenario",
    about: "A load test of a fleet: who takes part, what happens in which order, and what must hold.",
    keys: &[
        key("schema", Whole(1, i64::MAX), Required, "Version of this format; 1."),
        key("name", Name, Required, "Name of the scenario, part of every run's name."),
        key("about", Text, Optional, "What it is about, one line."),
        key("seed", Whole(0, i64::MAX), Default("1"), "Every random choice derives from this."),
        key("include", TextList, Optional, "Files whose sections are read first, relative to this one."),
        key("params", Data, Optional, "Values for \"${name}\", overridden with --set name=value."),
        key("limits", Table(&LIMITS), Optional, "Breaching one makes the run invalid, not failed."),
        key("preflight", Table(&PREFLIGHT), Optional, "What is checked before the first socket opens."),
        key("generator", Table(&GENERATOR), Optional, "The worker processes."),
        key("topology", Table(&TOPOLOGY), Required, "The brokers and how they are laid out."),
        key("provisioner", Table(&PROVISIONER), Optional, "The enrolment service."),
        key("fleet", Tables(&FLEET), Required, "The nodes."),
        key("pace", Named(&PACE), Optional, "Arrival shapes by name."),
        key("phase", Tables(&PHASE), Required, "What happens, in order."),
        key("assert", Tables(&ASSERT), Optional, "What must hold."),
        key("output", Table(&OUTPUT), Optional, "What is written."),
    ],
};

#[rustfmt::skip]
pub(crate) static LIMITS: Section = Section {
    title: "[limits]",
    about: "A breach says that the measurement is worthless; an assert says that the target is too slow.",
    keys: &[
        key("wall_time", Duration, Optional, "The whole run may take this long."),
        key("gen_cpu_pct", Number(0.0, 100.0), Optional, "CPU of the busiest worker, percent of one core, while an open-paced op runs."),
        key("gen_sched_lag_p99", Duration, Optional, "How late the generator's timers fire, 99th percentile, while an open-paced op runs."),
        key("fd_use_pct", Number(0.0, 100.0), Optional, "Share of its descriptors any worker uses, percent."),
        key("late_sends_pct", Number(0.0, 100.0), Optional, "Share of sends that could not start in time, percent."),
    ],
};

/// What the preflight can be asked to check.
pub(crate) const CHECKS: &[&str] = &[
    "nofile",
    "ports",
    "memory",
    "broker-max-conns",
    "survivor-capacity",
    "clock",
    "backlog",
    "brokers",
    "nats-server",
    "provisioner",
];

#[rustfmt::skip]
pub(crate) static PREFLIGHT: Section = Section {
    title: "[preflight]",
    about: "What is checked before the first socket opens.",
    keys: &[
        key("require", ChoiceList(CHECKS), Optional, "The checks; all of them when left out."),
        key("on_fail", Choice(&["stop", "warn"]), Default("\"stop\""), "Whether a failed check stops the run."),
    ],
};

#[rustfmt::skip]
pub(crate) static GENERATOR: Section = Section {
    title: "[generator]",
    about: "The worker processes that host the nodes.",
    keys: &[
        key("workers", Whole(1, 1024), Optional, "How many; from the descriptors each may have when left out."),
        key("may_lose", Whole(0, 1023), Default("0"), "How many workers may be lost during the run; one more and it has failed."),
        key("source", Choice(&["unbound", "bind-no-port", "bind"]), Optional, "How a connection gets its source address; left out: from twenty loopback addresses to brokers of ours, unbound to others."),
        key("addrs", TextList, Optional, "Source addresses for source = \"bind\" and \"bind-no-port\"."),
        key("verification", Choice(&["shared", "each"]), Default("\"shared\""), "Whether the nodes of a worker verify the same request, and a broker's certificates, once for all of them, or each for itself."),
        key("read_buffer", Size, Optional, "Accepted without effect: a connection that has nothing to read holds no buffer."),
    ],
};

#[rustfmt::skip]
pub(crate) static TOPOLOGY: Section = Section {
    title: "[topology]",
    about: "The brokers and how they are laid out.",
    keys: &[
        key("manage", Choice(&["local", "external"]), Default("\"local\""), "Whether we start and stop the brokers, or they are somebody else's."),
        key("broker", Tables(&BROKER), Required, "A tier of brokers."),
    ],
};

#[rustfmt::skip]
pub(crate) static BROKER: Section = Section {
    title: "[[topology.broker]]",
    about: "A tier: brokers of one kind, named NAME-1 to NAME-n.",
    keys: &[
        key("name", Name, Required, "Name of the tier."),
        key("role", Choice(&["production", "provisioning"]), Default("\"production\""), "Which network it carries."),
        key("count", Whole(1, 1000), Default("1"), "How many brokers."),
        key("cluster", Name, Optional, "The cluster they form; tiers of one name form one cluster."),
        key("leaf_of", Name, Optional, "The tier they dial as leaf nodes, round robin."),
        key("gateway", Name, Optional, "The region of a supercluster they belong to."),
        key("max_conns", Whole(1, 10_000_000), Optional, "Connections one broker accepts."),
        key("tls", Choice(&["mutual", "server", "none"]), Default("\"mutual\""), "Transport: both sides show a certificate, the broker alone does, or plain TCP."),
        key("servers", TextList, Optional, "external: addresses, tls://host:port or nats://host:port."),
        key("context", Text, Optional, "external: a file with a context of the nats command line: url, user, password, token, ca."),
        key("ca", Text, Optional, "external: the file of trusted certificates."),
        key("user", Text, Optional, "external: user name."),
        key("password_file", Text, Optional, "external: the file that holds the password."),
        key("token_file", Text, Optional, "external: the file that holds a token."),
        key("issuer", Text, Optional, "external: the certificate that signs the nodes' and our own, PEM; made for the run when left out."),
        key("issuer_key", Text, Optional, "external: the key of issuer, PEM."),
    ],
};

#[rustfmt::skip]
pub(crate) static PROVISIONER: Section = Section {
    title: "[provisioner]",
    about: "The enrolment service.",
    keys: &[
        key("manage", Choice(&["local", "external", "none"]), Default("\"local\""), "Child processes of ours, somebody else's, or none."),
        key("issues", Choice(&["certificates", "tokens"]), Default("\"certificates\""), "What nodes get: certificates of an authority, or server tokens of an organization made for the run (protocol 2); brokers ask for no certificates then."),
        key("validity", Duration, Default("\"14d\""), "Life of what nodes get, from \"10m\" on."),
        key("renewal", Table(&RENEWAL), Optional, "Nodes are asked back before that ends; certificates are not renewed when left out."),
        key("count", Whole(1, 64), Default("1"), "How many; named provisioner-1 to provisioner-n."),
        key("helpers", Whole(0, 64), Optional, "Pooled helper processes that sign for each: 0 unless `helper` is written, then 2."),
        key("helper", TextList, Optional, "The helper's command, `provisioner ca answer` when left out; --certificate, --key and --roots with the run's authority are added."),
    ],
};

#[rustfmt::skip]
pub(crate) static RENEWAL: Section = Section {
    title: "[provisioner.renewal]",
    about: "Enrolled nodes are asked back before their certificates end, as `[renewal]` of the provisioner says.",
    keys: &[
        key("left", Whole(1, 99), Default("33"), "Percent of a certificate's life that is left when the time of its renewal begins."),
        key("spread", Whole(1, 99), Default("50"), "Percent of that time over which nodes are spread."),
        key("rate", Whole(1, 60_000), Default("120"), "Nodes asked back in a minute."),
        key("at_once", Whole(1, 10_000), Default("50"), "Nodes asked back that are not enrolled again yet."),
        key("window", Duration, Default("\"5m\""), "How long a node has to come, from \"15s\" on."),
        key("new_key", Choice(&["approval", "accept"]), Default("\"approval\""), "Nodes that make a new key each time, as all do for server tokens: not without approval, or as they come."),
    ],
};

/// How a node may behave.
pub(crate) const BEHAVIOURS: &[&str] = &[
    "honest",
    "dead",
    "slow",
    "garbled",
    "impostor",
    "twice",
    "bad-token",
    "expired-token",
    "unsigned-token",
    "big-inventory",
    "not-pem",
    "big",
    "leaked-key",
    "wrong-name",
    "foreign-san",
    "wildcard-san",
    "ca-request",
];

/// What may come of a node's enrolment.
pub(crate) const OUTCOMES: &[&str] = &[
    "confirmed",
    "unconfirmed",
    "parked",
    "quarantined",
    "refused",
    "banned",
];

#[rustfmt::skip]
pub(crate) static FLEET: Section = Section {
    title: "[[fleet]]",
    about: "Nodes of one kind, named NAME-00001.example.net and on.",
    keys: &[
        key("name", Name, Required, "Name of the fleet."),
        key("nodes", Whole(1, 10_000_000), Optional, "How many nodes."),
        key("share", NumberOr(&["rest"]), Optional, "How many percent of params.nodes, or \"rest\"."),
        key("attach", Name, Optional, "The production tier they connect to; may be left out where there is one."),
        key("spread", Text, Default("\"round-robin\""), "Which broker of it each starts at: \"round-robin\", \"share\" by weights, or \"fact:NAME\"."),
        key("weights", Data, Optional, "share: how many parts each broker gets: { hub-1 = 2, hub-2 = 1 }."),
        key("brokers", Data, Optional, "fact: the broker or tier for each value: { ams = \"hub-1\" }; those of the tier in turn when left out."),
        key("start", Choice(&["unprovisioned", "production"]), Optional, "Without credentials, or with certificate and policies in place."),
        key("key", Choice(&["p256", "rsa2048", "ed25519"]), Default("\"p256\""), "Algorithm of the nodes' keys."),
        key("collectives", TextList, Default("[\"mcollective\"]"), "The collectives they are in."),
        key("agents", Whole(1, 1000), Default("5"), "Agents in all: built-ins first, then idle ones."),
        key("facts", Data, Optional, "Facts: a value, a list dealt out in turn, or \"seq:1..40\"."),
        key("reconnect", Table(&RECONNECT), Optional, "How a lost connection is opened again."),
        key("behaviour", Choice(BEHAVIOURS), Default("\"honest\""), "How they behave."),
        key("expect", Choice(OUTCOMES), Optional, "What should come of their enrolment; each behaviour has its own."),
        key("code", Text, Optional, "The code the provisioner should give as its reason, such as \"csr.pem_format\"; each behaviour has its own."),
    ],
};

#[rustfmt::skip]
pub(crate) static RECONNECT: Section = Section {
    title: "fleet.reconnect",
    about: "How a lost connection is opened again.",
    keys: &[
        key("policy", Choice(&["jitter", "choria", "nats-default"]), Default("\"jitter\""), "Random within bounds, as Choria's servers do, or as NATS clients do."),
        key("min", Duration, Optional, "jitter: shortest delay."),
        key("max", Duration, Optional, "jitter: longest delay."),
        key("spread", Duration, Optional, "jitter: random time on top."),
    ],
};

#[rustfmt::skip]
pub(crate) static PACE: Section = Section {
    title: "[pace.NAME]",
    about: "An arrival shape. open: by the clock, however slow the target is. closed: by what is under way.",
    keys: &[
        key("model", Choice(&["open", "closed"]), Required, "Whether the clock sets the pace, or the target."),
        key("kind", Choice(&["constant", "every", "ramp", "poisson", "in-flight"]), Required, "The shape."),
        key("rate", Rate, Optional, "constant, poisson: how often."),
        key("every", Duration, Optional, "every: the time between two."),
        key("count", Whole(1, i64::MAX), Optional, "How many; until the phase ends when left out."),
        key("steps", TextList, Optional, "ramp: [\"0/s..200/s over 10s\", \"200/s for 5m\"]."),
        key("limit", Whole(1, 10_000_000), Optional, "in-flight: how many may be under way."),
    ],
};

#[rustfmt::skip]
pub(crate) static PHASE: Section = Section {
    title: "[[phase]]",
    about: "Phases run in order; the ops inside one run side by side.",
    keys: &[
        key("name", Name, Required, "Name of the phase."),
        key("about", Text, Optional, "What it shows, one line."),
        key("until", Table(&UNTIL), Optional, "The condition that ends it."),
        key("timeout", Duration, Optional, "With until: failed when it takes longer."),
        key("duration", Duration, Optional, "It ends after this time."),
        key("warmup", Whole(0, 1_000_000), Default("0"), "First rounds recorded apart and not asserted on."),
        key("keep", TextList, Optional, "Earlier phases whose ops keep running underneath."),
        key("op", Tables(&OP), Required, "An operation."),
    ],
};

#[rustfmt::skip]
pub(crate) static UNTIL: Section = Section {
    title: "phase.until",
    about: "The condition that ends a phase, over the nodes that are expected to get there.",
    keys: &[
        key("every", Choice(&["connected", "confirmed", "settled", "renewed"]), Required, "What every node must be."),
        key("ratio", Number(0.0, 1.0), Default("1.0"), "The share of them that is enough."),
        key("settle", Duration, Default("\"0s\""), "For how long it must have been so."),
    ],
};

/// The keys of an op that belong to some `do` only; the rest belong to all.
pub(crate) const OP_KEYS: &[(&str, &[&str])] = &[
    ("connect", &["fleet", "pace"]),
    ("provision", &["fleet", "pace"]),
    (
        "request",
        &["to", "agent", "action", "data", "expect", "collect", "pace"],
    ),
    ("publish", &["fleet", "body", "pace"]),
    ("disconnect", &["fleet", "pace"]),
    ("churn", &["fleet", "away", "pace"]),
    (
        "fault",
        &[
            "kind",
            "target",
            "at",
            "down",
            "peer",
            "mode",
            "latency",
            "bandwidth",
        ],
    ),
];

#[rustfmt::skip]
pub(crate) static OP: Section = Section {
    title: "[[phase.op]]",
    about: "One operation of a phase.",
    keys: &[
        key("do", Choice(&["connect", "provision", "request", "publish", "disconnect", "churn", "fault"]), Required, "What is done."),
        key("name", Name, Optional, "Its name in metrics; what it does when left out."),
        key("fleet", Text, Default("\"*\""), "connect, provision, publish, disconnect, churn: a fleet's name or pattern."),
        key("pace", Pace, Optional, "How fast; all at once when left out where that has a meaning."),
        key("to", Text, Default("\"all\""), "request: \"all\", \"random:N\" or \"fleet:NAME\"."),
        key("agent", Text, Optional, "request: the agent that is asked; a discovery ping when left out."),
        key("action", Text, Optional, "request: what it is asked."),
        key("data", Data, Optional, "request: the input of the action."),
        key("expect", Choice(&["one-reply-per-node", "any"]), Default("\"one-reply-per-node\""), "request: what a right answer is."),
        key("collect", Duration, Default("\"5s\""), "request: how long replies are waited for."),
        key("body", Size, Default("\"256B\""), "publish: size of the event."),
        key("away", Duration, Default("10s"), "churn: how long a node stays away."),
        key("kind", Choice(&["kill", "restart", "lame-duck", "freeze", "cut-link", "slow-link"]), Optional, "fault: what is done to the target; cut-link and slow-link to its links to other brokers."),
        key("target", Text, Optional, "fault: a name or pattern of brokers or provisioners."),
        key("at", Moment, Default("\"0s\""), "fault: a time after the phase began, or a progress such as \"signed 30 %\"."),
        key("down", Duration, Optional, "fault: how long it lasts."),
        key("peer", Text, Optional, "cut-link, slow-link: a name or pattern of brokers; only the links of the target to these, all its links to other brokers when left out."),
        key("mode", Choice(&["reset", "silent"]), Default("\"reset\""), "cut-link: whether connections are closed and new ones closed at once, or nothing crosses and nobody is told."),
        key("latency", Duration, Optional, "slow-link: time added in each direction."),
        key("bandwidth", Bandwidth, Optional, "slow-link: bytes a second in each direction, all connections of a link together."),
    ],
};

#[rustfmt::skip]
pub(crate) static ASSERT: Section = Section {
    title: "[[assert]]",
    about: "What must hold.",
    keys: &[
        key("phase", Name, Optional, "The phase it is about."),
        key("level", Choice(&["fail", "warn"]), Default("\"fail\""), "Whether a breach fails the run."),
        key("that", TextList, Required, "Expressions: metric.stat op value."),
        key("baseline", Text, Optional, "A results folder; its value of the same metric is `baseline`."),
        key("abort", Table(&ABORT), Optional, "End the run early when it is breached."),
    ],
};

#[rustfmt::skip]
pub(crate) static ABORT: Section = Section {
    title: "assert.abort",
    about: "When a breach ends the run early.",
    keys: &[
        key("grace", Duration, Default("\"0s\""), "Not in the first part of the phase."),
        key("lasting", Duration, Default("\"0s\""), "Only when it has been breached for this long."),
    ],
};

/// What can be written into the results folder.
pub(crate) const FORMATS: &[&str] = &["json", "csv", "hlog", "html", "junit", "prometheus"];

#[rustfmt::skip]
pub(crate) static OUTPUT: Section = Section {
    title: "[output]",
    about: "What is written into the results folder.",
    keys: &[
        key("interval", Duration, Default("\"1s\""), "Time between two rows of the time series."),
        key("formats", ChoiceList(FORMATS), Default("[\"json\", \"csv\", \"hlog\", \"html\"]"), "Kinds of files."),
    ],
};
