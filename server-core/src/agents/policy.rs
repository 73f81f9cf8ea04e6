//! Action policies: who may call what. Without a policy for an agent everything is denied.
//!
//! A policy is text: `policy default deny`, then rules of five columns separated by tabs (verdict,
//! callers, actions, facts, classes). The first rule that matches decides. Policies are parsed once and
//! shared by every node that carries the same text.

mod rule;
mod store;

pub use store::{Policies, PolicyStore};

use std::collections::BTreeMap;

use regex::Regex;

use crate::wire::FilterSubject;
use rule::{Rule, RuleVerdict};

/// One agent's policy.
#[derive(Debug, Clone, Default)]
pub struct ActionPolicy {
    allow_by_default: bool,
    rules: Vec<Rule>,
    warnings: Vec<PolicyWarning>,
}

/// A line of a policy that is not understood and so grants nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}; the line is skipped")]
pub struct PolicyWarning {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl ActionPolicy {
    /// Reads a policy. Lines that are not understood are skipped and reported by
    /// [`ActionPolicy::warnings`]: they can only make a policy stricter, or fall to its own default.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut policy = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.trim().is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if let Some(verdict) = default_verdict(line) {
                policy.allow_by_default = verdict;
                continue;
            }
            match Rule::parse(line) {
                Ok(rule) => policy.rules.push(rule),
                Err(why) => policy.warnings.push(PolicyWarning {
                    line: number + 1,
                    why,
                }),
            }
        }
        policy
    }

    /// Lines that were skipped.
    #[must_use]
    pub fn warnings(&self) -> &[PolicyWarning] {
        &self.warnings
    }

    /// Whether this caller may run this action on this node.
    #[must_use]
    pub fn allows(
        &self,
        groups: &Groups,
        caller: &str,
        action: &str,
        node: &dyn FilterSubject,
    ) -> bool {
        for rule in &self.rules {
            match rule.judge(groups, caller, action, node) {
                RuleVerdict::Decided(allow) => return allow,
                RuleVerdict::Broken => return false,
                RuleVerdict::Passed => {}
            }
        }
        self.allow_by_default
    }
}

/// `policy default allow` or `policy default <anything else>`.
fn default_verdict(line: &str) -> Option<bool> {
    let mut words = line.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some("policy"), Some("default"), Some(verdict)) => Some(verdict == "allow"),
        _ => None,
    }
}

/// Named groups of callers, from the file `policies/groups`: a name, then its callers.
#[derive(Debug, Clone, Default)]
pub struct Groups(BTreeMap<String, Vec<CallerMatch>>);

impl Groups {
    /// Reads the file; lines without a valid name are ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut groups = BTreeMap::new();
        for line in text.lines().map(str::trim) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some(name) if !name.starts_with('#') && is_group_name(name) => {
                    groups.insert(
                        name.to_owned(),
                        words.filter_map(CallerMatch::parse).collect(),
                    );
                }
                _ => {}
            }
        }
        Self(groups)
    }

    /// Groups do not hold groups: a word in a group that is no caller matches nobody.
    fn holds(&self, group: &str, caller: &str) -> bool {
        let members = self.0.get(group).map(Vec::as_slice).unwrap_or_default();
        members.iter().any(|member| member.matches(None, caller))
    }
}

/// One word of a caller column.
#[derive(Debug, Clone)]
enum CallerMatch {
    Anyone,
    Exactly(String),
    Pattern(Regex),
    Group(String),
}

impl CallerMatch {
    /// `None` for a pattern that does not compile: it matches nobody.
    fn parse(word: &str) -> Option<Self> {
        if word == "*" {
            return Some(Self::Anyone);
        }
        if let Some(pattern) = word.strip_prefix('/').and_then(|w| w.strip_suffix('/')) {
            return Regex::new(pattern).ok().map(Self::Pattern);
        }
        Some(match is_group_name(word) {
            true => Self::Group(word.to_owned()),
            false => Self::Exactly(word.to_owned()),
        })
    }

    fn matches(&self, groups: Option<&Groups>, caller: &str) -> bool {
        match self {
            Self::Anyone => true,
            Self::Exactly(name) => name == caller,
            Self::Pattern(pattern) => pattern.is_match(caller),
            Self::Group(group) => groups.is_some_and(|groups| groups.holds(group, caller)),
        }
    }
}

fn is_group_name(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}
