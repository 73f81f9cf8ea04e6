//! Every source file says what it is, fits the eye, and is finished.

use crate::{Source, files, no_breaches};

/// Lines of a file before its tests; beyond that it is two files.
const MOST_LINES: usize = 400;

/// Files that may be longer, each with its reason. None so far.
const LONGER: [(&str, &str); 0] = [];

/// Marks of unfinished work; put together here so that this file is clean.
fn unfinished() -> [String; 5] {
    [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["XX", "X"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
    ]
}

/// Folders that exist on somebody's machine only.
fn somebodys_folders() -> [String; 4] {
    ["home", "root", "Users", "work"].map(|folder| format!("/{folder}/"))
}

fn is_test(source: &Source) -> bool {
    source.path.contains("/tests/") || source.path.ends_with("/tests.rs")
}

/// The lines of a file before its test module.
fn product_lines(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    (0..lines.len())
        .find(|&at| {
            lines[at].starts_with("#[cfg(test)]")
                && lines[at + 1..]
                    .iter()
                    .find(|line| !line.starts_with("#["))
                    .is_some_and(|line| line.starts_with("mod "))
        })
        .unwrap_or(lines.len())
}

#[test]
fn every_file_says_what_it_is() {
    let breaches: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|source| !source.text.starts_with("//! "))
        .map(|source| source.path.clone())
        .collect();
    no_breaches("files that do not open with `//!`:", &breaches);
}

#[test]
fn files_fit_the_eye() {
    let breaches: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|source| !is_test(source))
        .filter(|source| LONGER.iter().all(|(path, _)| *path != source.path))
        .map(|source| (product_lines(&source.text), &source.path))
        .filter(|(lines, _)| *lines > MOST_LINES)
        .map(|(lines, path)| format!("{path}: {lines} lines, at most {MOST_LINES}"))
        .collect();
    no_breaches("files that are two files:", &breaches);
}

#[test]
fn the_module_tree_has_one_style() {
    let breaches: Vec<String> = files(&[".rs"])
        .iter()
        .filter(|source| source.path.ends_with("/mod.rs") && !is_test(source))
        .map(|source| source.path.clone())
        .collect();
    no_breaches("`foo.rs` beside `foo/`, never `foo/mod.rs`:", &breaches);
}

#[test]
fn nothing_is_left_half_done() {
    let mut breaches = Vec::new();
    for source in files(&[".rs", ".py", ".toml", ".md", "Makefile"]) {
        for (number, line) in source.text.lines().enumerate() {
            if let Some(mark) = unfinished().iter().find(|mark| has_word(line, mark)) {
                breaches.push(format!("{}:{}: {mark}", source.path, number + 1));
            }
        }
    }
    no_breaches("unfinished work:", &breaches);
}

/// Whether `word` stands in `line` on its own, not as part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !joined(line[..at].chars().next_back())
            && (word.ends_with('(') || !joined(line[at + word.len()..].chars().next()))
    })
}

#[test]
fn no_file_knows_somebodys_machine() {
    let mut breaches = Vec::new();
    let endings = [".rs", ".py", ".toml", ".md", ".sh", "Makefile", "run"];
    for source in files(&endings) {
        for (number, line) in source.text.lines().enumerate() {
            for folder in somebodys_folders() {
                let starts_there = line.match_indices(&folder).any(|(at, _)| {
                    !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c))
                });
                if starts_there {
                    breaches.push(format!("{}:{}: {folder}", source.path, number + 1));
                }
            }
        }
    }
    no_breaches("paths of one machine:", &breaches);
}

#[test]
fn the_counting_of_lines_stops_at_the_tests() {
    let text = "//! x\nfn a() {}\n\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n}\n";
    assert_eq!(product_lines(text), 3);
    assert_eq!(product_lines("//! x\n#[cfg(test)]\nfn a() {}\n"), 3);
    assert!(has_word(&["// ", "TO", "DO: x"].concat(), &unfinished()[0]));
    assert!(!has_word("MAXTODOS", &unfinished()[0]));
}
