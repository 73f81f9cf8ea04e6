//! What can be said about a key.

/// A section of a scenario file: a table with a closed set of keys.
#[derive(Debug)]
pub(crate) struct Section {
    /// As it is written in a file, e.g. `[[fleet]]`.
    pub(crate) title: &'static str,
    /// What it is for, one line.
    pub(crate) about: &'static str,
    /// Its keys, in the order they are explained.
    pub(crate) keys: &'static [Key],
}

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) need: Need,
    /// What it means, one line.
    pub(crate) about: &'static str,
}

/// Whether a key must be there.
#[derive(Debug)]
pub(crate) enum Need {
    Required,
    Optional,
    /// Optional, with this value when it is left out.
    Default(&'static str),
}

/// What a key's value is.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    /// A name: letters, digits and dashes, unique in its section.
    Name,
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// A number from the first to the second, fractions allowed.
    Number(f64, f64),
    Duration,
    Rate,
    Size,
    /// A size a second.
    Bandwidth,
    /// One of these words.
    Choice(&'static [&'static str]),
    TextList,
    /// A list of these words.
    ChoiceList(&'static [&'static str]),
    /// A number or one of these words.
    NumberOr(&'static [&'static str]),
    /// The name of a `[pace.NAME]`, or such a table itself.
    Pace,
    /// A moment: a duration or a progress such as `signed 30 %`.
    Moment,
    /// Any table of values, handed on.
    Data,
    Table(&'static Section),
    /// `[[…]]`, any number of them.
    Tables(&'static Section),
    /// `[….NAME]`, any number of them.
    Named(&'static Section),
}

impl Kind {
    /// What to write, with an article: follows "write".
    pub(crate) fn wanted(&self) -> String {
        match self {
            Self::Text | Self::Name => "text in quotes".to_owned(),
            Self::Whole(..) => "a number".to_owned(),
            Self::Number(..) => "a number".to_owned(),
            Self::Duration => "a duration in quotes".to_owned(),
            Self::Rate => "a rate in quotes".to_owned(),
            Self::Size => "a size in quotes".to_owned(),
            Self::Bandwidth => "a size a second in quotes".to_owned(),
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::TextList => "a list of texts".to_owned(),
            Self::ChoiceList(words) => format!("a list of {}", quoted(words)),
            Self::NumberOr(words) => {
                format!("a number or {}", quoted(words))
            }
            Self::Pace => "the name of a pace in quotes, or a table".to_owned(),
            Self::Moment => "a time or a progress in quotes".to_owned(),
            Self::Data | Self::Table(_) => "a table".to_owned(),
            Self::Tables(section) => format!("it as {}, a table each", section.title),
            Self::Named(section) => format!("it as {}, a table each", section.title),
        }
    }

    /// A value that is right, as it would be written.
    pub(crate) fn example(&self) -> String {
        match self {
            Self::Text => "\"text\"".to_owned(),
            Self::Name => "\"name\"".to_owned(),
            Self::Whole(low, _) => (*low).max(5).to_string(),
            Self::Number(low, high) => (low.max(0.5)).min(*high).to_string(),
            Self::Duration => "\"5s\"".to_owned(),
            Self::Rate => "\"800/s\"".to_owned(),
            Self::Size => "\"2KiB\"".to_owned(),
            Self::Bandwidth => "\"1MiB/s\"".to_owned(),
            Self::Choice(words) => format!("\"{}\"", words[0]),
            Self::TextList => "[\"text\"]".to_owned(),
            Self::ChoiceList(words) => format!("[\"{}\"]", words[0]),
            Self::NumberOr(_) => "50".to_owned(),
            Self::Pace => "\"join\"".to_owned(),
            Self::Moment => "\"5s\"".to_owned(),
            Self::Data | Self::Table(_) | Self::Named(_) => "{ … }".to_owned(),
            Self::Tables(_) => "[{ … }]".to_owned(),
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    words.join(", ")
}

pub(super) const fn key(name: &'static str, kind: Kind, need: Need, about: &'static str) -> Key {
    Key {
        name,
        kind,
        need,
        about,
    }
}
