//! Appending: one write and one flush for everything a transaction tells.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::Timestamp;
use nix::sys::statvfs::statvfs;

use super::event::Event;
use super::key::Signer;
use super::{Anchor, AuditError, Settings, line, segment, tail};

/// Lines after which a checkpoint comes, whatever the time.
const LINES: u64 = 1_000;
/// A file that has grown so large is followed by another one, bytes.
const LARGE: u64 = 64 << 20;

/// The log as its one writer has it.
#[derive(Debug)]
pub(crate) struct Audit {
    dir: PathBuf,
    settings: Settings,
    /// The last line the ledger knows.
    anchor: Option<Anchor>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    size: u64,
    head: Anchor,
    signer: Signer,
    /// Lines since the last checkpoint, and when that was.
    unsigned: u64,
    signed: Instant,
}

impl Audit {
    /// The log in the folder `dir`, of which the ledger knows what is up to
    /// `anchor`. It is opened when something is appended, and again after an error.
    pub(crate) const fn new(dir: PathBuf, anchor: Option<Anchor>, settings: Settings) -> Self {
        Self {
            dir,
            settings,
            anchor,
            open: None,
        }
    }

    /// Appends what happened and returns once it is on disk, with the new last
    /// line. Nothing is told as done if this fails.
    pub(crate) fn append(
        &mut self,
        events: &[(Timestamp, Event<'_>)],
    ) -> Result<Anchor, AuditError> {
        self.check_room()?;
        let mut log = match self.open.take() {
            Some(log) => log,
            None => Open::at_end(&self.dir, self.anchor.as_ref())?,
        };
        // Whatever fails from here on, the file is looked at anew before it is used again.
        log.append(events, &self.settings, &self.dir)?;
        let head = log.head.clone();
        self.open = Some(log);
        Ok(head)
    }

    /// Fails where the disk is so full that nothing may be begun.
    pub(crate) fn check_room(&self) -> Result<(), AuditError> {
        check_room(&self.dir, self.settings.reserve)
    }

    /// The ledger knows everything up to there.
    pub(crate) fn known(&mut self, anchor: Anchor) {
        self.anchor = Some(anchor);
    }

    /// The ledger did not take what was told last.
    pub(crate) fn void(&mut self) {
        self.open = None;
    }

    /// Signs what is not signed yet, as well as it goes: the service ends.
    pub(crate) fn close(&mut self) {
        if let Some(mut log) = self.open.take().filter(|log| log.unsigned > 0) {
            log.unsigned = LINES;
            let _ = log.append(&[], &self.settings, &self.dir);
        }
    }
}

impl Open {
    fn at_end(dir: &Path, anchor: Option<&Anchor>) -> Result<Self, AuditError> {
        let failed = |file: &Path, error: std::io::Error| AuditError::new(file, error);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|error| failed(dir, error))?;
        let signer = Signer::load_or_make(dir)?;
        let tail = tail::find(dir)?;
        compare(dir, &tail.head, anchor)?;
        let (path, size) = match tail.last {
            Some(last) => last,
            None => (segment(dir, 1), 0),
        };
        let file = append_to(&path).map_err(|error| failed(&path, error))?;
        if tail.torn > 0 {
            file.set_len(size).map_err(|error| failed(&path, error))?;
        }
        sync_folder(dir).map_err(|error| failed(dir, error))?;
        let mut log = Self {
            file,
            path,
            size,
            head: tail.head,
            signer,
            // What is there is signed with the first line that follows.
            unsigned: LINES,
            signed: Instant::now(),
        };
        let opened = Event::Opened {
            version: env!("CARGO_PKG_VERSION"),
            ledger: anchor.map_or(0, |anchor| anchor.seq),
            torn: tail.torn,
        };
        let at = Timestamp::now();
        log.append(&[(at, opened)], &Settings::default(), dir)?;
        Ok(log)
    }

    fn append(
        &mut self,
        events: &[(Timestamp, Event<'_>)],
        settings: &Settings,
        dir: &Path,
    ) -> Result<(), AuditError> {
        let mut bytes = Vec::with_capacity(events.len() * 384 + 512);
        for (at, event) in events {
            self.line(&mut bytes, *at, event)?;
        }
        let due = self.signed.elapsed() >= settings.checkpoint || self.unsigned >= LINES;
        if due && self.unsigned > 0 {
            let seq = self.head.seq + 1;
            let key = self.signer.id().to_owned();
            let signature = self.signer.sign(seq, &self.head.hash);
            let checkpoint = Event::Checkpoint {
                key: &key,
                signature: &signature,
            };
            let at = events.last().map_or_else(Timestamp::now, |(at, _)| *at);
            self.line(&mut bytes, at, &checkpoint)?;
            (self.unsigned, self.signed) = (0, Instant::now());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let failed = |error: std::io::Error| AuditError::new(&self.path, error);
        self.file.write_all(&bytes).map_err(failed)?;
        self.file.sync_data().map_err(failed)?;
        self.size += bytes.len() as u64;
        if self.size >= LARGE && self.unsigned == 0 {
            self.turn(dir)?;
        }
        Ok(())
    }

    fn line(
        &mut self,
        bytes: &mut Vec<u8>,
        at: Timestamp,
        event: &Event<'_>,
    ) -> Result<(), AuditError> {
        let seq = self.head.seq + 1;
        let hash = line::write(bytes, seq, at, &self.head.hash, event);
        let hash = hash.map_err(|error| AuditError::new(&self.path, error))?;
        self.head = Anchor { seq, hash };
        self.unsigned += 1;
        Ok(())
    }

    /// Goes on in a new file; the old one ends with a checkpoint.
    fn turn(&mut self, dir: &Path) -> Result<(), AuditError> {
        let path = segment(dir, self.head.seq + 1);
        let failed = |error: std::io::Error| AuditError::new(&path, error);
        self.file = append_to(&path).map_err(failed)?;
        sync_folder(dir).map_err(failed)?;
        (self.path, self.size) = (path, 0);
        Ok(())
    }
}

/// The log must hold what the ledger was told is in it.
fn compare(dir: &Path, head: &Anchor, anchor: Option<&Anchor>) -> Result<(), AuditError> {
    let Some(anchor) = anchor else {
        return Ok(());
    };
    let found = if head.seq < anchor.seq {
        Err(format!(
            "it ends with line {}, and the ledger knows {}: lines were removed",
            head.seq, anchor.seq
        ))
    } else if head.seq == anchor.seq && head.hash != anchor.hash {
        Err(format!("line {} is not the one the ledger knows", head.seq))
    } else if head.seq == anchor.seq {
        Ok(())
    } else {
        // A kill, or the end of a service, leaves lines behind the one the ledger knows.
        tail::follow(dir, anchor, head.seq)?
    };
    let Err(says) = found else {
        return Ok(());
    };
    let says = format!(
        "{says}. Bring back the files as they were; nothing is issued without them \
         (`provisioner audit verify` says more)"
    );
    Err(AuditError::new(dir, says))
}

fn append_to(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true).mode(0o600).open(path)
}

fn sync_folder(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A disk that is nearly full is full: what is begun must be finished.
fn check_room(dir: &Path, reserve: u64) -> Result<(), AuditError> {
    let place = if dir.exists() {
        dir
    } else {
        dir.parent().unwrap_or(dir)
    };
    let found = statvfs(place).map_err(|error| AuditError::new(place, error))?;
    let free = found
        .blocks_available()
        .saturating_mul(found.fragment_size());
    if free >= reserve {
        return Ok(());
    }
    let says = format!(
        "{} MiB are free on its disk and {} MiB are kept in reserve ([audit] reserve_mib): \
         make room",
        free >> 20,
        reserve >> 20
    );
    Err(AuditError::new(place, says))
}
