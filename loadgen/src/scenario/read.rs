//! Takes typed values out of a section, noting everything that is wrong with it.

use std::time::Duration;

use super::keys::{Key, Kind, Need, Section};
use super::mistake::{Findings, Location, Place, nearest, suggestion};
use super::tree::{Entry, Item, Params, Table, Value};
use crate::units::{Bandwidth, Rate, Size, parse_duration};

/// What reading needs at hand: where mistakes go, and the parameters.
pub(crate) struct Context {
    pub(crate) findings: Findings,
    pub(crate) params: Params,
}

impl Context {
    pub(crate) fn mistake(&mut self, place: Place, message: impl Into<String>) {
        self.findings.mistake(place, message);
    }

    pub(crate) fn locate(&self, place: Place) -> Location {
        self.findings.locate(place)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// One section being read: every key it may have is known, every value is taken once.
pub(crate) struct Reader<'s> {
    section: &'static Section,
    table: &'s Table,
}

impl<'s> Reader<'s> {
    /// Begins a section: unknown keys and missing ones are noted at once.
    pub(crate) fn new(section: &'static Section, table: &'s Table, cx: &mut Context) -> Self {
        for entry in &table.entries {
            if !section.keys.iter().any(|key| key.name == entry.name) {
                let names = section.keys.iter().map(|key| key.name);
                let near = suggestion(&entry.name, "keys", names.collect::<Vec<_>>());
                let message = format!("unknown key `{}` in {}{near}", entry.name, section.title);
                cx.mistake(entry.place, message);
            }
        }
        let reader = Self { section, table };
        for key in section.keys {
            // A key that was misspelt is not also missing.
            let absent = table.get(key.name).is_none() && !reader.meant(key.name);
            if absent && matches!(key.need, Need::Required) {
                let message = match key.kind {
                    Kind::Tables(inner) => format!(
                        "{} has no {}; write at least one",
                        section.title, inner.title
                    ),
                    _ => format!(
                        "{} has no `{name}`; write {name} = {}",
                        section.title,
                        key.kind.example(),
                        name = key.name
                    ),
                };
                cx.mistake(table.place, message);
            }
        }
        reader
    }

    /// Whether a key that is not known was meant to be this one.
    pub(crate) fn meant(&self, name: &str) -> bool {
        let names = || self.section.keys.iter().map(|key| key.name);
        let unknown = |entry: &&Entry| !names().any(|known| known == entry.name);
        let mut unknown = self.table.entries.iter().filter(unknown);
        unknown.any(|entry| nearest(&entry.name, names()) == Some(name))
    }

    /// Where the section begins.
    pub(crate) fn place(&self) -> Place {
        self.table.place
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.table.get(name).is_some()
    }

    /// Where the key is written, or the section when it is not there.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.table
            .get(name)
            .map_or(self.place(), |entry| entry.place)
    }

    /// The names of the keys that are there.
    pub(crate) fn present(&self) -> impl Iterator<Item = &'s Entry> {
        self.table.entries.iter()
    }

    pub(crate) fn text(&self, name: &str, cx: &mut Context) -> Option<At<String>> {
        let (key, item) = self.find(name)?;
        match &item.value {
            Value::Text(text) => Some(at(text.clone(), item)),
            _ => wrong_type(key, item, cx),
        }
    }

    /// A name: 1 to 40 lower-case letters, digits and dashes, beginning with a letter or digit.
    pub(crate) fn name(&self, name: &str, cx: &mut Context) -> Option<At<String>> {
        let text = self.text(name, cx)?;
        if is_name(&text.value) {
            return Some(text);
        }
        let message = format!(
            "{name} = \"{}\" is no name; write 1 to 40 lower-case letters, digits and dashes",
            text.value
        );
        cx.mistake(text.place, message);
        None
    }

    pub(crate) fn whole(&self, name: &str, cx: &mut Context) -> Option<At<i64>> {
        let (key, item) = self.find(name)?;
        let Kind::Whole(low, high) = key.kind else {
            return wrong_type(key, item, cx);
        };
        match item.value {
            Value::Integer(n) if (low..=high).contains(&n) => Some(at(n, item)),
            Value::Integer(n) => {
                let bound = if n < low {
                    format!("at least {low}")
                } else {
                    format!("at most {high}")
                };
                cx.mistake(
                    item.place,
                    format!("{name} = {n} is out of range; write {bound}"),
                );
                None
            }
            _ => wrong_type(key, item, cx),
        }
    }

    /// A whole number that is not negative.
    pub(crate) fn count(&self, name: &str, cx: &mut Context) -> Option<At<u64>> {
        let n = self.whole(name, cx)?;
        let value = u64::try_from(n.value).ok()?;
        Some(At {
            value,
            place: n.place,
        })
    }

    pub(crate) fn number(&self, name: &str, cx: &mut Context) -> Option<At<f64>> {
        let (key, item) = self.find(name)?;
        let Kind::Number(low, high) = key.kind else {
            return wrong_type(key, item, cx);
        };
        let value = match item.value {
            Value::Integer(n) => n as f64,
            Value::Float(n) => n,
            _ => return wrong_type(key, item, cx),
        };
        if (low..=high).contains(&value) {
            return Some(at(value, item));
        }
        let message = format!("{name} = {value} is out of range; write {low} to {high}");
        cx.mistake(item.place, message);
        None
    }

    pub(crate) fn duration(&self, name: &str, cx: &mut Context) -> Option<At<Duration>> {
        self.parsed(name, cx, parse_duration)
    }

    pub(crate) fn rate(&self, name: &str, cx: &mut Context) -> Option<At<Rate>> {
        self.parsed(name, cx, Rate::parse)
    }

    pub(crate) fn size(&self, name: &str, cx: &mut Context) -> Option<At<Size>> {
        self.parsed(name, cx, Size::parse)
    }

    pub(crate) fn bandwidth(&self, name: &str, cx: &mut Context) -> Option<At<Bandwidth>> {
        self.parsed(name, cx, Bandwidth::parse)
    }

    /// A word of the key's closed set, turned into what it stands for.
    pub(crate) fn choice<T: Word>(&self, name: &str, cx: &mut Context) -> Option<At<T>> {
        let (key, item) = self.find(name)?;
        let Value::Text(text) = &item.value else {
            return wrong_type(key, item, cx);
        };
        choose(name, text, item.place, &words_of(&key.kind), cx).map(|value| at(value, item))
    }

    /// A list of words of the key's closed set.
    pub(crate) fn choices<T: Word>(&self, name: &str, cx: &mut Context) -> Option<Vec<T>> {
        let (key, _) = self.find(name)?;
        let words = words_of(&key.kind);
        let texts = self.texts(name, cx)?;
        Some(
            texts
                .iter()
                .filter_map(|text| choose(name, &text.value, text.place, &words, cx))
                .collect(),
        )
    }

    pub(crate) fn texts(&self, name: &str, cx: &mut Context) -> Option<Vec<At<String>>> {
        let (key, item) = self.find(name)?;
        let Value::List(items) = &item.value else {
            return wrong_type(key, item, cx);
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push(at(text.clone(), item)),
                other => {
                    let message = format!(
                        "{} in {name} is {}; write text",
                        other.shown(),
                        other.what()
                    );
                    cx.mistake(item.place, message);
                }
            }
        }
        Some(texts)
    }

    /// The value as it stands, for keys that take more than one type.
    pub(crate) fn item(&self, name: &str) -> Option<&'s Item> {
        self.find(name).map(|(_, item)| item)
    }

    pub(crate) fn table(&self, name: &str, cx: &mut Context) -> Option<&'s Table> {
        let (key, item) = self.find(name)?;
        match &item.value {
            Value::Table(table) => Some(table),
            _ => wrong_type(key, item, cx),
        }
    }

    /// A section inside this one.
    pub(crate) fn section(&self, name: &str, cx: &mut Context) -> Option<Reader<'s>> {
        let (key, _) = self.find(name)?;
        let Kind::Table(section) = key.kind else {
            return None;
        };
        let table = self.table(name, cx)?;
        Some(Reader::new(section, table, cx))
    }

    /// All `[[name]]` sections inside this one.
    pub(crate) fn sections(&self, name: &str, cx: &mut Context) -> Vec<Reader<'s>> {
        let Some((key, item)) = self.find(name) else {
            return Vec::new();
        };
        let (Kind::Tables(section), Value::List(items)) = (&key.kind, &item.value) else {
            let _: Option<()> = wrong_type(key, item, cx);
            return Vec::new();
        };
        let mut readers = Vec::with_capacity(items.len());
        for item in items {
            match &item.value {
                Value::Table(table) => readers.push(Reader::new(section, table, cx)),
                _ => {
                    let _: Option<()> = wrong_type(key, item, cx);
                }
            }
        }
        readers
    }

    /// Notes that a value is of the wrong type, naming what would be right.
    pub(crate) fn refuse_type<T>(&self, name: &str, cx: &mut Context) -> Option<T> {
        let (key, item) = self.find(name)?;
        wrong_type(key, item, cx)
    }

    fn parsed<T>(
        &self,
        name: &str,
        cx: &mut Context,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let (key, item) = self.find(name)?;
        let Value::Text(text) = &item.value else {
            return wrong_type(key, item, cx);
        };
        match parse(text) {
            Ok(value) => Some(at(value, item)),
            Err(_) if is_unresolved(item) => None,
            Err(why) => {
                let message = format!("{name} = \"{text}\"{} {why}", origin(item));
                cx.mistake(item.place, message);
                None
            }
        }
    }

    fn find(&self, name: &str) -> Option<(&'static Key, &'s Item)> {
        let key = self.section.keys.iter().find(|key| key.name == name);
        debug_assert!(key.is_some(), "{name} is no key of {}", self.section.title);
        Some((key?, &self.table.get(name)?.item))
    }
}

/// A word of a closed set and what it stands for.
pub(crate) trait Word: Sized {
    /// The value the word stands for.
    fn from_word(word: &str) -> Option<Self>;
}

/// Whether the text can name a thing of a scenario: it ends up in file names, in host names of
/// nodes and brokers, and in metric names.
fn is_name(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn at<T>(value: T, item: &Item) -> At<T> {
    At {
        value,
        place: item.place,
    }
}

fn words_of(kind: &Kind) -> Vec<&'static str> {
    match kind {
        Kind::Choice(words) | Kind::ChoiceList(words) | Kind::NumberOr(words) => words.to_vec(),
        _ => Vec::new(),
    }
}

fn choose<T: Word>(
    name: &str,
    text: &str,
    place: Place,
    words: &[&'static str],
    cx: &mut Context,
) -> Option<T> {
    let value = words.contains(&text).then(|| T::from_word(text)).flatten();
    if value.is_none() {
        let near = suggestion(text, "choices", words.to_vec());
        cx.mistake(place, format!("{name} = \"{text}\" is not known{near}"));
    }
    value
}

/// ` (params.nodes)` where the value came from a parameter.
fn origin(item: &Item) -> String {
    match &item.param {
        Some(name) => format!(" (from params.{name})"),
        None => String::new(),
    }
}

/// Whether the value is a parameter that is not there, which has been told already.
fn is_unresolved(item: &Item) -> bool {
    matches!(&item.value, Value::Text(text) if text.starts_with("${") && text.ends_with('}'))
}

fn wrong_type<T>(key: &Key, item: &Item, cx: &mut Context) -> Option<T> {
    if is_unresolved(item) {
        return None;
    }
    let example = match (&key.kind, &item.value) {
        (Kind::Whole(..), Value::Text(text)) if text.trim().parse::<i64>().is_ok() => {
            text.trim().to_owned()
        }
        (Kind::Number(..), Value::Text(text)) if text.trim().parse::<f64>().is_ok() => {
            text.trim().to_owned()
        }
        (Kind::Duration, Value::Integer(n)) => format!("\"{n}s\""),
        (Kind::Rate, Value::Integer(n)) => format!("\"{n}/s\""),
        (Kind::Size, Value::Integer(n)) => format!("\"{n}B\""),
        (Kind::TextList, Value::Text(text)) => format!("[\"{text}\"]"),
        (kind, _) => kind.example(),
    };
    let message = format!(
        "{name} = {}{} is {}; write {}: {name} = {example}",
        item.value.shown(),
        origin(item),
        item.value.what(),
        key.kind.wanted(),
        name = key.name,
    );
    cx.mistake(item.place, message);
    None
}
