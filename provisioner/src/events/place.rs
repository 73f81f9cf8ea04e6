//! How far has been told: a small file, written after the stream has acknowledged.

use std::path::{Path, PathBuf};

use crate::audit::Anchor;
use crate::whole;

/// The file, in the state folder.
pub(super) fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join("events.json")
}

/// The last line that was told, if any was.
///
/// # Errors
/// What is wrong with the file, and what to do.
pub(super) fn read(file: &Path) -> Result<Option<Anchor>, String> {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let place = serde_json::from_slice(&bytes);
    place.map(Some).map_err(|error| {
        format!(
            "{} does not say how far events were told: {error}. Remove it, and they are told from \
             the beginning of the log",
            file.display()
        )
    })
}

/// Remembers how far has been told.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write(file: &Path, told: &Anchor) -> Result<(), String> {
    let bytes = serde_json::to_vec(told).map_err(|error| error.to_string())?;
    let written = whole::exchange(file, &bytes, 0o600);
    written.map_err(|error| format!("{}: {error}", file.display()))
}
