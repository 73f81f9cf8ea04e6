//! What the tool says of scenarios that are wrong: every mistake, with its place and a way out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use std::path::Path;

use loadgen::scenario::{Assignment, Scenario, load, parse};

/// What is said of a text.
fn said(text: &str) -> String {
    match parse(Path::new("my.toml"), text, &[]) {
        Ok(_) => panic!("this was taken to be right:\n{text}"),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// A scenario that is right, for tests to spoil.
const RIGHT: &str = include_str!("../../scenarios/quickstart.toml");

/// What is said of a right scenario with one thing changed.
fn spoilt(from: &str, to: &str) -> String {
    assert!(
        RIGHT.contains(from),
        "{from} is not in the scenario any more"
    );
    said(&RIGHT.replacen(from, to, 1))
}

#[test]
fn all_mistakes_are_told_at_once() {
    insta::assert_snapshot!(said(include_str!("data/wrong/many.toml")));
}

#[test]
fn what_is_no_toml_is_not_judged_further() {
    insta::assert_snapshot!(said("schema = 1\nname = \"a\"\nname = \"b\"\n[topology\n"));
}

#[test]
fn each_kind_of_mistake_says_what_to_write() {
    let all = [
        spoilt("schema = 1", "schema = 2"),
        spoilt("seed   = 1", "seed   = -1"),
        spoilt("name   = \"quickstart\"", "name   = \"Quick start\""),
        spoilt("wall_time         = \"5m\"", "wall_time         = 5"),
        spoilt(
            "wall_time         = \"5m\"",
            "wall_time         = \"5 parsecs\"",
        ),
        spoilt("rate  = \"1000/s\"", "rate  = 1000"),
        spoilt("rate  = \"1000/s\"", "rate  = \"fast\""),
        spoilt("count = 20", "counts = 20"),
        spoilt("count = 20", "rate = \"5/s\""),
        spoilt("count = 20", ""),
        spoilt("kind  = \"every\"", "kind  = \"ever\""),
        spoilt("model = \"open\"", "model = \"closed\""),
        spoilt("nodes = \"${nodes}\"", "nodes = \"${node}\""),
        spoilt("nodes = \"${nodes}\"", "share = 60"),
        spoilt("nodes = \"${nodes}\"", "share = \"remainder\""),
        spoilt("nodes = 1_000", "nodes = \"many\""),
        spoilt("rack = \"seq:1..40\"", "rack = \"seq:40..1\""),
        spoilt("role = \"provisioning\"", "role = \"production\""),
        spoilt("tls  = \"server\"", "tls  = \"mutual\""),
        spoilt("timeout = \"2m\"", ""),
        spoilt("every = \"confirmed\"", "every = \"confirm\""),
        spoilt("to      = \"all\"", "to      = \"random:2000\""),
        spoilt("to      = \"all\"", "to      = \"fleet:node\""),
        spoilt("to      = \"all\"", "fleet   = \"*\""),
        spoilt("action  = \"echo\"", ""),
        spoilt("enrol.stuck == 0", "enrol.stuk == 0"),
        spoilt("phase = \"enrol\"", "phase = \"enroll\""),
        spoilt(
            "manage = \"local\"\n\n[[fleet]]",
            "manage = \"none\"\n\n[[fleet]]",
        ),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn parameters_keep_their_types() {
    let set = |text: &str| {
        let assignments: Vec<Assignment> = vec![text.parse().unwrap()];
        parse(Path::new("my.toml"), RIGHT, &assignments)
    };
    let nodes = |scenario: Scenario| scenario.nodes();
    assert_eq!(set("nodes=2_000").map(nodes), Ok(2_000));
    let wrong = [set("nodes=many"), set("nodse=5"), set("nodes=0")];
    let wrong: Vec<String> = wrong.map(|result| result.unwrap_err().to_string()).into();
    insta::assert_snapshot!(wrong.join("\n"));
    assert!("nodes".parse::<Assignment>().is_err());
}

#[test]
fn parameters_stand_for_values_and_parts_of_text() {
    let text = RIGHT
        .replacen(
            "nodes = 1_000",
            "nodes = 1_000\nsite = \"ams\"\nshare = 12.5",
            1,
        )
        .replacen(
            "about  = \"1,000 nodes",
            "about  = \"${nodes} nodes in ${site}, $${site}",
            1,
        );
    let scenario = parse(Path::new("my.toml"), &text, &[]).unwrap();
    assert!(
        scenario.about.starts_with("1000 nodes in ams, ${site}"),
        "{}",
        scenario.about
    );
    assert_eq!(scenario.params["share"], 12.5);
}

#[test]
fn sections_can_come_from_other_files() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main.toml");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (head, rest) = RIGHT.split_once("[pace.arrive]").unwrap();
    let (arrive, rest) = rest.split_once("[pace.rounds]").unwrap();
    let head = head.replacen("schema = 1", "schema = 1\ninclude = [\"pace.toml\"]", 1);
    write("main.toml", &format!("{head}[pace.rounds]{rest}"));
    write("pace.toml", &format!("[pace.arrive]{arrive}"));
    let scenario = load(&main, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(scenario.sources.len(), 2);

    // Set twice, wrong inside, not there, and including itself: told with the file it is in.
    write(
        "pace.toml",
        &format!("[pace.arrive]{arrive}\n[pace.rounds]\nmodle = \"open\""),
    );
    let told = load(&main, &[]).unwrap_err().to_string();
    write("main.toml", &head.replace("pace.toml", "gone.toml"));
    let gone = load(&main, &[]).unwrap_err().to_string();
    write("main.toml", &head.replace("pace.toml", "main.toml"));
    let itself = load(&main, &[]).unwrap_err().to_string();
    let all = [told, gone, itself].join("\n");
    insta::assert_snapshot!(all.replace(&folder.path().display().to_string(), "FOLDER"));
}

#[test]
fn an_abort_that_could_never_end_a_run_is_told() {
    let abort = |about: &str, abort: &str| {
        let ask = include_str!("data/ask.toml");
        said(&format!("{ask}\n[[assert]]\n{about}\nabort = {abort}\n"))
    };
    let all = [
        abort(
            "phase = \"ask\"\nthat = [\"ping.missing == 0\"]\nlevel = \"warn\"",
            "{}",
        ),
        abort("that = [\"memory.rss_per_node <= 1MiB\"]", "{}"),
        abort(
            "phase = \"ask\"\nthat = [\"ping.missing == 0\"]",
            "{ grace = \"2s\", lasting = \"1s\" }",
        ),
        abort("that = [\"ping.missing == 0\"]", "{ lasts = \"1s\" }"),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn a_fault_on_links_that_are_not_there_is_told() {
    let fault = |fault: &str| {
        let ask = include_str!("data/ask.toml");
        let cluster = "[[topology.broker]]\nname = \"site\"\nleaf_of = \"hub\"\ncount = 2\n\
                       tls = \"none\"\n\n[provisioner]";
        let text = ask.replace("[provisioner]", cluster).replace(
            "start = \"production\"",
            "start = \"production\"\nattach = \"hub\"",
        );
        said(&format!(
            "{text}\n  [[phase.op]]\n  do = \"fault\"\n  {fault}\n"
        ))
    };
    let regions = |target: &str| {
        let tier = |name: &str| {
            format!("[[topology.broker]]\nname = \"{name}\"\ngateway = \"{name}\"\ncount = 2\n")
        };
        let ask = include_str!("data/ask.toml").replace(
            "[[topology.broker]]\nname = \"hub\"\ntls  = \"none\"\n",
            &(tier("site") + &tier("us")),
        );
        let text = ask.replace(
            "start = \"production\"",
            "start = \"production\"\nattach = \"us\"",
        );
        said(&format!(
            "{text}\n  [[phase.op]]\n  do = \"fault\"\n  kind = \"cut-link\"\n  {target}\n"
        ))
    };
    let all = [
        fault("kind = \"cut-link\"\n  target = \"site-1\"\n  peer = \"site-2\""),
        fault("kind = \"cut-link\"\n  target = \"site-1\"\n  peer = \"hbu-1\""),
        fault("kind = \"cut-link\"\n  target = \"site-1\"\n  latency = \"1s\""),
        fault("kind = \"cut-link\"\n  target = \"site-1\"\n  mode = \"loud\""),
        fault("kind = \"slow-link\"\n  target = \"hub\""),
        fault("kind = \"slow-link\"\n  target = \"hub\"\n  latency = \"2m\""),
        fault("kind = \"slow-link\"\n  target = \"hub\"\n  bandwidth = \"10Mbit\""),
        fault("kind = \"kill\"\n  target = \"hub\"\n  peer = \"site-1\""),
        regions("target = \"site-1\""),
        regions("target = \"site-*\"\n  peer = \"us-1\""),
        said(&format!(
            "{}\n  [[phase.op]]\n  do = \"fault\"\n  kind = \"cut-link\"\n  target = \"hub\"\n",
            include_str!("data/ask.toml")
        )),
    ];
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn renewals_that_could_not_be_are_refused() {
    let renewal = include_str!("../../scenarios/renewal.toml");
    let table = "renewal  = { left = 93, spread = 1, rate = 6_000, at_once = 50, window = \"1m\" }";
    let all = [
        ("validity = \"10m\"", "validity = \"1m\""),
        (
            "validity = \"10m\"",
            "validity = \"10m\"\nhelper = [\"./sign\"]",
        ),
        ("left = 93", "left = 100"),
        ("window = \"1m\"", "window = \"1s\""),
        ("window = \"1m\"", "new_keys = \"accept\""),
        (table, ""),
    ];
    let all = all.map(|(from, to)| {
        assert!(
            renewal.contains(from),
            "{from} is not in the scenario any more"
        );
        said(&renewal.replacen(from, to, 1))
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_has_no_meaning_without_certificates_is_refused() {
    let tokens = include_str!("../../scenarios/server-tokens.toml");
    let all = [
        ("\"tokens\"", "\"token\""),
        ("name = \"hub\"\ntls  = \"server\"", "name = \"hub\""),
        ("count  = \"${provisioners}\"", "helpers = 2"),
        ("start = \"unprovisioned\"", "start = \"production\""),
        ("start = \"unprovisioned\"", "key = \"rsa2048\""),
        ("start = \"unprovisioned\"", "behaviour = \"not-pem\""),
    ];
    let all = all.map(|(from, to)| {
        assert!(
            tokens.contains(from),
            "{from} is not in the scenario any more"
        );
        said(&tokens.replacen(from, to, 1))
    });
    insta::assert_snapshot!(all.join("\n"));
}

/// The provisioner looks for everybody in one collective: what all are in, wherever it stands.
#[test]
fn fleets_that_would_not_be_found_are_refused() {
    let burst = include_str!("../../scenarios/provision-burst-20k.toml");
    let dead = "behaviour = \"dead\"\n";
    assert!(
        burst.contains(dead),
        "{dead} is not in the scenario any more"
    );
    let with = |names: &str| burst.replacen(dead, &format!("{dead}collectives = [{names}]\n"), 1);
    let refused = said(&with("\"us\""));
    assert!(
        refused.contains("fleet `alive` is not in the collective `us`"),
        "{refused}"
    );
    assert!(parse(Path::new("my.toml"), &with("\"us\", \"mcollective\""), &[]).is_ok());
}
