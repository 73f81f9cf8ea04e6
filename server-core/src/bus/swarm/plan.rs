//! Where a connection may go, in which order, and how it gets there: every attempt of its life.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;

use super::handshake::{self, Established};
use crate::bus::{BusError, Delays, Dial, DialLimit, DialStep, nats};

/// Brokers learned from others that are remembered.
const MOST_LEARNED: usize = 32;

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// As it was dialled, without any password.
    pub(super) url: Arc<str>,
    pub(super) host: Arc<str>,
    pub(super) port: u16,
    /// The name its certificate must have. A broker that was learned by its IP address is known by
    /// the name of the one who told.
    pub(super) certificate_name: Arc<str>,
    /// User and password given in the address, used where the dial has none.
    pub(super) login: Option<(Arc<str>, Arc<str>)>,
}

impl Target {
    fn is(&self, other: &Target) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// A `host:port` out of another broker's `connect_urls`.
    fn learned(text: &str, from: &Target) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().ok()?;
        let scheme = from
            .url
            .split_once("://")
            .map_or("nats", |(scheme, _)| scheme);
        let by_address = host.parse::<IpAddr>().is_ok();
        let host: Arc<str> = host.into();
        Some(Self {
            url: format!("{scheme}://{text}").into(),
            certificate_name: if by_address {
                Arc::clone(&from.certificate_name)
            } else {
                Arc::clone(&host)
            },
            host,
            port,
            login: from.login.clone(),
        })
    }
}

/// Reads the configured addresses.
///
/// # Errors
/// For what could never connect.
pub(super) fn targets(dial: &Dial) -> Result<Vec<Target>, BusError> {
    let addresses = nats::addresses(dial)?;
    let targets = addresses.iter().zip(&dial.servers).map(|(address, text)| {
        let host: Arc<str> = address.host().trim_matches(['[', ']']).into();
        let user = address.username().map(Arc::from);
        Target {
            url: nats::redact(text).into(),
            certificate_name: Arc::clone(&host),
            host,
            port: address.port(),
            login: user.zip(address.password().map(Arc::from)),
        }
    });
    Ok(targets.collect())
}

/// What a connection needs to dial, for as long as it lives.
pub(super) struct Plan {
    /// Without what the other fields have of it.
    pub(super) dial: Dial,
    /// Subjects of the dial, with blanks between them.
    pub(super) subscriptions: Box<str>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) targets: Vec<Target>,
    pub(super) sources: Arc<[IpAddr]>,
    pub(super) limit: DialLimit,
    /// Attempts made, the first included.
    pub(super) attempts: AtomicU64,
}

/// What a connection knows when it has to dial again.
#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    /// Where in the configured list the next round begins.
    pub(super) turn: usize,
    /// Brokers others have told of.
    pub(super) learned: Vec<Target>,
    /// How often the connection has been made: each time has delays of its own.
    pub(super) epoch: u64,
}

impl Route {
    /// Remembers what a broker tells of its cluster; forgets what it no longer tells.
    pub(super) fn learn(&mut self, urls: &[String], from: &Target, configured: &[Target]) {
        self.learned = urls
            .iter()
            .filter_map(|text| Target::learned(text, from))
            .filter(|target| !configured.iter().any(|known| known.is(target)))
            .take(MOST_LEARNED)
            .collect();
    }

    /// Those to try, in order: the configured ones from the current turn on, then the learned ones;
    /// `left`, whose connection is lost or about to be, only after all others.
    fn round<'a>(&'a self, configured: &'a [Target], left: Option<&Target>) -> Vec<&'a Target> {
        let count = configured.len().max(1);
        let turned = (0..configured.len()).filter_map(|step| {
            let at = (self.turn % count + step) % count;
            configured.get(at)
        });
        let all = turned.chain(&self.learned);
        let is_left = |target: &&Target| left.is_some_and(|left| left.is(target));
        let (last, mut round): (Vec<_>, Vec<_>) = all.partition(is_left);
        round.extend(last);
        round
    }

    /// Whether there is a broker other than `left`.
    pub(super) fn has_other(&self, configured: &[Target], left: &Target) -> bool {
        let mut all = configured.iter().chain(&self.learned);
        all.any(|target| !target.is(left))
    }
}

/// Why a connection is dialled.
#[derive(Debug, Clone)]
pub(super) enum Occasion {
    /// For the first time: at once.
    First,
    /// It was lost: after the policy's delay, and elsewhere first.
    Loss { left: Target },
    /// Its broker is about to go: after a share of the spread, anywhere else.
    LameDuck { left: Target, spread: Duration },
}

/// Where [`Plan::connect`] got to.
pub(super) struct Arrived {
    pub(super) established: Established,
    /// The turn after this one.
    pub(super) turn: usize,
}

impl Plan {
    /// Subjects that come with the greeting, with their ids.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (u64, &str)> {
        (1..).zip(self.subscriptions.split_ascii_whitespace())
    }

    pub(super) fn delays(&self, epoch: u64) -> Delays {
        match epoch {
            0 => self.dial.reconnect.delays(),
            _ => self.dial.reconnect.reseeded(epoch).delays(),
        }
    }

    /// Dials until somebody answers or the attempts are used up.
    ///
    /// # Errors
    /// [`BusError::GaveUp`].
    pub(super) async fn connect(
        self: Arc<Self>,
        route: Route,
        occasion: Occasion,
    ) -> Result<Arrived, BusError> {
        let mut delays = self.delays(route.epoch);
        let brokers = self.targets.len() + route.learned.len();
        let mut route = route;
        let left = match &occasion {
            Occasion::First => None,
            Occasion::Loss { left } | Occasion::LameDuck { left, .. } => {
                // Whoever shared a broker spreads over all that are left.
                route.turn = delays.pick(self.targets.len());
                Some(left)
            }
        };
        let mut wait = match &occasion {
            Occasion::First => Duration::ZERO,
            Occasion::Loss { .. } => delays.after_loss(brokers),
            Occasion::LameDuck { spread, .. } => {
                let millis = usize::try_from(spread.as_millis()).unwrap_or(usize::MAX);
                Duration::from_millis(delays.pick(millis) as u64)
            }
        };
        let mut round = route.round(&self.targets, left);
        if matches!(occasion, Occasion::LameDuck { .. }) && round.len() > 1 {
            round.pop();
        }
        let mut failed = 0u32;
        for target in round.iter().cycle() {
            tokio::time::sleep(wait).await;
            match self.attempt(target, delays.pick(usize::MAX)).await {
                Ok(established) => {
                    let position = self.targets.iter().position(|known| known.is(target));
                    return Ok(Arrived {
                        established,
                        turn: position.map_or(route.turn, |at| at + 1),
                    });
                }
                Err(error) => {
                    self.dial.report(DialStep::Failed(&error));
                    failed = failed.saturating_add(1);
                    if self.dial.give_up_after.is_some_and(|limit| failed >= limit) {
                        return Err(gave_up(failed, error));
                    }
                }
            }
            wait = delays.after_failure(brokers);
        }
        Err(gave_up(
            failed,
            BusError::Address {
                server: String::new(),
                why: "no broker is configured".to_owned(),
            },
        ))
    }

    /// One attempt, within the limits of time and of dials under way.
    async fn attempt(&self, target: &Target, draw: usize) -> Result<Established, BusError> {
        let _place = self.limit.enter().await;
        self.attempts.fetch_add(1, Ordering::Relaxed);
        self.dial.report(DialStep::Attempt {
            server: &target.url,
        });
        let source = self.sources.get(draw % self.sources.len().max(1));
        let source = source.map(|address| SocketAddr::new(*address, 0));
        let within = self.dial.connect_timeout;
        let establishing = handshake::establish(self, target, source);
        let established = tokio::time::timeout(within, establishing)
            .await
            .unwrap_or_else(|_| {
                Err(BusError::Unreachable {
                    server: target.url.to_string(),
                    why: format!("no connection within {within:?}"),
                })
            })?;
        self.dial.report(DialStep::Connected {
            server: &target.url,
            took: established.took,
        });
        Ok(established)
    }
}

fn gave_up(attempts: u32, last: BusError) -> BusError {
    BusError::GaveUp {
        attempts,
        last: Box::new(last),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{Route, Target, targets};
    use crate::bus::Dial;

    fn configured(servers: &[&str]) -> Vec<Target> {
        let servers = servers.iter().map(|text| (*text).to_owned()).collect();
        targets(&Dial::new(servers, "test")).unwrap()
    }

    fn urls(round: &[&Target]) -> Vec<String> {
        round.iter().map(|target| target.url.to_string()).collect()
    }

    #[test]
    fn a_round_turns_through_the_configured_and_ends_with_the_learned() {
        let known = configured(&["nats://a:1", "nats://b:2", "nats://u:p@[::1]:3"]);
        assert_eq!(&*known[2].url, "nats://[::1]:3");
        assert_eq!(&*known[2].host, "::1");
        let mut route = Route {
            turn: 4,
            ..Route::default()
        };
        let told = ["a:1", "10.0.0.9:4", "c:5", "nonsense", "[::2]:6"].map(str::to_owned);
        route.learn(&told, &known[0], &known);
        assert_eq!(
            urls(&route.round(&known, None)),
            [
                "nats://b:2",
                "nats://[::1]:3",
                "nats://a:1",
                "nats://10.0.0.9:4",
                "nats://c:5",
                "nats://[::2]:6"
            ]
        );
        let without_b = urls(&route.round(&known, Some(&known[1])));
        assert_eq!(without_b[0], "nats://[::1]:3");
        assert_eq!(without_b[5], "nats://b:2");
        let names: Vec<_> = route
            .learned
            .iter()
            .map(|t| t.certificate_name.to_string())
            .collect();
        assert_eq!(names, ["a", "c", "a"]);
    }

    #[test]
    fn the_only_broker_is_dialled_again_even_when_it_said_goodbye() {
        let known = configured(&["nats://a:1"]);
        let route = Route::default();
        assert!(!route.has_other(&known, &known[0]));
        assert_eq!(urls(&route.round(&known, Some(&known[0]))), ["nats://a:1"]);
    }
}
