//! The one seam through which a node's files go: a directory for a daemon, memory for a swarm node.
//!
//! Names are relative, with `/` between parts: `server.conf`, `provisioning.jwt`, `ssl/private.pem`,
//! `ssl/certificate.pem`, `ssl/ca.pem`, `ssl/csr.pem`, `server.seed`, `server.jwt`,
//! `policies/<agent>.policy`, `policies/groups`, `classes.txt`, `facts.json`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

mod directory;

pub use directory::DirStorage;

/// Files larger than this are refused rather than read: nothing a node keeps comes near it.
pub const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Where a node keeps what it was told. Implementations make each write whole or not at all.
pub trait Storage: Send + Sync {
    /// The content of a file, `None` if there is none.
    ///
    /// # Errors
    /// [`StorageError`], naming the file.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError>;

    /// Writes a file whole, with this Unix mode, making folders as needed.
    ///
    /// # Errors
    /// [`StorageError`], naming the file; the old content stays.
    fn write(&self, name: &str, content: &[u8], mode: u32) -> Result<(), StorageError>;

    /// Removes a file; a missing one is no error.
    ///
    /// # Errors
    /// [`StorageError`], naming the file.
    fn remove(&self, name: &str) -> Result<(), StorageError>;

    /// Replaces everything below a folder by these files (name within the folder, content), mode 0400
    /// in a folder of mode 0700.
    ///
    /// # Errors
    /// [`StorageError`], naming the file.
    fn replace_dir(&self, name: &str, files: &[(String, Vec<u8>)]) -> Result<(), StorageError>;

    /// The names of the files directly in a folder, sorted.
    ///
    /// # Errors
    /// [`StorageError`], naming the folder.
    fn list(&self, name: &str) -> Result<Vec<String>, StorageError>;

    /// The absolute path of a name, as told to others; `""` is the storage's own folder.
    fn describe(&self, name: &str) -> String;

    /// A file named by its absolute path, as configuration and provisioning tokens name them. Paths
    /// below this storage are its own files.
    ///
    /// # Errors
    /// [`StorageError`], naming the file.
    fn read_path(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match path.strip_prefix(&format!("{}/", self.describe(""))) {
            Some(name) => self.read(name),
            None => self.read_outside(path),
        }
    }

    /// When the file of an absolute path was last changed, in seconds since the Unix epoch; `None` where
    /// that is not known.
    fn modified(&self, path: &str) -> Option<i64> {
        let _ = path;
        None
    }

    /// A file that is not below this storage. By default there are none.
    ///
    /// # Errors
    /// [`StorageError`], naming the file.
    fn read_outside(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let _ = path;
        Ok(None)
    }
}

/// A file that cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{path}: {why}")]
pub struct StorageError {
    /// The file.
    pub path: String,
    /// The operating system's reason, or ours.
    pub why: String,
}

impl StorageError {
    fn new(path: impl Into<String>, why: impl ToString) -> Self {
        Self {
            path: path.into(),
            why: why.to_string(),
        }
    }
}

/// Refuses names that would leave their folder, or that differ only by notation.
fn check_name(name: &str) -> Result<(), StorageError> {
    let sound = !name.is_empty()
        && !name.starts_with('/')
        && name.split('/').all(|part| {
            !part.is_empty()
                && part != "."
                && part != ".."
                && !part.contains('\\')
                && !part.bytes().any(|b| b.is_ascii_control())
        });
    if sound {
        Ok(())
    } else {
        Err(StorageError::new(
            name,
            "not a plain relative file name: refused",
        ))
    }
}

/// Files in memory. Content that many nodes have in common can be shared by one [`Arc`].
#[derive(Default)]
pub struct MemoryStorage {
    root: String,
    files: Mutex<Arc<Files>>,
    common: Option<Arc<CommonFiles>>,
}

type Files = BTreeMap<Arc<str>, Arc<[u8]>>;

/// What the nodes of a fleet are all sent, kept once: policies and trust anchors. Anything else is a
/// node's own, private keys above all, and never comes here.
pub struct CommonFiles(Mutex<LruCache<Arc<[u8]>, ()>>);

/// Different contents kept; a fleet has a handful.
const COMMON: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);

impl Default for CommonFiles {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(COMMON)))
    }
}

impl CommonFiles {
    fn keep(&self, content: &[u8]) -> Arc<[u8]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((same, ())) = known.get_key_value(content) {
            return Arc::clone(same);
        }
        let fresh = Arc::<[u8]>::from(content);
        known.put(Arc::clone(&fresh), ());
        fresh
    }
}

impl MemoryStorage {
    /// An empty storage that describes itself as `root`, such as `/etc/choria`.
    #[must_use]
    pub fn new(root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            files: Mutex::default(),
            common: None,
        }
    }

    /// The same for one of many, who keep what they have in common once.
    #[must_use]
    pub fn with_common(root: impl Into<String>, common: Arc<CommonFiles>) -> Self {
        Self {
            common: Some(common),
            ..Self::new(root)
        }
    }

    /// Another storage with the same files, which takes no room until one of the two changes.
    #[must_use]
    pub fn copy(&self, root: impl Into<String>) -> Self {
        Self {
            root: root.into(),
            files: Mutex::new(Arc::clone(&self.files())),
            common: self.common.clone(),
        }
    }

    fn content(&self, name: &str, content: &[u8]) -> Arc<[u8]> {
        let is_common = name == "ssl/ca.pem" || name.starts_with("policies/");
        match &self.common {
            Some(common) if is_common => common.keep(content),
            _ => Arc::from(content),
        }
    }

    /// Puts a file in place without copying: a relative name, or the absolute path of a file outside.
    pub fn insert(&self, name: impl Into<Arc<str>>, content: Arc<[u8]>) {
        Arc::make_mut(&mut *self.files()).insert(name.into(), content);
    }

    fn files(&self) -> MutexGuard<'_, Arc<Files>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StorageError> {
        check_name(name)?;
        Ok(self.files().get(name).map(|content| content.to_vec()))
    }

    fn write(&self, name: &str, content: &[u8], _mode: u32) -> Result<(), StorageError> {
        check_name(name)?;
        let content = self.content(name, content);
        self.insert(name, content);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        check_name(name)?;
        Arc::make_mut(&mut *self.files()).remove(name);
        Ok(())
    }

    fn replace_dir(&self, name: &str, files: &[(String, Vec<u8>)]) -> Result<(), StorageError> {
        check_name(name)?;
        for (file, _) in files {
            check_name(file)?;
        }
        let below = format!("{name}/");
        let mut stored = self.files();
        let stored = Arc::make_mut(&mut *stored);
        stored.retain(|path, _| !path.starts_with(&below));
        for (file, content) in files {
            let name = format!("{below}{file}");
            let content = self.content(&name, content);
            stored.insert(name.into(), content);
        }
        Ok(())
    }

    fn list(&self, name: &str) -> Result<Vec<String>, StorageError> {
        check_name(name)?;
        let below = format!("{name}/");
        Ok(self
            .files()
            .keys()
            .filter_map(|path| path.strip_prefix(&below))
            .filter(|file| !file.contains('/'))
            .map(str::to_owned)
            .collect())
    }

    fn describe(&self, name: &str) -> String {
        match name {
            "" => self.root.clone(),
            name => format!("{}/{name}", self.root),
        }
    }

    fn read_outside(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.files().get(path).map(|content| content.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{Arc, MemoryStorage, Storage as _};

    #[test]
    fn a_copy_shares_content_and_changes_alone() {
        let first = MemoryStorage::new("/etc/choria");
        first.insert("server.conf", Arc::from(&b"one"[..]));
        let second = first.copy("/etc/other");
        assert!(Arc::ptr_eq(&first.files(), &second.files()));
        second.write("server.conf", b"two", 0o400).unwrap();
        second.write("more", b"", 0o400).unwrap();
        let read = |storage: &MemoryStorage, name| storage.read(name).unwrap();
        assert_eq!(read(&first, "server.conf").unwrap(), b"one");
        assert_eq!(read(&second, "server.conf").unwrap(), b"two");
        assert_eq!(read(&first, "more"), None);
        assert_eq!(second.describe("more"), "/etc/other/more");
        first.remove("server.conf").unwrap();
        assert!(read(&second, "server.conf").is_some());
    }
}
