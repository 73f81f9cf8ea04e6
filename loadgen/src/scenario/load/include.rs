//! A scenario's files: the one that was named, and what it includes.

use std::path::{Path, PathBuf};

use crate::scenario::mistake::{Findings, Source};
use crate::scenario::tree::{self, Table, Value};

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

/// Reads one source and what it includes; included sections come first.
pub(super) fn read_source(
    path: &Path,
    text: &str,
    out: &mut Findings,
    above: &mut Vec<PathBuf>,
) -> Table {
    let file = out.sources.len();
    out.sources.push(Source::new(path, text));
    let mut table = tree::parse(file, text, out);
    let Some(include) = table.remove("include") else {
        return table;
    };
    let Value::List(items) = &include.item.value else {
        let message = format!(
            "include is {}; write a list: include = [\"pace.toml\"]",
            include.item.value.what()
        );
        out.mistake(include.item.place, message);
        return table;
    };
    above.push(path.to_owned());
    let mut merged: Option<Table> = None;
    for item in items {
        let Value::Text(name) = &item.value else {
            let message = format!("{} in include is no file name", item.value.shown());
            out.mistake(item.place, message);
            continue;
        };
        let included = path.parent().unwrap_or(Path::new("")).join(name);
        if above.contains(&included) || above.len() >= INCLUDE_DEPTH {
            out.mistake(
                item.place,
                format!("\"{name}\" includes itself, or too deeply"),
            );
            continue;
        }
        match read_file(&included) {
            Ok(text) => {
                let inner = read_source(&included, &text, out, above);
                merged = Some(match merged {
                    Some(merged) => merge(merged, inner, true, out),
                    None => inner,
                });
            }
            Err(why) => out.mistake(item.place, format!("include \"{name}\": {why}")),
        }
    }
    above.pop();
    match merged {
        Some(merged) => {
            let place = table.place;
            let mut all = merge(merged, table, true, out);
            all.place = place;
            all
        }
        None => table,
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
