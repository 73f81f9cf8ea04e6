//! The one reader of a connection. Polling it drives everything: it reads, answers pings, sends what
//! others left, watches over silence, and dials again. No task of its own.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::Stream;
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, State, note};
use super::handshake::{is_about_one_subject, message, plain};
use super::plan::{Arrived, Occasion, Plan};
use super::protocol::{Info, Operation, PING, PONG, ProtocolError};
use super::socket::Lost;
use crate::bus::{BusError, Incoming};

/// A broker that announced its end is left within this time; its own grace is as long by default.
const LAME_DUCK_SPREAD: Duration = Duration::from_secs(8);
/// Buffers read from a lame duck before it is left.
const LAST_READS: usize = 64;
/// Items whose room is kept between reads.
const FEW: usize = 4;

type Dialling = Pin<Box<dyn Future<Output = Result<Arrived, BusError>> + Send>>;

/// When a silent broker is asked whether it is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeepAlive {
    /// Silence after which a ping is sent.
    pub(super) interval: Duration,
    /// Pings without an answer after which the connection counts as lost.
    pub(super) unanswered: u32,
}

pub(super) struct SwarmInbound {
    connection: Arc<Connection>,
    /// Read and not yet handed on: at most what one buffer held.
    items: VecDeque<Incoming>,
    keep_alive: KeepAlive,
    timer: Pin<Box<Sleep>>,
    /// Something was heard since the timer was set.
    heard: bool,
    unanswered: u32,
    /// Towards a new broker: after a loss, or beside the connection to a lame duck.
    dialling: Option<Dialling>,
    /// The loss has been told and a new connection is being made.
    lost: bool,
    over: bool,
}

impl SwarmInbound {
    pub(super) fn new(connection: Arc<Connection>, keep_alive: KeepAlive) -> Self {
        // The first wait differs, so that a fleet that connected together does not ping together.
        let millis = usize::try_from(keep_alive.interval.as_millis()).unwrap_or(usize::MAX);
        let share = connection.plan.delays(0).pick(millis / 2);
        let first = keep_alive.interval / 2 + Duration::from_millis(share as u64);
        let mut inbound = Self {
            connection,
            items: VecDeque::new(),
            keep_alive,
            timer: Box::pin(tokio::time::sleep(first)),
            heard: false,
            unanswered: 0,
            dialling: None,
            lost: false,
            over: false,
        };
        inbound.follow_first_info();
        inbound
    }

    /// One of the brokers may have announced its end in its very first words.
    fn follow_first_info(&mut self) {
        let connection = Arc::clone(&self.connection);
        let state = connection.state();
        if state.leaving {
            self.leave(&state);
        }
    }

    /// Does whatever can be done now. `Ready` when that may have made an item.
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(dialling) = &mut self.dialling
            && let Poll::Ready(outcome) = dialling.as_mut().poll(cx)
        {
            self.dialling = None;
            self.arrive(outcome);
            return Poll::Ready(());
        }
        let connection = Arc::clone(&self.connection);
        let mut state = connection.state();
        if state.closed {
            self.over = true;
            self.items.push_back(Incoming::Closed);
            return Poll::Ready(());
        }
        if !state.early.is_empty() {
            for (sid, message) in std::mem::take(&mut state.early) {
                if state.wants(sid) {
                    self.items.push_back(Incoming::Message(message));
                }
            }
            return Poll::Ready(());
        }
        match self.drive_socket(&mut state, cx) {
            Ok(progress) => progress,
            Err(lost) => {
                note(&state.target, &lost);
                state.socket = None;
                self.lost = true;
                self.items.push_back(Incoming::Disconnected);
                let left = state.target.clone();
                self.dial(&state, Occasion::Loss { left });
                Poll::Ready(())
            }
        }
    }

    fn drive_socket(&mut self, state: &mut State, cx: &mut Context<'_>) -> Result<Poll<()>, Lost> {
        if state.socket.is_none() {
            return match self.lost {
                true => Ok(Poll::Pending),
                // A sender met the end of the connection first.
                false => Err(Lost::Ended),
            };
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.keep_alive(state)?;
        }
        let Some(socket) = &mut state.socket else {
            return Ok(Poll::Ready(()));
        };
        while !socket.pump()? {
            match socket.stream().poll_write_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => break,
            }
        }
        match socket.stream().poll_read_ready(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(ready) => ready?,
        }
        self.read(state)?;
        Ok(Poll::Ready(()))
    }

    /// Reads one buffer full; `false` when nothing is there.
    fn read(&mut self, state: &mut State) -> Result<bool, Lost> {
        let Some(mut socket) = state.socket.take() else {
            return Ok(false);
        };
        let (mut pings, mut info, mut said) = (0u32, None, None);
        let (mut messages, mut bytes) = (0u64, 0u64);
        let outcome = socket.read(&mut |operation| match operation {
            Operation::Message {
                sid,
                subject,
                payload,
            } => {
                if state.wants(sid) {
                    messages += 1;
                    bytes += payload.len() as u64;
                    self.items
                        .push_back(Incoming::Message(message(subject, payload)));
                }
            }
            Operation::Ping => pings += 1,
            Operation::Info(json) => info = Some(Info::parse(json)),
            Operation::Error(words) => said = Some(plain(words)),
            Operation::Pong | Operation::Ok => {}
        });
        state.socket = Some(socket);
        let counters = &self.connection.counters;
        counters.in_msgs.fetch_add(messages, Ordering::Relaxed);
        counters.in_bytes.fetch_add(bytes, Ordering::Relaxed);
        let read = outcome?;
        if read {
            self.heard = true;
        }
        self.answer(state, pings)?;
        self.follow(state, info)?;
        match said {
            Some(words) if is_about_one_subject(words.as_bytes()) => {
                tracing::warn!(server = %state.target.url, %words, "the broker refuses a subject");
            }
            Some(words) => {
                tracing::warn!(server = %state.target.url, %words, "the broker reports an error");
            }
            None => {}
        }
        Ok(read)
    }

    fn answer(&self, state: &mut State, pings: u32) -> Result<(), Lost> {
        if let Some(socket) = state.socket.as_mut().filter(|_| pings > 0) {
            for _ in 0..pings {
                socket.queue().extend_from_slice(PONG);
            }
            // What does not leave now leaves with the next round of `drive`, which follows.
            socket.pump()?;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        state: &mut State,
        info: Option<Result<Info, ProtocolError>>,
    ) -> Result<(), Lost> {
        if let Some(info) = info {
            state.told(&info?, &self.connection.plan);
            if state.leaving {
                self.leave(state);
            }
        }
        Ok(())
    }

    /// The broker is about to go: looks for another one while this one still serves.
    fn leave(&mut self, state: &State) {
        let targets = &self.connection.plan.targets;
        if self.dialling.is_none() && state.route.has_other(targets, &state.target) {
            let left = state.target.clone();
            let spread = LAME_DUCK_SPREAD;
            self.dial(state, Occasion::LameDuck { left, spread });
        }
    }

    fn dial(&mut self, state: &State, occasion: Occasion) {
        let plan: Arc<Plan> = Arc::clone(&self.connection.plan);
        self.dialling = Some(Box::pin(plan.connect(state.route.clone(), occasion)));
    }

    /// A dial has ended.
    fn arrive(&mut self, outcome: Result<Arrived, BusError>) {
        let connection = Arc::clone(&self.connection);
        let mut state = connection.state();
        match outcome {
            Ok(arrived) if !state.closed => {
                if state.socket.is_some() {
                    // What the lame duck has already delivered is not left behind.
                    for _ in 0..LAST_READS {
                        if !matches!(self.read(&mut state), Ok(true)) {
                            break;
                        }
                    }
                    self.items.push_back(Incoming::Disconnected);
                }
                let server = arrived.established.target.url.to_string();
                drop(state);
                connection.replace(arrived);
                self.unanswered = 0;
                self.heard = true;
                self.lost = false;
                self.items.push_back(Incoming::Connected { server });
            }
            Ok(_) => {}
            // The lame duck serves on; its end will be an ordinary loss.
            Err(_) if state.socket.is_some() => {}
            Err(error) => {
                tracing::warn!(%error, "the connection is given up");
                drop(state);
                drop(connection.end());
            }
        }
    }

    /// The timer has run out: has the broker been heard, and if not, is it there?
    fn keep_alive(&mut self, state: &mut State) -> Result<(), Lost> {
        if std::mem::take(&mut self.heard) {
            self.unanswered = 0;
        } else if self.unanswered >= self.keep_alive.unanswered {
            return Err(Lost::Silent(self.unanswered));
        } else {
            self.unanswered += 1;
            if let Some(socket) = &mut state.socket {
                socket.queue().extend_from_slice(PING);
            }
        }
        let next = Instant::now() + self.keep_alive.interval;
        self.timer.as_mut().reset(next);
        Ok(())
    }
}

impl Stream for SwarmInbound {
    type Item = Incoming;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let this = self.get_mut();
        loop {
            if let Some(item) = this.items.pop_front() {
                if this.items.is_empty() && this.items.capacity() > FEW {
                    this.items = VecDeque::new();
                }
                return Poll::Ready(Some(item));
            }
            if this.over {
                return Poll::Ready(None);
            }
            this.connection.reader.register(cx.waker());
            if this.drive(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for SwarmInbound {
    fn drop(&mut self) {
        drop(self.connection.end());
    }
}
