//! One rule of an action policy.

use super::{CallerMatch, Groups};
use crate::wire::{CompiledFilter, Filter, FilterSubject, FilterVerdict};

/// A rule: its verdict and the four columns that must all match.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    allow: bool,
    callers: Vec<CallerMatch>,
    /// `None` is any action.
    actions: Option<Vec<String>>,
    conditions: Option<Conditions>,
}

/// Facts and classes, all of which must hold.
#[derive(Debug, Clone)]
struct Conditions {
    facts: Option<CompiledFilter>,
    classes: Vec<String>,
}

/// What a rule says about one call.
pub(super) enum RuleVerdict {
    /// It does not apply.
    Passed,
    /// It applies: allowed or not.
    Decided(bool),
    /// It applies but lacks a column: the whole request is denied.
    Broken,
}

impl Rule {
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let allow = match columns.first() {
            Some(&"allow") => true,
            Some(&"deny") => false,
            _ => return Err("expected allow or deny, then a tab".to_owned()),
        };
        let (callers, actions) = match columns.as_slice() {
            [_, callers, actions, _] | [_, callers, actions, _, _] => (*callers, *actions),
            _ => {
                let found = columns.len();
                return Err(format!(
                    "expected 5 columns separated by single tabs, found {found}"
                ));
            }
        };
        let actions = match actions {
            "*" => None,
            words => Some(words.split_whitespace().map(str::to_owned).collect()),
        };
        Ok(Self {
            allow,
            callers: callers
                .split_whitespace()
                .filter_map(CallerMatch::parse)
                .collect(),
            actions,
            conditions: match columns.as_slice() {
                [_, _, _, facts, classes] => Conditions::parse(facts, classes)?,
                _ => None,
            },
        })
    }

    pub(super) fn judge(
        &self,
        groups: &Groups,
        caller: &str,
        action: &str,
        node: &dyn FilterSubject,
    ) -> RuleVerdict {
        let caller_matches = self
            .callers
            .iter()
            .any(|one| one.matches(Some(groups), caller));
        let action_matches = self
            .actions
            .as_ref()
            .is_none_or(|actions| actions.iter().any(|one| one == action));
        if !caller_matches || !action_matches {
            return RuleVerdict::Passed;
        }
        match &self.conditions {
            None => RuleVerdict::Broken,
            Some(conditions) if conditions.hold(node) => RuleVerdict::Decided(self.allow),
            Some(_) => RuleVerdict::Passed,
        }
    }
}

impl Conditions {
    /// `None` when a column is empty or a fact stands among the classes: such a rule denies when reached.
    fn parse(facts: &str, classes: &str) -> Result<Option<Self>, String> {
        for word in facts.split_whitespace().chain(classes.split_whitespace()) {
            let compound = matches!(word, "not" | "and" | "or" | "!")
                || word.starts_with('!')
                || word.contains('(');
            if compound {
                return Err(format!("{word:?}: compound expressions are not supported"));
            }
        }
        if facts.is_empty() || classes.is_empty() || classes.contains(['=', '<', '>']) {
            return Ok(None);
        }
        let facts = match facts {
            "*" => None,
            words => {
                let mut filter = Filter::empty();
                for word in words.split_whitespace() {
                    filter = filter
                        .with_fact(word)
                        .map_err(|error| format!("{word:?}: {error}"))?;
                }
                Some(filter.compile())
            }
        };
        let classes = match classes {
            "*" => Vec::new(),
            words => words.split_whitespace().map(str::to_owned).collect(),
        };
        Ok(Some(Self { facts, classes }))
    }

    fn hold(&self, node: &dyn FilterSubject) -> bool {
        let facts = self
            .facts
            .as_ref()
            .is_none_or(|facts| matches!(facts.matches(node), FilterVerdict::Match));
        facts
            && self
                .classes
                .iter()
                .all(|class| node.classes().iter().any(|one| one == class))
    }
}
