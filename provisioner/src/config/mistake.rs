//! What is wrong in a configuration, and where.

use std::fmt;
use std::path::PathBuf;

/// A place in the file, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong and what to write.
    pub says: String,
}

/// Every mistake of one file, in the order of the file.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes {
    /// The file as it was named.
    pub file: PathBuf,
    /// What is wrong, never empty.
    pub list: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            let Place { line, column } = mistake.place;
            write!(
                f,
                "{}:{line}:{column}: {}",
                self.file.display(),
                mistake.says
            )?;
        }
        Ok(())
    }
}

/// A value together with where it was written and under which key, for
/// mistakes that show only later (a file that is not there, a template that
/// does not parse).
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// The full key, as `ca.certificate`.
    pub key: String,
    /// Where it stands.
    pub place: Place,
}

impl<T> Located<T> {
    /// Stands in for a value that is not in the file.
    pub(crate) fn unknown(value: T) -> Self {
        Self {
            value,
            key: String::new(),
            place: Place::default(),
        }
    }

    /// A mistake about this value: "`key` says".
    pub fn mistake(&self, says: impl fmt::Display) -> Mistake {
        Mistake {
            place: self.place,
            says: format!("`{}` {says}", self.key),
        }
    }
}

/// "; did you mean `x`?" for the closest of the names, if any is close.
pub(super) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    let best = names
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min();
    match best {
        Some((distance, candidate)) if distance <= 1 + name.len() / 3 => {
            format!("; did you mean `{candidate}`?")
        }
        _ => String::new(),
    }
}
