//! Every NATS subject that is built or judged, in one place.

use std::fmt::Write as _;

use md5::{Digest, Md5};

use super::{CallerId, Collective, Identity};

/// All lifecycle events of all components.
pub const LIFECYCLE_ALL: &str = "choria.lifecycle.event.>";
/// Where nodes without configuration publish their registration data.
pub const PROVISIONING_REGISTRATION: &str = "provisioning.registration.data";
/// Where provisioners tell each other on the production network that they are there.
pub const PROVISIONERS: &str = "muster.provisioners";
/// The reply subject of requests which want no reply.
pub const NO_REPLY: &str = "dev.null";

/// Longest subject that is published to, in bytes.
const MAX_LEN: usize = 255;

/// Where requests for an agent on every node of a collective are published.
#[must_use]
pub fn broadcast_agent(collective: &Collective, agent: &str) -> String {
    format!("{collective}.broadcast.agent.{agent}")
}

/// Where requests for a service agent are published: one member of the queue group named after the agent answers.
#[must_use]
pub fn service_agent(collective: &Collective, agent: &str) -> String {
    format!("{collective}.broadcast.service.{agent}")
}

/// Where requests for one node are published.
#[must_use]
pub fn node(collective: &Collective, identity: &Identity) -> String {
    format!("{collective}.node.{identity}")
}

/// The replies to every request of one caller.
#[must_use]
pub fn replies(collective: &Collective, caller: &CallerId) -> String {
    reply(collective, caller, "*")
}

/// Where the replies to one request are published: `<collective>.reply.<md5 of the caller id>.<request id>`.
#[must_use]
pub fn reply(collective: &Collective, caller: &CallerId, request_id: &str) -> String {
    let mut subject = format!("{collective}.reply.");
    for byte in Md5::digest(caller.as_str()) {
        // Writing to a string cannot fail.
        let _ = write!(subject, "{byte:02x}");
    }
    subject.push('.');
    subject.push_str(request_id);
    subject
}

/// Where a lifecycle event of a component is published.
#[must_use]
pub fn lifecycle(event_type: &str, component: &str) -> String {
    format!("choria.lifecycle.event.{event_type}.{component}")
}

/// Where nodes of a collective publish registration data.
#[must_use]
pub fn registration(collective: &Collective) -> String {
    broadcast_agent(collective, "registration")
}

/// Whether something may be published to this subject.
///
/// Checked before any subject that came from the network is used: no wildcards, spaces, control or non-ASCII
/// characters, no empty parts, at most 255 bytes.
#[must_use]
pub fn is_publishable(subject: &str) -> bool {
    subject.len() <= MAX_LEN
        && subject.split('.').all(|token| {
            !token.is_empty()
                && token
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !matches!(b, b'*' | b'>'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_subject_hashes_the_caller() {
        let caller = CallerId::parse("choria=alice.mcollective").unwrap();
        assert_eq!(
            reply(
                &Collective::mcollective(),
                &caller,
                "0123456789abcdef0123456789abcdef"
            ),
            "mcollective.reply.74ce5a833e16d4afa24ecbc90fff8506.0123456789abcdef0123456789abcdef"
        );
    }

    #[test]
    fn only_plain_subjects_are_published_to() {
        for good in [
            "dev.null",
            "a",
            "mcollective.reply.x.y",
            "$KV.X",
            &"a".repeat(255),
        ] {
            assert!(is_publishable(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "a.*",
            "a.>",
            "a b",
            "a\r\nPUB x",
            "é",
            &"a".repeat(256),
        ] {
            assert!(!is_publishable(bad), "{bad:?}");
        }
    }
}
