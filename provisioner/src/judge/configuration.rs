//! The last look at what a node is sent: settings and policy files.
//!
//! A node writes settings as `key=value` lines and policies as files under names it is given, so
//! a line end in a value is a second setting and a slash in a name is another folder. And a
//! configuration that does not switch provisioning off brings the node back for ever.

use std::collections::BTreeMap;

use super::identity::quoted;
use crate::code::{Code, Refusal};

/// The setting that takes a node out of provisioning mode.
pub const EXIT_SETTING: &str = "plugin.choria.server.provision";
const IDENTITY_SETTING: &str = "identity";

const MAX_NAME: usize = 128;
const MAX_VALUE: usize = 8 * 1024;
/// The most that settings and policies together may be, so that the request fits a broker's
/// default payload limit with room for two layers of base64.
const MAX_TOTAL: usize = 256 * 1024;

/// Settings and policies that may be sent to one node; only [`judge`] makes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedConfiguration {
    settings: BTreeMap<String, String>,
    action_policies: BTreeMap<String, String>,
    opa_policies: BTreeMap<String, String>,
}

impl JudgedConfiguration {
    /// The settings by key.
    #[must_use]
    pub const fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// The action policies by file name.
    #[must_use]
    pub const fn action_policies(&self) -> &BTreeMap<String, String> {
        &self.action_policies
    }

    /// The Open Policy Agent policies by file name.
    #[must_use]
    pub const fn opa_policies(&self) -> &BTreeMap<String, String> {
        &self.opa_policies
    }
}

/// Judges what is about to be sent to the node `identity`.
///
/// # Errors
/// `config.name`, `config.value`, `config.no_exit` or `config.too_large`, naming the key.
pub fn judge(
    identity: &str,
    settings: BTreeMap<String, String>,
    action_policies: BTreeMap<String, String>,
    opa_policies: BTreeMap<String, String>,
) -> Result<JudgedConfiguration, Refusal> {
    let total: usize = [&settings, &action_policies, &opa_policies]
        .into_iter()
        .flatten()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if total > MAX_TOTAL {
        return Err(Refusal::new(
            Code::ConfigTooLarge,
            format!("settings and policies are {total} bytes; at most {MAX_TOTAL} are sent"),
        ));
    }
    for (key, value) in &settings {
        judge_setting(key, value)?;
    }
    judge_identity(identity, &settings)?;
    judge_exit(&settings)?;
    judge_policies(&action_policies, ".policy")?;
    judge_policies(&opa_policies, ".rego")?;
    Ok(JudgedConfiguration {
        settings,
        action_policies,
        opa_policies,
    })
}

fn judge_setting(key: &str, value: &str) -> Result<(), Refusal> {
    if !is_name(key) {
        return Err(Refusal::new(
            Code::ConfigName,
            format!(
                "{} cannot be the key of a setting; a key is letters, digits, dots, hyphens and \
                 underscores, at most {MAX_NAME} (rule 36)",
                quoted(key)
            ),
        ));
    }
    let refuse = |what: String| {
        Err(Refusal::new(
            Code::ConfigValue,
            format!("the value of the setting {key} {what} (rule 36)"),
        ))
    };
    if value.len() > MAX_VALUE {
        return refuse(format!(
            "is {} bytes long; at most {MAX_VALUE} are sent",
            value.len()
        ));
    }
    match value.chars().find(|&c| breaks_a_line(c)) {
        Some(c) => refuse(format!(
            "holds the character U+{:04X}; a value is one line of plain text",
            u32::from(c)
        )),
        None => Ok(()),
    }
}

/// Control characters, and what some readers take for the end of a line.
fn breaks_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn judge_identity(identity: &str, settings: &BTreeMap<String, String>) -> Result<(), Refusal> {
    match settings.get(IDENTITY_SETTING) {
        Some(other) if other.trim() != identity => Err(Refusal::new(
            Code::ConfigValue,
            format!(
                "the setting identity is {}; this node is \"{identity}\" and stays that (rule 1)",
                quoted(other)
            ),
        )),
        _ => Ok(()),
    }
}

fn judge_exit(settings: &BTreeMap<String, String>) -> Result<(), Refusal> {
    let seen = match settings.get(EXIT_SETTING) {
        None => "is missing".to_owned(),
        Some(value) => {
            let word = value.trim().to_ascii_lowercase();
            if matches!(word.as_str(), "false" | "0" | "no" | "n" | "f") {
                return Ok(());
            }
            format!("is {}", quoted(value))
        }
    };
    Err(Refusal::new(
        Code::ConfigNoExit,
        format!(
            "the setting {EXIT_SETTING} {seen}; it must be false, or the node would come back to \
             be provisioned for ever (rule 37)"
        ),
    ))
}

fn judge_policies(policies: &BTreeMap<String, String>, suffix: &str) -> Result<(), Refusal> {
    for (name, text) in policies {
        let stem = name.strip_suffix(suffix).unwrap_or_default();
        if !is_name(stem) || !is_name(name) {
            return Err(Refusal::new(
                Code::ConfigName,
                format!(
                    "{} cannot be the name of a policy file; write it like rpcutil{suffix}: \
                     letters, digits, dots, hyphens and underscores (rule 17)",
                    quoted(name)
                ),
            ));
        }
        if text.contains('\0') {
            return Err(Refusal::new(
                Code::ConfigValue,
                format!("the policy {name} holds a NUL character (rule 36)"),
            ));
        }
    }
    Ok(())
}

/// A word that is safe as a setting's key and as a file's name: no folder, no hidden file, no
/// step upwards.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(plain)
        && name
            .bytes()
            .all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && !name.contains("..")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn settings(extra: &[(&str, &str)]) -> Result<JudgedConfiguration, Refusal> {
        let mut settings = map(&[(EXIT_SETTING, "false")]);
        settings.extend(map(extra));
        judge("n1.example.net", settings, map(&[]), map(&[]))
    }

    fn code(result: Result<JudgedConfiguration, Refusal>) -> Option<Code> {
        result.err().map(|refusal| refusal.code)
    }

    #[test]
    fn ordinary_settings_pass() {
        let judged = settings(&[
            ("identity", "n1.example.net"),
            (
                "plugin.choria.middleware_hosts",
                "nats://a:4222, nats://b:4222",
            ),
            ("logfile", "/var/log/choria.log"),
            ("plugin.x", ""),
            ("motd", "naïve = yes"),
        ])
        .unwrap();
        assert_eq!(judged.settings().len(), 6);
    }

    #[test]
    fn a_value_is_one_line() {
        for value in [
            "a\nplugin.x=1",
            "a\r",
            "a\0",
            "a\u{85}b",
            "a\u{2028}b",
            "\u{7f}",
        ] {
            assert_eq!(
                code(settings(&[("motd", value)])),
                Some(Code::ConfigValue),
                "{value:?}"
            );
        }
        let long = "x".repeat(MAX_VALUE + 1);
        assert_eq!(code(settings(&[("motd", &long)])), Some(Code::ConfigValue));
    }

    #[test]
    fn a_key_is_one_word() {
        let long = "k".repeat(MAX_NAME + 1);
        for key in [
            "", " a", "a b", "a=b", "a\nb", "#a", ".a", "a..b", "ä", &long,
        ] {
            assert_eq!(
                code(settings(&[(key, "1")])),
                Some(Code::ConfigName),
                "{key:?}"
            );
        }
    }

    #[test]
    fn the_node_leaves_provisioning_mode() {
        for value in ["true", "1", "yes", "t", "", " ", "flase", "TRUE"] {
            assert_eq!(
                code(settings(&[(EXIT_SETTING, value)])),
                Some(Code::ConfigNoExit),
                "{value:?}"
            );
        }
        for value in ["false", "FALSE", "0", "no", " false "] {
            assert_eq!(code(settings(&[(EXIT_SETTING, value)])), None, "{value:?}");
        }
        let empty = judge("n1.example.net", map(&[]), map(&[]), map(&[]));
        assert_eq!(code(empty), Some(Code::ConfigNoExit));
    }

    #[test]
    fn the_node_keeps_its_name() {
        assert_eq!(
            code(settings(&[("identity", "n2.example.net")])),
            Some(Code::ConfigValue)
        );
    }

    #[test]
    fn policy_names_stay_in_their_folder() {
        let policies = |action: &[(&str, &str)], opa: &[(&str, &str)]| {
            judge(
                "n1.example.net",
                map(&[(EXIT_SETTING, "false")]),
                map(action),
                map(opa),
            )
        };
        assert!(policies(&[("rpcutil.policy", "x\n")], &[("default.rego", "y\n")]).is_ok());
        for name in [
            "rpcutil",
            "rpcutil.rego",
            ".policy",
            "../x.policy",
            "a/b.policy",
            "a..policy",
            "a\\b.policy",
            "a b.policy",
        ] {
            assert_eq!(
                code(policies(&[(name, "x")], &[])),
                Some(Code::ConfigName),
                "{name}"
            );
        }
        assert_eq!(
            code(policies(&[], &[("x.policy", "y")])),
            Some(Code::ConfigName)
        );
        assert_eq!(
            code(policies(&[("x.policy", "a\0")], &[])),
            Some(Code::ConfigValue)
        );
    }

    #[test]
    fn the_whole_is_limited() {
        let text = "x".repeat(MAX_TOTAL);
        let result = judge(
            "n1.example.net",
            map(&[(EXIT_SETTING, "false")]),
            map(&[("a.policy", &text)]),
            map(&[]),
        );
        assert_eq!(code(result), Some(Code::ConfigTooLarge));
    }

    proptest! {
        #[test]
        fn what_passes_is_one_line_per_setting(key in "\\PC{0,12}", value in "(?s).{0,40}") {
            if let Ok(judged) = settings(&[(&key, &value)]) {
                for (key, value) in judged.settings() {
                    prop_assert_eq!(format!("{key}={value}\n").lines().count(), 1);
                    prop_assert!(!key.contains(['=', '/', ' ']));
                }
            }
        }
    }
}
