//! As much of the NATS client protocol as a bare connection needs.

use memchr::memmem;

/// What a broker sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The broker's greeting, or a change of it.
    Info,
    /// A message, with its payload's length.
    Message(usize),
    /// To be answered with `PONG`.
    Ping,
    /// The answer to a `PING`.
    Pong,
    /// The broker refuses something.
    Refused,
    /// Anything else.
    Other,
}

/// The first operation of `input` and how many bytes it takes; `None` while it is not all there.
#[must_use]
pub fn next(input: &[u8]) -> Option<(Op, usize)> {
    let line = memmem::find(input, b"\r\n")?;
    let (text, after) = (&input[..line], line + 2);
    let op = match text {
        _ if text.starts_with(b"MSG ") => {
            let length = length(text);
            let whole = after + length + 2;
            return (input.len() >= whole).then_some((Op::Message(length), whole));
        }
        b"PING" => Op::Ping,
        b"PONG" => Op::Pong,
        _ if text.starts_with(b"INFO ") => Op::Info,
        _ if text.starts_with(b"-ERR") => Op::Refused,
        _ => Op::Other,
    };
    Some((op, after))
}

/// The last word of a `MSG` line: the length of its payload. A broker's own line is trusted here.
fn length(line: &[u8]) -> usize {
    let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    digits.iter().fold(0, |sum: usize, digit| {
        sum.saturating_mul(10)
            .saturating_add(usize::from(digit.wrapping_sub(b'0')))
    })
}

/// What every bare connection says once greeted: who it is and what it shares with the others.
#[must_use]
pub fn hello(subjects: &[String]) -> Vec<u8> {
    let mut text = String::from(
        "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"rust\",\"version\":\"0\",\"protocol\":1,\"echo\":false}\r\n",
    );
    for (number, subject) in subjects.iter().enumerate() {
        text.push_str(&format!("SUB {subject} {}\r\n", number + 2));
    }
    text.into_bytes()
}

/// What each says besides: the subject that is its own, and a ping whose answer tells that all of it
/// was taken.
#[must_use]
pub fn own(subject: &str) -> Vec<u8> {
    format!("SUB {subject} 1\r\nPING\r\n").into_bytes()
}

/// One publication.
#[must_use]
pub fn publication(subject: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("PUB {subject} {}\r\n", payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_told_apart_and_wait_until_they_are_whole() {
        let stream = b"INFO {}\r\nPING\r\nMSG a.b 1 3\r\nxyz\r\nPONG\r\n-ERR 'no'\r\n+OK\r\n";
        let mut at = 0;
        let mut seen = Vec::new();
        while let Some((op, used)) = next(&stream[at..]) {
            seen.push(op);
            at += used;
        }
        assert_eq!(at, stream.len());
        let (refused, other) = (Op::Refused, Op::Other);
        let wanted = [Op::Info, Op::Ping, Op::Message(3), Op::Pong, refused, other];
        assert_eq!(seen, wanted);
        assert_eq!(next(b"MSG a.b 1 3\r\nxyz\r"), None);
        assert_eq!(next(b"PIN"), None);
    }

    #[test]
    fn a_publication_reads_back_as_what_it_carries() {
        let bytes = publication("a.b", b"pong");
        assert_eq!(bytes, b"PUB a.b 4\r\npong\r\n");
    }
}
