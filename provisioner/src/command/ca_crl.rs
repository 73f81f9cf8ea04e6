//! `provisioner ca crl`: the list of revoked certificates as it is, or a new one.

use std::io::Write;
use std::path::Path;

use der::{Decode, DecodePem};
use jiff::Timestamp;
use serde::Serialize;
use x509_cert::crl::CertificateList;
use x509_cert::ext::pkix::CrlNumber;

use super::Exit;
use crate::config::Config;
use crate::control::{self, Command, Told};
use crate::ledger::Revocation;

/// Show the list of revoked certificates, or make a new one
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  provisioner ca crl                         which certificates are revoked, and on the list?
  provisioner ca crl --issue                 a new list now, though none is due
  openssl crl -in ca.crl -CAfile intermediate.pem -noout -text

A running service makes a list within a second of a revocation, and before the last one ends;
see [ca.crl]. Nodes are revoked by `ban`, `decommission`, `evict --revoke` and when they are
enrolled with another key. Works beside a running service and after it stopped.
Exit status: 0 the list is good and complete, 1 it is not, 2 it could not be read or made")]
pub struct CaCrlArgs {
    /// Make and publish a new list now
    #[arg(long)]
    pub issue: bool,
    /// Answer with one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What is shown.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    file: &'a Path,
    /// Absent where there is no file yet.
    #[serde(flatten)]
    list: Option<List>,
    revoked: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct List {
    number: String,
    this_update: Timestamp,
    next_update: Timestamp,
    entries: usize,
    #[serde(skip)]
    serials: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(flatten)]
    revocation: Revocation,
    listed: bool,
}

impl CaCrlArgs {
    /// Shows the list, after making a new one where that is asked for.
    ///
    /// # Errors
    /// There is no `[ca.crl]`, the list cannot be made or read, or no ledger is there.
    pub fn run(&self, config: &Config, out: &mut dyn Write) -> anyhow::Result<Exit> {
        let Some(settings) = &config.ca.crl else {
            anyhow::bail!(
                "{} publishes no list of revoked certificates; write [ca.crl] file = \"ca.crl\"",
                config.file.display()
            );
        };
        if self.issue {
            match control::tell(config, &Command::List)? {
                Told::Listed { .. } => {}
                Told::Unfit { says } | Told::Invalid { says } => anyhow::bail!(says),
                _ => anyhow::bail!("the service gave no answer to this"),
            }
        }
        let file = settings.file.value.as_path();
        let shown = look(file, control::revocations(config)?)?;
        let now = Timestamp::now();
        let good = shown.list.as_ref().is_some_and(|l| l.next_update > now);
        let missing = |entry: &Entry| !entry.listed && !entry.revocation.is_past(now);
        let complete = !shown.revoked.iter().any(missing);
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&shown)?)?;
        } else {
            print(out, &shown, now)?;
        }
        Ok(if good && complete {
            Exit::Success
        } else {
            Exit::Negative
        })
    }
}

fn look(file: &Path, revoked: Vec<Revocation>) -> anyhow::Result<Shown<'_>> {
    let list = match std::fs::read(file) {
        Ok(pem) => Some(read(&pem).map_err(|says| anyhow::anyhow!("{}: {says}", file.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => anyhow::bail!("{}: {error}", file.display()),
    };
    let listed = |serial: &String| list.as_ref().is_some_and(|l| l.serials.contains(serial));
    let entry = |revocation: Revocation| Entry {
        listed: listed(&revocation.serial),
        revocation,
    };
    let mut revoked: Vec<_> = revoked.into_iter().map(entry).collect();
    revoked.sort_by_key(|entry| entry.revocation.at);
    Ok(Shown {
        file,
        list,
        revoked,
    })
}

fn read(pem: &[u8]) -> Result<List, String> {
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_pem(pem);
    let list = list.map_err(|error| format!("is no list of revoked certificates: {error}"))?;
    let list = list.tbs_cert_list;
    let time = |time: x509_cert::time::Time| {
        let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_err(|error| error.to_string())
    };
    let extensions = list.crl_extensions.unwrap_or_default();
    let number = extensions
        .iter()
        .find(|extension| extension.extn_id == NUMBER);
    let number = number.and_then(|n| CrlNumber::from_der(n.extn_value.as_bytes()).ok());
    let number = number.map(|number| decimal(number.0.as_bytes()));
    let entries = list.revoked_certificates.unwrap_or_default();
    let serials = entries
        .iter()
        .map(|entry| hex::encode(entry.serial_number.as_bytes()));
    Ok(List {
        number: number.ok_or("has no number")?,
        this_update: time(list.this_update)?,
        next_update: time(list.next_update.ok_or("says not when it ends")?)?,
        entries: entries.len(),
        serials: serials.collect(),
    })
}

/// The extension with a list's number (RFC 5280 §5.2.3).
const NUMBER: der::oid::ObjectIdentifier = der::oid::ObjectIdentifier::new_unwrap("2.5.29.20");

/// Ours are 64 bits wide; a longer one is shown in hexadecimal.
fn decimal(bytes: &[u8]) -> String {
    let significant: Vec<u8> = bytes.iter().copied().skip_while(|b| *b == 0).collect();
    if significant.len() > 8 {
        return format!("0x{}", hex::encode(significant));
    }
    let number = significant
        .iter()
        .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    number.to_string()
}

fn print(out: &mut dyn Write, shown: &Shown<'_>, now: Timestamp) -> std::io::Result<()> {
    let second = |time: Timestamp| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    writeln!(out, "file        {}", shown.file.display())?;
    match &shown.list {
        None => writeln!(out, "number      none: no list was made yet; see --issue")?,
        Some(list) => {
            let ended = if list.next_update > now {
                ""
            } else {
                ", which is past"
            };
            writeln!(out, "number      {}", list.number)?;
            writeln!(out, "made        {}", second(list.this_update))?;
            writeln!(out, "good until  {}{ended}", second(list.next_update))?;
            writeln!(out, "on it       {} certificates", list.entries)?;
        }
    }
    let mut revoked = shown.revoked.iter().peekable();
    if revoked.peek().is_some() {
        writeln!(out)?;
    }
    for Entry { revocation, listed } in revoked {
        let note = match (listed, revocation.is_past(now)) {
            (true, _) => "",
            (false, true) => "  (expired)",
            (false, false) => "  (not on the list yet)",
        };
        writeln!(
            out,
            "{}  {}  {}  {}{note}",
            revocation.serial,
            second(revocation.at),
            revocation.reason,
            revocation.identity
        )?;
    }
    Ok(())
}
