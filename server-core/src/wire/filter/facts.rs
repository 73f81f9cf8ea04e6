//! Comparing facts, with the oddities of the original: the same filter must find the same nodes.

use std::cmp::Ordering;

use regex::Regex;

use super::matching::regex;
use super::{FactFilter, Operator};

/// Bytes of the longest fact path.
const MAX_PATH: usize = 256;

/// Looks a fact up by its path, such as `os.release.major` or `tags.0`; nothing when there is none.
///
/// Paths come from the network, so only those parts of the [GJSON syntax](https://github.com/tidwall/gjson) are
/// followed that select something: keys, indexes, wildcards, `#` and queries. Modifiers, literals and parts that
/// build new JSON could be nested and doubled until a node is out of memory.
#[must_use]
pub fn lookup_fact<'a>(facts: &'a str, path: &'a str) -> Option<gjson::Value<'a>> {
    if path.len() > MAX_PATH || builds_json(path) {
        return None;
    }
    Some(gjson::get(facts, path)).filter(gjson::Value::exists)
}

/// Whether some part of a path starts with what makes or changes JSON: `@`, `!`, `{` or `[`.
fn builds_json(path: &str) -> bool {
    let mut at_start = true;
    path.bytes().any(|byte| {
        let builds = at_start && matches!(byte, b'@' | b'!' | b'{' | b'[');
        at_start = matches!(byte, b'.' | b'|' | b'(');
        builds
    })
}

/// A condition on a fact, with its regular expression compiled.
#[derive(Debug, Clone)]
pub(super) struct FactTest {
    path: String,
    operator: Operator,
    value: String,
    regex: Option<Regex>,
}

/// Whether a text counts as true.
fn truthy(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "True" | "TRUE")
}

impl FactTest {
    pub(super) fn new(filter: &FactFilter) -> Self {
        let pattern = filter.value.trim_matches('/');
        Self {
            path: filter.fact.clone(),
            operator: filter.operator,
            value: filter.value.clone(),
            regex: (filter.operator == Operator::Matches)
                .then(|| regex(pattern, true))
                .flatten(),
        }
    }

    /// Whether the facts, one JSON object, satisfy the condition. Missing facts, lists, objects and null never do.
    pub(super) fn holds(&self, facts: &str) -> bool {
        let Some(fact) = lookup_fact(facts, &self.path) else {
            return false;
        };
        match fact.kind() {
            gjson::Kind::String => self.holds_for_text(fact.str()),
            gjson::Kind::Number => self.holds_for_number(fact.f64(), fact.i64()),
            gjson::Kind::True => self.holds_for_bool(true),
            gjson::Kind::False => self.holds_for_bool(false),
            gjson::Kind::Null | gjson::Kind::Array | gjson::Kind::Object => false,
        }
    }

    fn holds_for_text(&self, fact: &str) -> bool {
        if self.operator == Operator::Matches {
            return self.regex_matches(fact);
        }
        let order = fact.to_lowercase().cmp(&self.value.to_lowercase());
        self.accepts(order)
    }

    /// A value with a dot is compared with the whole fact, any other with the fact's integer part.
    fn holds_for_number(&self, fact: f64, integer: i64) -> bool {
        let with_fraction = self.value.contains('.');
        if self.operator == Operator::Matches {
            return if with_fraction {
                self.regex_matches(&format!("{fact:.4}"))
            } else {
                self.regex_matches(&integer.to_string())
            };
        }
        let order = if with_fraction {
            self.value
                .parse()
                .ok()
                .and_then(|value: f64| fact.partial_cmp(&value))
        } else {
            self.value
                .parse()
                .ok()
                .map(|value: i64| integer.cmp(&value))
        };
        match order {
            Some(Ordering::Equal) if with_fraction && self.operator == Operator::Greater => true,
            Some(order) => self.accepts(order),
            // What is no number is different from every number.
            None => self.operator == Operator::NotEqual,
        }
    }

    /// `!=` is computed like `==` for a fact which is false, so `x!=true` finds no node and `x!=false` every node.
    fn holds_for_bool(&self, fact: bool) -> bool {
        let lower = || self.value.to_lowercase();
        match self.operator {
            Operator::Equal => truthy(&self.value) == fact,
            Operator::NotEqual => !truthy(&lower()),
            Operator::Matches => truthy(&lower()) == fact,
            Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual => false,
        }
    }

    fn regex_matches(&self, text: &str) -> bool {
        self.regex
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }

    fn accepts(&self, order: Ordering) -> bool {
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::NotEqual => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::LessOrEqual => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::GreaterOrEqual => order.is_ge(),
            Operator::Matches => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(fact: &str, operator: &str, value: &str) -> bool {
        const FACTS: &str = r#"{"os":{"family":"Debian","release":{"major":"13"}},"cpus":2,"load":0.5,
            "virtual":true,"physical":false,"tags":["a","b"],"none":null,"dc":"lon","big":9007199254740993}"#;
        let operator = serde_json::from_value(operator.into()).unwrap();
        let filter = FactFilter {
            fact: fact.into(),
            operator,
            value: value.into(),
        };
        FactTest::new(&filter).holds(FACTS)
    }

    #[test]
    fn booleans_have_the_oddities_of_the_original() {
        for (fact, operator, value, want) in [
            ("virtual", "==", "true", true),
            ("virtual", "==", "TRUE", true),
            ("virtual", "==", "tRuE", false),
            ("virtual", "==", "1", true),
            ("virtual", "==", "yes", false),
            ("virtual", "==", "false", false),
            ("virtual", "!=", "true", false),
            ("virtual", "!=", "false", true),
            ("virtual", "=~", "TRUE", true),
            ("virtual", ">", "0", false),
            ("physical", "==", "false", true),
            ("physical", "==", "true", false),
            ("physical", "!=", "true", false),
            ("physical", "!=", "false", true),
        ] {
            assert_eq!(
                holds(fact, operator, value),
                want,
                "{fact} {operator} {value}"
            );
        }
    }

    #[test]
    fn numbers_are_cut_to_integers_unless_the_value_has_a_dot() {
        for (fact, operator, value, want) in [
            ("load", "==", "0", true),
            ("load", "==", "0.50", true),
            ("load", ">", "0.5", true),
            ("load", ">", "0", false),
            ("load", "<", "0.5", false),
            ("cpus", "==", "two", false),
            ("cpus", "!=", "two", true),
            ("cpus", "=~", "^2$", true),
            ("cpus", "=~", "2.0", true),
            ("load", "=~", "0.5", true),
            ("big", "==", "9007199254740993", true),
        ] {
            assert_eq!(
                holds(fact, operator, value),
                want,
                "{fact} {operator} {value}"
            );
        }
    }

    #[test]
    fn only_single_values_match() {
        for (fact, operator, value, want) in [
            ("tags", "!=", "x", false),
            ("tags.0", "==", "A", true),
            ("os", "!=", "x", false),
            ("none", "!=", "x", false),
            ("missing", "!=", "x", false),
            ("os.release.major", ">=", "13", true),
            ("os.family", ">", "debian", false),
            ("os.family", ">=", "DEBIAN", true),
            ("dc", "=~", "/^LO/", true),
            ("dc", "=~", "(", false),
        ] {
            assert_eq!(
                holds(fact, operator, value),
                want,
                "{fact} {operator} {value}"
            );
        }
    }

    /// Each of these took the process down, by its stack or its memory.
    #[test]
    fn paths_that_build_json_find_nothing() {
        let facts = r#"{"a":{"b":[1,2,{"c":3}]},"@x":1}"#;
        let many = |unit: &str| unit.repeat(100_000);
        for path in [
            many("{"),
            many("["),
            many("{\"a\":"),
            many("@this|"),
            many("a."),
            many("#("),
            "{@this,@this}".to_owned() + &".{@this,@this}".repeat(15),
            "a|@ugly".into(),
            "a.b.#(@this=1)".into(),
            "!1".into(),
            "@x".into(),
        ] {
            assert!(lookup_fact(facts, &path).is_none(), "{path:.40}");
        }
        for (path, wanted) in [
            ("a.b.0", 1),
            ("a.b.#", 3),
            ("a.b.#(c=3).c", 3),
            ("*.b.1", 2),
        ] {
            assert_eq!(lookup_fact(facts, path).unwrap().i64(), wanted, "{path}");
        }
    }
}
