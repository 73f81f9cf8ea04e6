//! `[ledger]`: who keeps what is known of the nodes.

use super::mistake::Located;
use super::reader::Section;

/// `[ledger]`.
#[derive(Clone, Debug)]
pub enum Ledger {
    /// A file in the state folder, of this service alone.
    Embedded,
    /// A `JetStream` key-value bucket, shared by several services.
    Shared(Shared),
}

/// `[ledger] kind = "shared"`.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Name of the bucket.
    pub bucket: String,
    /// Copies of the bucket, where this service has to make it.
    pub replicas: usize,
    /// What this service is called among the others; the host's name when there is none.
    pub member: Option<String>,
    /// Brokers that keep the bucket; those of the production network when there are none.
    pub servers: Vec<String>,
}

pub(super) fn read(section: Section<'_, '_>) -> Ledger {
    let kind = section.word("kind", &["embedded", "shared"], "embedded");
    if kind != "shared" {
        // The other keys are unknown here, and told so.
        section.finish();
        return Ledger::Embedded;
    }
    let bucket = plain(&section, "bucket", "\"provisioner\"");
    let shared = Shared {
        bucket: bucket.unwrap_or_else(|| "provisioner".to_owned()),
        replicas: section.number("replicas", 1, 1..6),
        member: plain(&section, "member", "\"provisioner-1\""),
        servers: super::read::others(&section),
    };
    section.finish();
    Ledger::Shared(shared)
}

/// A name that may stand in a subject: letters, digits, `-` and `_`.
pub(super) fn plain(section: &Section<'_, '_>, key: &str, example: &str) -> Option<String> {
    let text: Located<String> = section.text(key, example)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if text.value.is_empty() || text.value.len() > 64 || !text.value.bytes().all(plain) {
        let says = format!(
            "{:?} is not 1 to 64 letters, digits, - and _; write {key} = {example}",
            text.value
        );
        section.report(&text, says);
    }
    Some(text.value)
}
