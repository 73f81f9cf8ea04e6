//! The NATS client protocol as bytes: what a broker says, decoded as it arrives, and what it is told.
//!
//! Decoding keeps at most one unfinished operation, of bounded size, and copies only that.

use std::io::Write as _;

use serde::{Deserialize, Serialize};

/// The longest line a broker may send. Its own limit for what clients say is 4 kB; an `INFO` that
/// lists a large cluster is longer.
pub(super) const MAX_LINE: usize = 32 * 1024;
/// The largest message accepted, whatever the broker announces: the most a NATS server can be set to
/// without complaint.
pub(super) const MAX_PAYLOAD: usize = 64 * 1024 * 1024;
/// Bytes of an operation's name, with the blank after it.
const MAX_NAME: usize = 5;

pub(super) const PING: &[u8] = b"PING\r\n";
pub(super) const PONG: &[u8] = b"PONG\r\n";

/// One thing a broker says. Names are the protocol's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    Info(&'a [u8]),
    /// `MSG` or `HMSG`, without its headers.
    Message {
        sid: u64,
        subject: &'a [u8],
        payload: &'a [u8],
    },
    Ping,
    Pong,
    Ok,
    Error(&'a [u8]),
}

/// The broker, or whatever answers in its place, does not keep to the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ProtocolError {
    #[error("a line is longer than {MAX_LINE} bytes")]
    LineTooLong,
    #[error("{0:?} is not an operation of the NATS protocol; is this a NATS broker?")]
    Unknown(String),
    #[error("{0:?} is not what a NATS broker says")]
    Malformed(String),
    #[error("a message of {size} bytes is larger than the broker's own limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    #[error("a message does not end where it should")]
    Overrun,
}

/// How a buffer begins.
enum Decoded<'a> {
    /// With a whole operation of this many bytes.
    Whole(Operation<'a>, usize),
    /// With an unfinished line.
    MoreLine,
    /// With an operation that will have this many bytes in all.
    Needs(usize),
}

/// Finds operations in a stream of bytes, however it is cut into pieces.
#[derive(Debug)]
pub(super) struct Parser {
    /// The one operation that has begun and not ended.
    partial: Vec<u8>,
    max_payload: usize,
}

impl Parser {
    pub(super) fn new(max_payload: usize) -> Self {
        Self {
            partial: Vec::new(),
            max_payload: max_payload.min(MAX_PAYLOAD),
        }
    }

    pub(super) fn set_max_payload(&mut self, max_payload: usize) {
        self.max_payload = max_payload.min(MAX_PAYLOAD);
    }

    /// Hands every operation that `chunk` completes to `on`, in order.
    ///
    /// # Errors
    /// At the first breach of the protocol; the stream has lost its meaning then.
    pub(super) fn feed(
        &mut self,
        mut chunk: &[u8],
        on: &mut dyn FnMut(Operation<'_>),
    ) -> Result<(), ProtocolError> {
        while !self.partial.is_empty() && !chunk.is_empty() {
            let take = match decode(&self.partial, self.max_payload)? {
                Decoded::Whole(..) => 0,
                Decoded::MoreLine => line_end(chunk).map_or(chunk.len(), |end| end + 1),
                Decoded::Needs(total) => {
                    let missing = total.saturating_sub(self.partial.len());
                    self.partial.reserve_exact(missing);
                    missing.min(chunk.len())
                }
            };
            let (more, rest) = chunk.split_at(take);
            self.partial.extend_from_slice(more);
            chunk = rest;
            if let Decoded::Whole(operation, _) = decode(&self.partial, self.max_payload)? {
                on(operation);
                self.partial = Vec::new();
            }
        }
        while !chunk.is_empty() {
            match decode(chunk, self.max_payload)? {
                Decoded::Whole(operation, used) => {
                    on(operation);
                    chunk = &chunk[used..];
                }
                Decoded::MoreLine | Decoded::Needs(_) => {
                    self.partial = chunk.to_vec();
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whether an operation has begun and not ended.
    pub(super) fn is_midway(&self) -> bool {
        !self.partial.is_empty()
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.partial.capacity()
    }
}

fn line_end(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|&byte| byte == b'\n')
}

fn decode(bytes: &[u8], max_payload: usize) -> Result<Decoded<'_>, ProtocolError> {
    let reach = &bytes[..bytes.len().min(MAX_LINE)];
    let Some(end) = line_end(reach) else {
        if bytes.len() >= MAX_LINE {
            return Err(ProtocolError::LineTooLong);
        }
        // Nonsense is refused before it has filled a line.
        return match name(reach) {
            Some(name) if !is_operation(name) => Err(ProtocolError::Unknown(show(reach))),
            None if reach.len() > MAX_NAME => Err(ProtocolError::Unknown(show(reach))),
            _ => Ok(Decoded::MoreLine),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    let name = name(line).unwrap_or(line);
    let arguments = line[name.len()..].trim_ascii();
    let used = end + 1;
    let is = |operation: &[u8]| name.eq_ignore_ascii_case(operation);
    if is(b"MSG") || is(b"HMSG") {
        return message(bytes, line, used, is(b"HMSG"), max_payload);
    }
    let operation = if is(b"PING") {
        Operation::Ping
    } else if is(b"PONG") {
        Operation::Pong
    } else if is(b"+OK") {
        Operation::Ok
    } else if is(b"-ERR") {
        Operation::Error(arguments)
    } else if is(b"INFO") {
        Operation::Info(arguments)
    } else {
        return Err(ProtocolError::Unknown(show(line)));
    };
    Ok(Decoded::Whole(operation, used))
}

/// The first word of a line that has a second one.
fn name(line: &[u8]) -> Option<&[u8]> {
    let end = line.iter().position(|&byte| is_blank(byte))?;
    Some(&line[..end])
}

fn is_operation(name: &[u8]) -> bool {
    ["MSG", "HMSG", "PING", "PONG", "+OK", "-ERR", "INFO"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// `MSG subject sid [reply] size` and `HMSG subject sid [reply] header-size size`, then the bytes.
fn message<'a>(
    bytes: &'a [u8],
    line: &'a [u8],
    start: usize,
    with_headers: bool,
    max_payload: usize,
) -> Result<Decoded<'a>, ProtocolError> {
    let malformed = || ProtocolError::Malformed(show(line));
    let mut words = [&line[..0]; 6];
    let mut count = 0;
    for word in line.split(|&byte| is_blank(byte)).filter(|w| !w.is_empty()) {
        *words.get_mut(count).ok_or_else(malformed)? = word;
        count += 1;
    }
    let sizes = if with_headers { 2 } else { 1 };
    if count != 3 + sizes && count != 4 + sizes {
        return Err(malformed());
    }
    let number = |word: &[u8]| -> Result<u64, ProtocolError> {
        let digits = std::str::from_utf8(word).ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits
            .and_then(|text| text.parse().ok())
            .ok_or_else(malformed)
    };
    let sid = number(words[2])?;
    let size = usize::try_from(number(words[count - 1])?).map_err(|_| malformed())?;
    if size > max_payload {
        return Err(ProtocolError::TooLarge {
            size,
            limit: max_payload,
        });
    }
    let headers = if with_headers {
        usize::try_from(number(words[count - 2])?).map_err(|_| malformed())?
    } else {
        0
    };
    if headers > size {
        return Err(malformed());
    }
    let end = start + size;
    match bytes.get(end..end + 2) {
        None => Ok(Decoded::Needs(end + 2)),
        Some(b"\r\n") => Ok(Decoded::Whole(
            Operation::Message {
                sid,
                subject: words[1],
                payload: &bytes[start + headers..end],
            },
            end + 2,
        )),
        Some(_) => Err(ProtocolError::Overrun),
    }
}

/// The beginning of a line, fit to be shown.
fn show(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned()
}

/// What a broker tells of itself; the part that matters to a client.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) max_payload: Option<usize>,
    pub(super) tls_required: bool,
    pub(super) tls_available: bool,
    pub(super) connect_urls: Option<Vec<String>>,
    /// Lame duck mode: the broker is about to close its connections.
    pub(super) ldm: bool,
    /// What a connection signs to prove whose token it shows; brokers that want no proof send none.
    pub(super) nonce: Box<str>,
}

impl Info {
    pub(super) fn parse(json: &[u8]) -> Result<Self, ProtocolError> {
        serde_json::from_slice(json).map_err(|_| ProtocolError::Malformed(show(json)))
    }

    pub(super) fn payload_limit(&self) -> usize {
        self.max_payload.unwrap_or(1024 * 1024).min(MAX_PAYLOAD)
    }
}

/// The arguments of `CONNECT`.
#[derive(Serialize)]
pub(super) struct Connect<'a> {
    pub(super) verbose: bool,
    pub(super) pedantic: bool,
    pub(super) tls_required: bool,
    pub(super) lang: &'static str,
    pub(super) version: &'static str,
    /// 1: `INFO` may come at any time.
    pub(super) protocol: u8,
    pub(super) echo: bool,
    pub(super) headers: bool,
    pub(super) no_responders: bool,
    pub(super) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pass: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth_token: Option<&'a str>,
    /// The same token where it is proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jwt: Option<&'a str>,
    /// The proof: a signature over the broker's nonce, base64 for URLs without padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sig: Option<String>,
}

impl Connect<'_> {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"CONNECT ");
        // Writing plain strings to memory cannot fail.
        let _ = serde_json::to_writer(&mut *out, self);
        out.extend_from_slice(b"\r\n");
    }
}

pub(super) fn publish(out: &mut Vec<u8>, subject: &str, payload: &[u8]) {
    out.reserve(subject.len() + payload.len() + 32);
    let _ = write!(out, "PUB {subject} {}\r\n", payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn subscribe(out: &mut Vec<u8>, sid: u64, subject: &str, queue: Option<&str>) {
    let _ = match queue {
        None => write!(out, "SUB {subject} {sid}\r\n"),
        Some(queue) => write!(out, "SUB {subject} {queue} {sid}\r\n"),
    };
}

pub(super) fn unsubscribe(out: &mut Vec<u8>, sid: u64) {
    let _ = write!(out, "UNSUB {sid}\r\n");
}

#[cfg(test)]
mod tests;
