//! `provisioner ca init`: a root to lock away and an intermediate that signs.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rand::RngCore;

use super::{Exit, PinArgs};
use crate::ca::KeySource;
use crate::ca::init::{
    InitOutcome, InitSettings, KeyOutcome, NewKey, RequestOutcome, init, request,
};
use crate::ca::pkcs11::{KeyUri, Pin, TokenSettings};
use crate::judge::KeyKind;

/// Make the authority of the built-in CA: a root and an intermediate that signs
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner ca init
  provisioner ca init --out /etc/muster --name \"Example Fleet\"
  provisioner ca init --root company-root.pem --root-key company-root.key
  provisioner ca init --key 'pkcs11:token=muster;object=enrolment-ca?module-path=/usr/lib/softhsm/libsofthsm2.so' \\
                      --key-pin-file token.pin
  provisioner ca init --request --key 'pkcs11:…' --key-pin-file token.pin

Nothing that exists is overwritten. Private keys are made for their owner alone (mode 0600), or in a
token (PKCS #11, RFC 7512) that they never leave; a key of that name which is there already is used.")]
pub struct CaInitArgs {
    /// The folder for the files; made when it is missing
    #[arg(
        long,
        short,
        value_name = "DIR",
        default_value = ".",
        visible_alias = "dir"
    )]
    pub out: PathBuf,
    /// The first part of the authorities' names
    #[arg(long, value_name = "NAME", default_value = "Muster")]
    pub name: String,
    /// How long the root is valid
    #[arg(long, value_name = "DURATION", default_value = "3650d", value_parser = humantime::parse_duration)]
    pub root_validity: Duration,
    /// How long the intermediate is valid
    #[arg(long, value_name = "DURATION", default_value = "1825d", value_parser = humantime::parse_duration)]
    pub intermediate_validity: Duration,
    /// Sign the intermediate with this root instead of making one
    #[arg(long, value_name = "FILE", requires = "root_key")]
    pub root: Option<PathBuf>,
    /// The private key of --root: a file, or a PKCS #11 URI
    #[arg(long, value_name = "FILE|URI", requires = "root")]
    pub root_key: Option<String>,
    /// Keep the intermediate's key in a token: its PKCS #11 URI
    #[arg(long, value_name = "URI")]
    pub key: Option<String>,
    /// What is made in the token where the key is not there yet
    #[arg(long, value_name = "KIND", default_value = "p256", requires = "key")]
    pub key_type: KeyType,
    /// What opens the token
    #[command(flatten)]
    pub pin: PinArgs,
    /// Make only the intermediate's key and a request for a root elsewhere to sign (intermediate.csr)
    #[arg(long, conflicts_with_all = ["root", "root_validity", "intermediate_validity"])]
    pub request: bool,
}

/// A kind of key that tokens make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyType {
    /// ECDSA on NIST P-256
    P256,
    /// ECDSA on NIST P-384
    P384,
    /// RSA, 2048 bits
    Rsa2048,
    /// RSA, 3072 bits
    Rsa3072,
    /// RSA, 4096 bits
    Rsa4096,
}

impl CaInitArgs {
    /// Makes the files and says what to do with them.
    ///
    /// # Errors
    /// When a file exists or cannot be written; nothing is overwritten.
    pub fn run(&self, rng: &mut dyn RngCore, out: &mut dyn Write) -> anyhow::Result<Exit> {
        anyhow::ensure!(
            !self.name.trim().is_empty() && self.name.len() <= 40,
            "--name must be 1 to 40 characters"
        );
        let refused = |refusal: crate::code::Refusal| anyhow::anyhow!(refusal.message);
        let key = self.new_key()?;
        if self.request {
            let outcome = request(&self.out, &self.name, &key, rng).map_err(refused)?;
            tell_request(&outcome, out)?;
            return Ok(Exit::Success);
        }
        let settings = InitSettings {
            folder: self.out.clone(),
            name: self.name.clone(),
            root_validity: self.root_validity,
            intermediate_validity: self.intermediate_validity,
            root: self.root()?,
            key,
        };
        let outcome = init(&settings, Timestamp::now(), rng).map_err(refused)?;
        self.tell(&outcome, out)?;
        Ok(Exit::Success)
    }

    fn new_key(&self) -> anyhow::Result<NewKey> {
        let Some(uri) = &self.key else {
            return Ok(NewKey::File);
        };
        let wrong = |error: String| anyhow::anyhow!("--key {error}");
        let uri = KeyUri::parse(uri).map_err(wrong)?;
        Ok(NewKey::Token {
            token: Box::new(TokenSettings::new(uri, self.pin.pin()?, 1).map_err(wrong)?),
            kind: match self.key_type {
                KeyType::P256 => KeyKind::P256,
                KeyType::P384 => KeyKind::P384,
                KeyType::Rsa2048 => KeyKind::Rsa2048,
                KeyType::Rsa3072 => KeyKind::Rsa3072,
                KeyType::Rsa4096 => KeyKind::Rsa4096,
            },
        })
    }

    /// A root that exists. A token of its own has a PIN of its own, named in its URI.
    fn root(&self) -> anyhow::Result<Option<(PathBuf, KeySource)>> {
        let (Some(certificate), Some(key)) = (&self.root, &self.root_key) else {
            return Ok(None);
        };
        let own = KeyUri::is_meant(key) && !key.contains("pin-source=");
        let pin = if own { self.pin.pin()? } else { Pin::None };
        let source = KeySource::named(key, None, pin);
        let source = source.map_err(|error| anyhow::anyhow!("--root-key: {error}"))?;
        Ok(Some((certificate.clone(), source)))
    }

    fn tell(&self, outcome: &InitOutcome, out: &mut dyn Write) -> std::io::Result<()> {
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        let root = outcome.root_not_after.map_or_else(
            || "the given root: trust anchor, sent to nodes".to_owned(),
            |time| {
                format!(
                    "root, valid until {}: trust anchor, sent to nodes",
                    day(time)
                )
            },
        );
        let mut rows = vec![
            (path(&outcome.root_certificate), root),
            (
                path(&outcome.intermediate_certificate),
                format!(
                    "intermediate, valid until {}: signs nodes' certificates",
                    day(outcome.intermediate_not_after)
                ),
            ),
            key_row(&outcome.intermediate_key),
        ];
        if let Some(key) = &outcome.root_key {
            rows.push((
                path(key),
                "the root's private key: MOVE IT OFFLINE, nothing here needs it".to_owned(),
            ));
        }
        table(&rows, out)?;
        let key = match (&outcome.intermediate_key, &self.key) {
            (KeyOutcome::File(file), _) => path(file),
            (KeyOutcome::Token { .. }, uri) => uri.clone().unwrap_or_default(),
        };
        writeln!(
            out,
            "\nnext: in provisioner.toml\n\n[ca]\nkind = \"built-in\"\ncertificate = {:?}\nkey = {:?}\n\
             {}roots = {:?}\n\nand let the production brokers trust {}.",
            outcome.intermediate_certificate,
            key,
            self.pin.setting(),
            outcome.root_certificate,
            outcome.root_certificate.display()
        )
    }
}

fn tell_request(outcome: &RequestOutcome, out: &mut dyn Write) -> std::io::Result<()> {
    let rows = [
        (
            path(&outcome.request),
            "request for an intermediate: to be signed by a root elsewhere".to_owned(),
        ),
        key_row(&outcome.key),
    ];
    table(&rows, out)?;
    writeln!(
        out,
        "\nnext: have it signed as an authority (CA:TRUE, certificate sign, CRL sign); what comes \
         back is `certificate` in [ca], and the root is `roots`."
    )
}

fn key_row(key: &KeyOutcome) -> (String, String) {
    match key {
        KeyOutcome::File(file) => (
            path(file),
            "its private key: stays here, mode 0600".to_owned(),
        ),
        KeyOutcome::Token { key, new: true } => (
            key.clone(),
            "its private key: made in the token, and cannot be read out".to_owned(),
        ),
        KeyOutcome::Token { key, new: false } => (
            key.clone(),
            "its private key: was in the token already and is used as it is".to_owned(),
        ),
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}

fn table(rows: &[(String, String)], out: &mut dyn Write) -> std::io::Result<()> {
    let width = rows.iter().map(|(path, _)| path.len()).max().unwrap_or(0);
    for (path, what) in rows {
        writeln!(out, "{path:width$}  {what}")?;
    }
    Ok(())
}
