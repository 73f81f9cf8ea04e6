//! Who signs requests.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::jwt::{ClientClaims, Credential, CredentialError};
use super::{KeyPair, TrustError, chain};
use crate::wire::{Protocol, ReplySigner, RequestSigner, SignError, Signed};
use crate::words::CallerId;

/// Signs with a certificate's RSA key: PKCS#1 v1.5 with SHA-256, the only signature of protocol 1.
pub struct CertificateSigner {
    caller: CallerId,
    key: KeyPair,
    certificate: Arc<str>,
}

impl CertificateSigner {
    /// From a certificate, perhaps with intermediates behind it, and its private key.
    ///
    /// # Errors
    /// When one of them cannot be read, they do not belong together, or the key is not RSA.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, TrustError> {
        let chain = chain::parse_pem_bundle(certificate)?;
        let leaf = chain::parse(&chain[0])?;
        let name = chain::names_of(&leaf)?
            .common_name
            .ok_or_else(|| TrustError::Certificate("its subject has no common name".to_owned()))?;
        let caller = CallerId::of_certificate(&name)
            .map_err(|error| TrustError::Certificate(error.to_string()))?;
        let key = KeyPair::from_pem(key)?;
        if !key.is_rsa() {
            return Err(TrustError::KeyAlgorithm(format!(
                "the key of {name} is not RSA; requests of protocol 1 can only be signed with RSA keys"
            )));
        }
        let public = der::Encode::to_der(leaf.tbs_certificate().subject_public_key_info())
            .map_err(|error| TrustError::Certificate(error.to_string()))?;
        if public != key.public_spki_der() {
            return Err(TrustError::KeyMismatch);
        }
        Ok(Self {
            caller,
            key,
            certificate: certificate.into(),
        })
    }

    /// The caller which this signer signs for: `choria=<common name>`.
    #[must_use]
    pub fn caller_id(&self) -> &CallerId {
        &self.caller
    }
}

impl fmt::Debug for CertificateSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateSigner")
            .field("caller", &self.caller)
            .finish_non_exhaustive()
    }
}

impl RequestSigner for CertificateSigner {
    fn caller(&self) -> &str {
        self.caller.as_str()
    }

    fn sign(&self, message: &[u8]) -> Result<Signed, SignError> {
        let signature = self
            .key
            .sign_rsa_sha256(message)
            .map_err(|error| SignError(error.to_string()))?;
        Ok(Signed {
            signature: STANDARD.encode(signature),
            pubcert: Arc::clone(&self.certificate),
        })
    }
}

/// Sends requests unsigned, for networks where protocol security is switched off.
#[derive(Debug, Clone)]
pub struct InsecureSigner {
    /// Whom the requests claim to come from.
    pub caller: String,
}

impl RequestSigner for InsecureSigner {
    fn caller(&self) -> &str {
        &self.caller
    }

    fn sign(&self, _message: &[u8]) -> Result<Signed, SignError> {
        Ok(Signed {
            signature: "insecure".to_owned(),
            pubcert: "insecure".into(),
        })
    }
}

/// Sends the registration data of a node which has no key yet but would sign (`chs` true in its token).
#[derive(Debug, Clone)]
pub struct RegistrationSigner {
    /// Whom the requests claim to come from: `choria=<identity>`.
    pub caller: String,
}

impl RequestSigner for RegistrationSigner {
    fn caller(&self) -> &str {
        &self.caller
    }

    fn sign(&self, _message: &[u8]) -> Result<Signed, SignError> {
        Ok(Signed {
            signature: STANDARD.encode("insecure registration"),
            pubcert: "insecure registration".into(),
        })
    }
}

/// Signs with the key of a client token: Ed25519, the only signature of protocol 2.
#[derive(Debug, Clone)]
pub struct TokenSigner {
    caller: String,
    token: Arc<str>,
    credential: Arc<Credential>,
}

impl TokenSigner {
    /// From a client token, which nodes verify, and the seed of its key, 64 hexadecimal digits.
    ///
    /// # Errors
    /// When one of them is damaged or they do not go together.
    pub fn new(token: &str, seed: &str) -> Result<Self, CredentialError> {
        let (credential, claims) = Credential::new::<ClientClaims>(token, seed)?;
        Ok(Self {
            caller: claims.callerid,
            token: credential.token().into(),
            credential: Arc::new(credential),
        })
    }

    /// What proves the same caller to a broker.
    #[must_use]
    pub fn credential(&self) -> &Arc<Credential> {
        &self.credential
    }
}

impl RequestSigner for TokenSigner {
    fn caller(&self) -> &str {
        &self.caller
    }

    fn protocol(&self) -> Protocol {
        Protocol::V2
    }

    fn sign(&self, message: &[u8]) -> Result<Signed, SignError> {
        let signature = self.credential.sign(message);
        let signature = signature.map_err(|error| SignError(error.to_string()))?;
        Ok(Signed {
            signature: STANDARD.encode(signature),
            pubcert: Arc::clone(&self.token),
        })
    }
}

impl ReplySigner for Credential {
    fn token(&self) -> &str {
        self.token()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.sign(message)
            .map_err(|error| SignError(error.to_string()))
    }
}
