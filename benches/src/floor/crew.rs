//! Bare swarms in processes of their own, as one process has too few descriptors for a fleet.
//!
//! A child reads its [`Job`] and then one order a line from standard input, and writes one
//! [`Answer`] a line to standard output.

use std::io::{self, BufRead, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use loadgen::resources::Usage;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use server_core::trust::tls;

use super::exchange::Exchange;
use super::protocol::{hello, publication};
use super::socket::Script;
use super::swarm::{Order, Swarm, Task};

/// The credentials of a bare client on brokers with mutual TLS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Credentials {
    /// Trust anchors, PEM.
    pub roots: String,
    /// Certificate chain, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
}

impl Credentials {
    /// What a TLS client needs of them.
    ///
    /// # Errors
    /// When they are not well formed.
    pub fn client(&self) -> anyhow::Result<(Arc<ClientConfig>, ServerName<'static>)> {
        let config = tls::mutual(&self.roots, &self.certificate, &self.key)?;
        Ok((config, ServerName::try_from("127.0.0.1")?))
    }
}

/// What one child does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Brokers.
    pub brokers: Vec<SocketAddr>,
    /// Connections.
    pub connections: usize,
    /// Dials under way at once.
    pub dials: usize,
    /// The number of its first connection.
    pub first: usize,
    /// Subjects of every connection.
    pub subjects: Vec<String>,
    /// The subject of its own that each has, before and behind its number.
    pub own: (String, String),
    /// Where replies go, and the reply.
    pub reply_to: String,
    /// The reply.
    pub reply: String,
    /// Credentials where the brokers want TLS.
    pub credentials: Option<Credentials>,
}

/// What a child tells.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Connections that are up.
    pub up: usize,
    /// Connections that were lost or refused.
    pub lost: usize,
    /// Resident memory beyond that of the child without connections, bytes.
    pub rss_bytes: u64,
    /// CPU seconds of the child.
    pub cpu_s: f64,
}

/// Runs a child until its input ends.
///
/// # Errors
/// When the job cannot be read or the poll fails.
pub fn serve() -> anyhow::Result<()> {
    let mut lines = BufReader::new(io::stdin()).lines();
    let job = lines
        .next()
        .context("a job is wanted on standard input")??;
    let job: Job = serde_json::from_str(&job).context("the job is not understood")?;
    let tls = job.credentials.as_ref().map(Credentials::client);
    let script = Script {
        hello: hello(&job.subjects),
        own: job.own,
        answer: publication(&job.reply_to, job.reply.as_bytes()),
        tls: tls.transpose()?,
    };
    let mut swarm = Swarm::new(Task {
        brokers: job.brokers,
        first: job.first,
        connections: job.connections,
        dials: job.dials,
        script,
    })?;
    let waker = swarm.waker()?;
    let (sender, orders) = sync_channel(4);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let order = match line.as_str() {
                "connect" => Order::Connect,
                "report" => Order::Report,
                _ => Order::Leave,
            };
            if sender.send(order).is_err() || waker.wake().is_err() {
                return;
            }
        }
        drop(sender);
        // The other end is gone; the swarm sees it when it is woken.
        let _ = waker.wake();
    });
    let empty = Usage::own().rss_bytes.unwrap_or_default();
    swarm.serve(&orders, |_, count| {
        let usage = Usage::own();
        let answer = Answer {
            up: count.up,
            lost: count.lost,
            rss_bytes: usage.rss_bytes.unwrap_or_default().saturating_sub(empty),
            cpu_s: usage.cpu_s.unwrap_or_default(),
        };
        if let Ok(text) = serde_json::to_string(&answer) {
            println!("{text}");
        }
    })?;
    Ok(())
}

/// All children of one bare run.
pub struct Crew(Vec<Hand>);

struct Hand {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Crew {
    /// Starts `workers` children that hold `connections` together.
    ///
    /// # Errors
    /// When a child cannot be started.
    pub fn start(
        exchange: &Exchange,
        brokers: &[SocketAddr],
        (connections, workers, dials): (usize, usize, usize),
        credentials: Option<&Credentials>,
    ) -> anyhow::Result<Self> {
        let mut hands = Vec::new();
        let mut first = 1;
        for worker in 0..workers {
            let share = (connections + workers - 1 - worker) / workers;
            let mut turned = brokers.to_vec();
            // Each child begins at another broker, or the first would hold every remainder.
            turned.rotate_left(worker % brokers.len());
            let job = Job {
                brokers: turned,
                connections: share,
                dials: dials.div_ceil(workers),
                first,
                subjects: exchange.shared_subjects(),
                own: exchange.own_subject(),
                reply_to: exchange.reply_to.clone(),
                reply: String::from_utf8(exchange.reply.to_vec())?,
                credentials: credentials.cloned(),
            };
            first += share;
            hands.push(Hand::start(&job)?);
        }
        Ok(Self(hands))
    }

    /// Lets everybody connect, and tells how long it took.
    ///
    /// # Errors
    /// When a child ends.
    pub fn connect(&mut self) -> anyhow::Result<(Duration, Answer)> {
        let begun = Instant::now();
        let answer = self.all("connect")?;
        Ok((begun.elapsed(), answer))
    }

    /// Asks everybody how it is.
    ///
    /// # Errors
    /// When a child ends.
    pub fn report(&mut self) -> anyhow::Result<Answer> {
        self.all("report")
    }

    fn all(&mut self, order: &str) -> anyhow::Result<Answer> {
        for hand in &mut self.0 {
            writeln!(hand.orders, "{order}")?;
        }
        let mut sum = Answer::default();
        for hand in &mut self.0 {
            let mut line = String::new();
            hand.answers.read_line(&mut line)?;
            let one: Answer = serde_json::from_str(&line).context("a bare worker ended")?;
            sum.up += one.up;
            sum.lost += one.lost;
            sum.rss_bytes += one.rss_bytes;
            sum.cpu_s += one.cpu_s;
        }
        Ok(sum)
    }
}

impl Hand {
    fn start(job: &Job) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("bare-worker")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a bare worker did not start")?;
        let mut orders = child.stdin.take().context("no standard input")?;
        let answers = child.stdout.take().context("no standard output")?;
        writeln!(orders, "{}", serde_json::to_string(job)?)?;
        Ok(Self {
            child,
            orders,
            answers: BufReader::new(answers),
        })
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for hand in &mut self.0 {
            // A child that is gone already cannot be asked, and need not be.
            let _ = writeln!(hand.orders, "leave");
        }
        for hand in &mut self.0 {
            let _ = hand.child.wait();
        }
    }
}
