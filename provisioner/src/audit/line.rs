//! One line of the log, written and read back.

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;

/// What the first line has in place of a hash before it.
pub(super) const NOTHING_BEFORE: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";
/// Between the hashed part of a line and its hash.
const SEAM: &[u8] = b",\"hash\":\"";
/// The last member: seam, 64 digits, quote and brace.
const TAIL: usize = SEAM.len() + 64 + 2;

/// A line that was read. Only what verifying needs is looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Read {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) prev: String,
    pub(super) event: Value,
}

#[derive(Serialize)]
struct Written<'a> {
    seq: u64,
    at: Timestamp,
    prev: &'a str,
    event: &'a Event<'a>,
}

/// Appends a line to `to` and returns its hash.
pub(super) fn write(
    to: &mut Vec<u8>,
    seq: u64,
    at: Timestamp,
    prev: &str,
    event: &Event<'_>,
) -> Result<String, serde_json::Error> {
    let begin = to.len();
    let written = Written {
        seq,
        at,
        prev,
        event,
    };
    serde_json::to_writer(&mut *to, &written)?;
    let hash = hex::encode(digest(&SHA256, &to[begin..]));
    // The closing brace makes room for one more member.
    to.pop();
    to.extend_from_slice(SEAM);
    to.extend_from_slice(hash.as_bytes());
    to.extend_from_slice(b"\"}\n");
    Ok(hash)
}

/// Reads any bytes as a line, as they are and with the hash that they should have.
pub(crate) fn read_any(line: &[u8]) {
    let _ = read(line);
    let body = line.strip_suffix(b"}").unwrap_or(line);
    let hash = hex::encode(digest(&SHA256, &[body, b"}"].concat()));
    let _ = read(&[body, SEAM, hash.as_bytes(), b"\"}"].concat());
}

/// A line without its end, and the hash it holds; an error says what is wrong with it.
pub(super) fn read(line: &[u8]) -> Result<(Read, String), String> {
    let seam = line.len().checked_sub(TAIL);
    let (body, tail) = seam
        .map(|at| line.split_at(at))
        .filter(|(_, tail)| tail.starts_with(SEAM) && tail.ends_with(b"\"}"))
        .ok_or("it is no line of an audit log: it does not end with its hash")?;
    let stated = String::from_utf8_lossy(&tail[SEAM.len()..SEAM.len() + 64]).into_owned();
    let mut hashed = body.to_vec();
    hashed.push(b'}');
    let found = hex::encode(digest(&SHA256, &hashed));
    if found != stated {
        return Err(format!(
            "it was changed: its hash is {found} and should be {stated}"
        ));
    }
    let read = serde_json::from_slice(&hashed);
    let read = read.map_err(|error| format!("it is not what this version writes: {error}"))?;
    Ok((read, stated))
}
