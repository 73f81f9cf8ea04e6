//! `provisioner check`: every mistake of a configuration in one go.

use std::io::Write;

use serde_json::{Value, json};
use server_core::trust::RequestSigner as _;

use super::Exit;
use crate::code::Code;
use crate::config::Config;
use crate::judge::configuration;
use crate::placement::Target;
use crate::site::{Issues, Site};
use crate::template::Scope;

/// Check a configuration: every mistake, with its line and key
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner check
  provisioner check --config provisioner.toml

Reads the files the configuration names and proves that they fit together; asks no broker.

Exit status: 0 in order, 1 it has mistakes, 2 it cannot be read")]
pub struct CheckArgs {}

impl CheckArgs {
    /// Loads everything and says what is wrong.
    ///
    /// # Errors
    /// When the output is gone.
    pub fn run(&self, config: Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let file = config.file.clone();
        let site = match Site::load(config) {
            Ok(site) => site,
            Err(mistakes) => {
                writeln!(out, "{mistakes}")?;
                return Ok(Exit::Negative);
            }
        };
        if let Err(refusal) = site.hook.self_test() {
            writeln!(out, "{}: [ca] {refusal}", file.display())?;
            return Ok(Exit::Negative);
        }
        if let Err(refusal) = try_settings(&site) {
            writeln!(out, "{}: [node] {refusal}", file.display())?;
            return Ok(Exit::Negative);
        }
        writeln!(out, "{} is in order", file.display())?;
        writeln!(
            out,
            "  requests come from {} as {}",
            site.identity,
            site.signer.caller()
        )?;
        match &site.issues {
            Issues::Certificates(_) => writeln!(
                out,
                "  certificates come from the {} authority",
                site.hook.kind()
            )?,
            Issues::Tokens(issuer) => {
                let organization = issuer.organization();
                let until = match issuer.expires() {
                    Some(end) => format!(", by a chain issuer until {end}"),
                    None => String::new(),
                };
                writeln!(
                    out,
                    "  server tokens come from the organization {}{until}, decided by {}",
                    organization.name,
                    site.hook.kind()
                )?;
            }
        }
        let keys: Vec<_> = site
            .token_keys
            .iter()
            .map(|key| key.name.as_str())
            .collect();
        writeln!(out, "  tokens are checked with {}", keys.join(", "))?;
        Ok(Exit::Success)
    }
}

/// Judges what a node without any facts would be sent; settings that need facts
/// cannot be tried without a node.
fn try_settings(site: &Site) -> Result<(), crate::code::Refusal> {
    let targets = site.config.placement.targets.values();
    for target in std::iter::once(None).chain(targets.map(Some)) {
        try_settings_at(site, target)?;
    }
    Ok(())
}

fn try_settings_at(site: &Site, target: Option<&Target>) -> Result<(), crate::code::Refusal> {
    let scope = Scope {
        identity: "node.example.net",
        ssldir: "/etc/choria/ssl",
        inventory: &json!({ "facts": {} }),
        claims: &Value::Null,
        target,
    };
    let rendered = site
        .templates
        .settings(scope)
        .and_then(|settings| Ok((settings, site.templates.policies(scope)?)));
    match rendered {
        Ok((settings, policies)) => {
            configuration::judge(scope.identity, settings, policies, Default::default()).map(drop)
        }
        Err(refusal) if refusal.code == Code::ConfigTemplate => Ok(()),
        Err(refusal) => Err(refusal),
    }
}
