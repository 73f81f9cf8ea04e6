//! `provisioner csr check`: what the judge says of one request.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;
use zeroize::Zeroizing;

use super::Exit;
use crate::judge::{RequestPolicy, judge};

/// More than this is not read of a file; the judge refuses far less.
const MAX_FILE: u64 = 1024 * 1024;

/// Judge a certificate request as the service would, all rules but those that need the ledger
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner csr check node.csr --identity web17.example.net
  provisioner csr check - --identity web17.example.net --json < node.csr

Exit status: 0 accepted, 1 refused, 2 the file cannot be read")]
pub struct CsrCheckArgs {
    /// The request in PEM; - reads standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The name of the node the request came from
    #[arg(long, value_name = "NAME", allow_hyphen_values = true)]
    pub identity: String,
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

impl CsrCheckArgs {
    /// Judges the request by a policy and writes the verdict.
    ///
    /// # Errors
    /// When the file cannot be read or the verdict cannot be written.
    pub fn run(&self, policy: &RequestPolicy, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let pem = read(&self.file)
            .with_context(|| format!("cannot read the request {}", self.file.display()))?;
        match judge(&pem, &self.identity, policy) {
            Ok(judged) if self.json => {
                let verdict = json!({
                    "accepted": true,
                    "identity": judged.identity(),
                    "key": judged.key(),
                    "spki_sha256": judged.spki_sha256_hex(),
                });
                writeln!(out, "{verdict}")?;
                Ok(Exit::Success)
            }
            Ok(judged) => {
                writeln!(
                    out,
                    "accepted  {}: {} key {}",
                    judged.identity(),
                    judged.key(),
                    judged.spki_sha256_hex()
                )?;
                Ok(Exit::Success)
            }
            Err(refusal) if self.json => {
                let verdict = json!({
                    "accepted": false,
                    "code": refusal.code,
                    "message": refusal.message,
                });
                writeln!(out, "{verdict}")?;
                Ok(Exit::Negative)
            }
            Err(refusal) => {
                writeln!(out, "refused  {}: {}", refusal.code, refusal.message)?;
                Ok(Exit::Negative)
            }
        }
    }
}

/// A request may hold a private key by mistake, so what is read is wiped afterwards.
fn read(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut pem = Zeroizing::new(Vec::new());
    if file == Path::new("-") {
        io::stdin().lock().take(MAX_FILE).read_to_end(&mut pem)?;
    } else {
        File::open(file)?.take(MAX_FILE).read_to_end(&mut pem)?;
    }
    Ok(pem)
}
