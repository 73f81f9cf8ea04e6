//! TLS settings of clients; TLS 1.2 at least, aws-lc-rs always.

use std::num::NonZeroUsize;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use lru::LruCache;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group, sign::any_ecdsa_type};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, DigitallySignedStruct, InconsistentKeys, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{KeyPair, TrustError, chain, remembered};

/// Sessions a connection may resume: a node talks to few servers, and a process holds many nodes.
const SESSIONS: usize = 2;
/// Bundles of trust anchors whose verifier is kept; the nodes of a process have one or two.
const VERIFIERS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(7);

fn tls_error(error: impl std::fmt::Display) -> TrustError {
    TrustError::Tls(error.to_string())
}

/// Which key exchanges a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyExchange {
    /// All, the hybrid of X25519 and ML-KEM-768 among them, which keeps what is sent secret from a
    /// quantum computer to come.
    Hybrid,
    /// P-256, X25519 and P-384. For swarms, whose secrets last as long as a test: the hybrid would
    /// cost both sides of each handshake more than all their signatures.
    Classical,
}

/// Makes the TLS settings of many clients; what they have in common is made once.
#[derive(Debug)]
pub struct TlsClients {
    provider: Arc<CryptoProvider>,
    anonymous: Arc<ClientConfig>,
    verifiers: Mutex<LruCache<String, Arc<WebPkiServerVerifier>>>,
}

static DEFAULT: LazyLock<TlsClients> = LazyLock::new(|| TlsClients::new(KeyExchange::Hybrid));

/// [`TlsClients::anonymous`] with all key exchanges.
#[must_use]
pub fn anonymous() -> Arc<ClientConfig> {
    DEFAULT.anonymous()
}

/// [`TlsClients::server_verified`] with all key exchanges.
///
/// # Errors
/// When the PEM text holds no usable certificate.
pub fn server_verified(roots_pem: &str) -> Result<Arc<ClientConfig>, TrustError> {
    DEFAULT.server_verified(roots_pem)
}

/// [`TlsClients::mutual`] with all key exchanges.
///
/// # Errors
/// When a PEM text cannot be read, or the key does not belong to the first certificate of the chain.
pub fn mutual(
    roots_pem: &str,
    chain_pem: &str,
    key_pem: &str,
) -> Result<Arc<ClientConfig>, TrustError> {
    DEFAULT.mutual(roots_pem, chain_pem, key_pem)
}

type Wanted = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

impl TlsClients {
    /// Clients that offer these key exchanges.
    #[must_use]
    pub fn new(exchange: KeyExchange) -> Self {
        Self::over(provider(exchange))
    }

    /// The same, but the certificates on a server's path are verified once for all of them. The proof that
    /// the server holds the key of the first one is asked for in each handshake, as ever.
    #[must_use]
    pub fn remembering(exchange: KeyExchange) -> Self {
        let mut provider = provider(exchange);
        provider.signature_verification_algorithms.all = remembered::algorithms();
        Self::over(provider)
    }

    fn over(provider: CryptoProvider) -> Self {
        let provider = Arc::new(provider);
        let any = Arc::new(AnyServer(Arc::clone(&provider)));
        let mut anonymous = builder(&provider)
            .dangerous()
            .with_custom_certificate_verifier(any)
            .with_no_client_auth();
        anonymous.resumption = Resumption::disabled();
        Self {
            provider,
            anonymous: Arc::new(anonymous),
            verifiers: Mutex::new(LruCache::new(VERIFIERS)),
        }
    }

    /// **The server is not verified** and no certificate is shown: for nodes in provisioning mode, who know no
    /// authority yet. What they learn there is protected by tokens and key agreement instead.
    #[must_use]
    pub fn anonymous(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.anonymous)
    }

    /// The server must have a certificate of one of these authorities for the name dialled; none is shown to it.
    ///
    /// # Errors
    /// When the PEM text holds no usable certificate.
    pub fn server_verified(&self, roots_pem: &str) -> Result<Arc<ClientConfig>, TrustError> {
        let mut config = builder(&self.provider)
            .with_webpki_verifier(self.verifier(roots_pem)?)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Arc::new(config))
    }

    /// Both sides show certificates.
    ///
    /// # Errors
    /// When a PEM text cannot be read, or the key does not belong to the first certificate of the chain.
    pub fn mutual(
        &self,
        roots_pem: &str,
        chain_pem: &str,
        key_pem: &str,
    ) -> Result<Arc<ClientConfig>, TrustError> {
        let chain = chain::parse_pem_bundle(chain_pem)?;
        let key = KeyPair::der_from_pem(key_pem)?;
        let shown = Arc::new(SingleCertAndKey::from(self.certified(chain, &key)?));
        let mut config = builder(&self.provider)
            .with_webpki_verifier(self.verifier(roots_pem)?)
            .with_client_cert_resolver(shown);
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(Arc::new(config))
    }

    fn certified(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'static>,
    ) -> Result<CertifiedKey, TrustError> {
        // What nodes have comes first: each kind that is tried checks the whole key once more.
        let key = any_ecdsa_type(key)
            .or_else(|_| self.provider.key_provider.load_private_key(key.clone_key()))
            .map_err(tls_error)?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(TrustError::KeyMismatch)
            }
            Ok(()) => Ok(certified),
            Err(error) => Err(tls_error(error)),
        }
    }

    fn verifier(&self, roots_pem: &str) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
        let known = || {
            self.verifiers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(verifier) = known().get(roots_pem) {
            return Ok(Arc::clone(verifier));
        }
        let mut roots = RootCertStore::empty();
        for root in chain::parse_pem_bundle(roots_pem)? {
            roots.add(root).map_err(tls_error)?;
        }
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(tls_error)?;
        known().put(roots_pem.to_owned(), Arc::clone(&verifier));
        Ok(verifier)
    }
}

fn provider(exchange: KeyExchange) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if exchange == KeyExchange::Classical {
        provider.kx_groups = vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1];
    }
    provider
}

#[expect(
    clippy::expect_used,
    reason = "the provider supports the default versions of its own library"
)]
fn builder(provider: &Arc<CryptoProvider>) -> Wanted {
    ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs supports TLS 1.2 and 1.3")
}

/// Takes any server; only proof that it holds the key of the certificate it shows is asked for.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

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
            &self.0.signature_verification_algorithms,
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
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
