//! The private key of an authority: read from a file, or in a token.

use std::cell::RefCell;
use std::path::PathBuf;

use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};

use super::keyfile;
use super::pkcs11::{KeyUri, Pin, TokenKey, TokenSettings};
use crate::code::{Code, Refusal};
use crate::secret::Secret;

/// Where the private key of an authority is.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A PEM file that only its owner may read, maybe encrypted with a passphrase.
    File {
        /// The file.
        path: PathBuf,
        /// What opens it.
        passphrase: Option<Secret>,
    },
    /// A token that signs, and does not give it away.
    Token(TokenSettings),
}

impl KeySource {
    /// The key that a command line names: a file, or a PKCS #11 URI.
    ///
    /// # Errors
    /// What is wrong with the URI, or goes with the other kind only.
    pub fn named(name: &str, passphrase: Option<Secret>, pin: Pin) -> Result<Self, String> {
        let is_token = KeyUri::is_meant(name);
        match (is_token, passphrase, pin) {
            (false, passphrase, Pin::None) => Ok(Self::File {
                path: name.into(),
                passphrase,
            }),
            (true, None, pin) => {
                let uri = KeyUri::parse(name).map_err(|error| format!("the key {error}"))?;
                TokenSettings::new(uri, pin, 1).map(Self::Token)
            }
            (false, ..) => Err("a PIN goes with a key in a token (pkcs11:…)".to_owned()),
            (true, ..) => Err("a passphrase goes with a key in a file".to_owned()),
        }
    }

    /// The key, which has to be that of this certificate (its DER `SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// `ca.config`, naming file or token and what to do.
    pub(super) fn open(&self, spki: &[u8]) -> Result<AuthorityKey, Refusal> {
        match self {
            Self::File { path, passphrase } => {
                let about =
                    |refusal: Refusal| wrong(format!("{}: {}", path.display(), refusal.message));
                let text = keyfile::read(path)?;
                let passphrase = passphrase.as_ref().map(Secret::reveal);
                let text = keyfile::opened(text, passphrase).map_err(about)?;
                AuthorityKey::from_pem(&text, spki).map_err(about)
            }
            Self::Token(settings) => TokenKey::open(settings, spki)
                .map(|key| AuthorityKey::Token(Box::new(key)))
                .map_err(|error| error.for_good()),
        }
    }
}

/// What an authority signs with.
#[derive(Debug)]
pub(super) enum AuthorityKey {
    /// In memory: a signature takes well under a millisecond.
    Memory(KeyPair),
    /// In a token: a signature takes as long as it takes.
    Token(Box<TokenKey>),
}

impl AuthorityKey {
    /// A key in PEM without encryption.
    ///
    /// # Errors
    /// `ca.config` when it is none, or another one's.
    pub(super) fn from_pem(pem: &str, spki: &[u8]) -> Result<Self, Refusal> {
        let key = KeyPair::from_pem(pem).map_err(|error| {
            wrong(format!(
                "the private key cannot be used: {error}; it must be PKCS #8, PKCS #1 or SEC 1 \
                 in PEM, unencrypted"
            ))
        })?;
        if key.subject_public_key_info() != spki {
            return Err(wrong("the private key is not the certificate's".to_owned()));
        }
        Ok(Self::Memory(key))
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Memory(key) => key.der_bytes(),
            Self::Token(key) => key.der_bytes(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Memory(key) => PublicKeyData::algorithm(key),
            Self::Token(key) => key.algorithm(),
        }
    }
}

/// One signature, which remembers why there is none: the builder's own error has no room for it.
pub(super) struct Attempt<'a> {
    key: &'a AuthorityKey,
    failed: RefCell<Option<Refusal>>,
}

impl<'a> Attempt<'a> {
    pub(super) const fn with(key: &'a AuthorityKey) -> Self {
        Self {
            key,
            failed: RefCell::new(None),
        }
    }

    /// Why `what` was not signed.
    pub(super) fn refusal(self, what: &str, error: &rcgen::Error) -> Refusal {
        match self.failed.into_inner() {
            Some(refusal) => Refusal::new(
                refusal.code,
                format!("{what} is not signed: {}", refusal.message),
            ),
            None => Refusal::new(
                Code::CaUnavailable,
                format!("{what} is not signed: {error}"),
            ),
        }
    }
}

impl PublicKeyData for Attempt<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for Attempt<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self.key {
            AuthorityKey::Memory(key) => key.sign(message),
            AuthorityKey::Token(key) => key.sign(message).map_err(|error| {
                self.failed.replace(Some(error.for_now()));
                rcgen::Error::RemoteKeyError
            }),
        }
    }
}

fn wrong(what: String) -> Refusal {
    Refusal::new(Code::CaConfig, what)
}
