//! The page of a run: made from a small folder that is kept here, from parts of it, from real
//! ones, and from one that would rather be obeyed than shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use loadgen::report::{ReportError, page};
use roxmltree::{Document, ParsingOptions};
use tempfile::TempDir;

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/report")
}

fn copied() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(kept()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// The page as another implementation reads it; it is written as HTML that is also XML.
fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions {
        allow_dtd: true,
        ..ParsingOptions::default()
    };
    let document = Document::parse_with_options(page, options);
    let document = document.unwrap_or_else(|error| panic!("{error}\n{page}"));
    for node in document.descendants() {
        let name = node.tag_name().name();
        assert!(
            !["script", "img", "link", "iframe"].contains(&name),
            "{name}"
        );
        for attribute in node.attributes() {
            let name = attribute.name();
            assert!(!["src", "href"].contains(&name) && !name.starts_with("on"));
        }
        if name == "path" {
            let d = node.attribute("d").unwrap();
            assert!(!d.contains("NaN") && !d.contains("inf"), "{d}");
        }
        if node.attribute("role") == Some("img") {
            let children: Vec<&str> = node
                .children()
                .filter(roxmltree::Node::is_element)
                .map(|child| child.tag_name().name())
                .collect();
            assert_eq!(children[..2], ["title", "desc"]);
        }
    }
    document
}

fn ids(document: &Document<'_>) -> Vec<String> {
    let mut ids: Vec<String> = document
        .descendants()
        .filter_map(|node| node.attribute("id").map(str::to_owned))
        .collect();
    ids.sort();
    ids
}

fn has(document: &Document<'_>, id: &str) -> bool {
    ids(document).iter().any(|known| known == id)
}

#[test]
fn a_run_on_a_page() {
    let page = page(&kept()).unwrap();
    let document = parsed(&page);
    let all = ids(&document);
    let mut once = all.clone();
    once.dedup();
    assert_eq!(all, once, "every id is used once");
    for wanted in [
        "phases",
        "nodes-d",
        "storm-1-d",
        "rounds-0-d",
        "rate-0-d",
        "latency-0-d",
        "broker-memory-d",
        "broker-cpu-d",
        "generator-cpu-d",
        "generator-lag-d",
        "environment",
    ] {
        assert!(has(&document, wanted), "{wanted}");
    }
    assert!(!has(&document, "missing"));
    let body = page.split("</style>").nth(1).unwrap();
    insta::assert_snapshot!(body);
}

#[test]
fn what_is_missing_is_said() {
    for file in [
        "manifest.json",
        "plan.json",
        "verdict.json",
        "summary.json",
        "series.csv",
        "fanout.csv",
        "reconnect.csv",
        "events.ndjson",
        "latency.hlog",
    ] {
        let folder = copied();
        fs::remove_file(folder.path().join(file)).unwrap();
        let page = page(folder.path()).unwrap();
        assert!(has(&parsed(&page), "missing"), "{file}");
        assert!(page.contains(&format!("<code>{file}</code>: it is not there.")));
    }
}

#[test]
fn a_killed_run_is_shown_as_far_as_it_goes() {
    let folder = copied();
    for file in ["verdict.json", "summary.json", "reconnect.csv"] {
        fs::remove_file(folder.path().join(file)).unwrap();
    }
    for file in ["series.csv", "fanout.csv", "latency.hlog", "events.ndjson"] {
        let path = folder.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 12]).unwrap();
    }
    let page = page(folder.path()).unwrap();
    let document = parsed(&page);
    assert!(page.contains("NO VERDICT"));
    assert!(page.contains("cannot be read and are left out"));
    for shown in ["phases", "nodes-d", "rounds-0-d", "broker-memory-d"] {
        assert!(has(&document, shown), "{shown}");
    }
    assert!(page.contains("<b>F1</b> kill hub-2"), "faults as they fell");
}

#[test]
fn nothing_in_a_run_is_obeyed() {
    let folder = copied();
    let hostile = "</title></style><script>alert(1)</script><img src=x onerror=a()>&amp;'";
    let edit = |file: &str, from: &str, to: &str| {
        let path = folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} in {file}");
        fs::write(path, text.replace(from, to)).unwrap();
    };
    for file in ["manifest.json", "plan.json", "summary.json"] {
        edit(file, "storm-small", &format!("{hostile}\\u0000\\u001b[31m"));
    }
    edit("verdict.json", "ping.missing == 0", hostile);
    edit("events.ndjson", "nodes did not answer", hostile);
    edit("fanout.csv", "ping-all", hostile);
    edit("reconnect.csv", "kill hub-2", hostile);
    edit(
        "series.csv",
        "broker=hub-1",
        &format!("broker={}", hostile.replace(' ', "_")),
    );
    edit("series.csv", ",storm,", &format!(",{hostile},"));
    edit("summary.json", "hub-2", hostile);
    let page = page(folder.path()).unwrap();
    let document = parsed(&page);
    let title = document
        .descendants()
        .find(|node| node.has_tag_name("h1"))
        .unwrap();
    assert_eq!(
        title.text().unwrap(),
        format!("{hostile}\u{fffd}\u{fffd}[31m")
    );
}

#[test]
fn a_long_run_is_a_small_page() {
    let folder = copied();
    let mut series = String::from("t,phase,worker,name,labels,value\n");
    for t in 1..3_600u32 {
        let value = t.wrapping_mul(2_654_435_761) % 50_000;
        for worker in 0..4 {
            let state = "nodes,fleet=nodes state=connected";
            writeln!(series, "{t},steady,{worker},{state},{value}").unwrap();
            writeln!(series, "{t},steady,{worker},cpu_pct,,{}", value % 100).unwrap();
            writeln!(series, "{t},steady,{worker},ok,op=steady/event,{value}").unwrap();
        }
        for broker in 0..20 {
            let value = value * (broker + 1);
            writeln!(
                series,
                "{t},steady,,broker.mem_bytes,broker=hub-{broker},{value}"
            )
            .unwrap();
            writeln!(
                series,
                "{t},steady,,broker.cpu_pct,broker=hub-{broker},{value}"
            )
            .unwrap();
        }
    }
    fs::write(folder.path().join("series.csv"), series).unwrap();
    let page = page(folder.path()).unwrap();
    parsed(&page);
    assert!(page.len() < 150_000, "{} bytes", page.len());
    assert!(page.contains("The highest 8 of 20 are drawn."));
}

#[test]
fn kept_runs_can_be_shown() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    let mut shown = 0;
    for entry in fs::read_dir(reference).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join("summary.json").is_file() {
            let page = page(&folder).unwrap();
            assert!(!page.contains("NO VERDICT"), "{}", folder.display());
            parsed(&page);
            shown += 1;
        }
    }
    assert!(shown > 0);
}

#[test]
fn a_folder_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = page(folder.path()).unwrap_err();
    assert!(matches!(refused, ReportError::NotARun(_)), "{refused}");
    let refused = page(&folder.path().join("nowhere")).unwrap_err();
    assert!(matches!(refused, ReportError::Unreadable { .. }));
}

#[test]
fn the_command_writes_the_page() {
    let loadgen = || Command::cargo_bin("loadgen").unwrap();
    let folder = copied();
    let made = loadgen()
        .arg("report")
        .arg(folder.path())
        .assert()
        .success();
    let file = folder.path().join("report.html");
    let said = String::from_utf8(made.get_output().stdout.clone()).unwrap();
    assert_eq!(said.trim(), file.display().to_string());
    let printed = loadgen()
        .args(["report", "--out", "-"])
        .arg(folder.path())
        .assert()
        .success();
    assert_eq!(printed.get_output().stdout, fs::read(&file).unwrap());
    let nowhere = folder.path().join("nowhere");
    let refused = loadgen().arg("report").arg(nowhere).assert().code(2);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("cannot be read"));
}
