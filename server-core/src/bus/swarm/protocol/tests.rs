//! Any stream, cut anywhere, means the same; no stream costs more than its bounds.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests"
)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// An operation that owns its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    Info(Vec<u8>),
    Message(u64, Vec<u8>, Vec<u8>),
    Ping,
    Pong,
    Ok,
    Error(Vec<u8>),
}

impl From<Operation<'_>> for Said {
    fn from(operation: Operation<'_>) -> Self {
        match operation {
            Operation::Info(json) => Self::Info(json.to_vec()),
            Operation::Message {
                sid,
                subject,
                payload,
            } => Self::Message(sid, subject.to_vec(), payload.to_vec()),
            Operation::Ping => Self::Ping,
            Operation::Pong => Self::Pong,
            Operation::Ok => Self::Ok,
            Operation::Error(text) => Self::Error(text.to_vec()),
        }
    }
}

impl Said {
    /// As a broker may write it; `style` picks among the legal ways.
    fn encode(&self, style: u8) -> Vec<u8> {
        let blank: &[u8] = if style & 1 == 0 { b" " } else { b"\t  " };
        let mut line = Vec::new();
        let mut put = |parts: &[&[u8]]| line.extend_from_slice(&parts.join(blank));
        match self {
            Self::Info(json) => put(&[b"INFO", json]),
            Self::Ping => put(&[if style & 2 == 0 { b"PING" } else { b"ping" }]),
            Self::Pong => put(&[b"PONG"]),
            Self::Ok => put(&[b"+OK"]),
            Self::Error(text) => put(&[b"-ERR", text]),
            Self::Message(sid, subject, payload) => {
                let (sid, size) = (sid.to_string(), payload.len());
                let reply: &[u8] = b"_INBOX.answer";
                let headers: &[u8] = b"NATS/1.0\r\nHop: one\r\n\r\n";
                let total = (headers.len() + size).to_string();
                let (header_size, size) = (headers.len().to_string(), size.to_string());
                match style >> 2 & 3 {
                    0 => put(&[b"MSG", subject, sid.as_bytes(), size.as_bytes()]),
                    1 => put(&[b"MSG", subject, sid.as_bytes(), reply, size.as_bytes()]),
                    _ => put(&[
                        b"HMSG",
                        subject,
                        sid.as_bytes(),
                        header_size.as_bytes(),
                        total.as_bytes(),
                    ]),
                }
                line.extend_from_slice(b"\r\n");
                if style >> 2 & 3 > 1 {
                    line.extend_from_slice(headers);
                }
                line.extend_from_slice(payload);
            }
        }
        line.extend_from_slice(b"\r\n");
        line
    }
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        Just(Said::Ping),
        Just(Said::Pong),
        Just(Said::Ok),
        "[!-~]([ -~]{0,30}[!-~])?".prop_map(|text| Said::Error(text.into_bytes())),
        "\\{[!-~]{0,40}\\}".prop_map(|text| Said::Info(text.into_bytes())),
        (
            any::<u64>(),
            vec(0x21u8..=0xff, 1..40),
            vec(any::<u8>(), 0..300)
        )
            .prop_map(|(sid, subject, payload)| Said::Message(sid, subject, payload)),
    ]
}

/// Feeds `stream` in pieces of the given sizes, over and over.
fn parse(parser: &mut Parser, stream: &[u8], cuts: &[usize]) -> Result<Vec<Said>, ProtocolError> {
    let mut heard = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let size = (*cuts.next().unwrap()).clamp(1, rest.len());
        let (piece, later) = rest.split_at(size);
        parser.feed(piece, &mut |operation| heard.push(operation.into()))?;
        rest = later;
    }
    Ok(heard)
}

proptest! {
    #[test]
    fn a_stream_means_the_same_however_it_is_cut(
        story in vec((said(), any::<u8>()), 1..20),
        cuts in vec(1usize..400, 1..20),
    ) {
        let stream: Vec<u8> = story.iter().flat_map(|(said, style)| said.encode(*style)).collect();
        let expected: Vec<Said> = story.into_iter().map(|(said, _)| said).collect();
        let mut parser = Parser::new(4096);
        prop_assert_eq!(parse(&mut parser, &stream, &cuts).unwrap(), expected.clone());
        prop_assert_eq!(parser.held(), 0, "nothing is kept between operations");
        prop_assert_eq!(parse(&mut Parser::new(4096), &stream, &[1]).unwrap(), expected);
    }

    #[test]
    fn arbitrary_bytes_never_cost_more_than_the_bounds(
        pieces in vec(prop_oneof![
            vec(any::<u8>(), 0..200),
            said().prop_map(|said| said.encode(0)),
            Just(b"MSG a 1 900\r\n".to_vec()),
            Just(b"MSG a 1 18446744073709551615\r\n".to_vec()),
            Just(b"HMSG a 1 9 3\r\n".to_vec()),
            Just(vec![b' '; 20_000]),
        ], 0..12),
        cuts in vec(1usize..5000, 1..8),
    ) {
        let mut parser = Parser::new(1000);
        let stream = pieces.concat();
        if !stream.is_empty() {
            let _ = parse(&mut parser, &stream, &cuts);
        }
        prop_assert!(parser.held() <= 2 * MAX_LINE, "{} bytes held", parser.held());
    }
}

#[test]
fn breaches_are_told_apart() {
    let fails = |stream: &[u8]| parse(&mut Parser::new(100), stream, &[7]).unwrap_err();
    assert!(matches!(
        fails(b"HTTP/1.1 400 Bad Request\r\n"),
        ProtocolError::Unknown(_)
    ));
    assert!(matches!(
        fails(b"MSG a x 3\r\n"),
        ProtocolError::Malformed(_)
    ));
    assert!(matches!(
        fails(b"MSG a 1 +3\r\nabc\r\n"),
        ProtocolError::Malformed(_)
    ));
    assert!(matches!(fails(b"MSG a 1\r\n"), ProtocolError::Malformed(_)));
    assert!(matches!(
        fails(b"HMSG a 1 5 3\r\n"),
        ProtocolError::Malformed(_)
    ));
    assert_eq!(
        fails(b"MSG a 1 101\r\n"),
        ProtocolError::TooLarge {
            size: 101,
            limit: 100
        }
    );
    assert_eq!(fails(b"MSG a 1 3\r\nabcd\r\n"), ProtocolError::Overrun);
    let endless = [b"INFO ".as_slice(), &vec![b'x'; MAX_LINE]].concat();
    assert_eq!(fails(&endless), ProtocolError::LineTooLong);
    assert!(matches!(
        fails(b"xxxxxxxxxxxxxxxx"),
        ProtocolError::Unknown(_)
    ));
}

#[test]
fn commands_are_what_a_broker_reads() {
    let mut out = Vec::new();
    subscribe(&mut out, 1, "a.>", None);
    subscribe(&mut out, 2, "b", Some("workers"));
    unsubscribe(&mut out, 1);
    publish(&mut out, "b", b"\r\n\0");
    assert_eq!(
        out,
        b"SUB a.> 1\r\nSUB b workers 2\r\nUNSUB 1\r\nPUB b 3\r\n\r\n\0\r\n"
    );
}

#[test]
fn an_info_says_what_matters_and_tolerates_the_rest() {
    let info = Info::parse(
        br#"{"server_id":"N","max_payload":2048,"connect_urls":["10.0.0.1:4222"],"ldm":true,"jetstream":true}"#,
    )
    .unwrap();
    assert_eq!(info.payload_limit(), 2048);
    assert_eq!(
        info.connect_urls.as_deref(),
        Some(&["10.0.0.1:4222".to_owned()][..])
    );
    assert!(info.ldm && !info.tls_required);
    assert_eq!(Info::parse(b"{}").unwrap().payload_limit(), 1024 * 1024);
    assert!(Info::parse(b"{").is_err());
}
