//! The words of the line output are part of the product: scripts cut them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use super::*;
use crate::view::sample;

#[test]
fn a_run_is_told_in_stable_words() {
    let mut lines = Lines::default();
    let mut told = lines.next(&sample::enrolling());
    assert!(lines.next(&sample::enrolling()).is_empty(), "told twice");
    told.extend(lines.next(&sample::pinging()));
    insta::assert_snapshot!(told.join("\n"), @r#"
    t=0.4s log=info text="phase enrol begins: 1,000 nodes at 1000/s"
    t=3.0s log=warn text="node-00041: connection lost, attempt 2 [2J"
    t=5.2s stage=running
    t=5.2s phase=connect state=ok took=400ms note=1000/1000
    t=5.2s phase=enrol state=running
    t=5.2s phase=enrol done=512/1000 up=540/1000 confirmed=512 steps=queue:120,inspect:18,csr:31,restart:201,confirm:28 enrolled_per_s=243 errors=0 late=0 cpu=38% lag_p99=0.4ms generator=healthy
    t=10.4s phase=enrol state=ok took=4.9s note=1000/1000
    t=10.4s phase=ping-all state=running
    t=10.4s phase=ping-all done=2/20 up=1000/1000 confirmed=1000 errors=0 late=0 cpu=38% lag_p99=0.4ms generator=healthy
    "#);
}

#[test]
fn a_held_fleet_is_told_once_until_something_changes() {
    let mut lines = Lines::default();
    let mut state = sample::pinging();
    state.stage = Stage::Holding;
    state.log.clear();
    lines.next(&state);
    state.elapsed_us += 5_000_000;
    assert!(lines.next(&state).is_empty());
    state.elapsed_us += 1_000_000;
    let nodes = &mut state.fleets[0].nodes;
    nodes.insert(NodeState::Confirmed, 999);
    nodes.insert(NodeState::Down, 1);
    assert_eq!(lines.next(&state).len(), 1);
}

#[test]
fn a_value_is_one_word_whatever_is_in_it() {
    assert_eq!(value("enrol"), "enrol");
    assert_eq!(value("two words"), "\"two words\"");
    assert_eq!(value("say \"hi\"\n\u{1b}[2J"), "\"say 'hi'  [2J\"");
    assert_eq!(value(""), "\"\"");
}

#[test]
fn lines_that_fell_out_of_the_state_are_not_invented() {
    let mut lines = Lines::default();
    let mut state = sample::enrolling();
    state.log_total = 5_000;
    let told = lines.next(&state);
    let logged = told.iter().filter(|line| line.contains(" log=")).count();
    assert_eq!(logged, state.log.len());
}
