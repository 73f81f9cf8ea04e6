//! The end of the log as a kill may have left it.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
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
