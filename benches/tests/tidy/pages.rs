//! What README, scenarios and scripts promise is there.

use std::collections::BTreeSet;

use crate::{files, no_breaches, root};

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The targets of the Makefile that explain themselves.
fn make_targets() -> BTreeSet<String> {
    read("Makefile")
        .lines()
        .filter(|line| line.contains(": ## "))
        .filter_map(|line| line.split(':').next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_make_command_in_the_pages_exists() {
    let targets = make_targets();
    assert!(targets.contains("demo") && targets.contains("test"));
    let command = regex::Regex::new(r"(?m)(?:`|^\$ |^)make ([a-z]+)").unwrap();
    let mut breaches = Vec::new();
    for page in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", ".ci/run"] {
        for found in command.captures_iter(&read(page)) {
            if !targets.contains(&found[1]) {
                breaches.push(format!("{page}: make {}", &found[1]));
            }
        }
    }
    no_breaches("commands that are not in the Makefile:", &breaches);
}

#[test]
fn every_file_the_pages_link_to_exists() {
    let link = regex::Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").unwrap();
    let mut breaches = Vec::new();
    for page in files(&[".md"]) {
        let folder = root().join(&page.path).parent().unwrap().to_path_buf();
        for found in link.captures_iter(&page.text) {
            if !folder.join(&found[1]).exists() {
                breaches.push(format!("{}: {}", page.path, &found[1]));
            }
        }
    }
    no_breaches("links to nowhere:", &breaches);
}

#[test]
fn scenarios_open_with_the_question_they_answer() {
    let breaches: Vec<String> = files(&[".toml"])
        .iter()
        .filter(|source| source.path.starts_with("scenarios/"))
        .filter(|source| {
            let first = source.text.lines().next().unwrap_or_default();
            !(first.starts_with("# ") && first.ends_with('?'))
        })
        .map(|source| source.path.clone())
        .collect();
    no_breaches("scenarios without a question in line 1:", &breaches);
}

#[test]
fn scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let scripts = [".ci/run", "tools/bootstrap", "tools/step", "tools/lint"];
    let breaches: Vec<String> = scripts
        .iter()
        .filter(|script| {
            let mode = std::fs::metadata(root().join(script)).map(|meta| meta.permissions().mode());
            !mode.is_ok_and(|mode| mode & 0o111 != 0) || !read(script).starts_with("#!")
        })
        .map(|script| (*script).to_owned())
        .collect();
    no_breaches("scripts that do not run:", &breaches);
}

#[test]
fn ci_runs_what_a_developer_runs() {
    assert!(read(".ci/run").contains("make test"));
}
