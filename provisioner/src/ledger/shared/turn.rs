//! One turn at one enrolment: the changes that wait for it become one write.
//!
//! A write is refused where somebody else wrote meanwhile; then the changes are applied to
//! what is there now, or refused by it. Where an acknowledgement is lost the stamp tells whether
//! the write was stored.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use server_core::words::{Backoff, Seed};
use tokio::time::Instant;

use super::super::apply::shipped_key;
use super::super::record::{Act, Applied, Change, TokenUse};
use super::super::renewal::Policy;
use super::super::store::LedgerError;
use super::super::writer::{Committed, Done};
use super::bucket::{Shelf, ShelfError, node_key};
use super::group::Group;
use super::value::{Stamp, Terms, Value, change};

/// How long a change may wait for a bucket that cannot be reached.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses between two tries, milliseconds.
const PAUSES: [u64; 6] = [10, 25, 50, 100, 250, 500];

/// What turns are made with.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) group: Arc<Group>,
    pub(super) policy: Policy,
    pub(super) seed: Seed,
}

/// A change, and who waits for it.
pub(super) type Wanted = (Change, Option<Done>);

/// A turn that is over.
pub(super) struct Turned {
    pub(super) identity: String,
    pub(super) jobs: Vec<Wanted>,
    pub(super) result: Result<Written, Failed>,
}

/// What a turn wrote, if it had to.
pub(super) struct Written {
    /// What is in the bucket now.
    pub(super) current: Current,
    /// What became of each change.
    pub(super) outcomes: Vec<Outcome>,
    /// Which write the changes were applied on top of.
    pub(super) onto: Option<Stamp>,
}

/// Why a turn came to nothing, as far as is known.
pub(super) struct Failed {
    pub(super) error: LedgerError,
    /// A write that may have been stored all the same.
    pub(super) doubt: Option<Unacknowledged>,
}

/// A write that the bucket was asked for and said nothing of.
pub(super) struct Unacknowledged {
    pub(super) stamp: Stamp,
    /// What became of each change, if it is stored.
    pub(super) outcomes: Vec<Outcome>,
    /// Which write it was to follow.
    pub(super) onto: Option<Stamp>,
}

/// A value with its revision; none of an enrolment that is not there.
pub(super) type Current = Option<(u64, Value)>;
pub(super) type Outcome = (Applied, Option<Committed>);

/// What a turn begins with.
#[allow(
    clippy::large_enum_variant,
    reason = "there is one for each turn, and most are known"
)]
pub(super) enum Begin {
    /// What was heard last; whoever wrote since lets the write fail.
    Known(Current),
    /// What is there: a write of this member may have been stored that it did not hear of.
    Read,
}

/// Makes one turn. `number` is unique among the writes of this member.
pub(super) async fn turn(
    hands: Hands,
    identity: String,
    begin: Begin,
    jobs: Vec<Wanted>,
    number: u64,
) -> Turned {
    let changes: Vec<_> = jobs.iter().map(|(change, _)| change).collect();
    let mut doubt = None;
    let result = write(&hands, &identity, begin, &changes, number, &mut doubt).await;
    let result = result.map_err(|error| Failed { error, doubt });
    Turned {
        identity,
        jobs,
        result,
    }
}

async fn write(
    hands: &Hands,
    identity: &str,
    begin: Begin,
    changes: &[&Change],
    number: u64,
    doubt: &mut Option<Unacknowledged>,
) -> Result<Written, LedgerError> {
    let mut patience = Patience::new(hands.seed, number);
    let stamp = Stamp {
        by: hands.group.me().to_owned(),
        write: number,
    };
    let key = node_key(identity);
    let mut known = match begin {
        Begin::Known(known) => known,
        Begin::Read => read(hands, &key, &mut patience).await?,
    };
    loop {
        let (revision, value) = known.clone().unzip();
        let revision = revision.unwrap_or(0);
        // An earlier try may have been stored though nobody said so.
        if value.as_ref().is_some_and(|value| value.stamp == stamp)
            && let Some(stored) = doubt.take()
        {
            return Ok(Written {
                current: known,
                outcomes: stored.outcomes,
                onto: stored.onto,
            });
        }
        let onto = value.as_ref().map(|value| value.stamp.clone());
        let mut next = value.clone();
        let mut outcomes = Vec::with_capacity(changes.len());
        for change in changes {
            outcomes.push(one(hands, &mut next, change, &mut patience).await?);
        }
        let Some(mut next) = next.filter(|next| Some(next) != value.as_ref()) else {
            return Ok(Written {
                current: known,
                outcomes,
                onto,
            });
        };
        next.stamp = stamp.clone();
        let bytes = serde_json::to_vec(&next).map_err(|error| bucket(&error.to_string()))?;
        let stored = hands.shelf.write(&key, bytes.into(), revision).await;
        match stored {
            Ok(revision) => {
                return Ok(Written {
                    current: Some((revision, next)),
                    outcomes,
                    onto,
                });
            }
            Err(failed) => {
                *doubt = Some(Unacknowledged {
                    stamp: stamp.clone(),
                    outcomes,
                    onto,
                });
                if let ShelfError::Unknown(says) = failed {
                    patience.wait(&says).await?;
                }
            }
        }
        known = read(hands, &key, &mut patience).await?;
    }
}

/// Applies one change, after what it needs to be unique is.
async fn one(
    hands: &Hands,
    value: &mut Option<Value>,
    wanted: &Change,
    patience: &mut Patience,
) -> Result<Outcome, LedgerError> {
    let group = &hands.group;
    let terms = Terms {
        me: group.me(),
        alive: &|member| group.is_alive(member),
        policy: hands.policy,
        shipped_to: None,
    };
    let mut next = value.clone();
    let mut outcome = change(&mut next, wanted, &terms);
    if next == *value {
        return Ok(outcome);
    }
    if let Some(refused) = refused(hands, wanted, patience).await? {
        return Ok((refused, None));
    }
    if let Some(shipped) = shipped_key(&wanted.act) {
        let place = format!("key.{shipped}");
        let other = take(hands, &place, &wanted.identity, patience).await?;
        if other.is_some() {
            let shipped_to = other.as_deref();
            next.clone_from(value);
            let terms = Terms {
                shipped_to,
                ..terms
            };
            // The certificate exists all the same and is taken down.
            outcome = change(&mut next, wanted, &terms);
        }
    }
    *value = next;
    Ok(outcome)
}

/// Takes what a change needs for its node alone; why it is refused where another has that.
async fn refused(
    hands: &Hands,
    wanted: &Change,
    patience: &mut Patience,
) -> Result<Option<Applied>, LedgerError> {
    match &wanted.act {
        Act::Requested { key, presented, .. } => {
            let node = &wanted.identity;
            if let Some(token) = &presented.token
                && let Some(other) = take_use(hands, token, node, patience).await?
            {
                return Ok(Some(Applied::TokenHeldBy(other)));
            }
            let taken = take(hands, &format!("key.{key}"), node, patience).await?;
            Ok(taken.map(Applied::KeyHeldBy))
        }
        Act::Signed { key, issuance } => {
            let place = format!("serial.{}", issuance.serial);
            let taken = take(hands, &place, key, patience).await?;
            Ok(taken.map(|_| Applied::SerialUsed))
        }
        _ => Ok(None),
    }
}

/// Takes a unique name for `holder`; tells who has it where it is taken.
async fn take(
    hands: &Hands,
    key: &str,
    holder: &str,
    patience: &mut Patience,
) -> Result<Option<String>, LedgerError> {
    loop {
        let bytes = Bytes::copy_from_slice(holder.as_bytes());
        match hands.shelf.write(key, bytes, 0).await {
            Ok(_) => return Ok(None),
            Err(ShelfError::Conflict) => {}
            Err(ShelfError::Unknown(says)) => patience.wait(&says).await?,
        }
        let found = loop {
            match hands.shelf.read(key).await {
                Ok(found) => break found,
                Err(ShelfError::Conflict) => {}
                Err(ShelfError::Unknown(says)) => patience.wait(&says).await?,
            }
        };
        if let Some((_, found)) = found {
            let found = String::from_utf8_lossy(&found).into_owned();
            return Ok((found != holder).then_some(found));
        }
        patience.wait("a name is neither free nor taken").await?;
    }
}

/// Takes one of a token's uses for a node, or finds the one it has; tells one of those who have
/// them where all are taken. Uses are looked through from one that is the node's own choice and are
/// never given back, so a node comes upon its own use before any free one.
async fn take_use(
    hands: &Hands,
    token: &TokenUse,
    node: &str,
    patience: &mut Patience,
) -> Result<Option<String>, LedgerError> {
    let mut holder = None;
    for number in token.places(node) {
        let place = format!("token.{}.{number}", token.id);
        holder = take(hands, &place, node, patience).await?;
        if holder.is_none() {
            break;
        }
    }
    Ok(holder)
}

async fn read(hands: &Hands, key: &str, patience: &mut Patience) -> Result<Current, LedgerError> {
    loop {
        match hands.shelf.read(key).await {
            Ok(None) => return Ok(None),
            Ok(Some((revision, bytes))) => {
                let value = serde_json::from_slice(&bytes);
                let value = value.map_err(|error| bucket(&format!("{key}: {error}")))?;
                return Ok(Some((revision, value)));
            }
            Err(ShelfError::Conflict) => {}
            Err(ShelfError::Unknown(says)) => patience.wait(&says).await?,
        }
    }
}

fn bucket(says: &str) -> LedgerError {
    LedgerError::Bucket(says.to_owned())
}

/// How long a turn still waits for the bucket.
struct Patience {
    until: Instant,
    pauses: Backoff,
}

impl Patience {
    fn new(seed: Seed, number: u64) -> Self {
        let pauses = PAUSES.map(Duration::from_millis);
        Self {
            until: Instant::now() + PATIENCE,
            pauses: Backoff::custom(&pauses, Seed(seed.0 ^ number)),
        }
    }

    async fn wait(&mut self, says: &str) -> Result<(), LedgerError> {
        if Instant::now() >= self.until {
            return Err(bucket(says));
        }
        tokio::time::sleep(self.pauses.next_delay()).await;
        Ok(())
    }
}
