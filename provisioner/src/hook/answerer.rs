//! The other side of our contract: questions of a provisioner, answered by an authority.
//!
//! With it the key of an authority may live in a process of its own, and whoever writes a helper
//! finds here what a whole one does.

use std::collections::{HashMap, VecDeque};
use std::io::Write;

use jiff::Timestamp;
use rand::RngCore;
use serde::{Deserialize, Serialize};

use super::contract::VERSION;
use crate::ca::Authority;
use crate::code::{Code, Refusal};
use crate::judge::{RequestPolicy, judge};

/// Certificates remembered, so that a question asked twice has one answer.
const REMEMBERED: usize = 4_096;

/// One question. What it has beyond these keys is not needed to sign.
#[derive(Debug, Deserialize)]
struct Question {
    v: u8,
    op: Op,
    request_id: String,
    #[serde(default)]
    idempotency_key: String,
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    identity: String,
    #[serde(default)]
    csr_pem: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Op {
    Sign,
    Health,
}

/// One answer, as [`crate::hook::contract`] reads it.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    request_id: String,
    decision: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<Code>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_chain_pem: Option<String>,
}

/// One line of the book: what was signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// When.
    pub at: Timestamp,
    /// The node.
    pub node: String,
    /// SHA-256 of the public key's SPKI, hexadecimal.
    pub key: String,
    /// The certificate's serial number, hexadecimal.
    pub serial: String,
}

/// Answers questions with the certificates of one authority.
pub struct Answerer {
    authority: Authority,
    policy: RequestPolicy,
    book: Option<Box<dyn Write>>,
    /// The book's last line may be half of one.
    torn: bool,
    given: HashMap<String, String>,
    order: VecDeque<String>,
}

impl Answerer {
    /// Signs with `authority` what `policy` lets pass, and writes it into `book` first.
    #[must_use]
    pub fn new(authority: Authority, policy: RequestPolicy, book: Option<Box<dyn Write>>) -> Self {
        Self {
            authority,
            policy,
            book,
            torn: false,
            given: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The answer to a line.
    ///
    /// # Errors
    /// `hook.protocol` when it is no question, so that nobody can be answered.
    pub fn answer(
        &mut self,
        line: &[u8],
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Answer, Refusal> {
        let wrong = |says: String| Refusal::new(Code::HookProtocol, says);
        let question: Question = serde_json::from_slice(line)
            .map_err(|error| wrong(format!("this is no question of the contract: {error}")))?;
        if question.v != VERSION {
            return Err(wrong(format!(
                "a question of version {}; this program knows version {VERSION}",
                question.v
            )));
        }
        let decided = match question.op {
            Op::Health => self.authority.self_test(now).map(|()| ("ok", None)),
            Op::Sign => self.sign(&question, now, rng).map(|chain| ("issue", chain)),
        };
        Ok(match decided {
            Ok((decision, cert_chain_pem)) => Answer {
                request_id: question.request_id,
                decision,
                cert_chain_pem,
                ..Answer::default()
            },
            Err(refusal) => Answer {
                request_id: question.request_id,
                // Its own trouble is no reason against the node.
                decision: match refusal.code {
                    Code::CaUnavailable | Code::CaConfig => "defer",
                    _ => "refuse",
                },
                reason_code: Some(refusal.code),
                message: Some(refusal.message),
                cert_chain_pem: None,
            },
        })
    }

    /// The certificate for a request, the same for the same key of idempotency; none where only
    /// the decision was asked for.
    fn sign(
        &mut self,
        question: &Question,
        now: Timestamp,
        rng: &mut dyn RngCore,
    ) -> Result<Option<String>, Refusal> {
        let request = judge(
            question.csr_pem.as_bytes(),
            &question.identity,
            &self.policy,
        )?;
        if question.dry_run {
            return Ok(None);
        }
        let key = &question.idempotency_key;
        if let Some(chain) = self.given.get(key) {
            return Ok(Some(chain.clone()));
        }
        let prepared = self.authority.prepare(&request, now, rng)?;
        let chain = self.authority.sign(&prepared)?;
        self.note(&Signature {
            at: now,
            node: question.identity.clone(),
            key: request.spki_sha256_hex(),
            serial: prepared.serial,
        })?;
        if !key.is_empty() {
            self.remember(key.clone(), chain.clone());
        }
        Ok(Some(chain))
    }

    /// What is not in the book is not handed out.
    fn note(&mut self, signature: &Signature) -> Result<(), Refusal> {
        let Some(book) = &mut self.book else {
            return Ok(());
        };
        let failed = |error: std::io::Error| {
            let says = format!("the book of signatures cannot be written: {error}");
            Refusal::new(Code::CaUnavailable, says)
        };
        let mut line = Vec::new();
        if std::mem::take(&mut self.torn) {
            line.push(b'\n');
        }
        serde_json::to_writer(&mut line, signature).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        let written = book.write_all(&line);
        self.torn = written.is_err();
        written.map_err(failed)
    }

    fn remember(&mut self, key: String, chain: String) {
        self.order.push_back(key.clone());
        self.given.insert(key, chain);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.given.remove(&oldest);
        }
    }
}
