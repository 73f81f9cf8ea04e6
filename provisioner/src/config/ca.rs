//! `[ca]`: who signs, and how whoever it is may be asked.

use std::path::PathBuf;
use std::time::Duration;

use super::{Limits, Located, SecretSource};
use crate::ca::pkcs11::KeyUri;
use crate::hook::HelperContract;
use crate::hook::guard::{BreakerSettings, Pace};

/// `[ca]`.
#[derive(Clone, Debug)]
pub struct Ca {
    /// Trust anchors: sent to nodes and judged by. None where nodes get no certificates.
    pub roots: Option<Located<PathBuf>>,
    /// Certificates with which chains are completed.
    pub intermediates: Option<Located<PathBuf>>,
    /// Longest life of a certificate.
    pub validity: Duration,
    /// How the list of revoked certificates is published, if one is.
    pub crl: Option<Crl>,
    /// Who signs.
    pub kind: CaKind,
}

/// `[ca.crl]`.
#[derive(Clone, Debug)]
pub struct Crl {
    /// Where the list is written, PEM.
    pub file: Located<PathBuf>,
    /// How long a list is good.
    pub lifetime: Duration,
    /// After how long a new one is made though nothing was revoked.
    pub refresh: Duration,
    /// Where certificates say that it is fetched.
    pub url: Option<String>,
}

/// Who signs.
#[derive(Clone, Debug)]
pub enum CaKind {
    /// Nobody: every node that is judged good gets a token of the issuer.
    Granted,
    /// The authority inside this service.
    BuiltIn {
        /// The intermediate, and above it whatever leads to the roots.
        certificate: Located<PathBuf>,
        /// Its private key.
        key: CaKey,
    },
    /// One helper process per node.
    Exec {
        /// The helper.
        helper: Helper,
        /// What it speaks.
        contract: HelperContract,
        /// How it may be asked.
        backend: Backend,
    },
    /// Helpers that keep running.
    Pool {
        /// The helper.
        helper: Helper,
        /// How many run.
        helpers: usize,
        /// Questions each may have at once.
        in_flight: usize,
        /// From its start to its first answer.
        start_timeout: Duration,
        /// How they may be asked.
        backend: Backend,
    },
    /// A server.
    Http(Box<Http>),
}

/// Where the authority's private key is.
#[derive(Clone, Debug)]
pub enum CaKey {
    /// In a file, mode 0600.
    File {
        /// The file.
        file: Located<PathBuf>,
        /// What opens it, where it is encrypted.
        passphrase: Option<Passphrase>,
    },
    /// In a token.
    Token {
        /// Which key in which token.
        uri: Located<KeyUri>,
        /// What opens the token, where the URI does not say it.
        pin: Option<Passphrase>,
    },
}

/// Where the passphrase of a key or the PIN of a token comes from.
#[derive(Clone, Debug)]
pub enum Passphrase {
    /// The configuration or a file.
    Secret(SecretSource),
    /// A variable of the service's environment.
    Env(Located<String>),
}

/// A helper program.
#[derive(Clone, Debug)]
pub struct Helper {
    /// Program and arguments.
    pub command: Located<Vec<String>>,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Names of the environment variables it gets.
    pub environment: Vec<String>,
    /// What it is told the certificates are for.
    pub profile: String,
}

/// A server that is asked over HTTP.
#[derive(Clone, Debug)]
pub struct Http {
    /// Its address.
    pub url: Located<String>,
    /// Roots it is verified against.
    pub server_ca: Option<Located<PathBuf>>,
    /// Certificate and key that are shown to it.
    pub client: Option<(Located<PathBuf>, Located<PathBuf>)>,
    /// How long an exchange may take.
    pub timeout: Duration,
    /// Questions at once.
    pub in_flight: usize,
    /// What it speaks.
    pub api: HttpApi,
    /// How it may be asked.
    pub backend: Backend,
}

/// What a server speaks.
#[derive(Clone, Debug)]
pub enum HttpApi {
    /// Our contract, signed.
    Webhook {
        /// Key of the signature.
        secret: SecretSource,
        /// Bearer token.
        token: Option<SecretSource>,
        /// What it is told the certificates are for.
        profile: String,
    },
    /// Cloudflare's cfssl.
    Cfssl {
        /// Its signing profile.
        profile: Option<String>,
        /// Its signer.
        label: Option<String>,
        /// Key of authenticated requests, hexadecimal.
        secret: Option<SecretSource>,
    },
    /// Vault or `OpenBao`.
    Vault {
        /// Where the PKI engine is mounted.
        mount: String,
        /// The role that signs.
        role: String,
        /// The namespace.
        namespace: Option<String>,
        /// A token that may ask that role.
        token: SecretSource,
    },
    /// ACME.
    Acme(Box<AcmeConfig>),
    /// Smallstep's step-ca.
    StepCa {
        /// Name of a JWK provisioner.
        provisioner: String,
        /// Its private key.
        key: Located<PathBuf>,
    },
}

/// What an ACME server is told.
#[derive(Clone, Debug)]
pub struct AcmeConfig {
    /// The file of the account, if not the usual one in the state folder.
    pub account: Option<Located<PathBuf>>,
    /// How the server's people reach those of the account.
    pub contact: Vec<String>,
    /// Whether the server's terms of service are agreed to.
    pub terms_agreed: bool,
    /// Identifier and key of an account elsewhere.
    pub external: Option<(Located<String>, SecretSource)>,
    /// The profile of certificates.
    pub profile: Option<String>,
    /// What proves names by DNS.
    pub dns: Option<Dns>,
    /// How long proofs and signing may take.
    pub order_timeout: Duration,
}

/// A command that changes the DNS.
#[derive(Clone, Debug)]
pub struct Dns {
    /// Program and arguments.
    pub command: Located<Vec<String>>,
    /// Names of the environment variables it gets.
    pub environment: Vec<String>,
    /// How long a run may take.
    pub timeout: Duration,
    /// How long a record takes until it is seen.
    pub wait: Duration,
}

/// How whoever is asked may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Backend {
    /// Questions a second, if there is a limit.
    pub pace: Option<Pace>,
    /// When it is taken for broken.
    pub breaker: BreakerSettings,
}

impl CaKind {
    /// Questions or signatures at once.
    #[must_use]
    pub const fn at_once(&self, limits: &Limits) -> usize {
        match self {
            Self::Granted | Self::BuiltIn { .. } => limits.ca,
            Self::Exec { .. } => limits.hook,
            Self::Pool {
                helpers, in_flight, ..
            } => *helpers * *in_flight,
            Self::Http(http) => http.in_flight,
        }
    }
}
