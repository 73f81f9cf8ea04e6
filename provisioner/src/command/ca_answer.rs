//! `provisioner ca answer`: an authority as a pooled helper.

use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use jiff::Timestamp;
use rand::RngCore;

use super::{Exit, PinArgs};
use crate::ca::{Authority, KeySource};
use crate::hook::answerer::Answerer;
use crate::judge::RequestPolicy;
use crate::secret::Secret;

/// A question longer than this is none: requests and inventories are far shorter.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Answer the questions of a provisioner on standard input, as a pooled helper
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples, in the provisioner's configuration:
  [ca]
  kind    = \"pool\"
  command = [\"provisioner\", \"ca\", \"answer\", \"--certificate\", \"intermediate.pem\",
             \"--key\", \"intermediate.key\", \"--roots\", \"ca.pem\"]
  roots   = \"ca.pem\"

So the key of the authority lives in a process of its own. A line is a question, and a line
is its answer; docs/hooks.md has the contract. Every request is judged here too. Ends with its
input.")]
pub struct CaAnswerArgs {
    /// PEM of the certificate that signs, and of intermediates above it
    #[arg(long, value_name = "FILE")]
    pub certificate: PathBuf,
    /// Its private key: a PEM file that only its owner may read, or a PKCS #11 URI
    #[arg(long, value_name = "FILE|URI")]
    pub key: String,
    /// A file with the passphrase of an encrypted key
    #[arg(long, value_name = "FILE")]
    pub key_passphrase_file: Option<PathBuf>,
    /// What opens a token
    #[command(flatten)]
    pub pin: PinArgs,
    /// PEM of the trust anchors that the certificates lead to
    #[arg(long, value_name = "FILE")]
    pub roots: PathBuf,
    /// Write what is signed to this file, a JSON line for each, before it is told
    #[arg(long, value_name = "FILE")]
    pub book: Option<PathBuf>,
    /// How long certificates are valid
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = humantime::parse_duration)]
    pub validity: Duration,
}

impl CaAnswerArgs {
    /// Answers line by line until the input ends. What is no question is told on standard error.
    ///
    /// # Errors
    /// When the authority cannot be used, a line has no end, or nobody reads the answers.
    pub fn run(
        &self,
        policy: RequestPolicy,
        clock: &dyn Fn() -> Timestamp,
        rng: &mut dyn RngCore,
        input: &mut dyn BufRead,
        out: &mut dyn Write,
    ) -> anyhow::Result<Exit> {
        let authority = self.authority()?;
        authority
            .self_test(clock())
            .map_err(|refusal| anyhow::anyhow!(refusal.message))?;
        let mut answerer = Answerer::new(authority, policy, self.book()?);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.take(LONGEST).read_until(b'\n', &mut line);
            if read.context("the next question cannot be read")? == 0 {
                return Ok(Exit::Success);
            }
            anyhow::ensure!(
                line.len() as u64 != LONGEST,
                "a question of more than {LONGEST} bytes; this is no provisioner"
            );
            match answerer.answer(&line, clock(), rng) {
                Ok(answer) => {
                    serde_json::to_writer(&mut *out, &answer)?;
                    out.write_all(b"\n")?;
                    out.flush()?;
                }
                Err(refusal) => eprintln!("{}: {}", refusal.code, refusal.message),
            }
        }
    }

    /// Opened to append, so that several helpers can share it: a line is one write.
    fn book(&self) -> anyhow::Result<Option<Box<dyn Write>>> {
        let Some(path) = &self.book else {
            return Ok(None);
        };
        let file = File::options().create(true).append(true).open(path);
        let file = file.with_context(|| format!("the book {}", path.display()))?;
        Ok(Some(Box::new(file)))
    }

    fn authority(&self) -> anyhow::Result<Authority> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| path.display().to_string())
        };
        let passphrase = self.key_passphrase_file.as_ref().map(|file| {
            let text = std::fs::read_to_string(file).map(zeroize::Zeroizing::new);
            let text = text.with_context(|| format!("the passphrase in {}", file.display()))?;
            Ok::<_, anyhow::Error>(Secret::new(text.trim_end_matches('\n').to_owned()))
        });
        let key = KeySource::named(&self.key, passphrase.transpose()?, self.pin.pin()?)
            .map_err(|error| anyhow::anyhow!("--key: {error}"))?;
        let certificate = read(&self.certificate)?;
        let roots = read(&self.roots)?;
        Authority::with_key(&certificate, &key, &roots, self.validity, false).map_err(|refusal| {
            let certificate = self.certificate.display();
            anyhow::anyhow!("{certificate} cannot be used: {}", refusal.message)
        })
    }
}
