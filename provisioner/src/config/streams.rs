//! `[events]` and `[election]`: streams that are shared with others.

use std::time::Duration;

use server_core::words::subject::is_publishable;

use super::ledger::{Ledger, plain};
use super::reader::Section;

const DAY: Duration = Duration::from_secs(86_400);

/// `[events]`: what is decided and done is told to a stream.
#[derive(Clone, Debug)]
pub struct Events {
    /// The stream.
    pub stream: String,
    /// What the subjects of events begin with.
    pub subject: String,
    /// How long the stream keeps them, where this service has to make it.
    pub keep: Duration,
    /// Its copies, likewise.
    pub replicas: usize,
    /// Brokers that keep it; those of the production network when there are none.
    pub servers: Vec<String>,
}

/// `[election]`: of several services that keep ledgers of their own, one works.
#[derive(Clone, Debug)]
pub struct Election {
    /// The name of the election, a key of the bucket.
    pub name: String,
    /// The bucket.
    pub bucket: String,
    /// The network whose brokers keep it.
    pub through: Through,
    /// The prefix of their `JetStream` API, where it is imported from another account.
    pub api: Option<String>,
}

/// A network of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Through {
    /// `[network.production]`.
    Production,
    /// `[network.provisioning]`.
    Provisioning,
}

pub(super) fn election(section: Section<'_, '_>, ledger: &Ledger) -> Election {
    if matches!(ledger, Ledger::Shared(_)) {
        section.refuse(
            "members of a shared ledger all work at once and need no election; remove this table, \
             or set [ledger] kind = \"embedded\" where one of the others keeps a ledger of its own",
        );
    }
    let name = plain(&section, "name", "\"provisioner\"");
    let bucket = plain(&section, "bucket", "\"CHORIA_LEADER_ELECTION\"");
    let through = section.word("network", &["production", "provisioning"], "production");
    let api = section.text("api", "\"choria.streams\"");
    if let Some(api) = &api
        && !is_publishable(&api.value)
    {
        let says = format!("{:?} is no prefix of subjects", api.value);
        section.report(api, says);
    }
    section.finish();
    Election {
        name: name.unwrap_or_else(|| "provisioner".to_owned()),
        bucket: bucket.unwrap_or_else(|| "CHORIA_LEADER_ELECTION".to_owned()),
        through: match through.as_str() {
            "provisioning" => Through::Provisioning,
            _ => Through::Production,
        },
        api: api.map(|api| api.value),
    }
}

pub(super) fn events(section: Section<'_, '_>) -> Events {
    let stream = plain(&section, "stream", "\"PROVISIONER\"");
    let subject = section.text("subject", "\"muster.provisioner.event\"");
    if let Some(subject) = &subject
        && !is_publishable(&subject.value)
    {
        let says = format!("{:?} is no subject without wildcards", subject.value);
        section.report(subject, says);
    }
    let events = Events {
        stream: stream.unwrap_or_else(|| "PROVISIONER".to_owned()),
        subject: subject.map_or_else(|| "muster.provisioner.event".to_owned(), |s| s.value),
        keep: section.duration("keep", 90 * DAY, Duration::from_secs(60)),
        replicas: section.number("replicas", 1, 1..6),
        servers: super::read::others(&section),
    };
    section.finish();
    events
}
