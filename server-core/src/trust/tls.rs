//! TLS settings of clients; TLS 1.2 at least, aws-lc-rs always.

use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::{KeyPair, TrustError, chain};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));

/// Sessions a connection may resume: a node talks to few servers, and a process holds many nodes.
const SESSIONS: usize = 2;

fn tls_error(error: impl std::fmt::Display) -> TrustError {
    TrustError::Tls(error.to_string())
}

type Wanted = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

#[expect(
    clippy::expect_used,
    reason = "the provider supports the default versions of its own library"
)]
fn builder() -> Wanted {
    ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports TLS 1.2 and 1.3")
}

/// **The server is not verified** and no certificate is shown: for nodes in provisioning mode, who know no authority
/// yet. What they learn there is protected by tokens and key agreement instead.
#[must_use]
pub fn anonymous() -> Arc<ClientConfig> {
    static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| {
        let mut config = builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Arc::new(config)
    });
    Arc::clone(&CONFIG)
}

/// The server must have a certificate of one of these authorities for the name dialled; none is shown to it.
///
/// # Errors
/// When the PEM text holds no usable certificate.
pub fn server_verified(roots_pem: &str) -> Result<Arc<ClientConfig>, TrustError> {
    let mut config = builder()
        .with_webpki_verifier(verifier(roots_pem)?)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

/// Both sides show certificates.
///
/// # Errors
/// When a PEM text cannot be read, or the key does not belong to the first certificate of the chain.
pub fn mutual(
    roots_pem: &str,
    chain_pem: &str,
    key_pem: &str,
) -> Result<Arc<ClientConfig>, TrustError> {
    let chain = chain::parse_pem_bundle(chain_pem)?;
    let pair = KeyPair::from_pem(key_pem)?;
    let leaf = chain::parse(&chain[0])?;
    let public =
        der::Encode::to_der(leaf.tbs_certificate().subject_public_key_info()).map_err(tls_error)?;
    if public != pair.public_spki_der() {
        return Err(TrustError::KeyMismatch);
    }
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pair.pkcs8_der().to_vec()));
    let mut config = builder()
        .with_webpki_verifier(verifier(roots_pem)?)
        .with_client_auth_cert(chain, key)
        .map_err(tls_error)?;
    config.resumption = Resumption::in_memory_sessions(SESSIONS);
    Ok(Arc::new(config))
}

fn verifier(roots_pem: &str) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let mut roots = RootCertStore::empty();
    for root in chain::parse_pem_bundle(roots_pem)? {
        roots.add(root).map_err(tls_error)?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&PROVIDER))
        .build()
        .map_err(tls_error)
}

/// Takes any server; only proof that it holds the key of the certificate it shows is asked for.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER
            .signature_verification_algorithms
            .supported_schemes()
    }
}
