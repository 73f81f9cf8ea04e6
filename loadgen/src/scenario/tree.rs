//! A scenario file as values that know where they stand, before anything is made of them.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use super::mistake::{Findings, Place};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) value: Value,
    /// The parameter whose value this is, where it was written `"${name}"`.
    pub(crate) param: Option<String>,
}

/// A value of any type TOML has.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date(String),
    List(Vec<Item>),
    Table(Table),
}

/// A table in the order it was written.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) place: Place,
    pub(crate) entries: Vec<Entry>,
}

/// A key, where it stands, and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) item: Item,
}

impl Table {
    pub(crate) fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.name == name)?;
        Some(self.entries.remove(at))
    }
}

impl Value {
    /// What it is, to follow "is": `text`, `a whole number`, …
    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Boolean(_) => "true or false",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// As it would be written, shortened where it is long.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) if text.chars().count() > 40 => {
                format!("\"{}…\"", text.chars().take(40).collect::<String>())
            }
            Self::Text(text) => format!("\"{text}\""),
            Self::Integer(n) => n.to_string(),
            Self::Float(n) => n.to_string(),
            Self::Boolean(yes) => yes.to_string(),
            Self::Date(text) => text.clone(),
            Self::List(_) => "[…]".to_owned(),
            Self::Table(_) => "{…}".to_owned(),
        }
    }

    /// As JSON, for what is handed on as data.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Date(text) => text.clone().into(),
            Self::Integer(n) => (*n).into(),
            Self::Float(n) => (*n).into(),
            Self::Boolean(yes) => (*yes).into(),
            Self::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Table(table) => table
                .entries
                .iter()
                .map(|entry| (entry.name.clone(), entry.item.value.to_json()))
                .collect::<serde_json::Map<_, _>>()
                .into(),
        }
    }
}

/// Reads one file's text. Every syntax mistake is noted, and what could be read is returned.
pub(crate) fn parse(file: usize, text: &str, findings: &mut Findings) -> Table {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', ", ");
        findings.mistake(Place { file, offset }, format!("not TOML: {message}"));
    }
    convert_table(file, table.span().start, table.get_ref(), findings)
}

fn convert_table(file: usize, start: usize, table: &DeTable<'_>, out: &mut Findings) -> Table {
    let entries = table
        .iter()
        .map(|(key, value)| Entry {
            name: key.get_ref().to_string(),
            place: Place {
                file,
                offset: key.span().start,
            },
            item: convert(file, value.span().start, value.get_ref(), out),
        })
        .collect();
    Table {
        place: Place {
            file,
            offset: start,
        },
        entries,
    }
}

fn convert(file: usize, start: usize, value: &DeValue<'_>, out: &mut Findings) -> Item {
    let place = Place {
        file,
        offset: start,
    };
    let value = match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(n) => Value::Integer(
            i64::from_str_radix(n.as_str(), n.radix()).unwrap_or_else(|_| {
                out.mistake(place, format!("{n} is too large; it must fit in 64 bits"));
                0
            }),
        ),
        DeValue::Float(n) => Value::Float(n.as_str().parse().unwrap_or_else(|_| {
            out.mistake(place, format!("{n} is no number"));
            0.0
        })),
        DeValue::Boolean(yes) => Value::Boolean(*yes),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(
            list.iter()
                .map(|item| convert(file, item.span().start, item.get_ref(), out))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(file, start, table, out)),
    };
    Item {
        place,
        value,
        param: None,
    }
}

/// Parameters by name, after `--set`.
pub(crate) type Params = BTreeMap<String, Item>;

/// Puts parameters in place of `${name}`, everywhere but in `[params]` itself.
///
/// A text that is exactly one reference takes the parameter's type; inside a longer text the
/// value is put in as text. `$${` is a literal `${`.
pub(crate) fn substitute(item: &mut Item, params: &Params, out: &mut Findings) {
    match &mut item.value {
        Value::Text(text) if text.contains("${") => {
            let place = item.place;
            if let Some(name) = sole_reference(text) {
                if let Some(param) = lookup(name, place, params, out) {
                    item.param = Some(name.to_owned());
                    item.value = param.value.clone();
                }
            } else {
                *text = interpolate(text, place, params, out);
            }
        }
        Value::List(items) => items
            .iter_mut()
            .for_each(|item| substitute(item, params, out)),
        Value::Table(table) => table
            .entries
            .iter_mut()
            .for_each(|entry| substitute(&mut entry.item, params, out)),
        _ => {}
    }
}

fn sole_reference(text: &str) -> Option<&str> {
    let name = text.strip_prefix("${")?.strip_suffix('}')?;
    (!name.contains(['}', '$'])).then_some(name)
}

fn interpolate(text: &str, place: Place, params: &Params, out: &mut Findings) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, after) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            result.push_str(before);
            result.push_str("${");
            rest = &after[2..];
            continue;
        }
        result.push_str(before);
        let Some(end) = after.find('}') else {
            let message =
                format!("\"{text}\" opens ${{ and never closes it; write }} after the name");
            out.mistake(place, message);
            return text.to_owned();
        };
        if let Some(param) = lookup(&after[2..end], place, params, out) {
            match &param.value {
                Value::Text(text) => result.push_str(text),
                other => result.push_str(&other.shown()),
            }
        }
        rest = &after[end + 1..];
    }
    result.push_str(rest);
    result
}

fn lookup<'p>(
    name: &str,
    place: Place,
    params: &'p Params,
    out: &mut Findings,
) -> Option<&'p Item> {
    let found = params.get(name);
    if found.is_none() {
        let near = super::mistake::suggestion(
            name,
            "parameters",
            params.keys().map(String::as_str).collect::<Vec<_>>(),
        );
        out.mistake(place, format!("${{{name}}} is not in [params]{near}"));
    }
    found
}
