//! `server.conf`: what a node is told in `key = value` lines, and how it is written by `configure`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::words::{Collective, Identity};

/// The file's name in a node's storage.
pub const SERVER_CONF: &str = "server.conf";

/// The keys and values of a `server.conf`. Unknown keys are kept; later lines win.
///
/// A process may hold many thousands: each is its text, and where in it keys and values are.
#[derive(Debug, Clone, Default)]
pub struct ServerConf {
    text: Box<str>,
    /// Sorted by key.
    settings: Box<[Setting]>,
}

/// Where in the text a key and its value are, in bytes.
#[derive(Debug, Clone, Copy)]
struct Setting {
    key: (u32, u32),
    value: (u32, u32),
}

/// A value that cannot be used, with its key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("server.conf: {key} = {value:?}: {why}")]
pub struct ConfError {
    /// The key.
    pub key: String,
    /// The value found.
    pub value: String,
    /// What is wrong, and what is expected.
    pub why: String,
}

impl ServerConf {
    /// Reads the text by the format's rules: lines are trimmed, `#` starts a comment line, the first `=`
    /// splits, values keep any further `=` and are not unquoted, a line without a value is ignored.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.trim(), value.trim()))
            .filter(|(key, value)| !key.is_empty() && !value.is_empty());
        let settings: BTreeMap<&str, &str> = lines.collect();
        let mut text = String::new();
        let mut put = |part: &str| {
            let place = (length(text.len()), length(part.len()));
            text.push_str(part);
            place
        };
        let settings = settings
            .iter()
            .map(|(key, value)| Setting {
                key: put(key),
                value: put(value),
            })
            .collect();
        Self {
            text: text.into(),
            settings,
        }
    }

    fn part(&self, (start, len): (u32, u32)) -> &str {
        let start = start as usize;
        self.text.get(start..start + len as usize).unwrap_or("")
    }

    /// The text to write: a first comment line, then the settings in key order.
    ///
    /// # Errors
    /// [`ConfError`] for a key or value that would not be read back the same.
    pub fn render(comment: &str, settings: &BTreeMap<String, String>) -> Result<String, ConfError> {
        let mut text = format!("# {}\n", comment.replace(['\n', '\r'], " "));
        for (key, value) in settings {
            let wrong = |why: &str| ConfError {
                key: key.clone(),
                value: value.clone(),
                why: why.to_owned(),
            };
            if key.trim() != key || key.is_empty() || key.contains(['=', '\n', '\r', '#']) {
                return Err(wrong("the key cannot be written in one line"));
            }
            if value.contains(['\n', '\r']) {
                return Err(wrong("the value holds a line break"));
            }
            text.push_str(&format!("{key}={value}\n"));
        }
        Ok(text)
    }

    /// A raw value.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let found = self
            .settings
            .binary_search_by(|setting| self.part(setting.key).cmp(key));
        let setting = self.settings.get(found.ok()?)?;
        Some(self.part(setting.value))
    }

    /// `1 yes true y t` in any case are true, anything else is false; `None` when unset.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).map(|value| {
            ["1", "yes", "true", "y", "t"]
                .iter()
                .any(|word| value.eq_ignore_ascii_case(word))
        })
    }

    /// A comma separated list, trimmed, without empty entries.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<&str> {
        self.get(key)
            .map(|value| {
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The node's name, if set.
    ///
    /// # Errors
    /// [`ConfError`] when it could be no node's name.
    pub fn identity(&self) -> Result<Option<Identity>, ConfError> {
        self.get("identity")
            .map(|value| {
                Identity::parse(value).map_err(|error| self.wrong("identity", error.to_string()))
            })
            .transpose()
    }

    /// The collectives, the main one first; empty when unset.
    ///
    /// # Errors
    /// [`ConfError`] when one could be no collective's name, or the main one is not among them.
    pub fn collectives(&self) -> Result<Vec<Collective>, ConfError> {
        let mut collectives = self
            .list("collectives")
            .into_iter()
            .map(|name| {
                Collective::parse(name)
                    .map_err(|error| self.wrong("collectives", error.to_string()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(main) = self.get("main_collective") {
            let place = collectives.iter().position(|one| one.as_str() == main);
            let place = place.ok_or_else(|| {
                self.wrong("main_collective", "is not among the collectives".to_owned())
            })?;
            collectives[..=place].rotate_right(1);
        }
        Ok(collectives)
    }

    /// Broker addresses with their scheme (`nats` where none is given); empty when unset.
    #[must_use]
    pub fn brokers(&self) -> Vec<String> {
        self.list("plugin.choria.middleware_hosts")
            .into_iter()
            .map(with_scheme)
            .collect()
    }

    /// A duration: digits are seconds, otherwise a number with a unit.
    ///
    /// # Errors
    /// [`ConfError`] when it is neither.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, ConfError> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        if let Ok(secs) = value.parse::<u64>() {
            return Ok(Some(Duration::from_secs(secs)));
        }
        let parsed: jiff::SignedDuration = value
            .parse()
            .map_err(|_| self.wrong(key, "expected seconds, or a number with a unit".to_owned()))?;
        Duration::try_from(parsed)
            .map(Some)
            .map_err(|_| self.wrong(key, "must not be negative".to_owned()))
    }

    /// Builds the error for a key of this file.
    #[must_use]
    pub fn wrong(&self, key: &str, why: String) -> ConfError {
        ConfError {
            key: key.to_owned(),
            value: self.get(key).unwrap_or_default().to_owned(),
            why,
        }
    }
}

/// A place in a text. Files of more than 4 MiB are not read.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// An address with its scheme; `nats` where none is given, which only names the protocol: whether TLS
/// is used follows from the node's TLS settings.
#[must_use]
pub fn with_scheme(server: &str) -> String {
    match server.contains("://") {
        true => server.to_owned(),
        false => format!("nats://{server}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn reads_the_format_as_documented() {
        let conf = ServerConf::parse(
            " # a comment\n\nidentity = web1.example.net\r\ncollectives=a, b ,,c\nmain_collective = b\n\
             url = nats://u:p@h?a=b\nempty =\nnothing\nidentity = web2.example.net # kept\n\
             flag = YES\nother = on\nplugin.choria.middleware_hosts = b1:4222, tls://b2:4222\nd = 90\ne = 1m 30s\n",
        );
        assert_eq!(conf.get("identity"), Some("web2.example.net # kept"));
        assert!(conf.identity().is_err());
        assert_eq!(conf.get("url"), Some("nats://u:p@h?a=b"));
        assert_eq!((conf.get("empty"), conf.get("nothing")), (None, None));
        let names: Vec<_> = conf.collectives().unwrap();
        assert_eq!(
            names.iter().map(Collective::as_str).collect::<Vec<_>>(),
            ["b", "a", "c"]
        );
        assert_eq!(
            (conf.flag("flag"), conf.flag("other"), conf.flag("x")),
            (Some(true), Some(false), None)
        );
        assert_eq!(conf.brokers(), ["nats://b1:4222", "tls://b2:4222"]);
        assert_eq!(conf.duration("d").unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(conf.duration("e").unwrap(), Some(Duration::from_secs(90)));
        assert!(conf.duration("flag").is_err());
    }

    #[test]
    fn what_is_written_reads_back() {
        let settings: BTreeMap<_, _> = [("a.b", "c=d"), ("identity", "x")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into();
        let text = ServerConf::render("by\nme", &settings).unwrap();
        assert_eq!(text.lines().count(), 3);
        let read = ServerConf::parse(&text);
        assert_eq!(read.settings.len(), settings.len());
        for (key, value) in &settings {
            assert_eq!(read.get(key), Some(value.as_str()));
        }
        for (key, value) in [
            ("a", "x\nevil=1"),
            ("", "x"),
            ("a=b", "x"),
            ("a\n", "x"),
            ("#a", "x"),
        ] {
            let settings = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            assert!(
                ServerConf::render("c", &settings).is_err(),
                "{key:?} {value:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,400}") {
            let conf = ServerConf::parse(&text);
            let _ = (conf.identity(), conf.collectives(), conf.brokers(), conf.duration("a"));
        }
    }
}
