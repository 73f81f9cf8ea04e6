//! The page of the rules is complete and tells nothing that is not there.

use std::collections::BTreeSet;
use std::path::Path;

use provisioner::code::Code;

const PAGE: &str = include_str!("../../../docs/rules.md");

/// Every source of the workspace, as one text.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut text = String::new();
    let mut folders: Vec<_> = [
        "provisioner/src",
        "provisioner/tests",
        "server-core/src",
        "server-core/tests",
    ]
    .map(|folder| root.join(folder))
    .into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    text
}

fn rows() -> Vec<Vec<&'static str>> {
    PAGE.lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| rule"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

#[test]
fn every_rule_has_its_line() {
    let numbers: Vec<_> = rows()
        .iter()
        .map(|row| row[0].parse::<u32>().unwrap())
        .collect();
    assert_eq!(numbers, (1..=57).collect::<Vec<_>>());
}

#[test]
fn every_code_is_on_the_page_and_no_other() {
    let is_code = |word: &&str| {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        word.split_once('.').is_some_and(|(a, b)| {
            !a.is_empty() && !b.is_empty() && a.chars().chain(b.chars()).all(plain)
        })
    };
    let named: BTreeSet<_> = PAGE.split('`').skip(1).step_by(2).filter(is_code).collect();
    let there: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(named, there);
}

#[test]
fn every_test_on_the_page_is_there() {
    let sources = sources();
    for row in rows() {
        for test in row[4]
            .split(',')
            .map(str::trim)
            .filter(|test| !test.is_empty())
        {
            assert!(
                sources.contains(&format!("fn {test}(")),
                "rule {}: {test}",
                row[0]
            );
        }
    }
}

/// A code nobody gives is a promise nobody keeps; the page says so of these.
#[test]
fn every_code_is_given_somewhere() {
    let not_yet = [
        "TokenUsed",
        "TokenExpired",
        "TokenScope",
        "ProvUntrusted",
        "LeaseLost",
    ];
    let sources = sources();
    for code in Code::ALL {
        let name = format!("{code:?}");
        let given = sources.contains(&format!("Code::{name}"));
        assert!(given || not_yet.contains(&name.as_str()), "{name}");
    }
}
