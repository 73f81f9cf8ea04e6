//! Where workers report: hears them, answers, and passes on what concerns the run.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::{CrewEvent, Limits, Member, Order};
use crate::control::broker::ControlBroker;
use crate::control::children::{Children, Ended};
use crate::control::envelope::{EnvelopeError, open};
use crate::control::link::{Heard, Link, Speaker};
use crate::control::seats::Seats;
use crate::control::words::{Among, Down, Hello, Up};
use crate::control::{BEAT_EVERY, release, subjects};
use crate::message::{FromWorker, ToWorker};
use crate::results::name_hash;
use crate::units::brief_duration;
use crate::worker::clock::RunClock;

/// How often children, silence and limits are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long local workers may take to leave once they are told.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// How long what a worker said before its orderly end may be on its way: it fills the network with
/// thousands of connections that close.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long the end of a lost control broker is waited for, as it says more than its silence.
const BROKER_ENDS_WITHIN: Duration = Duration::from_millis(500);
/// Workers of other releases that are remembered, so that each is told of once.
const STRANGERS: usize = 64;

pub(super) struct Desk {
    pub(super) run: String,
    pub(super) seats: Seats,
    /// `None` once it is lost.
    pub(super) link: Option<Link>,
    /// The control broker, when it is ours.
    pub(super) broker: Option<ControlBroker>,
    pub(super) children: Children,
    /// Workers that ended in order and have not been heard of to the end, and until when they may be.
    pub(super) leaving: Vec<(Duration, Ended)>,
    pub(super) clock: RunClock,
    pub(super) limits: Limits,
    pub(super) invitation: Option<String>,
    /// Since when workers are waited for.
    pub(super) since: Duration,
    pub(super) strangers: Vec<String>,
    /// Everybody has joined, or it was told that they did not.
    pub(super) complete: bool,
    pub(super) events: mpsc::Sender<CrewEvent>,
}

impl Desk {
    /// Works until it is told to finish, or nobody wants to hear of it any more.
    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            // In no order: what comes in without end must not keep the desk from telling that it is
            // there.
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Tell(worker, message)) => self.tell(worker, message).await,
                    Some(Order::Finish) | None => break,
                },
                heard = hear(&mut self.link) => match heard {
                    Heard::Message(message) => self.hear(&message.subject, &message.payload).await,
                    Heard::Lost(why) => self.lose_link(why).await,
                },
                _ = beats.tick() => {
                    self.seats.beat();
                    self.say_all(|| Down::Beat).await;
                }
                _ = looks.tick() => self.look().await,
            }
        }
        self.finish().await;
    }

    async fn tell(&mut self, worker: u32, message: Box<ToWorker>) {
        let now = self.clock.now();
        let Some(sitter) = self.seats.sitter_mut(worker) else {
            return;
        };
        if matches!(*message, ToWorker::Assign(_)) {
            sitter.ordered = Some(now);
        }
        let id = sitter.id.clone();
        self.say(&id, &Down::Work(message)).await;
    }

    async fn hear(&mut self, subject: &str, payload: &[u8]) {
        let Some(id) = subjects::speaker(subject) else {
            return self.hear_coordinator(payload).await;
        };
        match open(payload) {
            Ok(Up::Hello(hello)) => self.welcome(id, hello).await,
            Ok(Up::AskTime { question }) => {
                let elapsed = self.clock.now().as_nanos();
                let elapsed_ns = u64::try_from(elapsed).unwrap_or(u64::MAX);
                let answer = Down::Time {
                    question,
                    elapsed_ns,
                };
                self.say(id, &answer).await;
            }
            Ok(up) => match self.seats.of(id) {
                Some(worker) => self.hear_worker(worker, up).await,
                // One that counts as lost and is not.
                None => self.say(id, &Down::Dismissed).await,
            },
            Err(error @ EnvelopeError::OtherRelease { .. }) => self.turn_away(id, &error).await,
            Err(error) => tracing::warn!(%error, "from the control broker"),
        }
    }

    async fn hear_coordinator(&mut self, payload: &[u8]) {
        if let Ok(Among::Anybody { run }) = open(payload)
            && run != self.run
            && let Some(speaker) = self.speaker()
        {
            let me = Among::Me {
                run: self.run.clone(),
            };
            // Whoever asked asks again, or finds out by itself.
            let _ = speaker.say(&subjects::coordinators(), &me).await;
        }
    }

    async fn welcome(&mut self, id: &str, hello: Hello) {
        let host = hello.host.clone();
        let answer = match self.seats.take(id, hello) {
            Ok(worker) => Down::Welcome {
                worker,
                run: self.run.clone(),
            },
            Err(why) => {
                tracing::warn!(host, why, "a worker asked to take part and was refused");
                Down::Refused { why }
            }
        };
        self.say(id, &answer).await;
    }

    /// A worker of another release reads who we are in our answer, and says what to do about it.
    async fn turn_away(&mut self, id: &str, error: &EnvelopeError) {
        if !self.strangers.iter().any(|known| known == id) && self.strangers.len() < STRANGERS {
            self.strangers.push(id.to_owned());
            tracing::warn!("a worker asked to take part and was refused: {error}");
        }
        let why = error.to_string();
        self.say(id, &Down::Refused { why }).await;
    }

    async fn hear_worker(&mut self, worker: u32, up: Up) {
        let Some(sitter) = self.seats.sitter_mut(worker) else {
            return;
        };
        sitter.missed = 0;
        match up {
            Up::Joined {
                clock_uncertainty_ns,
            } => {
                let hello = &sitter.hello;
                let member = Member {
                    host_hash: name_hash(&hello.host),
                    pid: hello.pid,
                    local: hello.seat.is_some(),
                    release: release(),
                    descriptors: hello.descriptors,
                    clock_uncertainty_ns,
                };
                self.pass(CrewEvent::Joined { worker, member }).await;
            }
            Up::Says(message) => {
                match *message {
                    FromWorker::Ready => sitter.ordered = None,
                    // It leaves of itself now, and nobody has to be told.
                    FromWorker::Drained | FromWorker::Failed { .. } => {
                        self.seats.leave(worker);
                    }
                    _ => {}
                }
                let message = *message;
                self.pass(CrewEvent::Says { worker, message }).await;
            }
            Up::Leaves { why } => {
                let why = format!("{} left the run: {why}", self.name(worker));
                self.lose(worker, why).await;
            }
            Up::Beat | Up::Hello(_) | Up::AskTime { .. } => {}
        }
    }

    /// Looks for who is gone, silent or late.
    async fn look(&mut self) {
        if let Some(why) = self.broker.as_mut().and_then(ControlBroker::died) {
            if self.link.take().is_some() {
                self.pass(CrewEvent::Failed { why }).await;
            }
            self.broker = None;
        }
        self.look_for_ended().await;
        // Without a link nobody can be heard, and it has been told.
        if self.link.is_none() {
            return;
        }
        let now = self.clock.now();
        let mut lost = Vec::new();
        for (worker, sitter) in self.seats.taken() {
            let silent = BEAT_EVERY.saturating_mul(sitter.missed) > self.limits.silence;
            let late = sitter
                .ordered
                .is_some_and(|at| now.saturating_sub(at) > self.limits.ready);
            let how = match (silent, late) {
                (true, _) => format!(
                    "has said nothing for {}",
                    brief_duration(self.limits.silence)
                ),
                (false, true) => format!(
                    "was not ready {} after its orders",
                    brief_duration(self.limits.ready)
                ),
                (false, false) => continue,
            };
            lost.push((worker, format!("{} {how}", self.name(worker))));
        }
        for (worker, why) in lost {
            self.lose(worker, why).await;
        }
        self.look_for_missing(now).await;
    }

    async fn look_for_ended(&mut self) {
        let now = self.clock.now();
        let until = |ended: &Ended| match ended.in_order {
            true => now + LAST_WORDS,
            false => now,
        };
        let ended = self.children.ended().into_iter();
        self.leaving.extend(ended.map(|one| (until(&one), one)));
        let over = self.leaving.extract_if(.., |(until, _)| *until <= now);
        let over: Vec<Ended> = over.map(|(_, ended)| ended).collect();
        for Ended { worker, why, .. } in over {
            self.lose(worker, why).await;
        }
    }

    async fn look_for_missing(&mut self, now: Duration) {
        if self.complete {
            return;
        }
        let missing: Vec<u32> = self.seats.empty().collect();
        self.complete = missing.is_empty();
        if self.complete || now.saturating_sub(self.since) <= self.limits.join {
            return;
        }
        self.complete = true;
        let within = brief_duration(self.limits.join);
        let own = missing.iter().find(|worker| self.seats.is_local(**worker));
        let why = match (own, &self.invitation) {
            (None, Some(invitation)) => format!(
                "{} of the workers from elsewhere did not join within {within}; run there: \
                 {invitation}",
                missing.len()
            ),
            (worker, _) => {
                let worker = worker.copied().unwrap_or_default();
                format!("{} did not join within {within}", self.name(worker))
            }
        };
        self.pass(CrewEvent::Failed { why }).await;
    }

    /// A worker in words, with where to read on.
    fn name(&self, worker: u32) -> String {
        let log = self.children.log(worker);
        match (self.seats.sitter(worker), log) {
            (Some(sitter), Some(log)) => format!(
                "worker {worker} (process {}, log: {})",
                sitter.hello.pid,
                log.display()
            ),
            (Some(sitter), None) => format!(
                "worker {worker} (process {} on {})",
                sitter.hello.pid, sitter.hello.host
            ),
            (None, Some(log)) => format!("worker {worker} (log: {})", log.display()),
            (None, None) => format!("worker {worker}"),
        }
    }

    async fn lose(&mut self, worker: u32, why: String) {
        let id = self.seats.sitter(worker).map(|sitter| sitter.id.clone());
        if !self.seats.leave(worker) {
            return;
        }
        if let Some(id) = id {
            self.say(&id, &Down::Dismissed).await;
        }
        // One of ours that does not speak any more still holds its nodes.
        self.children.kill(worker).await;
        self.pass(CrewEvent::Lost { worker, why }).await;
    }

    async fn lose_link(&mut self, why: String) {
        self.link = None;
        let deadline = self.clock.now() + BROKER_ENDS_WITHIN;
        let mut said = None;
        while let (None, Some(broker)) = (&said, &mut self.broker) {
            said = broker.died();
            if self.clock.now() > deadline {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let why = said.unwrap_or(why);
        self.pass(CrewEvent::Failed { why }).await;
    }

    fn speaker(&self) -> Option<Speaker> {
        self.link.as_ref().map(|link| link.speaker().clone())
    }

    async fn say(&mut self, id: &str, message: &Down) {
        let Some(speaker) = self.speaker() else {
            return;
        };
        if let Err(error) = speaker.say(&subjects::down(id), message).await {
            self.lose_link(error.to_string()).await;
        }
    }

    async fn say_all(&mut self, message: impl Fn() -> Down) {
        let ids: Vec<String> = self
            .seats
            .taken()
            .map(|(_, sitter)| sitter.id.clone())
            .collect();
        for id in ids {
            Box::pin(self.say(&id, &message())).await;
        }
    }

    async fn pass(&mut self, event: CrewEvent) {
        // Nobody hears it when the run is over.
        let _ = self.events.send(event).await;
    }

    async fn hear_farewells(&mut self) {
        while self.seats.taken().next().is_some()
            && let Heard::Message(message) = hear(&mut self.link).await
        {
            let worker = subjects::speaker(&message.subject).and_then(|id| self.seats.of(id));
            if let (Some(worker), Ok(Up::Leaves { .. })) = (worker, open(&message.payload)) {
                self.seats.leave(worker);
            }
        }
    }

    async fn finish(mut self) {
        // Whoever waits for what happens next hears that nothing will.
        let (closed, _) = mpsc::channel(1);
        drop(std::mem::replace(&mut self.events, closed));
        self.say_all(|| Down::Dismissed).await;
        if let Some(speaker) = self.speaker() {
            // Lost now, it would have been lost anyway.
            let _ = speaker.flush().await;
        }
        // The broker stays until everybody has read that it is over.
        let farewells = tokio::time::timeout(LEAVE_WITHIN, self.hear_farewells());
        if farewells.await.is_err() {
            tracing::warn!("a worker did not say farewell in time");
        }
        self.children.leave(LEAVE_WITHIN).await;
        if let Some(link) = self.link {
            link.close().await;
        }
        if let Some(mut broker) = self.broker {
            broker.stop().await;
        }
    }
}

async fn hear(link: &mut Option<Link>) -> Heard {
    match link {
        Some(link) => link.hear().await,
        None => std::future::pending().await,
    }
}
