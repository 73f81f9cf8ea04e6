//! What the provisioners of a site have to know of it: their configuration files.

use std::path::{Path, PathBuf};

use super::{Programs, Site, SiteError, file_error};
use crate::formation::credentials::{Proof, ProvisioningToken, write_pair};
use crate::formation::files;
use crate::formation::policies::action_policies;
use crate::provisioner::{Helpers, Issues, ProvisionerConfig, ProvisioningSide, TokenFiles};
use crate::scenario::{self, Role, Scenario, Tls};
use crate::units::show_duration;

impl Site {
    /// Writes what each provisioner has to know; answers their names and files.
    pub(super) fn write_members(
        &self,
        config: ProvisionerConfig,
        count: u32,
    ) -> Result<Vec<(String, PathBuf)>, SiteError> {
        let mut members = Vec::new();
        for number in 1..=count {
            let name = format!("provisioner-{number}");
            let path = self.folder.join(match number {
                1 => "provisioner.toml".to_owned(),
                _ => format!("{name}.toml"),
            });
            let config = self.member_config(config.clone(), number, count);
            let text = config.render().map_err(std::io::Error::other);
            text.and_then(|text| files::write_secret(&path, &text))
                .map_err(file_error(&path))?;
            members.push((name, path));
        }
        Ok(members)
    }

    /// The configuration of one of several that share a ledger.
    fn member_config(
        &self,
        config: ProvisionerConfig,
        number: u32,
        count: u32,
    ) -> ProvisionerConfig {
        if count == 1 {
            return config;
        }
        let keepers = self.formation.keeps_buckets();
        ProvisionerConfig {
            state_dir: self.folder.join(format!("state-{number}")),
            member: Some(format!("provisioner-{number}")),
            buckets: match keepers {
                Some(post) => vec![post.url()],
                None => config.production.clone(),
            },
            ..config
        }
    }

    pub(super) fn provisioner_config(
        &self,
        scenario: &Scenario,
        token: &ProvisioningToken,
        programs: &Programs,
    ) -> Result<ProvisionerConfig, SiteError> {
        let key = self.folder.join("token-signer.pem");
        files::write_public(&key, &token.public_key).map_err(file_error(&key))?;
        let login = &self.formation.users.provisioner;
        let collectives = scenario::collectives(&scenario.fleets);
        let plain = |role| {
            let mut brokers = self.formation.of_role(role);
            brokers.all(|post| post.tls == Tls::None)
        };
        Ok(ProvisionerConfig {
            state_dir: self.folder.join("state"),
            provisioning: ProvisioningSide {
                servers: self.urls(Role::Provisioning),
                user: login.user.clone(),
                password: login.password.clone(),
                tls: if plain(Role::Provisioning) {
                    "none"
                } else {
                    "anonymous"
                },
            },
            production: self.urls(Role::Production),
            collective: collectives.first().cloned().unwrap_or_default(),
            roots: self.callers.ca.clone(),
            issues: self.issues(scenario, programs, collectives)?,
            validity: scenario.provisioner.validity,
            renewal: scenario.provisioner.renewal.clone(),
            token: TokenFiles {
                key,
                issuer: server_core::trust::jwt::CHORIA_ISSUER.to_owned(),
                node_token: token.node_token.clone(),
            },
            settings: self.node_settings(&scenario.fleets),
            policies: action_policies(self.issues),
            queue: scenario.nodes().max(1_000) * 2,
            member: None,
            buckets: Vec::new(),
        })
    }

    fn issues(
        &self,
        scenario: &Scenario,
        programs: &Programs,
        collectives: Vec<String>,
    ) -> Result<Issues, SiteError> {
        Ok(match self.callers.provisioner.clone() {
            Proof::Certificate(caller) => {
                let issued = self.formation.authority.intermediate();
                Issues::Certificates {
                    caller,
                    intermediate: write_pair(&self.folder, "intermediate", issued)?,
                    helpers: helpers(&scenario.provisioner, programs)?,
                }
            }
            Proof::Token(caller, organization_key) => Issues::Tokens {
                caller,
                organization_key,
                collectives,
            },
        })
    }
}

/// Who signs in the provisioner's place, where the scenario wants that: its own helper, or the
/// provisioner program as one. A path is meant from the folder of the scenario's file.
fn helpers(
    wanted: &scenario::Provisioner,
    programs: &Programs,
) -> Result<Option<Helpers>, SiteError> {
    let mut command = wanted.helper.clone();
    match (command.first_mut(), &programs.provisioner) {
        (Some(program), _) if program.contains('/') => {
            let file = Path::new(&*wanted.location.file);
            let path = file.parent().unwrap_or(Path::new("")).join(&*program);
            let path = std::path::absolute(&path).map_err(file_error(&path))?;
            *program = path.display().to_string();
        }
        (None, Some(own)) => {
            let own = own.display().to_string();
            let validity = show_duration(wanted.validity);
            command = [&own, "ca", "answer", "--validity", &validity]
                .map(str::to_owned)
                .to_vec();
        }
        _ => {}
    }
    let count = wanted.helpers;
    Ok((count > 0).then_some(Helpers { count, command }))
}
