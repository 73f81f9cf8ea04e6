//! The bare asker: publishes a request and counts replies until it has them all.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

use super::exchange::Exchange;
use super::protocol::{self, Op, publication};

/// How long the connection may take, and how long replies may stay away.
const SILENCE: Duration = Duration::from_secs(20);
/// Bytes read at once.
const READ: usize = 256 * 1024;

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// One round of the bare exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// Replies that came.
    pub replies: usize,
    /// From the publication to the last of them.
    pub last: Duration,
}

/// A connection that asks.
pub struct Asker {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    filled: usize,
}

impl Asker {
    /// Connects and listens for replies.
    ///
    /// # Errors
    /// When the broker is not there or refuses.
    pub fn connect(
        broker: SocketAddr,
        exchange: &Exchange,
        tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ) -> io::Result<Self> {
        let mut plain = TcpStream::connect_timeout(&broker, SILENCE)?;
        plain.set_nodelay(true)?;
        plain.set_read_timeout(Some(SILENCE))?;
        let mut buffer = vec![0; READ];
        // The greeting comes in the clear and in one piece.
        let greeting = plain.read(&mut buffer)?;
        if !buffer[..greeting].starts_with(b"INFO ") {
            return Err(io::Error::other("the broker did not greet"));
        }
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(plain),
            Some((config, name)) => {
                let session = ClientConnection::new(config, name).map_err(io::Error::other)?;
                Box::new(StreamOwned::new(session, plain))
            }
        };
        let mut asker = Self {
            stream,
            request: publication(&exchange.ask, &exchange.request),
            buffer,
            filled: 0,
        };
        asker.stream.write_all(&protocol::hello(&[]))?;
        asker.stream.write_all(&protocol::own(&exchange.reply_to))?;
        asker.stream.flush()?;
        asker.read_until(|op| op == Op::Pong, usize::MAX)?;
        Ok(asker)
    }

    /// Asks once and waits for `expected` replies, or for silence.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn ask(&mut self, expected: usize) -> io::Result<Round> {
        let begun = Instant::now();
        self.stream.write_all(&self.request)?;
        self.stream.flush()?;
        let (replies, last) = self.read_until(|_| false, expected)?;
        Ok(Round {
            replies,
            last: last.saturating_duration_since(begun),
        })
    }

    /// Reads until `over` says so or `most` messages were seen; how many, and when the last came.
    fn read_until(&mut self, over: fn(Op) -> bool, most: usize) -> io::Result<(usize, Instant)> {
        let (mut messages, mut last) = (0, Instant::now());
        loop {
            let mut used = 0;
            let mut done = messages >= most;
            while !done && let Some((op, took)) = protocol::next(&self.buffer[used..self.filled]) {
                used += took;
                match op {
                    Op::Message(_) => messages += 1,
                    Op::Ping => self.stream.write_all(b"PONG\r\n")?,
                    Op::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                    _ => {}
                }
                done = over(op) || messages >= most;
            }
            if used > 0 {
                last = Instant::now();
                self.buffer.copy_within(used..self.filled, 0);
                self.filled -= used;
            }
            if done {
                return Ok((messages, last));
            }
            match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((messages, last));
                }
                Err(error) => return Err(error),
            }
        }
    }
}
