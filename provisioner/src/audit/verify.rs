//! Following the log from its first line to its last.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::key::{Verifier, public_in};
use super::{Anchor, AuditError, line, segments, tail::LONGEST_LINE};

/// What following the log came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// Nothing is wrong.
    pub ok: bool,
    /// Lines that are in order, up to the first that is not.
    pub records: u64,
    /// Checkpoints among them.
    pub checkpoints: u64,
    /// The last good checkpoint: everything up to it is as it was written.
    pub signed: Option<Signed>,
    /// Good lines after it, held by the chain and the ledger alone.
    pub unsigned: u64,
    /// The last good line.
    pub head: Option<Anchor>,
    /// The last line the ledger knows, where it was asked.
    pub ledger: Option<Anchor>,
    /// The first thing that is wrong.
    pub finding: Option<Finding>,
}

/// A good checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Signed {
    /// Its number.
    pub seq: u64,
    /// When it was made.
    pub at: Timestamp,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The number of the record it is about.
    pub record: u64,
    /// The file.
    pub file: PathBuf,
    /// The line in it, counting from 1; 0 where a line is missing.
    pub line: u64,
    /// What is wrong.
    pub says: String,
}

/// Follows the log in `dir`. `public` is a copy of the public key kept elsewhere;
/// the one beside the log is used without it. `ledger` is the last line the ledger knows.
///
/// # Errors
/// The log or the key cannot be read. What is wrong with the log is no error but a
/// [`Finding`].
pub fn verify(
    dir: &Path,
    public: Option<&Path>,
    ledger: Option<Anchor>,
) -> Result<Verdict, AuditError> {
    let key = match public {
        Some(file) => Verifier::load(file)?,
        None => Verifier::load(&public_in(dir))?,
    };
    let mut walk = Walk {
        key,
        verdict: Verdict {
            ledger,
            ..Verdict::default()
        },
        prev: line::NOTHING_BEFORE.to_owned(),
    };
    let files = segments(dir)?;
    for (number, path) in files.iter().enumerate() {
        let newest = number + 1 == files.len();
        if let Some(finding) = walk.file(path, newest)? {
            walk.verdict.finding = Some(finding);
            break;
        }
    }
    Ok(walk.end(dir))
}

struct Walk {
    key: Verifier,
    verdict: Verdict,
    prev: String,
}

impl Walk {
    fn file(&mut self, path: &Path, newest: bool) -> Result<Option<Finding>, AuditError> {
        let failed = |error: std::io::Error| AuditError::new(path, error);
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let mut bytes = Vec::new();
        for number in 1.. {
            bytes.clear();
            let mut limited = reader.by_ref().take(LONGEST_LINE);
            if limited.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                return Ok(None);
            }
            let whole = bytes.pop_if(|last| *last == b'\n').is_some();
            // A kill, or a service at work, in the middle of a line.
            if !whole && newest && (bytes.len() as u64) < LONGEST_LINE {
                return Ok(None);
            }
            if let Err(says) = self.line(&bytes) {
                return Ok(Some(Finding {
                    record: self.verdict.records + 1,
                    file: path.to_path_buf(),
                    line: number,
                    says,
                }));
            }
        }
        Ok(None)
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (read, hash) = line::read(bytes)?;
        let wanted = self.verdict.records + 1;
        if read.seq > wanted {
            let last = read.seq - 1;
            return Err(format!(
                "records {wanted} to {last} are missing: record {} follows",
                read.seq
            ));
        }
        if read.seq < wanted {
            return Err(format!(
                "record {} stands in its place: the order was changed",
                read.seq
            ));
        }
        if read.prev != self.prev {
            return Err(
                "it does not follow the record before it: one of them was replaced".to_owned(),
            );
        }
        self.verdict.records = read.seq;
        self.verdict.unsigned += 1;
        if read.event["what"] == "checkpoint" {
            let text = |name: &str| read.event[name].as_str().unwrap_or_default();
            let judged = self
                .key
                .judge(read.seq, &read.prev, text("key"), text("signature"));
            if let Err(says) = judged {
                self.verdict.records = read.seq - 1;
                return Err(says);
            }
            self.verdict.checkpoints += 1;
            self.verdict.unsigned = 0;
            let (seq, at) = (read.seq, read.at);
            self.verdict.signed = Some(Signed { seq, at });
        }
        if let Some(known) = self
            .verdict
            .ledger
            .as_ref()
            .filter(|known| known.seq == read.seq)
            && known.hash != hash
        {
            return Err(format!(
                "it is not the record the ledger knows, whose hash is {}",
                known.hash
            ));
        }
        self.prev.clone_from(&hash);
        let seq = read.seq;
        self.verdict.head = Some(Anchor { seq, hash });
        Ok(())
    }

    fn end(mut self, dir: &Path) -> Verdict {
        let verdict = &mut self.verdict;
        let known = verdict.ledger.as_ref().map_or(0, |known| known.seq);
        if verdict.finding.is_none() && known > verdict.records {
            verdict.finding = Some(Finding {
                record: verdict.records + 1,
                file: dir.to_path_buf(),
                line: 0,
                says: format!(
                    "the end is missing: the ledger knows {known} records, the log has {}",
                    verdict.records
                ),
            });
        }
        verdict.ok = verdict.finding.is_none();
        self.verdict
    }
}
