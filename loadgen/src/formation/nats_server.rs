//! The nats-server program: where it is, and whether it is new enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// The oldest version whose behaviour the formations rely on.
pub const OLDEST: Version = Version(2, 10);

/// Major and minor version of nats-server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u32, pub u32);

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// There is no nats-server to use.
#[derive(Debug, Error)]
pub enum NatsServerError {
    /// None of the usual places has it.
    #[error(
        "nats-server was not found (looked at {looked_at}): `tools/bootstrap` installs one into .tools/, \
         or name one with --nats-server PATH"
    )]
    Missing {
        /// The places that were tried.
        looked_at: String,
    },
    /// The named program is not there or does not run.
    #[error("nats-server {path} does not run: {why}; name another with --nats-server PATH", path = .path.display())]
    NotRunnable {
        /// The program.
        path: PathBuf,
        /// What happened instead.
        why: String,
    },
    /// It runs, and says something that is not a version.
    #[error("{path} is not a nats-server: `--version` printed {said:?}", path = .path.display())]
    NotNats {
        /// The program.
        path: PathBuf,
        /// What it printed.
        said: String,
    },
    /// It is too old.
    #[error(
        "nats-server {path} is version {found}, and {OLDEST} or newer is needed: \
         `tools/bootstrap` installs one into .tools/, or name another with --nats-server PATH",
        path = .path.display()
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
    },
}

/// A nats-server that was found, runs and is new enough.
#[derive(Clone, Debug)]
pub struct NatsServer {
    /// The program.
    pub path: PathBuf,
    /// Its version as it says it, without the `v`.
    pub version: String,
}

impl NatsServer {
    /// Finds nats-server: `named`, `$NATS_SERVER`, `.tools/nats-server` in this folder, one of its
    /// parents or one of the program's, `$PATH`; and asks for its version.
    ///
    /// # Errors
    /// When there is none, or the first one found cannot be used.
    pub fn find(named: Option<&Path>) -> Result<Self, NatsServerError> {
        let from_environment = std::env::var_os("NATS_SERVER").map(PathBuf::from);
        if let Some(path) = named.map(Path::to_owned).or(from_environment) {
            return Self::examine(&path);
        }
        let candidate = in_tools().or_else(in_path);
        match candidate {
            Some(path) => Self::examine(&path),
            None => Err(NatsServerError::Missing {
                looked_at: "$NATS_SERVER, .tools/nats-server, $PATH".to_owned(),
            }),
        }
    }

    fn examine(path: &Path) -> Result<Self, NatsServerError> {
        let path = path.to_owned();
        let output = match Command::new(&path).arg("--version").output() {
            Ok(output) => output,
            Err(error) => {
                let why = error.to_string();
                return Err(NatsServerError::NotRunnable { path, why });
            }
        };
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let Some((found, version)) = parse_version(&said) else {
            return Err(NatsServerError::NotNats { path, said });
        };
        if version < OLDEST {
            return Err(NatsServerError::TooOld { path, found });
        }
        Ok(Self {
            path,
            version: found,
        })
    }
}

/// `nats-server: v2.15.1` → `2.15.1` and its first two numbers.
fn parse_version(said: &str) -> Option<(String, Version)> {
    let full = said.strip_prefix("nats-server: v")?.trim();
    let mut numbers = full.split('.');
    let major = numbers.next()?.parse().ok()?;
    let minor = numbers.next()?.parse().ok()?;
    Some((full.to_owned(), Version(major, minor)))
}

fn in_tools() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    [here, program]
        .into_iter()
        .flatten()
        .flat_map(|start| {
            let folders: Vec<PathBuf> = start.ancestors().map(Path::to_owned).collect();
            folders
        })
        .map(|folder| folder.join(".tools/nats-server"))
        .find(|path| path.is_file())
}

fn in_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("nats-server"))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    #[test]
    fn versions_are_read_as_nats_server_prints_them() {
        let read = |said| parse_version(said).map(|(full, version)| (full, version >= OLDEST));
        assert_eq!(
            read("nats-server: v2.15.1"),
            Some(("2.15.1".to_owned(), true))
        );
        assert_eq!(
            read("nats-server: v2.9.25-RC.1"),
            Some(("2.9.25-RC.1".to_owned(), false))
        );
        assert_eq!(read("gnatsd 1.4"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn a_named_server_that_cannot_be_used_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let script = |name: &str, says: &str| {
            use std::os::unix::fs::PermissionsExt as _;
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\necho '{says}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let examine = |path: &Path| NatsServer::find(Some(path)).unwrap_err();
        let missing = examine(&folder.path().join("nowhere"));
        assert!(
            matches!(missing, NatsServerError::NotRunnable { .. }),
            "{missing}"
        );
        let old = examine(&script("old", "nats-server: v2.9.10"));
        assert!(
            old.to_string().contains("2.9.10") && old.to_string().contains("2.10 or newer"),
            "{old}"
        );
        let other = examine(&script("other", "hello"));
        assert!(matches!(other, NatsServerError::NotNats { .. }), "{other}");
    }
}
