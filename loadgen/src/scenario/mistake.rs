//! What is wrong with a scenario, where, and what to write instead.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One file a scenario was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its path as given, or relative to the file that includes it.
    pub path: Arc<str>,
    /// Its text as it was read.
    pub text: Arc<str>,
}

impl Source {
    /// A file's text under the name that messages use.
    pub fn new(path: &Path, text: impl Into<Arc<str>>) -> Self {
        Self {
            path: path.display().to_string().into(),
            text: text.into(),
        }
    }

    /// Line and column of a byte offset, both from 1, columns in characters.
    fn locate(&self, offset: usize) -> Location {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Location {
            file: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// A place in a file, as editors and people count: lines and columns from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// Path of the file, or the command-line option.
    pub file: Arc<str>,
    /// Line from 1; 0 when the place is no file.
    pub line: usize,
    /// Column from 1.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            _ => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// One mistake: where it is, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Mistake {
    /// Where.
    #[serde(flatten)]
    pub location: Location,
    /// What, and what to write instead.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

/// Every mistake found, in file order, one a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            mistake.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// A byte in one of the files being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) offset: usize,
}

/// The files being read and the mistakes found in them so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) sources: Vec<Source>,
    mistakes: Vec<Mistake>,
}

impl Findings {
    /// Notes a mistake at a place in a file.
    pub(crate) fn mistake(&mut self, place: Place, message: impl Into<String>) {
        let location = self.locate(place);
        self.mistake_at(location, message);
    }

    /// Notes a mistake at a location.
    pub(crate) fn mistake_at(&mut self, location: Location, message: impl Into<String>) {
        let message = message.into();
        self.mistakes.push(Mistake { location, message });
    }

    /// Notes a mistake of the command line: `option` is what was given.
    pub(crate) fn mistake_of_option(&mut self, option: &str, message: impl Into<String>) {
        let location = Location {
            file: option.into(),
            line: 0,
            column: 0,
        };
        self.mistake_at(location, message);
    }

    pub(crate) fn locate(&self, place: Place) -> Location {
        match self.sources.get(place.file) {
            Some(source) => source.locate(place.offset),
            None => Location {
                file: "scenario".into(),
                line: 0,
                column: 0,
            },
        }
    }

    /// The text between two offsets of a file, for quoting.
    pub(crate) fn line_of(&self, place: Place) -> usize {
        self.locate(place).line
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// All mistakes in the order of the files and lines, each once.
    pub(crate) fn into_mistakes(mut self) -> Mistakes {
        let order: Vec<Arc<str>> = self.sources.iter().map(|s| s.path.clone()).collect();
        let rank = |file: &Arc<str>| order.iter().position(|path| path == file);
        self.mistakes.sort_by(|a, b| {
            let key = |m: &Mistake| (rank(&m.location.file), m.location.line, m.location.column);
            key(a).cmp(&key(b))
        });
        self.mistakes.dedup();
        Mistakes(self.mistakes)
    }
}

/// The nearest of `names` to `given`, where one is near enough to have been meant.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = given.to_ascii_lowercase().replace('_', "-");
    names
        .into_iter()
        .map(|name| {
            let candidate = name.to_ascii_lowercase().replace('_', "-");
            (strsim::damerau_levenshtein(&wanted, &candidate), name)
        })
        .filter(|(distance, name)| {
            *distance <= 1 + name.len().min(given.len()) / 4
                || (given.len() >= 3 && (name.starts_with(given) || given.starts_with(*name)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `; did you mean `x`?` or, where nothing is near, `; <what> are: a, b, c`.
pub(crate) fn suggestion<'a>(
    given: &str,
    what: &str,
    names: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(near) = nearest(given, names.clone()) {
        return format!("; did you mean `{near}`?");
    }
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => format!("; there are no {what}"),
        [only] => format!("; the only one is `{only}`"),
        _ => format!("; the {what} are: {}", names.join(", ")),
    }
}
