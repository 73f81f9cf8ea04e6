//! Which nodes a request is for.

mod facts;
mod matching;
mod text;

pub use facts::lookup_fact;
pub use matching::{CompiledFilter, FilterSubject, FilterVerdict};
pub use text::FilterTextError;

use serde::{Deserialize, Serialize};

use super::WireError;
use super::error::Layer;
use super::json::objects;

/// How a fact is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Operator {
    /// Equal, texts in any case.
    #[serde(rename = "==")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    NotEqual,
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    LessOrEqual,
    /// Greater; between numbers with a fraction it means greater or equal, as in the original.
    #[serde(rename = ">")]
    Greater,
    /// Greater or equal.
    #[serde(rename = ">=")]
    GreaterOrEqual,
    /// Matches a regular expression, in any case.
    #[serde(rename = "=~")]
    Matches,
}

/// One condition on a fact.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FactFilter {
    /// The fact's path, such as `os.release.major` or `tags.0`.
    pub fact: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what; always a text.
    pub value: String,
}

/// One expression of a compound filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CompoundExpr {
    /// The expression.
    #[serde(default)]
    pub expr: String,
}

/// Which nodes should act on a request.
///
/// A node must satisfy every list that is not empty; an empty filter is for every node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Filter {
    /// Conditions on facts, all of which must hold.
    #[serde(deserialize_with = "objects")]
    pub fact: Vec<FactFilter>,
    /// Configuration classes, all of which a node must have: a name or `/regex/`.
    pub cf_class: Vec<String>,
    /// Agents, all of which a node must have: a name or `/regex/`. Read as empty when absent.
    #[serde(default)]
    pub agent: Vec<String>,
    /// Identities, one of which a node must have: a name or `/regex/`.
    pub identity: Vec<String>,
    /// Expressions over all of these. Nodes of this project match none.
    pub compound: Vec<Vec<CompoundExpr>>,
}

impl Filter {
    /// A filter for every node.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Also requires an agent: a name or `/regex/`.
    #[must_use]
    pub fn with_agent(mut self, agent: impl Into<String>) -> Self {
        self.agent.push(agent.into());
        self
    }

    /// Allows one more identity: a name or `/regex/`.
    #[must_use]
    pub fn with_identity(mut self, identity: impl Into<String>) -> Self {
        self.identity.push(identity.into());
        self
    }

    /// Also requires a class: a name or `/regex/`.
    #[must_use]
    pub fn with_class(mut self, class: impl Into<String>) -> Self {
        self.cf_class.push(class.into());
        self
    }

    /// Also requires a fact, written as on a command line: `os.family=RedHat`, `cpus>=4`, `dc=/^lo/`.
    ///
    /// # Errors
    /// When the text holds no operator, or nothing before or behind it.
    pub fn with_fact(mut self, text: &str) -> Result<Self, FilterTextError> {
        self.fact.push(text.parse()?);
        Ok(self)
    }

    /// Whether it is for every node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fact.is_empty()
            && self.cf_class.is_empty()
            && self.agent.is_empty()
            && self.identity.is_empty()
            && self.compound.is_empty()
    }

    /// Judges one node. To judge many nodes, [`compile`](Self::compile) once.
    #[must_use]
    pub fn matches(&self, node: &dyn FilterSubject) -> FilterVerdict {
        self.compile().matches(node)
    }

    /// Prepares the filter for judging many nodes.
    #[must_use]
    pub fn compile(&self) -> CompiledFilter {
        CompiledFilter::new(self)
    }

    /// The rules of its form that types do not express.
    pub(super) fn check(&self, max_entries: usize) -> Result<(), WireError> {
        let longest = self
            .fact
            .len()
            .max(self.cf_class.len())
            .max(self.agent.len())
            .max(self.identity.len())
            .max(self.compound.iter().map(Vec::len).sum::<usize>())
            .max(self.compound.len());
        if longest > max_entries {
            return Err(WireError::TooMany {
                layer: Layer::Request,
                what: "filter entries of one kind",
                limit: max_entries,
            });
        }
        if self
            .fact
            .iter()
            .any(|f| f.fact.is_empty() || f.value.is_empty())
        {
            return Err(WireError::Field {
                layer: Layer::Request,
                field: "fact filter",
                rule: "the name and the value of the fact must not be empty",
            });
        }
        Ok(())
    }
}
