//! What one helper was asked and has not answered yet: pure, time given from outside.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::contract::{self, Question};
use super::super::{HookError, choria};
use super::Job;

/// Who waits for an answer.
enum Waiting {
    /// Whoever asked about a node; may have given up.
    Asker(oneshot::Sender<Result<Vec<u8>, HookError>>),
    /// The keeper itself, which asked whether the helper can work.
    Keeper(Question),
}

/// Questions without an answer.
#[derive(Default)]
pub(super) struct Desk {
    open: HashMap<String, (Instant, Waiting)>,
    /// Overdue questions that may still be answered, each once. A helper that has one is asked
    /// nothing new, so there are never more than it may have open.
    late: HashSet<String>,
    /// Answers so far.
    pub(super) answered: u64,
}

impl Desk {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Notes a question and gives back its line.
    pub(super) fn ask(&mut self, job: Job) -> Vec<u8> {
        let waiting = Waiting::Asker(job.answer);
        self.open.insert(job.request_id, (job.deadline, waiting));
        job.line
    }

    /// Notes the keeper's own question and gives back its line.
    pub(super) fn ask_health(&mut self, question: Question, deadline: Instant) -> Vec<u8> {
        let line = question.json.clone();
        let id = question.request_id.clone();
        self.open.insert(id, (deadline, Waiting::Keeper(question)));
        line
    }

    /// Gives a line to whoever waits for it.
    ///
    /// # Errors
    /// When the helper cannot be gone on with: what it wrote answers nothing it was asked, or it
    /// says that it cannot work.
    pub(super) fn answer(&mut self, line: Vec<u8>) -> Result<(), HookError> {
        let Some(id) = contract::echo(&line) else {
            return Err(choria::protocol(
                "it wrote a line that is no JSON object with a `request_id`",
            ));
        };
        let Some((_, waiting)) = self.open.remove(&id) else {
            // Whoever asked has given up; the others still wait.
            if self.late.remove(&id) {
                return Ok(());
            }
            return Err(choria::protocol(
                "it answered a question that it was not asked, or twice (`request_id`)",
            ));
        };
        match waiting {
            // Whoever gave up does not mind.
            Waiting::Asker(asker) => drop(asker.send(Ok(line))),
            Waiting::Keeper(question) => contract::read_health(&question, &line)?,
        }
        self.answered += 1;
        Ok(())
    }

    /// When the next question is overdue.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.open.values().map(|(deadline, _)| *deadline).min()
    }

    /// Waits no more for what is overdue; how many that were.
    pub(super) fn overdue(&mut self, now: Instant) -> usize {
        let overdue = self.open.extract_if(|_, (deadline, _)| *deadline <= now);
        let before = self.late.len();
        self.late.extend(overdue.map(|(id, _)| id));
        self.late.len() - before
    }

    /// Tells everyone who waits that there will be no answer.
    pub(super) fn close(&mut self, why: &HookError) {
        for (_, (_, waiting)) in self.open.drain() {
            if let Waiting::Asker(asker) = waiting {
                drop(asker.send(Err(why.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_late_answer_is_dropped_once_and_disturbs_nobody() {
        let (mut desk, now) = (Desk::default(), Instant::now());
        let mut ask = |id: &str, secs| {
            let (answer, answered) = oneshot::channel();
            desk.ask(Job {
                request_id: id.to_owned(),
                line: Vec::new(),
                deadline: now + Duration::from_secs(secs),
                claimed: Arc::default(),
                answer,
            });
            answered
        };
        let (mut slow, mut other) = (ask("slow", 1), ask("other", 9));
        assert_eq!(desk.overdue(now + Duration::from_secs(1)), 1);
        assert!(slow.try_recv().is_err());
        let said = |id: &str| format!(r#"{{"request_id":"{id}","decision":"defer"}}"#).into_bytes();
        desk.answer(said("slow")).unwrap();
        assert!(desk.answer(said("slow")).is_err(), "twice is wrong");
        desk.answer(said("other")).unwrap();
        assert_eq!(other.try_recv().unwrap().unwrap(), said("other"));
    }
}
