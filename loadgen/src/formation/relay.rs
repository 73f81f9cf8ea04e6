//! Links between brokers, led through loadgen so that faults can cut them or make them slow.
//!
//! ```text
//! broker ──dials──► listener ──► Line (open, slow, cut) ──► listener of the other broker
//! ```
//!
//! Only links that a scenario has a fault on are led through here; all others run from broker to
//! broker. A relay carries TCP streams and sees no packets: it can hold bytes back, pace them and
//! close connections, and cannot lose, repeat or reorder anything.

mod line;
mod pump;

pub use line::{Condition, Line, LineSeen};

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::ties::Tie;
use crate::scenario::BrokerLink;
use line::Side;

/// Connections one dialling side of a link may have at a time; more are closed at once. A route is
/// a pool of three and one for the system account.
const MOST_CONNECTIONS: usize = 64;
/// How long the dialled broker may take to accept.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait before accepting again when the system would not.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The relays of a formation. They end when this is let go.
#[derive(Debug)]
pub struct Relays {
    lines: Vec<Relayed>,
    /// Where brokers are sent that dial what others tell them of: nowhere.
    nowhere: u16,
    tasks: JoinSet<()>,
}

/// A relayed link, and what must stand at its ends.
#[derive(Clone, Debug)]
pub struct Relayed {
    /// The link, to do something to it.
    pub line: Arc<Line>,
    /// Its ends.
    pub ties: Vec<Tie>,
}

/// A direction in which a link is dialled, and the relay for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// The broker that dials.
    pub dialer: String,
    /// The broker it is led to.
    pub dialed: String,
    /// The port it is to dial.
    pub port: u16,
}

impl Relays {
    /// Relays for `links`; `port` tells where the second broker listens for the first on a link of
    /// this kind. Answers, beside the relays, what each broker has to dial.
    ///
    /// # Errors
    /// When no port is left to listen on.
    pub async fn start(
        links: &[BrokerLink],
        port: impl Fn(&BrokerLink, &str) -> Option<u16>,
    ) -> io::Result<(Self, Vec<Detour>)> {
        let nowhere = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut relays = Self {
            lines: Vec::new(),
            nowhere: nowhere.local_addr()?.port(),
            tasks: JoinSet::new(),
        };
        relays.tasks.spawn(turn_away(nowhere));
        let mut detours = Vec::new();
        for link in links {
            let line = Arc::new(Line::new(link.clone()));
            relays.lines.push(Relayed {
                line: Arc::clone(&line),
                ties: Vec::new(),
            });
            for (side, dialer, dialed) in link.dials() {
                let Some(target) = port(link, dialed) else {
                    continue;
                };
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                detours.push(Detour {
                    dialer: dialer.to_owned(),
                    dialed: dialed.to_owned(),
                    port: listener.local_addr()?.port(),
                });
                let side = Side {
                    line: Arc::clone(&line),
                    back: side,
                };
                let target = (Ipv4Addr::LOCALHOST, target).into();
                relays.tasks.spawn(serve(listener, target, side));
            }
        }
        Ok((relays, detours))
    }

    /// The links, to do something to them.
    pub fn lines(&self) -> &[Relayed] {
        &self.lines
    }

    /// Takes note of what must stand at the ends of every link.
    pub fn tie(&mut self, ties: impl Fn(&BrokerLink) -> Vec<Tie>) {
        for relayed in &mut self.lines {
            relayed.ties = ties(relayed.line.link());
        }
    }

    /// A port on which every connection is closed at once.
    ///
    /// nats-server tells brokers of each other, and there is no switch against that where routes
    /// and gateways are concerned. A broker whose links are relayed gives this as its address, so
    /// that nobody finds a way past the relay.
    pub fn nowhere(&self) -> u16 {
        self.nowhere
    }
}

/// Closes whatever connects.
async fn turn_away(listener: TcpListener) {
    loop {
        if listener.accept().await.is_err() {
            tokio::time::sleep(ACCEPT_AGAIN).await;
        }
    }
}

/// Accepts what one broker dials and carries it to the other.
async fn serve(listener: TcpListener, target: SocketAddr, side: Side) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Those that ended are forgotten.
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
            continue;
        };
        let side = side.clone();
        connections.spawn(async move {
            connection(stream, target, &side).await;
            drop(place);
        });
    }
}

/// One connection from its acceptance to its end.
async fn connection(near: TcpStream, target: SocketAddr, side: &Side) {
    let line = &side.line;
    // A silent cut is not noticed by whoever dials: it waits for a first word that does not come.
    if line.heard().await.is_cut() {
        return line.refused();
    }
    let Ok(Ok(far)) = timeout(ACCEPTED_WITHIN, TcpStream::connect(target)).await else {
        return;
    };
    // Brokers write as they see fit; small messages are not held back for larger ones.
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let _open = line.opened();
    tokio::select! {
        () = pump::carry(near, far, side) => {}
        () = line.closed() => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    use super::*;
    use crate::scenario::LinkKind;

    /// A relay before a server that echoes; where to dial it, and its line.
    async fn echo() -> (Relays, u16, Arc<Line>) {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        });
        let link = BrokerLink {
            kind: LinkKind::Leaf,
            from: "edge-1".to_owned(),
            to: "hub-1".to_owned(),
        };
        let (relays, detours) = Relays::start(&[link], |_, _| Some(port)).await.unwrap();
        assert_eq!(detours.len(), 1, "a leaf is dialled by the leaf alone");
        let line = Arc::clone(&relays.lines()[0].line);
        (relays, detours[0].port, line)
    }

    async fn dial(port: u16) -> TcpStream {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap()
    }

    /// How long a word takes there and back.
    async fn round_trip(stream: &mut TcpStream, bytes: usize) -> io::Result<Duration> {
        let (sent, begun) = (vec![b'x'; bytes], Instant::now());
        let (mut read, mut write) = stream.split();
        let mut back = vec![0; bytes];
        let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut back));
        wrote?;
        got?;
        assert_eq!(back, sent);
        Ok(begun.elapsed())
    }

    #[tokio::test]
    async fn a_reset_link_closes_what_stands_and_what_comes_until_it_is_open_again() {
        let (_relays, port, line) = echo().await;
        let mut stream = dial(port).await;
        round_trip(&mut stream, 100).await.unwrap();
        assert_eq!(line.seen().connections, 1);
        line.set(Condition::Reset);
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap_or(0), 0, "closed");
        let mut late = dial(port).await;
        assert_eq!(late.read(&mut [0; 8]).await.unwrap_or(0), 0, "closed");
        line.set(Condition::Open);
        round_trip(&mut dial(port).await, 100_000).await.unwrap();
        let seen = line.seen();
        assert_eq!((seen.connected, seen.refused), (2, 1));
        assert_eq!((seen.bytes_there, seen.bytes_back), (100_100, 100_100));
    }

    #[tokio::test]
    async fn a_silent_link_keeps_connections_and_everything_that_waits_on_them() {
        let (_relays, port, line) = echo().await;
        let mut stream = dial(port).await;
        round_trip(&mut stream, 10).await.unwrap();
        line.set(Condition::Silent);
        let mut late = dial(port).await;
        for stream in [&mut stream, &mut late] {
            stream.write_all(b"hello").await.unwrap();
            let waited = timeout(Duration::from_millis(200), stream.read(&mut [0; 5])).await;
            assert!(waited.is_err(), "{waited:?}");
        }
        line.set(Condition::Open);
        for stream in [&mut stream, &mut late] {
            let mut back = [0; 5];
            stream.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"hello");
        }
    }

    #[tokio::test]
    async fn a_slow_link_takes_its_time_and_its_bandwidth() {
        let (_relays, port, line) = echo().await;
        let mut stream = dial(port).await;
        let ms = Duration::from_millis;
        line.set(Condition::Slow {
            latency: ms(60),
            bandwidth: None,
        });
        let far = round_trip(&mut stream, 10).await.unwrap();
        assert!((ms(120)..ms(1_000)).contains(&far), "{far:?}");
        line.set(Condition::Slow {
            latency: Duration::ZERO,
            bandwidth: Some(1_000_000),
        });
        // A quarter of a megabyte each way, both ways at the same time.
        let narrow = round_trip(&mut stream, 250_000).await.unwrap();
        assert!((ms(240)..ms(2_000)).contains(&narrow), "{narrow:?}");
        line.set(Condition::Open);
        let open = round_trip(&mut stream, 250_000).await.unwrap();
        assert!(open < ms(200), "{open:?}");
    }

    #[tokio::test]
    async fn many_small_pieces_are_no_later_than_one() {
        let (_relays, port, line) = echo().await;
        let mut stream = dial(port).await;
        stream.set_nodelay(true).unwrap();
        let ms = Duration::from_millis;
        line.set(Condition::Slow {
            latency: ms(1_000),
            bandwidth: None,
        });
        let word = b"a few bytes";
        for _ in 0..200 {
            stream.write_all(word).await.unwrap();
            // Each is read before the next one is there.
            tokio::time::sleep(ms(1)).await;
        }
        let begun = Instant::now();
        let mut back = vec![0; 200 * word.len()];
        stream.read_exact(&mut back).await.unwrap();
        let last = begun.elapsed();
        assert!(last < ms(2_400), "a second each way: {last:?}");
    }

    #[tokio::test]
    async fn what_ends_on_one_side_ends_on_the_other() {
        let (relays, port, line) = echo().await;
        let mut stream = dial(port).await;
        stream.write_all(b"last words").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, b"last words");
        while line.seen().connections > 0 {
            tokio::task::yield_now().await;
        }
        let mut nowhere = dial(relays.nowhere()).await;
        assert_eq!(nowhere.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
}
