//! `provisioner token check`: what the service would say of a token.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use server_core::trust::jwt::{JwtKey, NamedKey, ProvisioningClaims, Rules};

use crate::command::Exit;
use crate::judge::token::judge;

/// Check a token as the service would
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner token check provisioning.jwt --key signer.key.pub
  provisioner token check provisioning.jwt --config provisioner.toml

Exit status: 0 accepted, 1 refused, 2 a file cannot be read")]
pub struct TokenCheckArgs {
    /// The token
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// A public key (PEM, or 64 hexadecimal digits for Ed25519), instead of the configured ones;
    /// may be given more than once
    #[arg(long, value_name = "FILE")]
    pub key: Vec<PathBuf>,
    /// An issuer that is accepted, instead of the configured ones; may be given more than once
    #[arg(long, value_name = "NAME")]
    pub issuer: Vec<String>,
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

impl TokenCheckArgs {
    /// Checks the token with the keys given, else with the configured ones.
    ///
    /// # Errors
    /// When a file cannot be read, or there is no key to check with.
    pub fn run(
        &self,
        configured: Option<(&[NamedKey], &Rules)>,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        let token = fs::read_to_string(&self.file)
            .with_context(|| format!("cannot read the token {}", self.file.display()))?;
        let mut keys = self
            .key
            .iter()
            .map(|file| public_key(file))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut rules = Rules::default();
        if let Some((configured, configured_rules)) = configured {
            rules = configured_rules.clone();
            if keys.is_empty() {
                keys = configured.to_vec();
            }
        }
        ensure!(
            !keys.is_empty(),
            "no key to check the token with; name one with --key, or a configuration with --config"
        );
        if !self.issuer.is_empty() {
            rules.issuers.clone_from(&self.issuer);
        }
        match judge(&token, &keys, &rules, Timestamp::now()) {
            Ok(judged) => {
                self.tell(judged.key(), judged.claims(), out)?;
                Ok(Exit::Success)
            }
            Err(refusal) => {
                if self.json {
                    let verdict = json!({
                        "accepted": false,
                        "code": refusal.code,
                        "message": refusal.message,
                    });
                    writeln!(out, "{verdict}")?;
                } else {
                    writeln!(out, "refused  {}: {}", refusal.code, refusal.message)?;
                }
                Ok(Exit::Negative)
            }
        }
    }

    fn tell(
        &self,
        key: &str,
        claims: &ProvisioningClaims,
        out: &mut dyn Write,
    ) -> anyhow::Result<()> {
        let claims = without_secrets(claims)?;
        if self.json {
            let verdict = json!({ "accepted": true, "key": key, "claims": claims });
            writeln!(out, "{verdict}")?;
            return Ok(());
        }
        writeln!(out, "accepted  signed by {key}")?;
        for (name, value) in claims.as_object().into_iter().flatten() {
            let meaning = match (name.as_str(), value.as_i64()) {
                ("exp" | "nbf" | "iat", Some(second)) => {
                    format!("  ({})", Timestamp::from_second(second)?)
                }
                _ => String::new(),
            };
            writeln!(out, "  {name:10}  {value}{meaning}")?;
        }
        Ok(())
    }
}

/// The claims as JSON, with what nobody should read over a shoulder blacked out.
fn without_secrets(claims: &ProvisioningClaims) -> anyhow::Result<Value> {
    let mut claims = serde_json::to_value(claims)?;
    for secret in ["cht", "chpwd"] {
        if let Some(value) = claims.get_mut(secret)
            && value.as_str().is_some_and(|text| !text.is_empty())
        {
            *value = Value::from("[secret]");
        }
    }
    Ok(claims)
}

fn public_key(file: &Path) -> anyhow::Result<NamedKey> {
    let text = fs::read_to_string(file)
        .with_context(|| format!("cannot read the key {}", file.display()))?;
    Ok(NamedKey {
        name: file.display().to_string(),
        key: JwtKey::parse(&text)
            .with_context(|| format!("{} is not a usable public key", file.display()))?,
    })
}
