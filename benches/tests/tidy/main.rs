//! The house rules that a compiler does not know, as tests.
//!
//! | module | what it guards |
//! |---|---|
//! | [`arrows`] | who may depend on whom, one crypto provider, licences |
//! | [`sources`] | what every source file looks like |
//! | [`pages`] | what README, scenarios and scripts promise |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

mod arrows;
mod pages;
mod sources;

use std::path::{Path, PathBuf};

/// The workspace root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Folders that hold what was built, installed or measured.
const NOT_OURS: [&str; 7] = [
    "target",
    ".git",
    ".tools",
    "runs",
    "up",
    "last-green",
    "__pycache__",
];

/// A file of the project: its path from the root, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

/// Every text file of the project whose path ends with one of `endings`.
fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !NOT_OURS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(Source {
                    text: std::fs::read_to_string(&path)
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                    path: relative(&path),
                });
            }
        }
    }
    assert!(!found.is_empty(), "no file ends with {endings:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn relative(path: &Path) -> String {
    let inside: PathBuf = path.strip_prefix(root()).unwrap().into();
    inside.to_string_lossy().replace('\\', "/")
}

/// Fails with every breach at once: one run tells all there is to mend.
fn no_breaches(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}
