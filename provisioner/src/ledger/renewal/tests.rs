//! What the renewal of a node waits for, who may come, and what stays of a key.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::super::record::Ask;
use super::*;
use crate::judge::CsrReply;

const POLICY: Policy = Policy {
    reprovision: Reprovision::Approval,
    left: 33,
    spread: 50,
    new_key: false,
};
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
const LIFE: SignedDuration = SignedDuration::from_hours(24);

fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minutes)
}

fn enrolled() -> Enrolment {
    let mut node = Enrolment::newcomer(at(0));
    node.state = State::Confirmed;
    node.enrolled_key = Some("k1".to_owned());
    (node.enrolled_from, node.enrolled_until) = (Some(at(0)), Some(at(0) + LIFE));
    node.keeps_key = true;
    node
}

const TERMS: Terms = Terms {
    policy: POLICY,
    validity: LIFE,
    window: WINDOW,
};

fn turn(node: &Enrolment, now: Timestamp) -> Turn {
    node.turn("n1", &TERMS, now)
}

fn waits(node: &Enrolment, now: Timestamp) -> Option<Code> {
    match turn(node, now) {
        Turn::Waits { code, .. } => Some(code),
        _ => None,
    }
}

#[test]
fn a_renewal_waits_for_its_time_then_for_whoever_it_needs() {
    let mut node = enrolled();
    let end = at(0) + LIFE;
    let Turn::Later(moment) = turn(&node, at(0)) else {
        panic!("it is not due at once");
    };
    assert!(POLICY.begin(at(0), end) <= moment && moment < end);
    assert_eq!(turn(&node, moment), Turn::Due { until: end });
    node.token_until = Some(moment + WINDOW);
    assert_eq!(waits(&node, moment), Some(Code::RenewalToken));
    node.approved = true;
    let due = Turn::Due { until: end };
    assert_eq!(turn(&node, moment), due, "who approves has seen to it");
    (node.token_until, node.approved) = (None, false);
    node.keeps_key = false;
    assert_eq!(waits(&node, moment), Some(Code::RenewalApproval));
    node.approved = true;
    assert_eq!(turn(&node, moment), due);
    assert_eq!(
        turn(&node, end),
        Turn::Never,
        "what is over cannot be renewed"
    );
}

#[test]
fn one_renewal_is_open_and_one_in_vain_is_tried_again_later_each_time() {
    let mut node = enrolled();
    let now = at(60 * 20);
    node.renewal = Some(Renewal {
        asked: now,
        closes: now + WINDOW,
        tries: 0,
        lapsed: None,
    });
    assert_eq!(turn(&node, now), Turn::Open);
    assert_eq!(turn(&node, now + WINDOW), Turn::Unused);
    let first = node.ask_again(WINDOW, now).unwrap();
    node.renewal.as_mut().unwrap().tries = 2;
    let third = node.ask_again(WINDOW, now).unwrap();
    assert_eq!(first.duration_since(now), WINDOW);
    assert_eq!(third.duration_since(now), WINDOW * 4);
    node.renewal.as_mut().unwrap().lapsed = Some(Lapse {
        code: Code::RenewalUnused,
        says: String::new(),
        next_try: Some(third),
    });
    assert_eq!(turn(&node, now), Turn::Later(third));
    assert!(matches!(turn(&node, third), Turn::Due { .. }));
    assert_eq!(node.ask_again(WINDOW, at(0) + LIFE), None);
}

#[test]
fn a_name_that_was_claimed_is_renewed_all_the_same() {
    let mut node = enrolled();
    let (end, now) = (at(0) + LIFE, at(60 * 23));
    for &reprovision in Reprovision::ALL {
        node.state = State::Parked;
        node.code = Some(reprovision.code());
        assert_eq!(turn(&node, now), Turn::Due { until: end }, "{reprovision}");
    }
    node.key = Some("k2".to_owned());
    assert_eq!(turn(&node, now), Turn::Never, "it was let in");
    (node.key, node.code) = (None, Some(Code::RpcTimeout));
    assert_eq!(turn(&node, now), Turn::Never, "it is being enrolled");
    (node.code, node.enrolled_key) = (Some(Code::IdentityExists), None);
    assert_eq!(turn(&node, now), Turn::Never, "it is not enrolled");
}

#[test]
fn who_came_and_got_stuck_is_away_until_its_certificate_ends() {
    let mut node = enrolled();
    assert!(!node.is_away(at(1)), "nobody asked it");
    node.ask_back(at(0), at(5));
    assert!(node.is_away(at(4)) && !node.is_away(at(5)), "it stayed");
    for state in [State::Queued, State::Working, State::Parked] {
        node.state = state;
        assert!(node.is_away(at(5)), "{state}");
        assert!(!node.is_away(at(0) + LIFE), "{state}");
    }
    node.code = Some(Code::IdentityExists);
    assert!(!node.is_away(at(5)), "that was somebody else");
    node.code = None;
    node.lapse(&Lapse {
        code: Code::RenewalUnused,
        says: String::new(),
        next_try: None,
    });
    assert!(!node.is_away(at(4)));
}

#[test]
fn the_record_of_a_key_that_is_kept_does_not_grow() {
    let mut key = KeyRecord::of("n1", CsrReply::default());
    for n in 0..100_u32 {
        if n > 0 {
            key.reissue();
        }
        key.asks.push(Ask {
            at: at(n.into()),
            by: "built-in".to_owned(),
            prepared: Some("x".repeat(1_500)),
            settled: false,
        });
        let serial = format!("{n:02}");
        assert!(key.take_down(&serial) && !key.take_down(&serial));
        assert_eq!(key.certificates(), key.wanted());
        assert!(!key.is_signed_twice());
        assert_eq!(key.begun(), Some(at(n.into())));
    }
    assert_eq!((key.asks.len(), key.serials.len()), (2, SERIALS));
    assert!(serde_json::to_vec(&key).unwrap().len() < 4_000);
    key.take_down("another");
    assert!(key.is_signed_twice());
}

#[test]
fn an_open_renewal_lets_in_the_same_key_and_no_other() {
    let mut node = enrolled();
    for reprovision in [
        Reprovision::Never,
        Reprovision::SameKey,
        Reprovision::Approval,
    ] {
        node.renewal = None;
        let policy = Policy {
            reprovision,
            ..POLICY
        };
        let before = policy.passes(node.holding(), "k2", at(0));
        node.renewal = Some(Renewal {
            asked: at(0),
            closes: at(5),
            tries: 0,
            lapsed: None,
        });
        assert!(policy.passes(node.holding(), "k1", at(1)), "{reprovision}");
        assert!(
            policy.passes(node.holding(), "k1", at(9)),
            "{reprovision}: late is not too late"
        );
        assert!(
            !before && !policy.passes(node.holding(), "k2", at(1)),
            "{reprovision}"
        );
        let accepting = Policy {
            new_key: true,
            ..policy
        };
        assert!(accepting.passes(node.holding(), "k2", at(1)));
        assert!(
            !accepting.passes(node.holding(), "k2", at(5)),
            "the window is over"
        );
        node.key = Some("k2".to_owned());
        assert!(
            accepting.passes(node.holding(), "k2", at(5)),
            "it was let in before"
        );
        assert!(
            !accepting.passes(node.holding(), "k3", at(5)),
            "and nobody else"
        );
        assert!(!policy.passes(node.holding(), "k2", at(5)), "{reprovision}");
        node.key = None;
    }
}

proptest! {
    #[test]
    fn a_fleet_of_one_minute_is_spread(left in 1_u8..100, hours in 1_i64..20_000) {
        let policy = Policy { left, ..POLICY };
        let (from, until) = (at(0), at(hours * 60));
        let begin = policy.begin(from, until);
        let half = until.duration_since(begin) / 2;
        let mut first_half = 0;
        for node in 0..200 {
            let moment = policy.moment(&format!("n{node}"), from, until);
            prop_assert!(begin <= moment && moment <= begin + half);
            first_half += usize::from(moment < begin + half / 2);
        }
        prop_assert!((50..150).contains(&first_half), "{first_half} of 200");
    }
}
