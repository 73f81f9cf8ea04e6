//! A scenario's files: the one that was named, and what it includes.

use std::path::{Path, PathBuf};

use crate::scenario::mistake::{Findings, Source};
use crate::scenario::tree::{self, Item, Table, Value};

/// How deep files may include each other.
const INCLUDE_DEPTH: usize = 8;
/// The largest file that is read, bytes.
const LARGEST_FILE: u64 = 4 << 20;

pub(super) fn read_file(path: &Path) -> Result<String, String> {
    let why = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let size = std::fs::metadata(path).map_err(why)?.len();
    if size > LARGEST_FILE {
        return Err(format!(
            "is {size} bytes long; a scenario is at most {LARGEST_FILE}"
        ));
    }
    std::fs::read_to_string(path).map_err(why)
}

/// Where included files are found.
#[derive(Clone, Copy, Debug)]
pub(in crate::scenario) enum Files<'a> {
    /// On this machine's disk.
    Disk,
    /// Among these, by their path.
    Given(&'a [Source]),
}

impl Files<'_> {
    fn read(self, path: &Path) -> Result<String, String> {
        match self {
            Self::Disk => read_file(path),
            Self::Given(sources) => {
                let wanted = path.display().to_string();
                let found = sources.iter().find(|source| *source.path == wanted);
                found
                    .map(|source| source.text.to_string())
                    .ok_or_else(|| "is not among the files that were given".to_owned())
            }
        }
    }
}

/// A scenario being read with what it includes.
pub(super) struct Reading<'a> {
    files: Files<'a>,
    out: &'a mut Findings,
    above: Vec<PathBuf>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(files: Files<'a>, out: &'a mut Findings) -> Self {
        Self {
            files,
            out,
            above: Vec::new(),
        }
    }

    /// Reads one source and what it includes; included sections come first.
    pub(super) fn source(&mut self, path: &Path, text: &str) -> Table {
        let file = self.out.sources.len();
        self.out.sources.push(Source::new(path, text));
        let mut table = tree::parse(file, text, self.out);
        let Some(include) = table.remove("include") else {
            return table;
        };
        let Value::List(items) = &include.item.value else {
            let message = format!(
                "include is {}; write a list: include = [\"pace.toml\"]",
                include.item.value.what()
            );
            self.out.mistake(include.item.place, message);
            return table;
        };
        self.above.push(path.to_owned());
        let mut merged: Option<Table> = None;
        for item in items {
            if let Some(inner) = self.included(path, item) {
                merged = Some(match merged {
                    Some(merged) => merge(merged, inner, true, self.out),
                    None => inner,
                });
            }
        }
        self.above.pop();
        match merged {
            Some(merged) => {
                let place = table.place;
                let mut all = merge(merged, table, true, self.out);
                all.place = place;
                all
            }
            None => table,
        }
    }

    fn included(&mut self, path: &Path, item: &Item) -> Option<Table> {
        let Value::Text(name) = &item.value else {
            let message = format!("{} in include is no file name", item.value.shown());
            self.out.mistake(item.place, message);
            return None;
        };
        let included = path.parent().unwrap_or(Path::new("")).join(name);
        if self.above.contains(&included) || self.above.len() >= INCLUDE_DEPTH {
            let message = format!("\"{name}\" includes itself, or too deeply");
            self.out.mistake(item.place, message);
            return None;
        }
        match self.files.read(&included) {
            Ok(text) => Some(self.source(&included, &text)),
            Err(why) => {
                self.out
                    .mistake(item.place, format!("include \"{name}\": {why}"));
                None
            }
        }
    }
}

/// Adds `second` to `first`: lists of tables and the tables themselves are joined, and what is
/// said twice is a mistake at its second place. Each file may say `schema`.
fn merge(mut first: Table, second: Table, top: bool, out: &mut Findings) -> Table {
    for entry in second.entries {
        let Some(at) = first.entries.iter().position(|old| old.name == entry.name) else {
            first.entries.push(entry);
            continue;
        };
        let old = &mut first.entries[at];
        match (&mut old.item.value, entry.item.value) {
            (Value::List(list), Value::List(more)) if top => list.extend(more),
            (Value::Table(table), Value::Table(more)) if top => {
                let joined = std::mem::replace(
                    table,
                    Table {
                        place: table.place,
                        entries: Vec::new(),
                    },
                );
                *table = merge(joined, more, false, out);
            }
            (Value::Integer(_), Value::Integer(_)) if top && entry.name == "schema" => {}
            _ => {
                let place = out.locate(old.place);
                let message = format!("`{}` is already set at {place}", entry.name);
                out.mistake(entry.place, message);
            }
        }
    }
    first
}
