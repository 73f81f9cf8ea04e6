//! Name constraints for the name by which a node is known.
//!
//! The path check holds alternative names against the constraints of every authority on the way
//! (RFC 5280 §4.2.1.10). A certificate that names its host in the common name alone would slip
//! through, although that is what counts for a client.

use der::Decode as _;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::ext::pkix::NameConstraints;
use x509_cert::ext::pkix::constraints::name::GeneralSubtree;
use x509_cert::ext::pkix::name::GeneralName;

use super::{not_der, refuse};
use crate::code::{Code, Refusal};

/// Whether every authority may certify this name.
///
/// # Errors
/// `cert.untrusted`, naming the authority that may not.
pub(super) fn judge<'c>(
    identity: &str,
    authorities: impl Iterator<Item = &'c CertificateDer<'static>>,
) -> Result<(), Refusal> {
    for der in authorities {
        let authority = Certificate::from_der(der).map_err(not_der)?;
        let tbs = authority.tbs_certificate();
        let constraints = tbs.get_extension::<NameConstraints>().map_err(not_der)?;
        let Some((_, constraints)) = constraints else {
            continue;
        };
        let hosts = |subtrees: &Option<Vec<GeneralSubtree>>| -> Vec<String> {
            let bases = subtrees.iter().flatten().map(|subtree| &subtree.base);
            bases.filter_map(host).collect()
        };
        let permitted = hosts(&constraints.permitted_subtrees);
        let excluded = hosts(&constraints.excluded_subtrees);
        let within = |hosts: &[String]| hosts.iter().any(|base| is_within(identity, base));
        if within(&excluded) || !permitted.is_empty() && !within(&permitted) {
            let says = format!(
                "{} may not certify {identity}: its name constraints forbid it (rule 33)",
                tbs.subject()
            );
            return Err(refuse(Code::CertUntrusted, &says));
        }
    }
    Ok(())
}

fn host(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(host) => Some(host.as_str().to_ascii_lowercase()),
        _ => None,
    }
}

/// `example.net` covers itself and what is below it, `.example.net` only the latter; an empty
/// base covers everything.
fn is_within(name: &str, base: &str) -> bool {
    if base.is_empty() || name == base {
        return true;
    }
    let tail = base.strip_prefix('.').unwrap_or(base);
    name.strip_suffix(tail)
        .is_some_and(|front| front.ends_with('.') && front.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_covers_whole_labels() {
        for (name, base, wanted) in [
            ("n1.example.net", "example.net", true),
            ("example.net", "example.net", true),
            ("n1.example.net", ".example.net", true),
            ("example.net", ".example.net", false),
            ("n1.badexample.net", "example.net", false),
            ("n1.example.net", "", true),
            ("n1.example.org", "example.net", false),
        ] {
            assert_eq!(is_within(name, base), wanted, "{name} in {base:?}");
        }
    }
}
