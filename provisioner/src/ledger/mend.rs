//! What may be done about a damaged file before it is opened, and what may not.

use std::fs;
use std::path::Path;

use super::store::LedgerError;

/// The file grows by whole pages of this size.
const PAGE_BYTES: u64 = 4_096;

/// Takes off what a write that was cut short left behind the last whole page: nothing that was
/// committed can be in there. A file that lost everything is not taken for a new one.
pub(super) fn mend(file: &Path, audit: &Path) -> Result<(), LedgerError> {
    let failed = |error: std::io::Error| LedgerError::File {
        says: error.to_string(),
        file: file.to_path_buf(),
    };
    let Ok(metadata) = fs::metadata(file) else {
        return Ok(());
    };
    // Nothing is told in the audit log before the file has its first page.
    let told = fs::read_dir(audit).is_ok_and(|mut lines| lines.next().is_some());
    if metadata.len() == 0 && told {
        let says = "it is empty, and the audit log beside it is not: what it held is lost. Put back \
                    a copy of it, or remove it to begin anew; nodes that are enrolled would then \
                    get another certificate when they come back";
        return Err(failed(std::io::Error::other(says)));
    }
    let surplus = metadata.len() % PAGE_BYTES;
    if surplus > 0 && metadata.len() > PAGE_BYTES {
        tracing::warn!(file = %file.display(), surplus, "a torn end is taken off the ledger");
        let open = fs::File::options().write(true).open(file);
        let cut = open.and_then(|open| {
            open.set_len(metadata.len() - surplus)?;
            open.sync_all()
        });
        cut.map_err(failed)?;
    }
    Ok(())
}
