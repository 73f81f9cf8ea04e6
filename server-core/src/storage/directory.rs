//! A node's files in a folder on disk: every write goes to a temporary file first, no symbolic link is
//! followed, no name leaves the folder.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::words::UnixTime;

use super::{MAX_FILE, Storage, StorageError, check_name};

/// A symbolic link in the last place is refused.
const O_NOFOLLOW: i32 = nix::fcntl::OFlag::O_NOFOLLOW.bits();

/// Files below one folder.
#[derive(Debug, Clone)]
pub struct DirStorage {
    root: PathBuf,
}

impl DirStorage {
    /// The storage in `root`, which is created (mode 0755) if missing.
    ///
    /// # Errors
    /// When it cannot be created or is no folder.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let root: PathBuf = root.into();
        let failed = |error: std::io::Error| StorageError::new(root.display().to_string(), error);
        fs::create_dir_all(&root).map_err(failed)?;
        let root = root.canonicalize().map_err(failed)?;
        Ok(Self { root })
    }

    fn path(&self, name: &str) -> Result<PathBuf, StorageError> {
        check_name(name)?;
        let path = self.root.join(name);
        // Folders between the root and the file must be real ones.
        let mut folder = path.parent();
        while let Some(at) = folder.filter(|at| *at != self.root) {
            if fs::symlink_metadata(at).is_ok_and(|meta| meta.is_symlink()) {
                return Err(wrong(at, "is a symbolic link: refused"));
            }
            folder = at.parent();
        }
        Ok(path)
    }

    fn write_new(&self, path: &Path, content: &[u8], mode: u32) -> Result<(), StorageError> {
        let temporary = path.with_extension(format!("tmp-{}", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .custom_flags(O_NOFOLLOW)
                .open(&temporary)?;
            file.write_all(content)?;
            // The process's umask must not widen or narrow what was asked for.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            wrong(path, error)
        })
    }

    fn make_folder(&self, folder: &Path) -> Result<(), StorageError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| wrong(folder, error))
    }
}

impl Storage for DirStorage {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        read_file(&self.path(name)?, O_NOFOLLOW)
    }

    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), StorageError> {
        let path = self.path(name)?;
        if let Some(folder) = path.parent() {
            self.make_folder(folder)?;
        }
        self.write_new(&path, content, mode)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(wrong(&path, error)),
            _ => Ok(()),
        }
    }

    fn replace_dir(&self, name: &str, files: &[(String, Vec<u8>)]) -> Result<(), StorageError> {
        let target = self.path(name)?;
        for (file, _) in files {
            check_name(file)?;
        }
        let fresh = self.path(&format!("{name}.new"))?;
        let old = self.path(&format!("{name}.old"))?;
        let failed = |error: std::io::Error| wrong(&target, error);
        remove_tree(&fresh)?;
        remove_tree(&old)?;
        self.make_folder(&fresh)?;
        for (file, content) in files {
            let path = fresh.join(file);
            if let Some(folder) = path.parent() {
                self.make_folder(folder)?;
            }
            self.write_new(&path, content, 0o400)?;
        }
        match fs::rename(&target, &old) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        fs::rename(&fresh, &target).map_err(failed)?;
        remove_tree(&old)
    }

    fn list(&self, name: &str) -> Result<Vec<String>, StorageError> {
        let folder = self.path(name)?;
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|error| wrong(&folder, error))?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| wrong(&folder, error))?;
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                names.extend(entry.file_name().into_string());
            }
        }
        names.sort();
        Ok(names)
    }

    fn describe(&self, name: &str) -> String {
        match name {
            "" => self.root.display().to_string(),
            name => self.root.join(name).display().to_string(),
        }
    }

    fn modified(&self, path: &str) -> Option<i64> {
        let changed = fs::metadata(path).ok()?.modified().ok()?;
        Some(UnixTime::from(changed).secs())
    }

    fn read_outside(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        if !Path::new(path).is_absolute() {
            return Err(StorageError::new(path, "not an absolute path: refused"));
        }
        read_file(Path::new(path), 0)
    }
}

fn read_file(path: &Path, flags: i32) -> Result<Option<Vec<u8>>, StorageError> {
    let file: File = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| wrong(path, error))?,
    };
    let mut content = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut content)
        .map_err(|error| wrong(path, error))?;
    if content.len() as u64 > MAX_FILE {
        return Err(wrong(path, format!("is larger than {MAX_FILE} bytes")));
    }
    Ok(Some(content))
}

fn remove_tree(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(wrong(path, error)),
        _ => Ok(()),
    }
}

fn wrong(path: &Path, why: impl ToString) -> StorageError {
    StorageError::new(path.display().to_string(), why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::super::MemoryStorage;
    use super::*;

    fn behaves(storage: &dyn Storage) {
        assert_eq!(storage.read("server.conf").unwrap(), None);
        storage.write("ssl/private.pem", b"one", 0o600).unwrap();
        storage.write("ssl/private.pem", b"two", 0o600).unwrap();
        assert_eq!(storage.read("ssl/private.pem").unwrap().unwrap(), b"two");
        let path = storage.describe("ssl/private.pem");
        assert_eq!(storage.read_path(&path).unwrap().unwrap(), b"two");
        let files = |names: &[&str]| -> Vec<_> {
            names
                .iter()
                .map(|n| ((*n).to_owned(), n.as_bytes().to_vec()))
                .collect()
        };
        storage
            .replace_dir("policies", &files(&["a.policy", "groups"]))
            .unwrap();
        storage
            .replace_dir("policies", &files(&["b.policy"]))
            .unwrap();
        assert_eq!(storage.list("policies").unwrap(), ["b.policy"]);
        storage.remove("ssl/private.pem").unwrap();
        storage.remove("ssl/private.pem").unwrap();
        assert_eq!(storage.read("ssl/private.pem").unwrap(), None);
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a//b",
            ".",
            "a\0",
            "a\\b",
        ] {
            assert!(storage.write(bad, b"", 0o600).is_err(), "{bad:?}");
            assert!(
                storage
                    .replace_dir("policies", &[(bad.to_owned(), vec![])])
                    .is_err()
            );
        }
        assert_eq!(storage.list("policies").unwrap(), ["b.policy"]);
    }

    #[test]
    fn both_storages_behave_alike() {
        let folder = tempfile::tempdir().unwrap();
        behaves(&DirStorage::open(folder.path().join("node")).unwrap());
        behaves(&MemoryStorage::new("/etc/choria"));
    }

    #[test]
    fn modes_are_exact_and_links_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let storage = DirStorage::open(folder.path().join("node")).unwrap();
        storage.write("ssl/private.pem", b"k", 0o600).unwrap();
        storage.write("ssl/ca.pem", b"c", 0o644).unwrap();
        let mode = |name: &str| {
            fs::metadata(storage.describe(name))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(
            (mode("ssl/private.pem"), mode("ssl/ca.pem"), mode("ssl")),
            (0o600, 0o644, 0o700)
        );
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("f"), "secret").unwrap();
        std::os::unix::fs::symlink(&outside, storage.root.join("link")).unwrap();
        assert!(storage.read("link/f").is_err());
        assert!(storage.write("link/g", b"", 0o600).is_err());
        std::os::unix::fs::symlink(outside.join("f"), storage.root.join("ssl/l")).unwrap();
        assert!(storage.read("ssl/l").is_err());
    }
}
