//! A process full of bare connections: one thread, one poll.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError};

use mio::{Events, Interest, Poll, Token, Waker};

use super::socket::{Script, Socket, Stage};

/// The token of whoever wakes the poll; connections count from 0.
const WOKEN: Token = Token(usize::MAX);

/// What a swarm is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Dial.
    Connect,
    /// Say how far you are.
    Report,
    /// End.
    Leave,
}

/// What a swarm has to do.
#[derive(Debug)]
pub struct Task {
    /// Brokers; connection n goes to broker n modulo their number.
    pub brokers: Vec<SocketAddr>,
    /// The number of the first connection among those of all swarms.
    pub first: usize,
    /// Connections to hold.
    pub connections: usize,
    /// Dials under way at once.
    pub dials: usize,
    /// What each connection says.
    pub script: Script,
}

/// How far a swarm is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Connected and subscribed.
    pub up: usize,
    /// Lost or refused.
    pub lost: usize,
    /// Messages answered.
    pub answered: u64,
}

/// A swarm under way.
#[derive(Debug)]
pub struct Swarm {
    poll: Poll,
    task: Task,
    sockets: Vec<Option<Socket>>,
    under_way: usize,
    count: Count,
    scratch: Vec<u8>,
}

impl Swarm {
    /// A swarm that has dialled nobody.
    ///
    /// # Errors
    /// When the system has no poll.
    pub fn new(task: Task) -> io::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            sockets: Vec::with_capacity(task.connections),
            under_way: 0,
            count: Count::default(),
            scratch: vec![0; 64 * 1024],
            task,
        })
    }

    /// Wakes the swarm when an order waits.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn waker(&self) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), WOKEN)
    }

    /// Serves until told to leave; `done` is called once everybody is up or lost, and `report` when
    /// a report is wanted.
    ///
    /// # Errors
    /// When the poll fails.
    pub fn serve(
        &mut self,
        orders: &Receiver<Order>,
        mut tell: impl FnMut(Order, Count),
    ) -> io::Result<()> {
        let mut events = Events::with_capacity(4_096);
        let mut told = true;
        loop {
            if let Err(error) = self.poll.poll(&mut events, None)
                && error.kind() != io::ErrorKind::Interrupted
            {
                return Err(error);
            }
            for event in &events {
                if event.token() != WOKEN {
                    self.step(event.token().0);
                }
            }
            loop {
                match orders.try_recv() {
                    Ok(Order::Connect) => {
                        told = false;
                        self.dial()?;
                    }
                    Ok(Order::Report) => tell(Order::Report, self.count),
                    Ok(Order::Leave) | Err(TryRecvError::Disconnected) => return Ok(()),
                    Err(TryRecvError::Empty) => break,
                }
            }
            if !told {
                self.dial()?;
                if self.count.up + self.count.lost == self.task.connections {
                    told = true;
                    tell(Order::Connect, self.count);
                }
            }
        }
    }

    fn dial(&mut self) -> io::Result<()> {
        while self.under_way < self.task.dials && self.sockets.len() < self.task.connections {
            let number = self.sockets.len();
            let brokers = &self.task.brokers;
            let mut socket =
                Socket::dial(brokers[number % brokers.len()], self.task.first + number)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            registry.register(&mut socket.stream, Token(number), interest)?;
            self.sockets.push(Some(socket));
            self.under_way += 1;
        }
        Ok(())
    }

    fn step(&mut self, number: usize) {
        let Some(place) = self.sockets.get_mut(number) else {
            return;
        };
        let Some(socket) = place else { return };
        let before = socket.stage;
        match socket.go_on(&self.task.script, &mut self.scratch) {
            Ok(answered) => {
                self.count.answered += answered;
                if before != Stage::Up && socket.stage == Stage::Up {
                    self.under_way -= 1;
                    self.count.up += 1;
                }
            }
            Err(_) => {
                match before {
                    Stage::Up => self.count.up -= 1,
                    Stage::Dialled | Stage::Said => self.under_way -= 1,
                }
                self.count.lost += 1;
                *place = None;
            }
        }
    }
}
