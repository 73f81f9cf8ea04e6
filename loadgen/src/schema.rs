//! The formats of this tool for other programs: what a scenario may say, and what results say.

use serde_json::{Map, Value, json};

use crate::assert::METRICS;
use crate::results::{Summary, Verdict};
use crate::scenario::{Key, Kind, Need, OP_KEYS, SCENARIO, Section};

/// JSON Schema of a scenario file, for editors that check while one writes.
pub fn scenario() -> Value {
    let mut sections = Map::new();
    let root = section(&SCENARIO, &mut sections);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "loadgen scenario",
    });
    if let (Some(schema), Value::Object(root)) = (schema.as_object_mut(), root) {
        schema.extend(root);
        schema.insert("$defs".to_owned(), Value::Object(sections));
    }
    schema
}

/// JSON Schema of `verdict.json`.
pub fn verdict() -> Value {
    schemars::schema_for!(Verdict).to_value()
}

/// JSON Schema of `summary.json`.
pub fn summary() -> Value {
    schemars::schema_for!(Summary).to_value()
}

/// Every metric an assert can name.
pub fn metrics() -> Value {
    let metrics = METRICS.iter().map(|metric| {
        json!({
            "of": metric.domain.word(),
            "name": metric.name,
            "alias": (metric.alias != metric.name).then_some(metric.alias),
            "shape": metric.shape.word(),
            "unit": metric.unit.word(),
            "about": metric.about,
        })
    });
    metrics.collect()
}

/// The same as a table for people: `connect.latency  distribution  us  …`.
pub fn metrics_table() -> String {
    let mut lines = String::from(
        "An assert names a metric by the operation it is of, or the phase that runs it:\n\
         ping.last_reply.max <= 3.5s. Distributions take .p50 .p90 .p99 .p99.9 .max .min .mean\n\
         .count; gauges .last .max .min .mean .first .delta; values take nothing.\n",
    );
    let mut last = "";
    for metric in METRICS {
        let of = metric.domain.word();
        if of != last {
            let whose = match metric.domain.prefix() {
                Some(prefix) => format!("\n{prefix}.…\n"),
                None => format!("\noperations with do = \"{of}\"\n"),
            };
            lines.push_str(&whose);
            last = of;
        }
        let name = if metric.alias == metric.name {
            metric.name.to_owned()
        } else {
            format!("{} ({})", metric.name, metric.alias)
        };
        let kind = format!("{} {}", metric.shape.word(), metric.unit.word());
        lines.push_str(&format!("  {name:26} {kind:18} {}\n", metric.about));
    }
    lines
}

fn section(section: &'static Section, sections: &mut Map<String, Value>) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in section.keys {
        properties.insert(key.name.to_owned(), property(key, sections));
        if matches!(key.need, Need::Required) {
            required.push(key.name);
        }
    }
    let mut schema = json!({
        "type": "object",
        "description": section.about,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    });
    if section.keys.iter().any(|key| key.name == "do")
        && let Some(schema) = schema.as_object_mut()
    {
        schema.insert("allOf".to_owned(), own_keys());
    }
    schema
}

/// The keys of an operation that only some kinds have.
fn own_keys() -> Value {
    let kinds = OP_KEYS.iter().map(|(word, keys)| {
        let foreign: Map<String, Value> = OP_KEYS
            .iter()
            .flat_map(|(_, keys)| *keys)
            .filter(|key| !keys.contains(key))
            .map(|key| ((*key).to_owned(), Value::Bool(false)))
            .collect();
        json!({
            "if": { "properties": { "do": { "const": word } } },
            "then": { "properties": foreign },
        })
    });
    kinds.collect()
}

fn property(key: &'static Key, sections: &mut Map<String, Value>) -> Value {
    let mut schema = kind(&key.kind, sections);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("description".to_owned(), key.about.into());
        if let Need::Default(default) = key.need
            && let Ok(default) = serde_json::from_str(default)
        {
            schema.insert("default".to_owned(), default);
        }
    }
    schema
}

fn kind(kind: &Kind, sections: &mut Map<String, Value>) -> Value {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    // Any value may be a parameter: "${name}".
    let or_param = |schema: Value| json!({ "anyOf": [schema, text(r"^\$\{[^}]+\}$")] });
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Name => or_param(text("^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")),
        Kind::Whole(low, high) if *high == i64::MAX => {
            or_param(json!({ "type": "integer", "minimum": low }))
        }
        Kind::Whole(low, high) => {
            or_param(json!({ "type": "integer", "minimum": low, "maximum": high }))
        }
        Kind::Number(low, high) => {
            or_param(json!({ "type": "number", "minimum": low, "maximum": high }))
        }
        Kind::Duration => or_param(text(r"^[0-9].*(ns|us|µs|ms|s|m|h)")),
        Kind::Rate => or_param(text(r"^[0-9_.]+ */.+")),
        Kind::Size => or_param(text(r"^[0-9_.]+ *([kKMGT]i?)?B$")),
        Kind::Bandwidth => or_param(text(r"^[0-9_.]+ *([kKMGT]i?)?B */ *s$")),
        Kind::Moment => or_param(json!({ "type": "string", "minLength": 1 })),
        Kind::Choice(words) => or_param(json!({ "enum": words })),
        Kind::TextList => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::ChoiceList(words) => {
            json!({ "type": "array", "items": or_param(json!({ "enum": words })) })
        }
        Kind::NumberOr(words) => {
            json!({ "anyOf": [{ "type": "number" }, { "enum": words }, text(r"^\$\{")] })
        }
        Kind::Pace => json!({
            "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/pace.NAME" }],
        }),
        Kind::Data => json!({ "type": "object" }),
        Kind::Table(inner) => json!({ "$ref": reference(inner, sections) }),
        Kind::Tables(inner) => json!({
            "type": "array",
            "items": { "$ref": reference(inner, sections) },
        }),
        Kind::Named(inner) => json!({
            "type": "object",
            "additionalProperties": { "$ref": reference(inner, sections) },
        }),
    }
}

/// Defines a section once and names it.
fn reference(inner: &'static Section, sections: &mut Map<String, Value>) -> String {
    let name = inner.title.trim_matches(['[', ']']).to_owned();
    if !sections.contains_key(&name) {
        // Named before it is worked out, so that a section inside itself would end.
        sections.insert(name.clone(), Value::Null);
        let schema = section(inner, sections);
        sections.insert(name.clone(), schema);
    }
    format!("#/$defs/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_is_defined() {
        let schema = scenario();
        let text = schema.to_string();
        let pattern = regex::Regex::new(r##""#/\$defs/([^"]+)""##).unwrap();
        let mut references = 0;
        for reference in pattern.captures_iter(&text) {
            assert!(
                schema["$defs"][&reference[1]].is_object(),
                "{}",
                &reference[1]
            );
            references += 1;
        }
        assert!(references > 10, "{references} references");
        assert_eq!(schema["$defs"]["limits"]["additionalProperties"], false);
        assert_eq!(schema["properties"]["seed"]["default"], 1);
    }

    #[test]
    fn results_have_the_fields_that_stay() {
        let (verdict, summary) = (verdict(), summary());
        for field in ["schema", "outcome", "exit_code", "asserts", "limits"] {
            assert!(verdict["properties"][field].is_object(), "verdict.{field}");
        }
        for field in [
            "schema",
            "run",
            "scenario",
            "nodes",
            "enrolment",
            "connect",
            "rounds",
            "ops",
            "memory",
            "cpu_s",
            "storms",
            "generator",
        ] {
            assert!(summary["properties"][field].is_object(), "summary.{field}");
        }
    }

    #[test]
    fn metrics_are_listed() {
        assert!(metrics_table().contains("missing"));
        assert_eq!(metrics().as_array().unwrap().len(), METRICS.len());
    }
}
