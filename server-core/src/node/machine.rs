//! The life of a node as a pure state machine: a state and an input give a state and effects.
//!
//! ```text
//! Loading -> Connecting -> Subscribing -> Waiting -> Serving -> Leaving -> Closing -> Loading | Done
//! ```

use std::time::Duration;

use super::{Ended, Mode};
use crate::agents::Next;

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Reading its storage.
    Loading,
    /// Dialling.
    Connecting(Mode),
    /// Connected, making subscriptions.
    Subscribing(Mode),
    /// Subscribed and answering, not announced yet.
    Waiting(Mode),
    /// Announced and answering.
    Serving(Mode),
    /// Answering until the promised delay is over.
    Leaving { mode: Mode, then: Then },
    /// Ending the connection.
    Closing(Then),
    /// Over.
    Done,
}

/// What follows the end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Restart,
    End(Ended),
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Storage was read; it leads to this mode.
    Loaded(Mode),
    /// The connection is up.
    Connected,
    /// The subscriptions are made.
    Subscribed,
    /// The node may announce itself.
    Permitted,
    /// An answer promised to leave.
    Promised(Next),
    /// The promised delay is over.
    DelayOver,
    /// The connection is ended.
    Closed,
    /// The owner wants the node to stop.
    StopAsked,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Read the storage and decide; answer with [`Input::Loaded`].
    Load,
    /// Connect; answer with [`Input::Connected`].
    Dial(Mode),
    /// Subscribe; answer with [`Input::Subscribed`].
    Subscribe,
    /// Wait until the node may announce itself; answer with [`Input::Permitted`].
    AwaitPermission,
    /// Publish the startup event.
    Announce,
    /// Wait; answer with [`Input::DelayOver`].
    Delay(Duration),
    /// Publish the shutdown event.
    SayGoodbye,
    /// End the connection; answer with [`Input::Closed`].
    Close,
    /// End the run.
    Finish(Ended),
}

impl State {
    /// What follows. Inputs that mean nothing in a state change nothing.
    pub(super) fn step(self, input: Input) -> (Self, Vec<Effect>) {
        use Effect::{
            Announce, AwaitPermission, Close, Delay, Dial, Finish, Load, SayGoodbye, Subscribe,
        };
        use State::{Closing, Connecting, Done, Leaving, Loading, Serving, Subscribing, Waiting};

        let stopped = Then::End(Ended::Stopped);
        match (self, input) {
            (Loading, Input::Loaded(mode)) => (Connecting(mode), vec![Dial(mode)]),
            (Connecting(mode), Input::Connected) => (Subscribing(mode), vec![Subscribe]),
            (Subscribing(mode), Input::Subscribed) => (Waiting(mode), vec![AwaitPermission]),
            (Waiting(mode), Input::Permitted) => (Serving(mode), vec![Announce]),
            // A sweep may find and enrol a node that has not announced itself.
            (Waiting(mode) | Serving(mode), Input::Promised(next)) => {
                let (then, delay) = match next {
                    Next::Restart(delay) => (Then::Restart, delay),
                    Next::Shutdown(delay) => (Then::End(Ended::ShutDown), delay),
                };
                (Leaving { mode, then }, vec![Delay(delay)])
            }
            // The shutdown event of a restart was published with its answer.
            (
                Leaving {
                    then: Then::Restart,
                    ..
                },
                Input::DelayOver,
            ) => (Closing(Then::Restart), vec![Close]),
            (Leaving { then, .. }, Input::DelayOver) => (Closing(then), vec![SayGoodbye, Close]),
            (Loading | Connecting(_), Input::StopAsked) => (Done, vec![Finish(Ended::Stopped)]),
            (Subscribing(_) | Waiting(_), Input::StopAsked) => (Closing(stopped), vec![Close]),
            (
                Leaving {
                    then: Then::Restart,
                    ..
                },
                Input::StopAsked,
            ) => (Closing(stopped), vec![Close]),
            (Serving(_) | Leaving { .. }, Input::StopAsked) => {
                (Closing(stopped), vec![SayGoodbye, Close])
            }
            (Closing(Then::Restart), Input::StopAsked) => (Closing(stopped), vec![]),
            (Closing(Then::Restart), Input::Closed) => (Loading, vec![Load]),
            (Closing(Then::End(how)), Input::Closed) => (Done, vec![Finish(how)]),
            (state, _) => (state, vec![]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROVISIONING: Mode = Mode::Provisioning;

    fn walk(inputs: &[Input]) -> (State, Vec<Effect>) {
        let mut all = Vec::new();
        let mut state = State::Loading;
        for input in inputs {
            let (next, effects) = state.step(*input);
            state = next;
            all.extend(effects);
        }
        (state, all)
    }

    #[test]
    fn enrolment_restarts_from_storage_with_one_shutdown_event_only() {
        let delay = Duration::from_secs(2);
        let (state, effects) = walk(&[
            Input::Loaded(PROVISIONING),
            Input::Connected,
            Input::Subscribed,
            Input::Permitted,
            Input::Promised(Next::Restart(delay)),
            Input::Promised(Next::Shutdown(delay)),
            Input::DelayOver,
            Input::Closed,
            Input::Loaded(Mode::Production),
        ]);
        assert_eq!(state, State::Connecting(Mode::Production));
        assert_eq!(
            effects,
            [
                Effect::Dial(PROVISIONING),
                Effect::Subscribe,
                Effect::AwaitPermission,
                Effect::Announce,
                Effect::Delay(delay),
                Effect::Close,
                Effect::Load,
                Effect::Dial(Mode::Production),
            ]
        );
    }

    #[test]
    fn a_shutdown_says_goodbye_and_ends() {
        let (state, effects) = walk(&[
            Input::Loaded(PROVISIONING),
            Input::Connected,
            Input::Subscribed,
            Input::Promised(Next::Shutdown(Duration::ZERO)),
            Input::DelayOver,
            Input::Closed,
        ]);
        assert_eq!(state, State::Done);
        assert_eq!(
            effects[effects.len() - 3..],
            [
                Effect::SayGoodbye,
                Effect::Close,
                Effect::Finish(Ended::ShutDown)
            ]
        );
    }

    fn any_input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Loaded(PROVISIONING)),
            Just(Input::Loaded(Mode::Production)),
            Just(Input::Connected),
            Just(Input::Subscribed),
            Just(Input::Permitted),
            Just(Input::Promised(Next::Restart(Duration::from_secs(2)))),
            Just(Input::Promised(Next::Shutdown(Duration::ZERO))),
            Just(Input::DelayOver),
            Just(Input::Closed),
            Just(Input::StopAsked),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens_a_stop_ends_it(inputs in proptest::collection::vec(any_input(), 0..40)) {
            let (mut state, _) = walk(&inputs);
            let mut last = Vec::new();
            for input in [Input::StopAsked, Input::Closed] {
                let (next, effects) = state.step(input);
                state = next;
                last.extend(effects);
            }
            prop_assert_eq!(state, State::Done);
        }

        #[test]
        fn every_connection_is_closed_before_the_next(inputs in proptest::collection::vec(any_input(), 0..60)) {
            let mut open = false;
            for effect in walk(&inputs).1 {
                match effect {
                    Effect::Subscribe => { prop_assert!(!open); open = true; }
                    Effect::Close => { prop_assert!(open); open = false; }
                    Effect::Load | Effect::Finish(_) => prop_assert!(!open),
                    _ => {}
                }
            }
        }
    }
}
