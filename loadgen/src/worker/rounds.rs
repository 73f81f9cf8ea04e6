//! Asking the fleet: rounds of requests at their pace, each with an account of every answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::seq::index::sample;
use server_core::client::{Call, Client, FanOut, FanOutReport, NodeSet, Route};
use server_core::words::{Identity, Seed};
use tokio_util::task::TaskTracker;

use crate::measure::{Counter, OpKey, Round, Series, micros};
use crate::pace::{OnLate, Pace, Pacer, Slot};
use crate::plan::Plan;
use crate::scenario::{Action, Expect, Fleet, RequestOp, Target};

use super::health::Judging;
use super::ops::OpContext;
use super::paced::{drive_closed, drive_open};

/// How long a round listens on, once everybody answered, for those who answer twice.
const LINGER: Duration = Duration::from_millis(200);
/// How long loadgen's own word may take to come back to it where nobody else answers.
const ECHO_WITHIN: Duration = Duration::from_secs(1);
/// Rounds of one operation under way at once; one beyond it is counted as late.
const ROUNDS_AT_ONCE: usize = 64;

/// Who can be asked: every node of the scenario that is expected to be there, on all workers.
#[derive(Debug)]
pub struct Audience {
    fleets: Vec<(String, Vec<Identity>)>,
    all: Arc<NodeSet>,
}

impl Audience {
    /// The nodes of the plan that are expected to answer.
    pub fn of(plan: &Plan) -> Self {
        let mut fleets: Vec<(String, Vec<Identity>)> = Vec::new();
        for fleet in &plan.scenario.fleets {
            fleets.push((fleet.name.clone(), Vec::new()));
        }
        for node in plan.all_nodes() {
            let wanted = plan
                .scenario
                .fleets
                .get(node.fleet)
                .is_some_and(Fleet::ends_in_production);
            let place = fleets.get_mut(node.fleet).filter(|_| wanted);
            if let (Some((_, nodes)), Ok(identity)) = (place, Identity::parse(&node.identity)) {
                nodes.push(identity);
            }
        }
        let all = fleets.iter().flat_map(|(_, nodes)| nodes.iter().cloned());
        let all = Arc::new(all.collect());
        Self { fleets, all }
    }

    fn of_round(&self, to: &Target, seed: u64, round: u64) -> (Arc<NodeSet>, Route) {
        match to {
            Target::All => (Arc::clone(&self.all), Route::Broadcast),
            Target::Fleet(name) => {
                let fleet = self.fleets.iter().find(|(own, _)| own == name);
                let nodes = fleet.map(|(_, nodes)| nodes.iter().cloned().collect());
                (Arc::new(nodes.unwrap_or_default()), Route::Directed)
            }
            Target::Random(count) => {
                let all = self.all.nodes();
                let count = usize::try_from(*count).unwrap_or(usize::MAX).min(all.len());
                let chosen = sample(&mut Seed(seed).stream(round), all.len(), count);
                let nodes = chosen.iter().filter_map(|index| all.get(index).cloned());
                (Arc::new(nodes.collect()), Route::Directed)
            }
        }
    }
}

/// What rounds need besides their operation.
#[derive(Clone)]
pub struct Asking {
    /// The connection that asks.
    pub client: Client,
    /// Who can be asked.
    pub audience: Arc<Audience>,
    /// The first rounds of the phase that are recorded apart.
    pub warmup: u64,
    /// Told while replies are collected.
    pub judging: Judging,
}

/// Runs a request operation: its rounds at its pace, each collected beside the others.
pub async fn run_request_op(context: Arc<OpContext>, asking: Asking) {
    let Action::Request(request) = context.op.action.clone() else {
        return context.way.set_done();
    };
    let rounds = TaskTracker::new();
    let begin = |index: u64, intended: Duration, place| {
        if rounds.len() >= ROUNDS_AT_ONCE {
            return context.late(1);
        }
        let round = OneRound {
            context: Arc::clone(&context),
            asking: asking.clone(),
            request: request.clone(),
            index,
            intended,
        };
        rounds.spawn(async move {
            round.run().await;
            drop(place);
        });
    };
    context.record(|recorder| recorder.count(&context.key.get(), Counter::Late, 0));
    let pace = &context.op.pace;
    match pace.schedule(1, context.seed) {
        Some(schedule) => {
            let pacer = Pacer::new(schedule, pace.slack(1), OnLate::Skip);
            let start = |slot: Slot| {
                let intended = context.begun.saturating_add(slot.intended);
                begin(slot.index, intended, None);
            };
            let (stop, clock) = (&context.stop, context.clock);
            drive_open(pacer, context.begun, clock, stop, start, |n| {
                context.late(n)
            })
            .await;
        }
        None => {
            let limit = match pace {
                Pace::InFlight { limit, .. } => *limit,
                _ => 1,
            };
            let count = pace.count().unwrap_or(u64::MAX);
            let start = |index, place| begin(index, context.clock.now(), Some(place));
            drive_closed(limit, count, &context.stop, start).await;
        }
    }
    context.way.set_issued();
    rounds.close();
    rounds.wait().await;
    context.way.set_done();
}

struct OneRound {
    context: Arc<OpContext>,
    asking: Asking,
    request: RequestOp,
    index: u64,
    intended: Duration,
}

impl OneRound {
    async fn run(self) {
        let key = self.context.key.get();
        let warmup = self.index < self.asking.warmup;
        let (targets, route) =
            self.asking
                .audience
                .of_round(&self.request.to, self.context.seed, self.index);
        let call = match self.call() {
            Ok(call) => call,
            Err(kind) => return self.context.record(|recorder| recorder.error(&key, kind)),
        };
        let round = FanOut {
            call,
            targets,
            route,
            collect: self.request.collect,
            linger: LINGER.min(self.request.collect),
        };
        let _collecting = self.asking.judging.busy();
        let sent = self.context.clock.now();
        let client = &self.asking.client;
        let connection = client.connection().borrow().clone();
        let report = tokio::select! {
            report = client.fan_out(&round) => report,
            () = self.context.abandon.cancelled() => return,
        };
        match report {
            Ok(report) => {
                let same = *client.connection().borrow() == connection;
                // A broker that stands still keeps the connection, and answers nothing.
                let silent = report.account.expected() > 0 && report.account.replies == 0;
                let interrupted =
                    report.disconnected || !same || (silent && !hears_itself(client).await);
                self.account(&key, (warmup, interrupted), sent, &report);
            }
            Err(error) => {
                tracing::warn!(op = %key, round = self.index, %error, "a round was not sent");
                let kind = error.code();
                self.context.record(|recorder| recorder.error(&key, kind));
            }
        }
    }

    fn call(&self) -> Result<Call, &'static str> {
        match &self.request.call {
            None => Ok(Call::ping()),
            Some(call) => Call::rpc(&call.agent, &call.action, call.data.clone())
                .map_err(|error| error.code()),
        }
    }

    fn account(
        &self,
        key: &Arc<OpKey>,
        (warmup, interrupted): (bool, bool),
        sent: Duration,
        report: &FanOutReport,
    ) {
        if report.lost > 0 {
            self.context.swarm.book().lost_replies(report.lost);
            tracing::error!(
                op = %key,
                round = self.index,
                lost = report.lost,
                "replies were lost on our side: the round says nothing about the nodes"
            );
        }
        if interrupted {
            tracing::warn!(
                op = %key,
                round = self.index,
                "the round is left out: loadgen's own connection was interrupted during it"
            );
        }
        let account = &report.account;
        let expected = account.expected() as u64;
        let missing = match self.request.expect {
            Expect::OneReplyPerNode => expected.saturating_sub(account.replies),
            Expect::Any => 0,
        };
        if missing > 0 && !warmup && !interrupted {
            let some: Vec<&str> = account.missing().take(5).map(Identity::as_str).collect();
            tracing::warn!(op = %key, round = self.index, missing, worst = ?some, "nodes did not answer");
        }
        let round = Round {
            index: self.index,
            warmup,
            interrupted,
            intended_us: micros(self.intended),
            sent_us: micros(sent),
            expected,
            replies: account.replies,
            missing,
            duplicate: account.duplicate,
            late: account.late,
            failed: account.failed,
            unknown: account.unknown + report.refused,
            first_us: report.first.map(micros),
            last_us: report.last.map(micros),
        };
        self.context.record(|recorder| {
            if !warmup && !interrupted {
                for latency in account.latencies() {
                    recorder.time(key, Series::Reply, Duration::from_micros(latency));
                }
            }
            recorder.round(key, round);
        });
    }
}

/// Whether what loadgen sends comes back to it.
async fn hears_itself(client: &Client) -> bool {
    let subject = format!("loadgen.echo.{}", uuid::Uuid::new_v4().simple());
    let echo = async {
        let mut watch = client.watch(&subject, 1).await.ok()?;
        client.publish_raw(&subject, Bytes::new()).await.ok()?;
        watch.next().await
    };
    let heard = tokio::time::timeout(ECHO_WITHIN, echo).await;
    matches!(heard, Ok(Some(_)))
}
