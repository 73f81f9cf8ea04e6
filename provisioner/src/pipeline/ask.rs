//! Asking nodes: one request for many nodes, answers matched by request and
//! sender.
//!
//! A protocol-1 directed request names no target, so what is the same for every
//! node is made once per short [`Window`] and published to each. A window
//! stays open as long as any conversation that used it, and so notices a second
//! answer in one node's name, while the work goes on.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use server_core::client::{Client, ClientError, NodeReply, Prepared, Replies};
use server_core::wire::Limits;
use server_core::wire::rpc::{RpcReply, StatusCode};
use server_core::words::Identity;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::question::Question;
use crate::code::{Code, Refusal};
use crate::secret::Secret;

/// How long one request is sent to further nodes.
const WINDOW: Duration = Duration::from_secs(1);
/// Between two looks at replies that were refused.
const LOOK: Duration = Duration::from_millis(250);
/// How long late answers to the first question are heard.
const LINGER: Duration = Duration::from_secs(20);
/// Replies that may wait to be sorted, per window.
const WAITING_REPLIES: usize = 65_536;

/// Asks on one network.
pub(crate) struct Asker {
    client: Client,
    token: Secret,
    limits: Limits,
    open: tokio::sync::Mutex<HashMap<&'static str, Arc<Window>>>,
    late: Option<mpsc::Sender<Late>>,
}

/// A node answered after it was given up.
#[derive(Debug)]
pub(crate) struct Late {
    pub(crate) node: Identity,
    pub(crate) took: Duration,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}

impl Asker {
    /// `late` hears of answers to the first question that came too late.
    pub(crate) fn new(client: Client, token: Secret, late: Option<mpsc::Sender<Late>>) -> Self {
        Self {
            limits: client.config().limits.clone(),
            client,
            token,
            open: tokio::sync::Mutex::default(),
            late,
        }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The current window of a question, or a new one when that is too old or
    /// was used for this node before.
    async fn window(
        &self,
        question: &Question,
        node: &Identity,
        alone: bool,
    ) -> Result<Arc<Window>, ClientError> {
        if alone || !question.is_shared() {
            return Ok(Arc::new(self.open_window(question).await?));
        }
        let mut open = self.open.lock().await;
        if let Some(window) = open.get(question.name())
            && window.opened.elapsed() < WINDOW
            && !window.knows(node)
        {
            return Ok(Arc::clone(window));
        }
        let window = Arc::new(self.open_window(question).await?);
        open.insert(question.name(), Arc::clone(&window));
        Ok(window)
    }

    async fn open_window(&self, question: &Question) -> Result<Window, ClientError> {
        let request = self.client.prepare(&question.call(&self.token)?)?;
        let replies = self.client.listen(&request, WAITING_REPLIES).await?;
        let opened = Instant::now();
        let late = self.late.as_ref().filter(|_| *question == Question::Jwt);
        let slots = Arc::new(Slots {
            asked: Mutex::default(),
            strangers: AtomicBool::new(false),
            late: late.cloned(),
            opened,
        });
        let sorting = tokio::spawn(sort(replies, Arc::clone(&slots)));
        Ok(Window {
            request,
            opened,
            slots,
            sorting: sorting.abort_handle(),
        })
    }
}

/// One request and those who answer it.
#[derive(Debug)]
struct Window {
    request: Prepared,
    opened: Instant,
    slots: Arc<Slots>,
    sorting: AbortHandle,
}

#[derive(Debug)]
struct Slots {
    asked: Mutex<HashMap<Identity, Slot>>,
    strangers: AtomicBool,
    late: Option<mpsc::Sender<Late>>,
    opened: Instant,
}

/// One node that was asked.
#[derive(Debug)]
struct Slot {
    waiting: Option<oneshot::Sender<NodeReply>>,
    answered: bool,
    doubled: Arc<AtomicBool>,
}

impl Window {
    fn knows(&self, node: &Identity) -> bool {
        self.slots.locked().contains_key(node)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let sorting = self.sorting.clone();
        match tokio::runtime::Handle::try_current() {
            // Late answers are worth hearing for a while.
            Ok(runtime) if self.slots.late.is_some() => {
                runtime.spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    sorting.abort();
                });
            }
            _ => sorting.abort(),
        }
    }
}

impl Slots {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Identity, Slot>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, reply: NodeReply) {
        let mut asked = self.locked();
        let Some(slot) = asked.get_mut(&reply.sender) else {
            drop(asked);
            // Whoever may publish can send any number of them: one line a window is enough.
            if !self.strangers.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    sender = %reply.sender, code = %Code::RpcSenderMismatch,
                    "a reply came from a node that was not asked"
                );
            }
            return;
        };
        if slot.answered {
            slot.doubled.store(true, Ordering::Relaxed);
        }
        slot.answered = true;
        let Some(waiting) = slot.waiting.take() else {
            return;
        };
        // Whoever asked may have given up meanwhile.
        if let (Err(reply), Some(late)) = (waiting.send(reply), &self.late) {
            let took = self.opened.elapsed();
            let node = reply.sender;
            // One that is not heeded is found by the next sweep.
            let _ = late.try_send(Late { node, took });
        }
    }
}

/// Gives every reply to whoever waits for it. What the client refuses to take,
/// because it names two senders, counts as a stranger's.
async fn sort(mut replies: Replies, slots: Arc<Slots>) {
    loop {
        match tokio::time::timeout(LOOK, replies.next()).await {
            Ok(Some(reply)) => slots.answer(reply),
            Ok(None) => return,
            Err(_) if replies.refused() > 0 => slots.strangers.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
    }
}

/// Everything that is asked of one node in one enrolment.
#[derive(Debug)]
pub(crate) struct Conversation {
    asker: Arc<Asker>,
    node: Identity,
    doubled: Arc<AtomicBool>,
    /// Kept open to hear second answers.
    windows: Vec<Arc<Window>>,
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Nothing came in time. `strangers` when another answered instead.
    Silent { strangers: bool },
    /// It could not be asked.
    Network(ClientError),
}

impl Conversation {
    pub(crate) fn new(asker: &Arc<Asker>, node: Identity) -> Self {
        Self {
            asker: Arc::clone(asker),
            node,
            doubled: Arc::default(),
            windows: Vec::new(),
        }
    }

    pub(crate) fn node(&self) -> &Identity {
        &self.node
    }

    /// Asks once and waits for the node's own answer. When another answers
    /// instead, asks once more with a request nobody else is sent, to know
    /// whether that answer is to this question.
    pub(crate) async fn ask(
        &mut self,
        question: &Question,
        limit: Duration,
    ) -> Result<NodeReply, NoAnswer> {
        match self.ask_in_window(question, limit, false).await {
            Err(NoAnswer::Silent { strangers: true }) if question.is_shared() => {
                self.ask_in_window(question, limit, true).await
            }
            other => other,
        }
    }

    async fn ask_in_window(
        &mut self,
        question: &Question,
        limit: Duration,
        alone: bool,
    ) -> Result<NodeReply, NoAnswer> {
        let asker = Arc::clone(&self.asker);
        let window = asker.window(question, &self.node, alone).await;
        let window = window.map_err(NoAnswer::Network)?;
        let (sender, answer) = oneshot::channel();
        let slot = Slot {
            waiting: Some(sender),
            answered: false,
            doubled: Arc::clone(&self.doubled),
        };
        window.slots.locked().insert(self.node.clone(), slot);
        self.windows.push(Arc::clone(&window));
        let sent = asker.client.publish_to(&window.request, &self.node).await;
        sent.map_err(NoAnswer::Network)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(reply)) => Ok(reply),
            _ => Err(NoAnswer::Silent {
                strangers: window.slots.strangers.load(Ordering::Relaxed),
            }),
        }
    }

    /// Asks an RPC agent, again after silence, and takes only success.
    pub(crate) async fn call(
        &mut self,
        question: &Question,
        limit: Duration,
        again: usize,
    ) -> Result<Value, Refusal> {
        let mut left = again;
        loop {
            match self.ask(question, limit).await {
                Ok(reply) => return self.read(question, &reply),
                Err(NoAnswer::Silent { strangers: false }) if left > 0 => left -= 1,
                Err(no_answer) => return Err(self.refusal(question, limit, &no_answer)),
            }
        }
    }

    /// What a successful reply says, or why it is none.
    pub(crate) fn read(&self, question: &Question, reply: &NodeReply) -> Result<Value, Refusal> {
        let reply = reply.rpc(&self.asker.limits).map_err(|error| {
            let says = format!("its reply to {} cannot be read: {error}", question.name());
            Refusal::new(Code::RpcProtocol, says)
        })?;
        match reply.statuscode {
            StatusCode::Ok => Ok(reply.data),
            _ => Err(failed(question, &reply)),
        }
    }

    /// Refuses when anybody answered twice in the node's name so far.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if !self.doubled.load(Ordering::Relaxed) {
            return Ok(());
        }
        let says = format!(
            "more than one connection answers as {}; one of them is not that node. \
             It is not enrolled until somebody has looked (rule 22)",
            self.node
        );
        Err(Refusal::new(Code::RpcDuplicateResponder, says))
    }

    pub(crate) fn refusal(
        &self,
        question: &Question,
        limit: Duration,
        no_answer: &NoAnswer,
    ) -> Refusal {
        match no_answer {
            NoAnswer::Silent { strangers: false } => {
                let limit = humantime::format_duration(limit);
                let says = format!("it did not answer {} within {limit}", question.name());
                Refusal::new(Code::RpcTimeout, says)
            }
            NoAnswer::Silent { strangers: true } => {
                let says = format!(
                    "{} was answered in another node's name and not in its own; \
                     it is not enrolled until somebody has looked (rule 21)",
                    question.name()
                );
                Refusal::new(Code::RpcSenderMismatch, says)
            }
            NoAnswer::Network(error) => {
                let says = format!("{} could not be asked: {error}", question.name());
                Refusal::new(Code::BrokerDown, says)
            }
        }
    }
}

fn failed(question: &Question, reply: &RpcReply) -> Refusal {
    let said: String = reply
        .statusmsg
        .chars()
        .filter(|c| !c.is_control())
        .take(300)
        .collect();
    let code = if said.contains("provision token") {
        Code::NodeToken
    } else if said.contains("provisioning lock") {
        Code::NodeLocked
    } else {
        Code::RpcFailed
    };
    Refusal::new(code, format!("it refused {}: {said:?}", question.name()))
}
