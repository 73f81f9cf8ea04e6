//! One bare connection: a socket, with or without TLS, and what it has not finished.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use mio::net::TcpStream;
use nix::errno::Errno;
use nix::sys::socket::sockopt::IpBindAddressNoPort;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket,
};
use rustls::{ClientConfig, ClientConnection};
use rustls_pki_types::ServerName;

use super::protocol::{self, Op};

/// Source addresses that connections are spread over.
pub const SOURCES: usize = 20;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The broker has not greeted.
    Dialled,
    /// It has said who it is and waits for the answer.
    Said,
    /// Connected and subscribed.
    Up,
}

/// What every connection of a swarm says.
#[derive(Debug)]
pub struct Script {
    /// Who it is, and the subscriptions that all have.
    pub hello: Vec<u8>,
    /// The subject of its own, before and behind its number.
    pub own: (String, String),
    /// Its answer to every message.
    pub answer: Vec<u8>,
    /// TLS, where the brokers want it.
    pub tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

/// One connection.
#[derive(Debug)]
pub struct Socket {
    /// The socket, for the poll.
    pub stream: TcpStream,
    /// How far it is.
    pub stage: Stage,
    number: usize,
    tls: Option<Box<ClientConnection>>,
    partial: Vec<u8>,
    unsent: Vec<u8>,
}

impl Socket {
    /// Begins to dial as connection `number` of the fleet.
    ///
    /// # Errors
    /// When the system has no socket left.
    pub fn dial(address: SocketAddr, number: usize) -> io::Result<Self> {
        Ok(Self {
            number,
            stream: open(address, number)?,
            stage: Stage::Dialled,
            tls: None,
            partial: Vec::new(),
            unsent: Vec::new(),
        })
    }

    /// Reads what there is, answers it, and sends what the network takes. Messages answered.
    ///
    /// # Errors
    /// When the broker refuses or the connection is lost.
    pub fn go_on(&mut self, script: &Script, scratch: &mut [u8]) -> io::Result<u64> {
        let mut answered = 0;
        if self.tls.is_none() {
            while let Some(count) = some(self.stream.read(scratch))? {
                answered += self.take(script, &scratch[..count])?;
                if self.tls.is_some() {
                    break;
                }
            }
        }
        if let Some(mut tls) = self.tls.take() {
            let taken = self.take_tls(&mut tls, script, scratch);
            self.tls = Some(tls);
            answered += taken?;
        }
        self.send()?;
        Ok(answered)
    }

    fn take_tls(
        &mut self,
        tls: &mut ClientConnection,
        script: &Script,
        scratch: &mut [u8],
    ) -> io::Result<u64> {
        let mut answered = 0;
        while let Some(count) = some(tls.read_tls(&mut self.stream))? {
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            if !tls.is_handshaking() && self.stage == Stage::Dialled {
                self.say(script);
            }
            while let Some(count) = some(tls.reader().read(scratch))? {
                answered += self.take(script, &scratch[..count])?;
            }
        }
        Ok(answered)
    }

    fn take(&mut self, script: &Script, arrived: &[u8]) -> io::Result<u64> {
        if arrived.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let joined;
        let mut input = arrived;
        if !self.partial.is_empty() {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(arrived);
            joined = whole;
            input = &joined;
        }
        let mut answered = 0;
        while let Some((op, used)) = protocol::next(input) {
            input = &input[used..];
            match op {
                Op::Message(_) => {
                    self.unsent.extend_from_slice(&script.answer);
                    answered += 1;
                }
                Op::Ping => self.unsent.extend_from_slice(b"PONG\r\n"),
                Op::Pong if self.stage == Stage::Said => self.stage = Stage::Up,
                Op::Info if self.stage == Stage::Dialled => self.greeted(script)?,
                Op::Refused => return Err(io::ErrorKind::ConnectionRefused.into()),
                Op::Info | Op::Pong | Op::Other => {}
            }
        }
        if !input.is_empty() {
            self.partial = input.to_vec();
        }
        Ok(answered)
    }

    fn greeted(&mut self, script: &Script) -> io::Result<()> {
        match &script.tls {
            Some((config, name)) => {
                let session = ClientConnection::new(Arc::clone(config), name.clone());
                self.tls = Some(Box::new(session.map_err(io::Error::other)?));
            }
            None => self.say(script),
        }
        Ok(())
    }

    fn say(&mut self, script: &Script) {
        self.stage = Stage::Said;
        self.unsent.extend_from_slice(&script.hello);
        let (before, behind) = &script.own;
        let subject = format!("{before}{:05}{behind}", self.number);
        self.unsent.extend_from_slice(&protocol::own(&subject));
    }

    fn send(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            if !self.unsent.is_empty() {
                let count = tls.writer().write(&self.unsent)?;
                self.unsent.drain(..count);
            }
            while tls.wants_write() {
                if some(tls.write_tls(&mut self.stream))?.is_none() {
                    break;
                }
            }
        } else {
            let mut sent = 0;
            while sent < self.unsent.len() {
                match some(self.stream.write(&self.unsent[sent..]))? {
                    Some(count) => sent += count,
                    None => break,
                }
            }
            self.unsent.drain(..sent);
        }
        if self.unsent.is_empty() {
            // An idle connection owns no buffer.
            self.unsent = Vec::new();
        }
        Ok(())
    }
}

/// Dials from one of twenty loopback addresses, as our own nodes do: ports are per source and
/// destination, and looking for a free one among many taken costs more than all the rest.
fn open(to: SocketAddr, number: usize) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&socket, IpBindAddressNoPort, &true)?;
    let last = u8::try_from(number % SOURCES).unwrap_or_default();
    let from = SockaddrIn::new(127, 0, 0, 2 + last, 0);
    bind(socket.as_raw_fd(), &from)?;
    let SocketAddr::V4(to) = to else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    match connect(socket.as_raw_fd(), &SockaddrIn::from(to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(TcpStream::from_std(socket.into())),
        Err(error) => Err(error.into()),
    }
}

/// What the system did, or nothing when it would have to wait.
fn some(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
        Err(error) => Err(error),
    }
}
