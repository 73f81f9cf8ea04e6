//! Every scenario that is shipped is one the tool accepts, and opens with its question.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};

use loadgen::scenario;

fn shipped() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_shipped_scenario_is_valid() {
    let files = shipped();
    assert!(
        files.len() >= 2,
        "scenarios/ is not where it was: {files:?}"
    );
    for path in files {
        if let Err(mistakes) = scenario::load(&path, &[]) {
            panic!("{mistakes}");
        }
    }
}

#[test]
fn every_shipped_scenario_opens_with_its_question() {
    for path in shipped() {
        let text = std::fs::read_to_string(&path).unwrap();
        let question: String = text
            .lines()
            .take_while(|line| line.starts_with('#'))
            .collect();
        assert!(question.contains('?'), "{}: {question:?}", path.display());
    }
}

#[test]
fn the_largest_example_is_valid() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hub3-leaf6-50k.toml");
    let scenario = scenario::load(&path, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(scenario.nodes(), 50_000);
    assert_eq!(scenario.fleets[0].nodes, 30_000);
    assert_eq!(scenario.fleets[0].subscriptions(), 5);
}
