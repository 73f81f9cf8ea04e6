//! Judging nodes by a filter.

use regex::{Regex, RegexBuilder};

use super::Filter;
use super::facts::FactTest;

/// What a filter asks about a node.
pub trait FilterSubject {
    /// The node's name.
    fn identity(&self) -> &str;
    /// Names of the agents that are active on the node.
    fn agents(&self) -> &[String];
    /// Configuration classes, as written in the classes file.
    fn classes(&self) -> &[String];
    /// Facts: the text of one JSON object.
    fn facts_json(&self) -> &str;
    /// Whether an agent is active on the node.
    fn has_agent(&self, name: &str) -> bool {
        self.agents().iter().any(|agent| agent == name)
    }
}

/// Whether a request is for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterVerdict {
    /// It is.
    Match,
    /// It is not.
    NoMatch,
    /// The filter holds this compound expression, which matches no node of this project.
    Unsupported(String),
}

impl FilterVerdict {
    /// Whether the node should act.
    #[must_use]
    pub fn is_match(&self) -> bool {
        *self == Self::Match
    }
}

/// A filter whose regular expressions are compiled.
#[derive(Debug, Clone)]
pub struct CompiledFilter {
    identity: Vec<Pattern>,
    agent: Vec<Pattern>,
    class: Vec<Pattern>,
    fact: Vec<FactTest>,
    compound: Option<String>,
}

/// Bytes which one compiled regular expression from the network may take.
const REGEX_SIZE: usize = 256 * 1024;

/// A regular expression from the network; one which does not compile matches nothing.
pub(super) fn regex(text: &str, any_case: bool) -> Option<Regex> {
    RegexBuilder::new(text)
        .case_insensitive(any_case)
        .size_limit(REGEX_SIZE)
        .dfa_size_limit(REGEX_SIZE)
        .build()
        .ok()
}

#[derive(Debug, Clone)]
enum Pattern {
    Exact(String),
    Regex(Option<Regex>, String),
}

impl Pattern {
    fn new(text: &str, any_case: bool) -> Self {
        match text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
        {
            Some(inner) if !inner.is_empty() => {
                Self::Regex(regex(inner, any_case), inner.to_owned())
            }
            _ if any_case => Self::Exact(text.to_lowercase()),
            _ => Self::Exact(text.to_owned()),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(text) => text == name,
            Self::Regex(regex, _) => regex.as_ref().is_some_and(|regex| regex.is_match(name)),
        }
    }

    /// For identities the text between the slashes is also compared as it is.
    fn matches_identity(&self, name: &str) -> bool {
        self.matches(name) || matches!(self, Self::Regex(_, inner) if inner == name)
    }
}

impl CompiledFilter {
    pub(super) fn new(filter: &Filter) -> Self {
        let patterns = |texts: &[String], any_case| -> Vec<Pattern> {
            texts
                .iter()
                .map(|text| Pattern::new(text, any_case))
                .collect()
        };
        Self {
            identity: patterns(&filter.identity, false),
            agent: patterns(&filter.agent, false),
            class: patterns(&filter.cf_class, true),
            fact: filter.fact.iter().map(FactTest::new).collect(),
            compound: (!filter.compound.is_empty()).then(|| describe(filter)),
        }
    }

    /// Judges one node; the first kind of condition that fails ends it.
    ///
    /// Classes are compared in lower case with what the node's classes file says, so a class written there with
    /// upper case letters is found by a regular expression only, as in the original.
    #[must_use]
    pub fn matches(&self, node: &dyn FilterSubject) -> FilterVerdict {
        let holds = |patterns: &[Pattern], names: &[String]| {
            patterns
                .iter()
                .all(|p| names.iter().any(|name| p.matches(name)))
        };
        let identity = node.identity();
        if !self.identity.is_empty() && !self.identity.iter().any(|p| p.matches_identity(identity))
        {
            return FilterVerdict::NoMatch;
        }
        if !holds(&self.agent, node.agents()) || !holds(&self.class, node.classes()) {
            return FilterVerdict::NoMatch;
        }
        if !self.fact.is_empty() {
            let facts = node.facts_json();
            if !self.fact.iter().all(|test| test.holds(facts)) {
                return FilterVerdict::NoMatch;
            }
        }
        match &self.compound {
            Some(expression) => FilterVerdict::Unsupported(expression.clone()),
            None => FilterVerdict::Match,
        }
    }
}

fn describe(filter: &Filter) -> String {
    let expressions: Vec<&str> = filter
        .compound
        .iter()
        .flatten()
        .map(|c| c.expr.as_str())
        .collect();
    expressions.join("; ").chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::CompoundExpr;

    struct Db1;

    impl FilterSubject for Db1 {
        fn identity(&self) -> &str {
            "db1.example.net"
        }
        fn agents(&self) -> &[String] {
            static AGENTS: std::sync::LazyLock<Vec<String>> =
                std::sync::LazyLock::new(|| vec!["rpcutil".into(), "discovery".into()]);
            &AGENTS
        }
        fn classes(&self) -> &[String] {
            static CLASSES: std::sync::LazyLock<Vec<String>> =
                std::sync::LazyLock::new(|| vec!["roles::db".into(), "Mixed::Case".into()]);
            &CLASSES
        }
        fn facts_json(&self) -> &str {
            r#"{"cpus":2,"dc":"lon"}"#
        }
    }

    fn is_match(filter: &Filter) -> bool {
        filter.matches(&Db1).is_match()
    }

    #[test]
    fn every_kind_must_hold_and_identities_are_alternatives() {
        let e = Filter::empty;
        assert!(is_match(&e()));
        assert!(is_match(
            &e().with_identity("web1").with_identity("db1.example.net")
        ));
        assert!(is_match(&e().with_identity("/^db/")));
        assert!(
            !is_match(&e().with_identity("/^DB/")),
            "identities are case sensitive"
        );
        assert!(
            !is_match(&e().with_identity("/(/")),
            "a bad expression matches nothing"
        );
        assert!(is_match(&e().with_agent("rpcutil").with_agent("/^disc/")));
        assert!(!is_match(&e().with_agent("rpcutil").with_agent("scout")));
        assert!(is_match(&e().with_class("ROLES::DB").with_class("/MIXED/")));
        assert!(!is_match(&e().with_class("Mixed::Case")), "as the original");
        assert!(is_match(
            &e().with_fact("cpus=2")
                .unwrap()
                .with_fact("dc=LON")
                .unwrap()
        ));
        assert!(!is_match(
            &e().with_fact("cpus=2").unwrap().with_agent("scout")
        ));
    }

    #[test]
    fn a_compound_filter_is_reported_only_when_all_else_holds() {
        let expr = CompoundExpr {
            expr: "true".into(),
        };
        let compound = Filter {
            compound: vec![vec![expr]],
            ..Filter::empty()
        };
        assert_eq!(
            compound.matches(&Db1),
            FilterVerdict::Unsupported("true".into())
        );
        assert_eq!(
            compound.with_agent("scout").matches(&Db1),
            FilterVerdict::NoMatch
        );
    }
}
