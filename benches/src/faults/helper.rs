//! A pooled helper that signs, and writes down what it signed before it says so.
//!
//! Its book is an authority's own: whether a key was signed for twice is read there, whatever the
//! provisioners believe.

use std::fs::File;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use provisioner::ca::{Authority, AuthoritySettings};
use provisioner::judge::{RequestPolicy, judge};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use server_core::words::Seed;

/// How long its certificates are good for: within the intermediate's own life.
const VALIDITY: Duration = Duration::from_secs(14 * 86_400);

/// One line of the book.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The node.
    pub node: String,
    /// SHA-256 of the public key's SPKI, hexadecimal.
    pub key: String,
}

#[derive(Deserialize)]
struct Question {
    op: String,
    request_id: String,
    #[serde(default)]
    identity: String,
    #[serde(default)]
    csr_pem: String,
    #[serde(default)]
    dry_run: bool,
}

/// Answers questions until there are no more.
///
/// # Errors
/// The authority cannot be loaded, or the book not be written.
pub fn serve(certificate: &Path, key: &Path, book: &Path) -> anyhow::Result<()> {
    let authority = Authority::load(&AuthoritySettings {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        // Where it stands in a run's folder.
        roots: certificate.with_file_name("ca.pem"),
        validity: VALIDITY,
        server_auth: false,
    });
    let authority = authority.map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    // Appended in one write a line, so that several helpers can share it.
    let mut book = File::options().create(true).append(true).open(book)?;
    let mut rng = Seed::from_os().stream(0);
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let question: Question = serde_json::from_str(&line?).context("a question")?;
        let id = &question.request_id;
        let answer: Value = match question.op.as_str() {
            "health" => json!({ "request_id": id, "decision": "ok" }),
            _ if question.dry_run => json!({ "request_id": id, "decision": "issue" }),
            _ => match sign(&authority, &question, &mut rng, &mut book)? {
                Ok(chain) => {
                    json!({ "request_id": id, "decision": "issue", "cert_chain_pem": chain })
                }
                Err(says) => json!({ "request_id": id, "decision": "refuse", "message": says }),
            },
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn sign(
    authority: &Authority,
    question: &Question,
    rng: &mut impl rand::RngCore,
    book: &mut File,
) -> anyhow::Result<Result<String, String>> {
    let policy = RequestPolicy::default();
    let judged = match judge(question.csr_pem.as_bytes(), &question.identity, &policy) {
        Ok(judged) => judged,
        Err(refusal) => return Ok(Err(refusal.message)),
    };
    let chain = authority
        .prepare(&judged, Timestamp::now(), rng)
        .and_then(|prepared| authority.sign(&prepared));
    let chain = match chain {
        Ok(chain) => chain,
        Err(refusal) => return Ok(Err(refusal.message)),
    };
    let signature = Signature {
        node: question.identity.clone(),
        key: judged.spki_sha256_hex(),
    };
    let mut line = serde_json::to_vec(&signature)?;
    line.push(b'\n');
    book.write_all(&line)?;
    Ok(Ok(chain))
}
