//! What a scenario has to be like where nodes get server tokens instead of certificates.

use super::behaviour::Behaviour;
use super::model::{Fleet, Provisioner, Topology};
use super::read::Context;
use super::words::{Issues, KeyKind, Manage, Role, Start, Tls};

/// Refuses what has no meaning without certificates, each with its place and what to write.
pub(super) fn check_tokens(
    provisioner: &Provisioner,
    topology: &Topology,
    fleets: &[Fleet],
    cx: &mut Context,
) {
    if provisioner.issues == Issues::Certificates || provisioner.manage == Manage::None {
        return;
    }
    if topology.manage == Manage::External {
        let message = "issues = \"tokens\" is of an organization that is made for the run, and \
                       somebody else's brokers do not know it; write [topology] manage = \"local\"";
        let at = provisioner.location.clone();
        cx.findings.mistake_at(at, message);
        return;
    }
    let production = topology.tiers.iter();
    let production = production.filter(|tier| tier.role == Role::Production);
    for tier in production.filter(|tier| tier.tls != Tls::Server) {
        let message = format!(
            "tls = \"{}\" at broker `{}`, and with issues = \"tokens\" nodes verify it and have no \
             certificate to show; write tls = \"server\"",
            tier.tls, tier.name
        );
        cx.findings.mistake_at(tier.location.clone(), message);
    }
    for fleet in fleets {
        if let Some(message) = wrong_with(fleet) {
            cx.findings.mistake_at(fleet.location.clone(), message);
        }
    }
}

fn wrong_with(fleet: &Fleet) -> Option<String> {
    let (name, behaviour) = (&fleet.name, fleet.behaviour);
    if fleet.start == Start::Production {
        return Some(format!(
            "start = \"production\" of fleet `{name}` is with certificates, and with issues = \
             \"tokens\" requests are of protocol 2, which such nodes do not answer; write start = \
             \"unprovisioned\""
        ));
    }
    if fleet.key != KeyKind::P256 {
        return Some(format!(
            "key = \"{}\" of fleet `{name}`, and with issues = \"tokens\" nodes make Ed25519 keys \
             for their tokens; leave key out",
            fleet.key
        ));
    }
    is_about_requests(behaviour).then(|| {
        format!(
            "behaviour = \"{behaviour}\" of fleet `{name}` is about certificate requests, and with \
             issues = \"tokens\" there are none; leave the fleet out"
        )
    })
}

/// Whether a behaviour shows in a certificate request, and nowhere else.
fn is_about_requests(behaviour: Behaviour) -> bool {
    use Behaviour::{Big, CaRequest, ForeignSan, LeakedKey, NotPem, WildcardSan, WrongName};
    matches!(
        behaviour,
        NotPem | Big | LeakedKey | WrongName | ForeignSan | WildcardSan | CaRequest
    )
}
