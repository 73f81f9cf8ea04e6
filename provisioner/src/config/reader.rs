//! Reading TOML strictly: every mistake in one go, each with its line, its
//! column and what to write instead.
//!
//! A [`Section`] hands out the values of one table by key and type. What it was
//! never asked for is an unknown key, and the keys it was asked for are the
//! names it suggests.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Located, Mistake, Place, nearest};

/// The file being read, and the mistakes found so far.
pub(crate) struct Document<'a> {
    text: &'a str,
    folder: PathBuf,
    mistakes: RefCell<Vec<Mistake>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(file: &Path, text: &'a str) -> Self {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        Self {
            text,
            folder,
            mistakes: RefCell::new(Vec::new()),
        }
    }

    /// Parses the text; syntax mistakes are recorded like any other.
    pub(crate) fn parse(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let place = error.span().map_or(Place::default(), |s| self.place(&s));
            self.report(place, error.message().to_owned());
        }
        table
    }

    pub(crate) fn report(&self, place: Place, says: String) {
        self.mistakes.borrow_mut().push(Mistake { place, says });
    }

    pub(crate) fn into_mistakes(self) -> Vec<Mistake> {
        let mut list = self.mistakes.into_inner();
        list.sort();
        list.dedup();
        list
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Place {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// One table of the file; absent tables read as empty.
pub(crate) struct Section<'d, 'a> {
    doc: &'d Document<'a>,
    path: String,
    place: Place,
    table: Option<&'d DeTable<'a>>,
    known: RefCell<Vec<String>>,
}

impl<'d, 'a> Section<'d, 'a> {
    pub(crate) fn root(doc: &'d Document<'a>, table: &'d Spanned<DeTable<'a>>) -> Self {
        Self {
            doc,
            path: String::new(),
            place: Place { line: 1, column: 1 },
            table: Some(table.get_ref()),
            known: RefCell::default(),
        }
    }

    /// The table under `key`.
    pub(crate) fn section(&self, key: &str) -> Section<'d, 'a> {
        let mut inner = Section {
            doc: self.doc,
            path: self.full(key),
            place: self.place,
            table: None,
            known: RefCell::default(),
        };
        if let Some((value, place)) = self.take(key) {
            inner.place = place;
            match value.as_table() {
                Some(table) => inner.table = Some(table),
                None => self.wrong(place, key, value, "a table", &format!("[{}]", inner.path)),
            }
        }
        inner
    }

    /// The tables of the list under `key`.
    pub(crate) fn sections(&self, key: &str, example: &str) -> Vec<Section<'d, 'a>> {
        let Some((value, place)) = self.take(key) else {
            return Vec::new();
        };
        let Some(list) = value.as_array() else {
            self.wrong(place, key, value, "a list of tables", example);
            return Vec::new();
        };
        let mut found = Vec::new();
        for (index, item) in list.iter().enumerate() {
            let place = self.doc.place(&item.span());
            match item.get_ref().as_table() {
                Some(table) => found.push(Section {
                    doc: self.doc,
                    path: format!("{}[{index}]", self.full(key)),
                    place,
                    table: Some(table),
                    known: RefCell::default(),
                }),
                None => self.wrong(place, key, item.get_ref(), "a list of tables", example),
            }
        }
        found
    }

    /// Every key of this table with its text, in the order of the file; for
    /// tables whose keys are the user's own.
    pub(crate) fn entries(&self, example: &str) -> Vec<(String, Located<String>)> {
        let mut entries = Vec::new();
        for (key, value) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref().to_string();
            self.known.borrow_mut().push(name.clone());
            let place = self.doc.place(&value.span());
            match value.get_ref().as_str() {
                Some(text) => entries.push((
                    name.clone(),
                    Located {
                        value: text.to_owned(),
                        key: self.full(&name),
                        place,
                    },
                )),
                None => self.wrong(place, &name, value.get_ref(), "text", example),
            }
        }
        entries
    }

    /// Every key of this table with the table it holds, for tables whose keys are the user's own.
    pub(crate) fn named(&self) -> Vec<(String, Section<'d, 'a>)> {
        let keys = self.table.into_iter().flat_map(|table| table.keys());
        let names = keys.map(|key| key.get_ref().to_string());
        names
            .map(|name| (name.clone(), self.section(&name)))
            .collect()
    }

    /// Text under `key`.
    pub(crate) fn text(&self, key: &str, example: &str) -> Option<Located<String>> {
        let (value, place) = self.take(key)?;
        match value.as_str() {
            Some(text) => Some(self.located(key, place, text.to_owned())),
            None => {
                self.wrong(place, key, value, "text", example);
                None
            }
        }
    }

    /// Text that has to be there.
    pub(crate) fn needed(&self, key: &str, example: &str) -> Option<Located<String>> {
        if self.has(key) {
            self.text(key, example)
        } else {
            self.known.borrow_mut().push(key.to_owned());
            self.missing(key, example);
            None
        }
    }

    /// A path, relative to the file it is written in.
    pub(crate) fn path(&self, key: &str, example: &str) -> Option<Located<PathBuf>> {
        self.text(key, example).map(|t| self.resolve(t))
    }

    /// A path that has to be there.
    pub(crate) fn needed_path(&self, key: &str, example: &str) -> Option<Located<PathBuf>> {
        self.needed(key, example).map(|t| self.resolve(t))
    }

    /// A list of texts under `key`.
    pub(crate) fn texts(&self, key: &str, example: &str) -> Option<Located<Vec<String>>> {
        let (value, place) = self.take(key)?;
        let texts = value.as_array().map(|list| {
            let texts = list.iter().map(|item| item.get_ref().as_str());
            texts.map(|t| t.map(str::to_owned)).collect::<Option<_>>()
        });
        match texts.flatten() {
            Some(texts) => Some(self.located(key, place, texts)),
            None => {
                self.wrong(place, key, value, "a list of texts", example);
                None
            }
        }
    }

    /// A list of paths, relative to the file they are written in.
    pub(crate) fn paths(&self, key: &str, example: &str) -> Option<Located<Vec<PathBuf>>> {
        let Located { value, key, place } = self.texts(key, example)?;
        let folder = &self.doc.folder;
        let value = value.iter().map(|path| folder.join(path)).collect();
        Some(Located { value, key, place })
    }

    /// A program and its arguments; a program with a slash in it is a path, relative to the file
    /// it is written in, any other is looked for in `PATH`.
    pub(crate) fn command(&self, key: &str, example: &str) -> Option<Located<Vec<String>>> {
        let mut command = self.texts(key, example)?;
        if let Some(program) = command.value.first_mut().filter(|p| p.contains('/')) {
            *program = self.doc.folder.join(&*program).display().to_string();
        }
        Some(command)
    }

    /// A duration, at least `least`.
    pub(crate) fn duration(&self, key: &str, default: Duration, least: Duration) -> Duration {
        let example = format!("\"{}\"", humantime::format_duration(default));
        let Some((value, place)) = self.take(key) else {
            return default;
        };
        let Some(text) = value.as_str() else {
            self.wrong(place, key, value, "a duration in quotes", &example);
            return default;
        };
        let says = match humantime::parse_duration(text) {
            Ok(found) if found >= least => return found,
            Ok(_) => format!("is below its least, {}", humantime::format_duration(least)),
            Err(error) => format!("is not a duration ({error}); write {key} = {example}"),
        };
        let full = self.full(key);
        self.doc.report(place, format!("`{full}` {text:?} {says}"));
        default
    }

    /// A whole number within `range`.
    pub(crate) fn number(&self, key: &str, default: usize, range: Range<usize>) -> usize {
        let Some((value, place)) = self.take(key) else {
            return default;
        };
        let number = value
            .as_integer()
            .and_then(|i| i64::from_str_radix(i.as_str(), i.radix()).ok());
        let Some(number) = number else {
            self.wrong(place, key, value, "a whole number", &default.to_string());
            return default;
        };
        match usize::try_from(number) {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let says = format!(
                    "`{}` = {number} is outside {} to {}",
                    self.full(key),
                    range.start,
                    range.end - 1
                );
                self.doc.report(place, says);
                default
            }
        }
    }

    /// True or false.
    pub(crate) fn flag(&self, key: &str, default: bool) -> bool {
        let Some((value, place)) = self.take(key) else {
            return default;
        };
        value.as_bool().unwrap_or_else(|| {
            self.wrong(place, key, value, "true or false", &default.to_string());
            default
        })
    }

    /// One of a few words.
    pub(crate) fn word(&self, key: &str, words: &[&str], default: &str) -> String {
        let example = format!("\"{default}\"");
        let Some(found) = self.text(key, &example) else {
            return default.to_owned();
        };
        if !words.contains(&found.value.as_str()) {
            let hint = nearest(&found.value, words.iter().copied());
            let says = format!(
                "is {:?}, not one of {}{hint}",
                found.value,
                words.join(", ")
            );
            self.report(&found, says);
        }
        found.value
    }

    /// A mistake about a value that was read.
    pub(crate) fn report<T>(&self, about: &Located<T>, says: impl std::fmt::Display) {
        let mistake = about.mistake(says);
        self.doc.report(mistake.place, mistake.says);
    }

    /// Says that `key` has to be there.
    pub(crate) fn missing(&self, key: &str, example: &str) {
        let says = if self.path.is_empty() {
            format!("`{key}` is missing; write {key} = {example}")
        } else {
            format!(
                "`{key}` is missing in [{}]; write {key} = {example}",
                self.path
            )
        };
        self.doc.report(self.place, says);
    }

    /// Whether the key is written at all.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Says why the whole table cannot be.
    pub(crate) fn refuse(&self, says: &str) {
        self.doc
            .report(self.place, format!("[{}]: {says}", self.path));
    }

    /// Ends the reading: what nobody asked for is an unknown key.
    pub(crate) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.table.into_iter().flat_map(|table| table.iter()) {
            let name = key.get_ref();
            if known.iter().any(|k| k == name) {
                continue;
            }
            let hint = nearest(name, known.iter().map(String::as_str));
            let within = if self.path.is_empty() {
                "at the top of the file".to_owned()
            } else {
                format!("in [{}]", self.path)
            };
            let place = self.doc.place(&key.span());
            self.doc
                .report(place, format!("unknown key `{name}` {within}{hint}"));
        }
    }

    fn take(&self, key: &str) -> Option<(&'d DeValue<'a>, Place)> {
        self.known.borrow_mut().push(key.to_owned());
        let value = self.table?.get(key)?;
        Some((value.get_ref(), self.doc.place(&value.span())))
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn located<T>(&self, key: &str, place: Place, value: T) -> Located<T> {
        Located {
            value,
            key: self.full(key),
            place,
        }
    }

    fn resolve(&self, text: Located<String>) -> Located<PathBuf> {
        Located {
            value: self.doc.folder.join(text.value),
            key: text.key,
            place: text.place,
        }
    }

    fn wrong(&self, place: Place, key: &str, value: &DeValue<'_>, wanted: &str, example: &str) {
        let full = self.full(key);
        let found = match value.type_str() {
            "string" => "text",
            other => other,
        };
        let says = format!("`{full}` is {found}, and {wanted} is wanted; write {key} = {example}");
        self.doc.report(place, says);
    }
}
