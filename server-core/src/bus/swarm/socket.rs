//! One TCP connection to a broker, in clear or under TLS: readiness first, then a lent buffer.
//!
//! Nothing here waits, except two helpers for the handshake. Whoever holds the socket may send;
//! what the network does not take at once is kept and sent by whoever comes next.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{Shutdown, shutdown};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pool;
use super::protocol::{Operation, Parser, ProtocolError};
use super::tls::TlsSession;

/// How long a broker may take to end a connection that we have ended.
const PARTING: Duration = Duration::from_secs(2);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the broker closed the connection")]
    Ended,
    #[error("{0}")]
    Tls(#[from] rustls::Error),
    #[error("{0}")]
    Protocol(#[from] ProtocolError),
    /// The broker's words.
    #[error("the broker says: {0}")]
    Said(String),
    #[error("the broker did not answer {0} pings")]
    Silent(u32),
}

/// The sending side of a socket, and its parser.
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    tls: Option<Box<TlsSession>>,
    pub(super) parser: Parser,
    /// Commands that wait to be sent.
    queued: Vec<u8>,
    /// Bytes on their way to the network, and how many of them it has taken.
    unsent: Vec<u8>,
    sent: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, max_payload: usize) -> Self {
        Self {
            stream: Arc::new(stream),
            tls: None,
            parser: Parser::new(max_payload),
            queued: Vec::new(),
            unsent: Vec::new(),
            sent: 0,
        }
    }

    pub(super) fn stream(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    /// Bytes that have not left this process.
    pub(super) fn waiting(&self) -> usize {
        self.queued.len() + self.unsent.len() - self.sent
    }

    /// Where to append commands; [`Socket::pump`] sends them.
    pub(super) fn queue(&mut self) -> &mut Vec<u8> {
        if self.queued.capacity() == 0 {
            self.queued = pool::take();
        }
        &mut self.queued
    }

    /// Sends what the network takes now; `true` when nothing is left. An idle socket keeps no buffer.
    pub(super) fn pump(&mut self) -> Result<bool, Lost> {
        loop {
            while self.sent < self.unsent.len() {
                match self.stream.try_write(&self.unsent[self.sent..]) {
                    Ok(0) => return Err(Lost::Ended),
                    Ok(taken) => self.sent += taken,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.sent = 0;
            pool::give(&mut self.unsent);
            if self.queued.is_empty() {
                pool::give(&mut self.queued);
                return Ok(true);
            }
            match &mut self.tls {
                None => std::mem::swap(&mut self.queued, &mut self.unsent),
                Some(tls) => {
                    self.unsent = pool::take();
                    tls.send(&self.queued, &mut self.unsent)?;
                    pool::give(&mut self.queued);
                }
            }
        }
    }

    /// Reads once, up to a buffer full, and hands the operations in it to `on`; `false` when there is
    /// nothing to read now.
    pub(super) fn read(&mut self, on: &mut dyn FnMut(Operation<'_>)) -> Result<bool, Lost> {
        pool::with_read_buffer(|buffer| {
            let Some(tls) = &mut self.tls else {
                let Some(count) = read_some(&self.stream, buffer)? else {
                    return Ok(false);
                };
                self.parser.feed(&buffer[..count], on)?;
                return Ok(true);
            };
            let held = tls.restore(buffer)?;
            let read = read_some(&self.stream, &mut buffer[held..]);
            let count = match &read {
                Ok(Some(count)) => *count,
                _ => 0,
            };
            let parser = &mut self.parser;
            let mut feed = |plain: &[u8]| Ok(parser.feed(plain, on)?);
            let end = held + count;
            tls.receive(&mut buffer[..end], &mut self.unsent, &mut feed)?;
            Ok(read?.is_some())
        })
    }

    /// Begins TLS; [`Socket::read`] and [`Socket::pump`] carry it through.
    ///
    /// # Errors
    /// When the broker has already said something in clear that would be taken for what it says under
    /// TLS, and for unusable settings.
    pub(super) fn begin_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), Lost> {
        if self.parser.is_midway() {
            let why = "the broker goes on in clear where TLS begins";
            return Err(rustls::Error::General(why.to_owned()).into());
        }
        self.tls = Some(Box::new(TlsSession::new(config, name)?));
        Ok(())
    }

    /// One step of the TLS handshake without new bytes: fills the first flight, tells whether it is over.
    pub(super) fn tls_ready(&mut self) -> Result<bool, Lost> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        let mut held = tls.take_partial();
        tls.receive(&mut held, &mut self.unsent, &mut |_| Ok(()))
    }

    /// Ends the connection in order: says that nothing follows, and discards what still arrives until
    /// the broker has ended it too. Closing at once, with something unread, would make the system
    /// throw away what the broker has not read.
    pub(super) async fn part(mut self) {
        let parting = async {
            if let Some(tls) = &mut self.tls {
                tls.send_close(&mut self.unsent)?;
                self.drained().await?;
            }
            shutdown(self.stream.as_raw_fd(), Shutdown::Write).map_err(io::Error::from)?;
            loop {
                while pool::with_read_buffer(|rest| read_some(&self.stream, rest))?.is_some() {}
                self.stream.readable().await?;
            }
        };
        let _: Result<Result<(), Lost>, _> = tokio::time::timeout(PARTING, parting).await;
    }

    /// Waits until everything queued has left.
    pub(super) async fn drained(&mut self) -> Result<(), Lost> {
        while !self.pump()? {
            self.stream.writable().await?;
        }
        Ok(())
    }

    /// Waits for something to read and reads it.
    pub(super) async fn read_more(
        &mut self,
        on: &mut (dyn FnMut(Operation<'_>) + Send),
    ) -> Result<(), Lost> {
        while !self.read(on)? {
            self.stream.readable().await?;
        }
        Ok(())
    }
}

/// `None` when nothing is there. After a short read the socket is known to be empty, and no second
/// read is spent on asking.
fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> Result<Option<usize>, Lost> {
    let mut count = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let read = stream.try_read(buffer)?;
        count = Some(read);
        if 0 < read && read < buffer.len() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    });
    match (count, outcome) {
        (Some(0), _) => Err(Lost::Ended),
        (Some(count), _) => Ok(Some(count)),
        (None, Err(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        (None, Err(error)) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        (None, Err(error)) => Err(error.into()),
        (None, Ok(())) => Ok(None),
    }
}
