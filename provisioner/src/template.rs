//! What a node is sent, from the templates of `[node]`.
//!
//! Values are minijinja templates with strict undefined values: a name that is
//! not there is an error for that node, never an empty setting.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};
use serde_json::Value;
use server_core::trust::jwt::Organization;

use crate::code::{Code, Refusal};
use crate::config::{Located, Mistake, NodeFiles};
use crate::placement::{Placement, Target};

/// Settings that are there unless the configuration sets them itself, as templates by name.
pub type Defaults = Vec<(String, String)>;

fn defaults(own: &[(&str, &str)]) -> Defaults {
    let all = [
        ("identity", "{{ identity }}"),
        ("plugin.choria.server.provision", "false"),
    ];
    let all = all.iter().chain(own);
    all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

/// Those of a node that gets a certificate.
#[must_use]
pub fn certificate_defaults() -> Defaults {
    defaults(&[
        ("plugin.security.provider", "file"),
        (
            "plugin.security.file.certificate",
            "{{ ssldir }}/certificate.pem",
        ),
        ("plugin.security.file.key", "{{ ssldir }}/private.pem"),
        ("plugin.security.file.ca", "{{ ssldir }}/ca.pem"),
    ])
}

/// Those of a node that gets a server token of this organization.
#[must_use]
pub fn token_defaults(organization: &Organization) -> Defaults {
    let Organization { name, key } = organization;
    let public = format!("plugin.security.issuer.{name}.public");
    defaults(&[
        ("plugin.security.provider", "choria"),
        (
            "plugin.security.choria.token_file",
            "{{ ssldir }}/server.jwt",
        ),
        (
            "plugin.security.choria.seed_file",
            "{{ ssldir }}/server.seed",
        ),
        ("plugin.security.issuer.names", name),
        (&public, &key.hex()),
    ])
}

/// Where a node finds its brokers.
const BROKERS: &str = "plugin.choria.middleware_hosts";
/// Which collectives a node is in.
const COLLECTIVES: &str = "collectives";

/// The parsed templates.
#[derive(Debug)]
pub struct Templates {
    environment: Environment<'static>,
    settings: Vec<String>,
    policies: Vec<String>,
    /// Settings of the targets, by target.
    targets: BTreeMap<String, Vec<String>>,
}

/// What templates may speak of.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The node's name.
    pub identity: &'a str,
    /// Where it keeps its TLS files, or its server token.
    pub ssldir: &'a str,
    /// Its inventory; `facts` is a part of it.
    pub inventory: &'a Value,
    /// The claims of its token, without what must stay secret.
    pub claims: &'a Value,
    /// The target it is placed at.
    pub target: Option<&'a Target>,
}

impl Templates {
    /// Parses every template.
    ///
    /// # Errors
    /// Every template that does not parse.
    pub fn parse(
        files: &NodeFiles,
        placement: &Placement,
        defaults: &Defaults,
    ) -> Result<Self, Vec<Mistake>> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(
            SyntaxConfig::builder()
                .keep_trailing_newline(true)
                .build()
                .unwrap_or_default(),
        );
        let mut mistakes = Vec::new();
        let mut add = |kind: &str, name: &str, source: &Located<String>| {
            let added =
                environment.add_template_owned(template_name(kind, name), source.value.clone());
            if let Err(error) = added {
                mistakes.push(source.mistake(format!("is no template: {}", says(&error))));
            }
            name.to_owned()
        };
        let mut settings: Vec<_> = files
            .settings
            .iter()
            .map(|(name, source)| add("settings", name, source))
            .collect();
        let policies = files
            .policies
            .iter()
            .map(|(name, source)| add("policies", name, source))
            .collect();
        let mut targets = BTreeMap::new();
        for target in placement.targets.values() {
            let kind = target_kind(&target.name);
            let names = target.settings.iter();
            let names = names.map(|(name, source)| add(&kind, name, source));
            targets.insert(target.name.clone(), names.collect());
        }
        for (name, source) in defaults {
            if !settings.iter().any(|s| s == name) {
                let template = template_name("settings", name);
                if let Err(error) = environment.add_template_owned(template, source.clone()) {
                    tracing::error!(%error, name, "a default setting is no template");
                }
                settings.push(name.clone());
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            environment,
            settings,
            policies,
            targets,
        })
    }

    /// The settings for one node.
    ///
    /// # Errors
    /// `config.template`, naming the setting and what it misses.
    pub fn settings(&self, scope: Scope<'_>) -> Result<BTreeMap<String, String>, Refusal> {
        let mut settings = self.render("settings", &self.settings, scope)?;
        settings.extend(self.target_settings(scope)?);
        Ok(settings)
    }

    /// The settings that come with a node's target alone.
    ///
    /// # Errors
    /// `config.template`, naming the setting and what it misses.
    pub fn target_settings(&self, scope: Scope<'_>) -> Result<BTreeMap<String, String>, Refusal> {
        let Some(target) = scope.target else {
            return Ok(BTreeMap::new());
        };
        let mut settings = BTreeMap::from([(BROKERS.to_owned(), target.servers.join(","))]);
        if !target.collectives.is_empty() {
            settings.insert(COLLECTIVES.to_owned(), target.collectives.join(","));
        }
        if let Some(own) = self.targets.get(&target.name) {
            settings.extend(self.render(&target_kind(&target.name), own, scope)?);
        }
        Ok(settings)
    }

    /// The action policies for one node.
    ///
    /// # Errors
    /// `config.template`, naming the policy and what it misses.
    pub fn policies(&self, scope: Scope<'_>) -> Result<BTreeMap<String, String>, Refusal> {
        self.render("policies", &self.policies, scope)
    }

    fn render(
        &self,
        kind: &str,
        names: &[String],
        scope: Scope<'_>,
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let value = |json| minijinja::Value::from(Serde::<&Value>(json));
        let scope = context! {
            identity => scope.identity,
            ssldir => scope.ssldir,
            facts => value(scope.inventory.get("facts").unwrap_or(&Value::Null)),
            inventory => value(scope.inventory),
            claims => value(scope.claims),
            target => scope.target.map(|target| context! {
                name => &target.name,
                servers => &target.servers,
                collectives => &target.collectives,
                tier => &target.tier,
            }),
        };
        let mut rendered = BTreeMap::new();
        for name in names {
            let text = self
                .environment
                .get_template(&template_name(kind, name))
                .and_then(|template| template.render(&scope))
                .map_err(|error| {
                    let says = format!("the template of [node.{kind}] {name}: {}", says(&error));
                    Refusal::new(Code::ConfigTemplate, says)
                })?;
            rendered.insert(name.clone(), text);
        }
        Ok(rendered)
    }
}

fn target_kind(target: &str) -> String {
    format!("target {target}")
}

fn template_name(kind: &str, name: &str) -> String {
    format!("{kind}/{name}")
}

/// What minijinja says, in one line and without the value it was about.
fn says(error: &minijinja::Error) -> String {
    let line = error.line().filter(|line| *line > 1);
    let line = line
        .map(|line| format!(" (its line {line})"))
        .unwrap_or_default();
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, None) => {
            format!("a name in it is not known for this node{line}")
        }
        (kind, Some(detail)) => format!("{kind}: {detail}{line}"),
        (kind, None) => format!("{kind}{line}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn files(settings: &[(&str, &str)]) -> NodeFiles {
        let located = |(name, text): &(&str, &str)| {
            let value = (*text).to_owned();
            let key = format!("node.settings.{name}");
            (
                (*name).to_owned(),
                Located {
                    value,
                    key,
                    place: Default::default(),
                },
            )
        };
        NodeFiles {
            settings: settings.iter().map(located).collect(),
            policies: vec![located(&("rpcutil.policy", "policy default deny\n"))],
        }
    }

    fn render(settings: &[(&str, &str)]) -> Result<BTreeMap<String, String>, Refusal> {
        let inventory = json!({ "facts": { "site": "ams" }, "version": "1" });
        let scope = Scope {
            identity: "n1.example.net",
            ssldir: "/etc/choria/ssl",
            inventory: &inventory,
            claims: &json!({ "extensions": { "rack": "r12" } }),
            target: None,
        };
        Templates::parse(
            &files(settings),
            &Placement::default(),
            &certificate_defaults(),
        )
        .unwrap()
        .settings(scope)
    }

    #[test]
    fn facts_claims_and_names_are_in_scope() {
        let rendered = render(&[
            ("plugin.hosts", "broker.{{ facts.site }}:4222"),
            ("plugin.rack", "{{ claims.extensions.rack }}"),
            ("plugin.version", "{{ inventory.version }}"),
        ]);
        let rendered = rendered.unwrap();
        assert_eq!(rendered["plugin.hosts"], "broker.ams:4222");
        assert_eq!(rendered["plugin.rack"], "r12");
        assert_eq!(rendered["plugin.version"], "1");
        assert_eq!(rendered["identity"], "n1.example.net");
        assert_eq!(
            rendered["plugin.security.file.key"],
            "/etc/choria/ssl/private.pem"
        );
        assert_eq!(rendered["plugin.choria.server.provision"], "false");
    }

    #[test]
    fn what_is_not_there_is_an_error_and_not_empty() {
        let refused = render(&[("plugin.hosts", "broker.{{ facts.region.name }}")]).unwrap_err();
        assert_eq!(refused.code, Code::ConfigTemplate);
        assert!(
            refused.message.contains("plugin.hosts"),
            "{}",
            refused.message
        );
        let refused = render(&[("plugin.hosts", "{{ facts.sitee }}")]).unwrap_err();
        assert_eq!(refused.code, Code::ConfigTemplate);
    }

    #[test]
    fn a_broken_template_is_a_mistake_with_its_key() {
        let mistakes = Templates::parse(
            &files(&[("a", "{{ identity"), ("b", "{% if %}")]),
            &Placement::default(),
            &certificate_defaults(),
        );
        let says: Vec<_> = mistakes.unwrap_err().into_iter().map(|m| m.says).collect();
        assert_eq!(says.len(), 2);
        assert!(
            says[0].starts_with("`node.settings.a` is no template"),
            "{says:?}"
        );
    }

    #[test]
    fn the_example_renders() {
        let text = include_str!("../example.toml");
        let config = Config::parse(Path::new("p.toml"), text).unwrap();
        let templates =
            Templates::parse(&config.node, &config.placement, &certificate_defaults()).unwrap();
        let scope = Scope {
            identity: "n1",
            ssldir: "/s",
            inventory: &json!({}),
            claims: &Value::Null,
            target: None,
        };
        assert!(templates.settings(scope).unwrap().len() >= 9);
        let policy = &templates.policies(scope).unwrap()["rpcutil.policy"];
        assert!(policy.ends_with('\n'));
    }
}
