//! What the parties of a run prove themselves with: callers' certificates or tokens, the intermediate
//! of the provisioner's authority, and the provisioning token that nodes carry.

use std::path::{Path, PathBuf};

use server_core::trust::jwt::{self, ProvisioningClaims, SigningKey};
use server_core::trust::{KeyAlgorithm, KeyPair};
use server_core::words::{Clock as _, SystemClock};
use thiserror::Error;

use super::certificates::{Authority, CertificateError, Issued};
use super::files;
use super::organization::{self, Member, Organization};
use crate::message::Caller;
use crate::scenario::Issues;

/// The caller that loadgen's own requests are signed by: the name of its certificate.
pub const LOADGEN: &str = "loadgen.mcollective";
/// The caller that is handed to whoever works with the fleet.
pub const OPERATOR: &str = "operator.mcollective";
/// The caller of the provisioner.
pub const PROVISIONER: &str = "provisioner.mcollective";

/// The id by which nodes know a caller: of its certificate, or of its token.
pub fn caller_id(name: &str, issues: Issues) -> String {
    match issues {
        Issues::Certificates => format!("choria={name}"),
        Issues::Tokens => format!("up={}", name.trim_end_matches(".mcollective")),
    }
}

/// How long the provisioning token is valid, seconds.
const TOKEN_SECONDS: i64 = 30 * 24 * 60 * 60;

/// Credentials could not be made or written.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The token or its key could not be made.
    #[error("the provisioning token could not be made: {0}")]
    Token(String),
    /// The organization or a token of its members could not be made.
    #[error("the run's organization and its members' tokens could not be made: {0}")]
    Member(String),
    /// A file could not be written.
    #[error("{path} cannot be written: {source}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// A certificate with its key in two files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, and its intermediates if any.
    pub certificate: PathBuf,
    /// The key, readable by its owner.
    pub key: PathBuf,
}

/// A token with the seed of its key in two files.
#[derive(Clone, Debug)]
pub struct TokenPair {
    /// The token.
    pub token: PathBuf,
    /// The seed, readable by its owner.
    pub seed: PathBuf,
}

/// What somebody proves with who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A certificate.
    Certificate(Pair),
    /// A token of an organization with this public key, 64 hexadecimal digits.
    Token(TokenPair, String),
}

impl Proof {
    /// Its files.
    pub fn files(&self) -> [&Path; 2] {
        match self {
            Self::Certificate(pair) => [&pair.certificate, &pair.key],
            Self::Token(pair, _) => [&pair.token, &pair.seed],
        }
    }
}

/// The callers of a run.
#[derive(Clone, Debug)]
pub struct Callers {
    /// Trust anchors.
    pub ca: PathBuf,
    /// [`OPERATOR`], for people and their programs.
    pub operator: Proof,
    /// [`PROVISIONER`].
    pub provisioner: Proof,
    /// [`LOADGEN`]; it stays in memory.
    pub loadgen: Caller,
}

impl Callers {
    /// Makes the callers of a network in which nodes have certificates, or tokens, and writes those
    /// that others read into `folder`, with the trust anchors `roots`.
    ///
    /// # Errors
    /// When a certificate or token cannot be made or a file cannot be written.
    pub fn write(
        authority: &Authority,
        issues: Issues,
        roots: &str,
        folder: &Path,
    ) -> Result<Self, CredentialsError> {
        let ca = folder.join("ca.pem");
        files::write_public(&ca, roots).map_err(file_error(&ca))?;
        if issues == Issues::Tokens {
            return Self::write_members(ca, folder);
        }
        let pair = |name| write_pair(folder, name, &authority.caller(name)?);
        Ok(Self {
            ca,
            operator: Proof::Certificate(pair(OPERATOR)?),
            provisioner: Proof::Certificate(pair(PROVISIONER)?),
            loadgen: Caller::Certificate(authority.caller(LOADGEN)?),
        })
    }

    fn write_members(ca: PathBuf, folder: &Path) -> Result<Self, CredentialsError> {
        let organization = Organization::new(SystemClock.unix())?;
        let id = |name| caller_id(name, Issues::Tokens);
        let proof = |name: &str, member: &Member| {
            let pair = write_member(folder, name, member)?;
            Ok::<_, CredentialsError>(Proof::Token(pair, organization.key()))
        };
        Ok(Self {
            ca,
            operator: proof("operator", &organization.caller(&id(OPERATOR))?)?,
            provisioner: proof("provisioner", &organization.provisioner(&id(PROVISIONER))?)?,
            loadgen: Caller::Token(organization.caller(&id(LOADGEN))?),
        })
    }
}

/// Writes `NAME.jwt` and `NAME.seed` into `folder`.
fn write_member(folder: &Path, name: &str, member: &Member) -> Result<TokenPair, CredentialsError> {
    let pair = TokenPair {
        token: folder.join(format!("{name}.jwt")),
        seed: folder.join(format!("{name}.seed")),
    };
    files::write_secret(&pair.token, &member.token).map_err(file_error(&pair.token))?;
    files::write_secret(&pair.seed, &member.seed).map_err(file_error(&pair.seed))?;
    Ok(pair)
}

/// Writes `NAME.pem` and `NAME.key` into `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_pair(folder: &Path, name: &str, issued: &Issued) -> Result<Pair, CredentialsError> {
    let pair = Pair {
        certificate: folder.join(format!("{name}.pem")),
        key: folder.join(format!("{name}.key")),
    };
    files::write_public(&pair.certificate, &issued.certificate)
        .map_err(file_error(&pair.certificate))?;
    files::write_secret(&pair.key, &issued.key).map_err(file_error(&pair.key))?;
    Ok(pair)
}

/// The provisioning token of a run, with what a provisioner checks it by.
#[derive(Clone)]
pub struct ProvisioningToken {
    /// The text of a node's `provisioning.jwt`.
    pub jwt: String,
    /// The same a day after its end.
    pub expired: String,
    /// Public key that verifies it, PEM.
    pub public_key: String,
    /// The secret that a node wants to see in every request (claim `cht`).
    pub node_token: String,
}

impl std::fmt::Debug for ProvisioningToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProvisioningToken").finish_non_exhaustive()
    }
}

impl ProvisioningToken {
    /// Makes a signing key and a token that sends nodes to `servers` with this user and password, to be
    /// asked in the protocol of what they get there.
    ///
    /// # Errors
    /// When the cryptography library refuses.
    pub fn new(
        servers: &[String],
        (user, password): (&str, &str),
        issues: Issues,
        now: i64,
    ) -> Result<Self, CredentialsError> {
        fn failed(error: impl std::fmt::Display) -> CredentialsError {
            CredentialsError::Token(error.to_string())
        }
        let pair = KeyPair::generate(KeyAlgorithm::Rsa2048).map_err(failed)?;
        let key = SigningKey::new(&pair).map_err(failed)?;
        let node_token = uuid::Uuid::new_v4().simple().to_string();
        let claims = ProvisioningClaims {
            cht: node_token.clone(),
            chs: true,
            chpd: true,
            chu: servers.join(","),
            chusr: user.to_owned(),
            chpwd: password.to_owned(),
            ou: organization::NAME.to_owned(),
            v2: issues == Issues::Tokens,
            purpose: jwt::PURPOSE.to_owned(),
            sub: jwt::PURPOSE.to_owned(),
            iss: jwt::CHORIA_ISSUER.to_owned(),
            iat: Some(now),
            nbf: Some(now - 60),
            exp: Some(now + TOKEN_SECONDS),
            jti: uuid::Uuid::new_v4().simple().to_string(),
            ..ProvisioningClaims::default()
        };
        let past = |at: Option<i64>| at.map(|at| at - TOKEN_SECONDS - 24 * 60 * 60);
        let expired = ProvisioningClaims {
            iat: past(claims.iat),
            nbf: past(claims.nbf),
            exp: past(claims.exp),
            ..claims.clone()
        };
        Ok(Self {
            jwt: jwt::issue(&claims, &key).map_err(failed)?,
            expired: jwt::issue(&expired, &key).map_err(failed)?,
            public_key: key.public_pem().to_owned(),
            node_token,
        })
    }
}

fn file_error(path: &Path) -> impl Fn(std::io::Error) -> CredentialsError + '_ {
    move |source| CredentialsError::File {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use server_core::trust::jwt::{JwtKey, NamedKey, Rules};
    use server_core::words::UnixTime;

    #[test]
    fn the_token_is_what_its_key_says_and_holds_what_a_node_needs() {
        let now = 1_800_000_000;
        let servers = [
            "tls://127.0.0.1:1".to_owned(),
            "tls://127.0.0.1:2".to_owned(),
        ];
        let token =
            ProvisioningToken::new(&servers, ("node", "enrol"), Issues::Certificates, now).unwrap();
        let keys = [NamedKey {
            name: "run".to_owned(),
            key: JwtKey::parse(&token.public_key).unwrap(),
        }];
        let at = UnixTime::from_secs(now + 60);
        let verified = jwt::verify(&token.jwt, &keys, &Rules::default(), at);
        let (name, claims) = verified.unwrap();
        assert_eq!(name, "run");
        assert_eq!(claims.servers(), servers);
        assert!(claims.chs && claims.chpd);
        assert_eq!(
            (claims.chusr.as_str(), claims.chpwd.as_str()),
            ("node", "enrol")
        );
        assert_eq!(claims.cht, token.node_token);
        let refused = jwt::verify(&token.expired, &keys, &Rules::default(), at).unwrap_err();
        assert_eq!(refused.code(), "jwt.expired");
    }
}
