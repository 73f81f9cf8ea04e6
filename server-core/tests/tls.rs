//! TLS settings against a server, in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/authority.rs"]
mod authority;

use std::sync::Arc;

use authority::{Authority, NOW};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use server_core::trust::{KeyAlgorithm, install_crypto, tls};

/// The clock of both sides.
#[derive(Debug)]
struct Then;

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(NOW.secs()).unwrap();
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(
            secs,
        )))
    }
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .map(Result::unwrap)
        .collect()
}

/// A server for `localhost`, which asks for certificates of an authority when one is given.
fn server(authority: &Authority, clients: Option<&Authority>) -> ServerConfig {
    install_crypto();
    let (chain, key) = authority.issue("localhost", KeyAlgorithm::P256);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder();
    let builder = match clients {
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(certificates(clients.root()).remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(certificates(&chain), key).unwrap();
    config.time_provider = Arc::new(Then);
    config
}

/// Shakes hands; tells how many certificates the client showed.
fn shake(client: Arc<ClientConfig>, server: ServerConfig) -> Result<usize, rustls::Error> {
    let mut client = ClientConfig::clone(&client);
    client.time_provider = Arc::new(Then);
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut flight = Vec::new();
        client.write_tls(&mut flight).unwrap();
        server.read_tls(&mut flight.as_slice()).unwrap();
        server.process_new_packets()?;
        flight.clear();
        server.write_tls(&mut flight).unwrap();
        client.read_tls(&mut flight.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(server.peer_certificates().map_or(0, <[_]>::len))
}

#[test]
fn anonymous_connections_take_any_server() {
    let unknown = Authority::new();
    assert_eq!(shake(tls::anonymous(), server(&unknown, None)), Ok(0));
}

#[test]
fn servers_are_verified_where_an_authority_is_given() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let client = || tls::server_verified(ours.root()).unwrap();
    assert_eq!(shake(client(), server(&ours.intermediate(), None)), Ok(0));
    assert!(shake(client(), server(&theirs, None)).is_err());
}

#[test]
fn both_sides_show_certificates_of_every_kind_of_key() {
    let ours = Authority::new();
    for algorithm in [
        KeyAlgorithm::P256,
        KeyAlgorithm::Rsa2048,
        KeyAlgorithm::Ed25519,
    ] {
        let (chain, key) = ours.intermediate().issue("n1.example.net", algorithm);
        let client = tls::mutual(ours.root(), &chain, &key).unwrap();
        assert_eq!(
            shake(client, server(&ours, Some(&ours))),
            Ok(2),
            "{algorithm}"
        );
    }
    let (chain, key) = Authority::new().issue("n1.example.net", KeyAlgorithm::P256);
    let stranger = tls::mutual(ours.root(), &chain, &key).unwrap();
    assert!(shake(stranger, server(&ours, Some(&ours))).is_err());
    assert!(
        shake(
            tls::server_verified(ours.root()).unwrap(),
            server(&ours, Some(&ours))
        )
        .is_err()
    );
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let ours = Authority::new();
    let (chain, key) = ours.issue("n1.example.net", KeyAlgorithm::P256);
    let (_, other) = ours.issue("n1.example.net", KeyAlgorithm::P256);
    for (roots, chain, key, wanted) in [
        (
            ours.root(),
            chain.as_str(),
            other.as_str(),
            "trust.key_mismatch",
        ),
        (ours.root(), "", &key, "trust.pem"),
        (ours.root(), &chain, "", "trust.pem"),
        ("", &chain, &key, "trust.pem"),
    ] {
        assert_eq!(tls::mutual(roots, chain, key).unwrap_err().code(), wanted);
    }
    assert_eq!(
        tls::server_verified("nothing").unwrap_err().code(),
        "trust.pem"
    );
    let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(tls::server_verified(damaged).is_err());
}
