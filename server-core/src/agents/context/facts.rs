//! The facts of a node: one JSON object, kept as text for filters and parsed only where asked.

use serde_json::Value;

use crate::wire::lookup_fact;

/// Facts. Share one by `Arc` among nodes that have the same.
#[derive(Debug, Clone)]
pub struct Facts {
    json: String,
}

/// Facts that are not a JSON object.
#[derive(Debug, Clone, thiserror::Error)]
#[error("facts must be one JSON object: {0}")]
pub struct FactsError(String);

impl Facts {
    /// Checks and keeps the text.
    ///
    /// # Errors
    /// When it is not one JSON object.
    pub fn parse(text: &str) -> Result<Self, FactsError> {
        let parsed: serde_json::Map<String, Value> =
            serde_json::from_str(text).map_err(|error| FactsError(error.to_string()))?;
        Ok(Self::from(parsed))
    }

    /// The text, compact.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.json
    }

    /// All facts.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.json).unwrap_or_default()
    }

    /// One fact by its path, null when there is none.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        // Paths come from the network: see `lookup_fact` for what is followed.
        lookup_fact(&self.json, path)
            .and_then(|found| serde_json::from_str(found.json()).ok())
            .unwrap_or_default()
    }
}

impl From<serde_json::Map<String, Value>> for Facts {
    fn from(facts: serde_json::Map<String, Value>) -> Self {
        Self {
            json: Value::Object(facts).to_string(),
        }
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            json: "{}".to_owned(),
        }
    }
}
