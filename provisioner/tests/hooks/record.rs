//! What a conformance run keeps: a line of JSON for each case, figure and skipped test, in the
//! file that `CONFORMANCE_RECORDS` names; nothing where it names none.

use std::io::Write as _;

use serde_json::{Value, json};

/// One way to fail, at one server, and what came of it.
pub(crate) fn case(server: &str, hook: &str, case: &str, wanted: &str, got: &str) {
    write(&json!({"server": server, "hook": hook, "case": case, "wanted": wanted, "got": got}));
}

/// Something measured.
pub(crate) fn figure(figure: &str, value: f64) {
    write(&json!({"figure": figure, "value": value.round()}));
}

/// A test that could not run here, and how to get what it lacks.
pub(crate) fn skipped(test: &str, get: &str) {
    write(&json!({"skipped": test, "get": get}));
}

fn write(record: &Value) {
    let Some(file) = std::env::var_os("CONFORMANCE_RECORDS") else {
        return;
    };
    let file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(file);
    // In one piece: tests run side by side.
    file.unwrap()
        .write_all(format!("{record}\n").as_bytes())
        .unwrap();
}
