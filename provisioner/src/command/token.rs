//! `provisioner token new`, `token key` and `token check`: the token nodes are shipped with.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use rand::RngCore;
use serde_json::Value;
use server_core::trust::jwt::{self, CHORIA_ISSUER, PURPOSE, ProvisioningClaims, SigningKey};
use server_core::trust::{KeyAlgorithm, KeyPair};
use zeroize::Zeroizing;

mod check;

pub use check::TokenCheckArgs;

use super::Exit;
use crate::ca::write_secret;
use crate::judge::token::scope::{EXTENSION, Scope};
use crate::whole;

/// What can be done with provisioning tokens.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum TokenCommand {
    /// Make a token to ship nodes with (provisioning.jwt)
    New(Box<TokenNewArgs>),
    /// Make a pair of keys to sign and verify tokens with
    Key(TokenKeyArgs),
    /// Check a token as the service would
    Check(TokenCheckArgs),
}

/// Make a token to ship nodes with (provisioning.jwt)
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner token key --out signer.key
  provisioner token new --signing-key signer.key --url tls://provisioning.example.net:4222 \\
      --user provisioning --password-file broker.password --token-file node.token \\
      --validity 365d --out provisioning.jwt
  provisioner token new --signing-key signer.key --url tls://provisioning.example.net:4222 \\
      --once --for 'web-*.ams.example.net' --fact site=ams --out web-7.jwt

A token with --once or --uses is bound to the nodes that enrol with it: they may come back
with it as long as it is valid, others are refused (token.used). Shipped tokens should
outlive the certificate: a node needs its token to have that renewed.
The token makes nodes verify requests (chs) and enter provisioning mode by themselves (chpd).")]
pub struct TokenNewArgs {
    /// The private key that signs the token: RSA or Ed25519, PEM
    #[arg(long, value_name = "FILE", visible_alias = "key")]
    pub signing_key: PathBuf,
    /// A provisioning broker; may be given more than once
    #[arg(
        long,
        value_name = "URL",
        required_unless_present = "srv_domain",
        value_delimiter = ','
    )]
    pub url: Vec<String>,
    /// The domain whose SRV records name the provisioning brokers
    #[arg(long, value_name = "DOMAIN", conflicts_with = "url")]
    pub srv_domain: Option<String>,
    /// The user nodes connect as while they are provisioned
    #[arg(long, value_name = "NAME", visible_alias = "username")]
    pub user: Option<String>,
    /// Its password (better: --password-file, or the environment)
    #[arg(
        long,
        value_name = "TEXT",
        env = "PROVISIONING_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<String>,
    /// A file that holds its password
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub password_file: Option<PathBuf>,
    /// The shared token nodes want to see in every request; made up when not given
    #[arg(
        long,
        value_name = "TEXT",
        env = "PROVISIONING_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// A file that holds the shared token
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// How long the token is valid
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = humantime::parse_duration)]
    pub validity: Duration,
    /// Who issues it, as the service's `token.issuers` want it
    #[arg(long, value_name = "NAME", default_value = CHORIA_ISSUER)]
    pub issuer: String,
    /// The organization
    #[arg(long, value_name = "NAME", default_value = "choria")]
    pub organization: String,
    /// Something for the helper to know, as NAME=VALUE; may be given more than once
    #[arg(long, value_name = "NAME=VALUE")]
    pub extension: Vec<String>,
    /// The token enrols one node and is of no use to any other
    #[arg(long, conflicts_with = "uses")]
    pub once: bool,
    /// The token enrols so many nodes at most
    #[arg(long, value_name = "NUMBER")]
    pub uses: Option<u32>,
    /// The token is for nodes of this name only; * is any part of one label; may be given more
    /// than once
    #[arg(long = "for", value_name = "PATTERN")]
    pub identity: Vec<String>,
    /// The token is for nodes with this fact only, as PATH=VALUE; may be given more than once
    #[arg(long, value_name = "PATH=VALUE")]
    pub fact: Vec<String>,
    /// The file with facts on the node
    #[arg(long, value_name = "PATH")]
    pub facts: Option<String>,
    /// The file with registration data on the node
    #[arg(long, value_name = "PATH")]
    pub registration: Option<String>,
    /// Where to write the token; standard output when not given
    #[arg(long, short, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "out")]
    pub force: bool,
}

/// Make a pair of keys to sign and verify tokens with
#[derive(Clone, Debug, clap::Args)]
pub struct TokenKeyArgs {
    /// Where to write the private key; the public key goes beside it as FILE.pub
    #[arg(long, short, value_name = "FILE")]
    pub out: PathBuf,
    /// The kind of key
    #[arg(long, value_name = "KIND", default_value = "ed25519", value_parser = ["ed25519", "rsa2048"])]
    pub kind: String,
}

impl TokenNewArgs {
    /// Makes the token and says where it is.
    ///
    /// # Errors
    /// When a file cannot be read or written, or an argument makes no usable token.
    pub fn run(&self, rng: &mut dyn RngCore, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let key = signing_key(&self.signing_key)?;
        let now = Timestamp::now();
        let claims = self.claims(now, rng)?;
        let token = jwt::issue(&claims, &key)?;
        ensure!(
            token.len() <= jwt::MAX_TOKEN,
            "the token would be {} bytes; nodes read at most {}",
            token.len(),
            jwt::MAX_TOKEN
        );
        let Some(file) = &self.out else {
            writeln!(out, "{token}")?;
            return Ok(Exit::Success);
        };
        if self.force {
            whole::exchange(file, token.as_bytes(), 0o600)
        } else {
            write_secret(file, &token)
        }
        .map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{} exists already; --force replaces it", file.display())
            }
            _ => anyhow::anyhow!("cannot write {}: {error}", file.display()),
        })?;
        let until = Timestamp::from_second(claims.exp.unwrap_or_default())?;
        writeln!(out, "{}: valid until {until}", file.display())?;
        if self.token.is_none() && self.token_file.is_none() {
            writeln!(
                out,
                "the shared token in it was made up: name this file as node_token_file in provisioner.toml"
            )?;
        }
        Ok(Exit::Success)
    }

    fn claims(&self, now: Timestamp, rng: &mut dyn RngCore) -> anyhow::Result<ProvisioningClaims> {
        for url in &self.url {
            let known = ["tls://", "nats://"]
                .iter()
                .any(|scheme| url.starts_with(scheme));
            ensure!(
                known || !url.contains("://"),
                "--url {url}: write it like tls://provisioning.example.net:4222"
            );
            ensure!(!url.trim().is_empty(), "--url is empty");
        }
        let password = secret(
            "--password",
            self.password.as_deref(),
            self.password_file.as_deref(),
        )?;
        ensure!(
            self.user.is_some() == password.is_some(),
            "--user and --password belong together: give both or neither"
        );
        let token = secret("--token", self.token.as_deref(), self.token_file.as_deref())?
            .unwrap_or_else(|| random_hex(rng));
        let mut extensions = serde_json::Map::new();
        for extension in &self.extension {
            let Some((name, value)) = extension.split_once('=') else {
                bail!("--extension {extension}: write it as NAME=VALUE");
            };
            extensions.insert(name.to_owned(), Value::from(value));
        }
        let scope = self.scope()?;
        if scope.is_limited() {
            ensure!(
                !extensions.contains_key(EXTENSION),
                "--extension {EXTENSION}: that name holds the limits of --once, --uses, --for and --fact"
            );
            extensions.insert(EXTENSION.to_owned(), serde_json::to_value(&scope)?);
        }
        let until = now
            .checked_add(self.validity)
            .context("--validity is out of range")?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Ok(ProvisioningClaims {
            cht: token.to_string(),
            chs: true,
            chu: self.url.join(","),
            chsrv: text(&self.srv_domain),
            chpd: true,
            chrd: text(&self.registration),
            chf: text(&self.facts),
            chusr: text(&self.user),
            chpwd: password
                .map(|password| password.to_string())
                .unwrap_or_default(),
            extensions: Some(extensions),
            ou: self.organization.clone(),
            purpose: PURPOSE.to_owned(),
            iss: self.issuer.clone(),
            sub: PURPOSE.to_owned(),
            exp: Some(until.as_second()),
            nbf: Some(now.as_second()),
            iat: Some(now.as_second()),
            jti: random_hex(rng).to_string(),
            ..ProvisioningClaims::default()
        })
    }
}

impl TokenNewArgs {
    /// What the token may be used for.
    fn scope(&self) -> anyhow::Result<Scope> {
        let mut scope = Scope {
            uses: self.once.then_some(1).or(self.uses),
            identities: self.identity.clone(),
            ..Scope::default()
        };
        for fact in &self.fact {
            let Some((path, value)) = fact.split_once('=') else {
                bail!("--fact {fact}: write it as PATH=VALUE");
            };
            scope.facts.insert(path.to_owned(), value.to_owned());
        }
        scope.check().map_err(anyhow::Error::msg)?;
        Ok(scope)
    }
}

impl TokenKeyArgs {
    /// Makes the pair of keys and says where they are.
    ///
    /// # Errors
    /// When a file exists or cannot be written.
    pub fn run(&self, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let algorithm = if self.kind == "rsa2048" {
            KeyAlgorithm::Rsa2048
        } else {
            KeyAlgorithm::Ed25519
        };
        let key = KeyPair::generate(algorithm)?;
        let mut public = self.out.clone().into_os_string();
        public.push(".pub");
        let public = PathBuf::from(public);
        ensure!(
            public.symlink_metadata().is_err(),
            "{} exists already and is not overwritten",
            public.display()
        );
        write_secret(&self.out, &key.to_pkcs8_pem())
            .with_context(|| format!("cannot write {}", self.out.display()))?;
        fs::write(&public, key.public_pem())
            .with_context(|| format!("cannot write {}", public.display()))?;
        writeln!(
            out,
            "{}  signs tokens: keep it where tokens are made\n{}  verifies them: name it in \
             [token] keys of provisioner.toml",
            self.out.display(),
            public.display()
        )?;
        Ok(Exit::Success)
    }
}

/// Reads a private key; says so when others could, too.
fn signing_key(file: &Path) -> anyhow::Result<SigningKey> {
    use std::os::unix::fs::PermissionsExt as _;
    let text = Zeroizing::new(
        fs::read_to_string(file)
            .with_context(|| format!("cannot read the signing key {}", file.display()))?,
    );
    let mode = fs::metadata(file)?.permissions().mode();
    if mode & 0o077 != 0 && io::stderr().is_terminal() {
        eprintln!(
            "warning: others may read the signing key; chmod 600 {}",
            file.display()
        );
    }
    SigningKey::parse(&text)
        .with_context(|| format!("{} is not a usable signing key", file.display()))
}

/// A secret from the command line or from the first line of a file.
fn secret(
    what: &str,
    text: Option<&str>,
    file: Option<&Path>,
) -> anyhow::Result<Option<Zeroizing<String>>> {
    let secret = match (text, file) {
        (Some(text), _) => text.to_owned(),
        (None, Some(file)) => fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .trim_end_matches(['\r', '\n'])
            .to_owned(),
        (None, None) => return Ok(None),
    };
    ensure!(!secret.is_empty(), "{what} is empty");
    Ok(Some(Zeroizing::new(secret)))
}

fn random_hex(rng: &mut dyn RngCore) -> Zeroizing<String> {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    Zeroizing::new(hex::encode(bytes))
}
