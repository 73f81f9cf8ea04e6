//! The end of the log as a kill, or somebody, may have left it.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::{Anchor, AuditError, line, segments};

/// Longest line that is read.
pub(super) const LONGEST_LINE: u64 = 1 << 20;

/// Where to go on.
#[derive(Debug)]
pub(super) struct Tail {
    /// The last line; number 0 when there is none.
    pub(super) head: Anchor,
    /// The file to append to and its length up to its last whole line.
    pub(super) last: Option<(std::path::PathBuf, u64)>,
    /// Bytes of an unfinished line behind that.
    pub(super) torn: u64,
}

/// Finds the last whole line.
pub(super) fn find(dir: &Path) -> Result<Tail, AuditError> {
    let mut tail = Tail {
        head: Anchor {
            seq: 0,
            hash: line::NOTHING_BEFORE.to_owned(),
        },
        last: None,
        torn: 0,
    };
    for path in segments(dir)?.into_iter().rev() {
        let failed = |error: &dyn std::fmt::Display| AuditError::new(&path, error);
        let mut file = File::open(&path).map_err(|e| failed(&e))?;
        let length = file.metadata().map_err(|e| failed(&e))?.len();
        let from = length.saturating_sub(2 * LONGEST_LINE);
        file.seek(SeekFrom::Start(from)).map_err(|e| failed(&e))?;
        let mut bytes = Vec::new();
        file.take(2 * LONGEST_LINE)
            .read_to_end(&mut bytes)
            .map_err(|e| failed(&e))?;
        let whole = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        // Only the newest file can end in the middle of a line.
        if tail.last.is_none() {
            tail.torn = (bytes.len() - whole) as u64;
            tail.last = Some((path.clone(), from + whole as u64));
        }
        let Some(end) = whole.checked_sub(1) else {
            continue;
        };
        let begin = bytes[..end]
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        let (read, hash) = line::read(&bytes[begin..end]).map_err(|says| {
            failed(&format!(
                "its last line cannot be followed: {says}; see `provisioner audit verify`"
            ))
        })?;
        tail.head = Anchor {
            seq: read.seq,
            hash,
        };
        break;
    }
    Ok(tail)
}

/// Follows the lines from the one the ledger knows to the last. The outer error is that they
/// cannot be read, the inner one says what is wrong with them.
pub(super) fn follow(
    dir: &Path,
    anchor: &Anchor,
    last: u64,
) -> Result<Result<(), String>, AuditError> {
    let files = segments(dir)?;
    let after = files.partition_point(|file| first_in(file).is_none_or(|n| n <= anchor.seq));
    let begin = after.saturating_sub(1);
    let mut next = files.get(begin).and_then(|f| first_in(f)).unwrap_or(1);
    let mut known: Option<Anchor> = None;
    for path in files.iter().skip(begin) {
        let failed = |error: std::io::Error| AuditError::new(path, error);
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path).map_err(failed)?);
        let mut bytes = Vec::new();
        while next <= last {
            bytes.clear();
            let mut limited = reader.by_ref().take(LONGEST_LINE);
            if limited.read_until(b'\n', &mut bytes).map_err(failed)? == 0 {
                break;
            }
            if next >= anchor.seq {
                bytes.pop_if(|end| *end == b'\n');
                match succeed(&bytes, next, anchor, known.as_ref()) {
                    Ok(line) => known = Some(line),
                    Err(says) => return Ok(Err(format!("line {next} {says}"))),
                }
            }
            next += 1;
        }
    }
    if next <= last {
        return Ok(Err(format!("line {next} is not where it should be")));
    }
    Ok(Ok(()))
}

/// A line as the successor of the one before it, or as the one the ledger knows.
fn succeed(
    bytes: &[u8],
    seq: u64,
    anchor: &Anchor,
    before: Option<&Anchor>,
) -> Result<Anchor, String> {
    let (read, hash) = line::read(bytes).map_err(|says| format!("cannot be followed: {says}"))?;
    if read.seq != seq {
        return Err(format!("is not there: {} stands in its place", read.seq));
    }
    let wanted = match before {
        Some(before) => read.prev == before.hash,
        None => hash == anchor.hash,
    };
    if !wanted {
        return Err(match before {
            Some(_) => "does not follow the one before it".to_owned(),
            None => "is not the one the ledger knows".to_owned(),
        });
    }
    Ok(Anchor { seq, hash })
}

/// The number of the first line of a file, by its name.
pub(super) fn first_in(file: &Path) -> Option<u64> {
    file.file_stem()?.to_str()?.parse().ok()
}
