//! What becomes of a node at the end of its flow: the one place where a code
//! turns into parked, quarantined or refused.

use std::time::Duration;

use jiff::Timestamp;
use server_core::words::Identity;

use super::confirm::Confirmed;
use super::queue::Parking;
use super::{Context, retry};
use crate::code::{Class, Code, Refusal};
use crate::ledger::{Act, Enrolment, LedgerError, Reprovision, Setback};
use crate::step::{State, Step};

/// So often in a row the same may be a mistake.
const STUBBORN: u32 = 3;

/// Why a node does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Something has a code.
    Refused {
        refusal: Refusal,
        /// The node has to make a new key next time.
        new_key: bool,
    },
    /// The ledger holds it.
    Held(State),
    /// Another member of the group has it: nothing more may leave from here.
    Lost(String),
    /// The ledger cannot be written or read, so nothing is decided.
    Ledger(LedgerError),
    /// The service ends.
    Ended,
}

impl Stop {
    /// A refusal after which the node has to make a new key.
    pub(crate) fn with_new_key(refusal: Refusal) -> Self {
        Self::Refused {
            refusal,
            new_key: true,
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused {
            refusal,
            new_key: false,
        }
    }
}

impl From<LedgerError> for Stop {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Closed => Self::Ended,
            error => Self::Ledger(error),
        }
    }
}

/// Records how a flow ended and gives the node back to the queue.
pub(crate) async fn settle(
    context: &Context,
    node: &Identity,
    outcome: Result<Confirmed, (Step, Stop)>,
) {
    match outcome {
        Ok(Confirmed { node }) => {
            tracing::info!(%node, "confirmed");
            context.with_queue(|queue| queue.leave(&node));
        }
        Err((step, Stop::Refused { refusal, new_key })) => {
            set_back(context, node, step, refusal, new_key).await;
        }
        Err((step, Stop::Held(state))) => {
            held(context, node, step, state);
        }
        Err((step, Stop::Lost(member))) => {
            tracing::warn!(%node, %step, member, code = %Code::LeaseLost, "another provisioner has it");
            context.with_queue(|queue| queue.leave(node));
        }
        Err((step, Stop::Ledger(error))) => {
            tracing::error!(%node, %step, %error, code = %error.code(), "nothing is decided");
            let until = after(context.now(), context.site.config.retry.first);
            context.with_queue(|queue| queue.park(node, until, Parking::Firm));
        }
        Err((_, Stop::Ended)) => context.with_queue(|queue| queue.leave(node)),
    }
    context.queued.notify_one();
}

async fn set_back(context: &Context, node: &Identity, step: Step, refusal: Refusal, new_key: bool) {
    let known = context.enrolment(node).ok().flatten();
    let gone = known.as_ref().and_then(|it| gone(context, it, &refusal));
    let (refusal, new_key) = gone.map_or((refusal, new_key), |gone| (gone, true));
    let state = state(refusal.code, known.as_ref());
    let pause = (state == State::Parked).then(|| pause(context, known.as_ref(), &refusal));
    let pause = pause.flatten();
    let next_try = pause.map(|pause| after(context.now(), pause));
    let parking = parking(refusal.code);
    tracing::warn!(
        %node, %step, code = %refusal.code, %state,
        next_try = next_try.map(|at| at.to_string()), "{}", refusal.message
    );
    let setback = Setback {
        step,
        state,
        code: refusal.code,
        says: refusal.message,
        next_try,
        new_key,
    };
    // Whoever takes the node up next goes by what the ledger says, so the ledger is first.
    let recorded = context.insist(node.as_str(), Act::SetBack(setback)).await;
    match (recorded, next_try) {
        (Ok(_), Some(until)) => {
            context.with_queue(|queue| queue.park(node, until, parking));
            hasten_if_wanted(context, node);
        }
        (Err(Stop::Held(state)), _) => held(context, node, step, state),
        _ => context.with_queue(|queue| queue.leave(node)),
    }
}

/// A node that was not seen with its certificate so long after that was asked for gives it up: whoever
/// has it by now need not be that node (rule 40). One that is enrolled with the same key has what it
/// is enrolled with.
fn gone(context: &Context, known: &Enrolment, refusal: &Refusal) -> Option<Refusal> {
    let lost = matches!(refusal.code, Code::NodeUnconfirmed | Code::RpcTimeout);
    if !lost || known.enrolled_key == known.key {
        return None;
    }
    let mut held = known.certificates.iter();
    let held = held.find(|held| Some(&held.key) == known.key.as_ref())?;
    let limit = context.site.config.timeouts.unconfirmed;
    let asked = known.from?;
    if after(asked, limit) > context.now() {
        return None;
    }
    let says = format!(
        "it was not seen with the certificate {} that was asked for at {asked}, for {} by now: it is \
         revoked, and the node has to make a new key ([timeouts] unconfirmed; rule 40)",
        held.serial,
        humantime::format_duration(limit)
    );
    Some(Refusal::new(Code::NodeGone, says))
}

/// Somebody decided about the node while it was worked on. What they want tried is tried now.
fn held(context: &Context, node: &Identity, step: Step, state: State) {
    tracing::debug!(%node, %step, %state, "held by the ledger");
    context.with_queue(|queue| queue.leave(node));
    hasten_if_wanted(context, node);
}

/// Queues what a person wants tried. Looked up only once the node is at work no more: an order given
/// before found it there, a later one does not.
fn hasten_if_wanted(context: &Context, node: &Identity) {
    let known = context.enrolment(node).ok().flatten();
    // One that is evicted with its key in hand is working still, and at no step any more.
    if known.is_some_and(|known| matches!(known.state, State::Queued | State::Working)) {
        let now = context.now();
        context.with_queue(|queue| queue.hasten(node, now));
    }
}

/// What a code makes of a node. Even what is refused is parked and tried again,
/// later each time, because the node or the configuration may be repaired; only
/// a hook's own "no" waits for the node to announce itself anew. What can hardly
/// be a mistake when it comes again and again is frozen.
fn state(code: Code, known: Option<&Enrolment>) -> State {
    let again = known.is_some_and(|k| k.code == Some(code) && k.setbacks + 1 >= STUBBORN);
    match (code, code.class()) {
        (Code::HookRefused | Code::HookShutdown, _) => State::Refused,
        (_, Class::Quarantine) => State::Quarantined,
        (Code::CsrCaRequested | Code::HookProtocol, _) if again => State::Quarantined,
        _ => State::Parked,
    }
}

/// How long a node is parked; `None` when only it can bring itself back.
fn pause(context: &Context, known: Option<&Enrolment>, refusal: &Refusal) -> Option<Duration> {
    let config = &context.site.config.retry;
    let code = refusal.code;
    let setbacks = known.map_or(0, |k| k.setbacks) + 1;
    let never_answered = known.is_none_or(|k| !k.answered);
    if code == Code::RpcTimeout && never_answered && setbacks as usize >= config.forget_after {
        return None;
    }
    match (code, code.class(), refusal.retry_after) {
        // The answer to this one is a new key, and the node is there; one that came with the same
        // key again waits like others.
        (Code::CaUnknownOutcome, _, _) if known.is_none_or(|k| k.code != Some(code)) => {
            Some(Duration::ZERO)
        }
        // A person decides, or the certificate it has comes to its end.
        (_, Class::Conflict, _) => until_expiry(context, known),
        (_, _, Some(wanted)) => Some(context.with_rng(|rng| retry::not_before(wanted, rng))),
        _ => Some(context.with_rng(|rng| retry::delay(config, setbacks, rng))),
    }
}

/// How long until an enrolled node may come with another key, where policy lets
/// it once its certificate has expired.
fn until_expiry(context: &Context, known: Option<&Enrolment>) -> Option<Duration> {
    if context.site.config.reprovision != Reprovision::AfterExpiry {
        return None;
    }
    let end = known.and_then(|known| known.enrolled_until)?;
    let left = Duration::try_from(end.duration_since(context.now())).unwrap_or(Duration::ZERO);
    Some(left.max(context.site.config.retry.first))
}

/// What a node is parked for that was set back with this code.
pub(crate) const fn parking(code: Code) -> Parking {
    match code {
        Code::RpcTimeout => Parking::Silent,
        Code::NodeGone | Code::NodeUnconfirmed | Code::BrokerDown => Parking::Eager,
        _ => Parking::Firm,
    }
}

/// This much later, or the last moment there is.
fn after(now: Timestamp, pause: Duration) -> Timestamp {
    now.checked_add(pause).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pause_is_too_long_for_the_calendar() {
        let now = Timestamp::UNIX_EPOCH;
        let second = Duration::from_secs(1);
        assert_eq!(after(now, second).as_second(), 1);
        for pause in [Duration::MAX, second * u32::MAX * 100] {
            assert_eq!(after(now, pause), Timestamp::MAX);
        }
    }

    #[test]
    fn what_comes_again_and_again_is_frozen() {
        let mut known = Enrolment::newcomer(Timestamp::UNIX_EPOCH);
        let after = |known: &Enrolment, code| state(code, Some(known));
        for code in [Code::CsrCaRequested, Code::HookProtocol] {
            (known.code, known.setbacks) = (Some(code), 1);
            assert_eq!(after(&known, code), State::Parked);
            known.setbacks = 2;
            assert_eq!(after(&known, code), State::Quarantined);
            assert_eq!(after(&known, Code::RpcTimeout), State::Parked);
        }
        known.code = Some(Code::HookExit);
        assert_eq!(after(&known, Code::HookExit), State::Parked);
        assert_eq!(after(&known, Code::HookRefused), State::Refused);
        assert_eq!(after(&known, Code::KeyReused), State::Quarantined);
    }
}
