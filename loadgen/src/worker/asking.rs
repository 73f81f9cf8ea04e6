//! Loadgen's own connection to the production network, on which it asks and listens.

use std::sync::Arc;
use std::time::Duration;

use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{Dial, DialLimit};
use server_core::client::{Client, ClientConfig};
use server_core::trust::{CertificateSigner, RequestSigner, TokenSigner, tls};
use server_core::words::{Collective, Identity};

use super::life::CONNECT_WITHIN;
use crate::formation::credentials::LOADGEN;
use crate::message::{Assignment, Caller};
use crate::scenario::Tls;

/// Silence after which the broker is asked whether it is there.
const ASKED_AFTER: Duration = Duration::from_secs(2);
/// How long the connection may take to come about.
const ASKING_WITHIN: Duration = Duration::from_secs(20);

/// Connects loadgen itself to the production network, as the caller that nodes heed.
///
/// # Errors
/// In words.
pub async fn asking_client(assignment: &Assignment) -> Result<Client, String> {
    let access = &assignment.access;
    let network = access.production.values().next();
    let network = network.ok_or("no production broker runs")?;
    let failed = |error: &dyn std::fmt::Display| format!("loadgen's own connection: {error}");
    let collective = assignment.plan.scenario.fleets.first();
    let collective = collective.and_then(|fleet| fleet.collectives.first());
    let collective = Collective::parse(collective.map_or("mcollective", |name| name.as_str()))
        .map_err(|error| failed(&error))?;
    let identity = Identity::parse(LOADGEN).map_err(|error| failed(&error))?;
    let mut dial = Dial::new(network.servers.clone(), LOADGEN);
    network.login.apply(&mut dial);
    dial.connect_timeout = CONNECT_WITHIN;
    let signer = proven(&access.caller, &access.roots, network.tls, &mut dial);
    let signer = signer.map_err(|error| failed(&error))?;
    let mut config = ClientConfig::new(collective, identity, signer);
    config.standing_replies = true;
    // One connection, on which everything depends: a broker that stands still is left soon.
    let dialer = SwarmDialer::new(DialLimit::new(1)).keep_alive(ASKED_AFTER, 2);
    let connecting = Client::connect(&dialer, dial, config);
    tokio::time::timeout(ASKING_WITHIN, connecting)
        .await
        .map_err(|_| failed(&format!("not up after {} s", ASKING_WITHIN.as_secs())))?
        .map_err(|error| failed(&error))
}

/// Shows the broker who dials; answers who signs requests as the same caller.
fn proven(
    caller: &Caller,
    roots: &str,
    security: Tls,
    dial: &mut Dial,
) -> Result<Arc<dyn RequestSigner>, String> {
    let in_words = |error: &dyn std::fmt::Display| error.to_string();
    match caller {
        Caller::Certificate(own) => {
            if security != Tls::None {
                let settings = tls::mutual(roots, &own.certificate, &own.key);
                dial.tls = Some(settings.map_err(|error| in_words(&error))?);
            }
            let signer = CertificateSigner::from_pem(&own.certificate, &own.key);
            Ok(Arc::new(signer.map_err(|error| in_words(&error))?))
        }
        Caller::Token(own) => {
            let settings = tls::server_verified(roots);
            dial.tls = Some(settings.map_err(|error| in_words(&error))?);
            let signer = TokenSigner::new(&own.token, &own.seed);
            let signer = signer.map_err(|error| in_words(&error))?;
            dial.credential = Some(Arc::clone(signer.credential()));
            Ok(Arc::new(signer))
        }
    }
}
