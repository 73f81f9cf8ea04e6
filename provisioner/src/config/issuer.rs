//! `[issuer]`: nodes get server tokens of an organization instead of certificates.

use std::path::PathBuf;
use std::time::Duration;

use server_core::trust::jwt::{DEFAULT_ORGANIZATION, OrganizationKey, ServerPermissions};

use super::mistake::Located;
use super::reader::Section;

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const PERMISSIONS: [&str; 4] = ["submission", "streams", "governor", "service_host"];
const KEY: &str =
    "\"7adb3ec180422d1e248fc1c28044c81a004466138b87052885de0e4e418506f9\" (64 digits)";

/// `[issuer]`.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The organization (`ou`).
    pub organization: Located<String>,
    /// The Ed25519 seed that signs, 64 hexadecimal digits, mode 0600.
    pub seed: Located<PathBuf>,
    /// Where the seed is a chain issuer's: its own token, and the organization's public key.
    pub chain: Option<Chain>,
    /// The longest life of a token.
    pub validity: Duration,
    /// Collectives nodes may be in.
    pub collectives: Vec<String>,
    /// What nodes may do beyond answering.
    pub permissions: ServerPermissions,
    /// Further subjects nodes may publish to.
    pub publish: Vec<String>,
}

/// What makes a seed a chain issuer's.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its own token.
    pub token: Located<PathBuf>,
    /// The organization's public key.
    pub organization_key: OrganizationKey,
}

/// Reads the table; `collective` is the one enrolled nodes are looked for in.
pub(super) fn read(section: Section<'_, '_>, collective: &str) -> Issuer {
    let organization = section.text("organization", "\"choria\"");
    let collectives = section.texts("collectives", "[\"choria\"]");
    if let Some(list) = &collectives
        && !list.value.iter().any(|name| name == collective)
    {
        let says = format!(
            "lacks {collective:?}, the collective of [network.production]: its nodes would never \
             be seen there"
        );
        section.report(list, says);
    }
    let issuer = Issuer {
        organization: organization.unwrap_or_else(|| Located::unknown(DEFAULT_ORGANIZATION.into())),
        seed: section
            .needed_path("seed", "\"issuer.seed\"")
            .unwrap_or_else(|| Located::unknown(PathBuf::new())),
        chain: chain(&section),
        validity: section.duration("validity", YEAR, 600 * SECOND),
        collectives: collectives.map_or_else(|| vec![collective.to_owned()], |list| list.value),
        permissions: permissions(&section),
        publish: publish(&section),
    };
    if !issuer
        .organization
        .value
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'_')
    {
        let says = "is no organization; letters, digits and underscores make one";
        section.report(&issuer.organization, says);
    }
    section.finish();
    issuer
}

fn chain(section: &Section<'_, '_>) -> Option<Chain> {
    let token = section.path("token", "\"issuer.jwt\"");
    let key = section.text("organization_key", KEY);
    let key = key.map(|text| match OrganizationKey::parse(&text.value) {
        Ok(key) => Some(key),
        Err(error) => {
            section.report(&text, format!("is no public key: {error}"));
            None
        }
    });
    match (token, key) {
        (Some(token), Some(key)) => key.map(|organization_key| Chain {
            token,
            organization_key,
        }),
        (Some(_), None) => {
            section.missing("organization_key", KEY);
            None
        }
        (None, Some(_)) => {
            section.missing("token", "\"issuer.jwt\"");
            None
        }
        (None, None) => None,
    }
}

fn permissions(section: &Section<'_, '_>) -> ServerPermissions {
    let example = "[\"submission\", \"streams\"]";
    let mut allowed = ServerPermissions::default();
    let Some(names) = section.texts("permissions", example) else {
        return allowed;
    };
    for name in &names.value {
        match name.as_str() {
            "submission" => allowed.submission = true,
            "streams" => allowed.streams = true,
            "governor" => allowed.governor = true,
            "service_host" => allowed.service_host = true,
            _ => {
                let known = PERMISSIONS.join(", ");
                section.report(&names, format!("has {name:?}; permissions are {known}"));
            }
        }
    }
    allowed
}

/// Further subjects, in which wildcards are allowed.
fn publish(section: &Section<'_, '_>) -> Vec<String> {
    let Some(subjects) = section.texts("publish", "[\"metrics.>\"]") else {
        return Vec::new();
    };
    for subject in &subjects.value {
        let plain = subject.bytes().all(|b| b.is_ascii_graphic());
        if subject.is_empty() || !plain || subject.split('.').any(str::is_empty) {
            section.report(&subjects, format!("has {subject:?}, which is no subject"));
        }
    }
    subjects.value
}
