//! Reading the log while it is written.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::tail::{LONGEST_LINE, first_in};
use super::{Anchor, AuditError, line, segments};

/// A whole line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Number and hash.
    pub(crate) anchor: Anchor,
    /// When it happened.
    pub(crate) at: Timestamp,
    /// What happened, in one word.
    pub(crate) what: String,
    /// The node it happened to, where it is about one.
    pub(crate) node: Option<String>,
    /// The line as it stands in the file, without its end.
    pub(crate) text: String,
}

/// Stands behind the last line that was read.
#[derive(Debug)]
pub(crate) struct Follower {
    dir: PathBuf,
    /// The line before the next one.
    last: Anchor,
    open: Option<(PathBuf, BufReader<File>)>,
}

impl Follower {
    /// Begins behind a line; at the first one without it.
    pub(crate) fn behind(dir: PathBuf, line: Option<Anchor>) -> Self {
        let first = || Anchor {
            seq: 0,
            hash: line::NOTHING_BEFORE.to_owned(),
        };
        Self {
            dir,
            last: line.unwrap_or_else(first),
            open: None,
        }
    }

    /// The next line, when there is one.
    ///
    /// # Errors
    /// The log cannot be read, or is not the one that was read before.
    pub(crate) fn next(&mut self) -> Result<Option<Line>, AuditError> {
        loop {
            let Some((path, mut reader)) = self.open.take() else {
                if !self.begin()? {
                    return Ok(None);
                }
                continue;
            };
            match read_line(&path, &mut reader)? {
                Some(bytes) => {
                    let line = self.judge(&path, &bytes);
                    self.open = Some((path, reader));
                    match line? {
                        Some(line) => return Ok(Some(line)),
                        // Read before this follower began.
                        None => continue,
                    }
                }
                None => {
                    let newer = segment_of(&self.dir, self.last.seq + 1)?;
                    if newer.as_ref().is_none_or(|newer| *newer == path) {
                        self.open = Some((path, reader));
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Opens the file that holds the next line.
    fn begin(&mut self) -> Result<bool, AuditError> {
        if !self.dir.exists() {
            return Ok(false);
        }
        let Some(path) = segment_of(&self.dir, self.last.seq + 1)? else {
            return Ok(false);
        };
        let file = File::open(&path).map_err(|error| AuditError::new(&path, error))?;
        self.open = Some((path, BufReader::with_capacity(1 << 16, file)));
        Ok(true)
    }

    fn judge(&mut self, path: &Path, bytes: &[u8]) -> Result<Option<Line>, AuditError> {
        let wrong = |says: String| AuditError::new(path, says);
        let (read, hash) = line::read(bytes).map_err(|says| {
            wrong(format!(
                "line {} cannot be followed: {says}",
                self.last.seq + 1
            ))
        })?;
        if read.seq <= self.last.seq {
            if read.seq == self.last.seq && hash != self.last.hash {
                return Err(wrong(format!("line {} is not the one it was", read.seq)));
            }
            return Ok(None);
        }
        if read.seq != self.last.seq + 1 || (self.last.seq > 0 && read.prev != self.last.hash) {
            return Err(wrong(format!(
                "line {} does not follow line {} as it was read",
                read.seq, self.last.seq
            )));
        }
        let word = |name: &str| read.event[name].as_str().map(str::to_owned);
        let anchor = Anchor {
            seq: read.seq,
            hash,
        };
        self.last = anchor.clone();
        Ok(Some(Line {
            anchor,
            at: read.at,
            what: word("what").unwrap_or_default(),
            node: word("node"),
            text: String::from_utf8_lossy(bytes).into_owned(),
        }))
    }
}

/// The next whole line without its end. What is not whole is left to be read again.
fn read_line(path: &Path, reader: &mut BufReader<File>) -> Result<Option<Vec<u8>>, AuditError> {
    let failed = |error: std::io::Error| AuditError::new(path, error);
    let begin = reader.stream_position().map_err(failed)?;
    let mut bytes = Vec::new();
    let mut limited = reader.by_ref().take(LONGEST_LINE);
    limited.read_until(b'\n', &mut bytes).map_err(failed)?;
    if bytes.pop_if(|end| *end == b'\n').is_some() {
        return Ok(Some(bytes));
    }
    if bytes.len() as u64 == LONGEST_LINE {
        return Err(AuditError::new(path, "a line has no end"));
    }
    reader.seek(SeekFrom::Start(begin)).map_err(failed)?;
    Ok(None)
}

/// The file a line is in, or will be.
fn segment_of(dir: &Path, seq: u64) -> Result<Option<PathBuf>, AuditError> {
    let mut files = segments(dir)?;
    let after = files.partition_point(|file| first_in(file).is_none_or(|first| first <= seq));
    files.truncate(after);
    Ok(files.pop())
}
