//! Proves that a network of brokers is one: a message that enters at any broker leaves at every
//! other. Links that stand are not enough, as the interest of subscribers has to cross them too.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use server_core::bus::swarm::SwarmDialer;
use server_core::bus::{Bus, BusError, Dial, DialLimit, Dialer as _, Inbound, Incoming, Link};
use server_core::trust::tls;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

use super::broker::Post;
use super::broker_config::Login;
use super::certificates::{Authority, CertificateError};
use crate::scenario::Tls;

/// How long messages may take to find their way between all brokers.
pub const HEARD_WITHIN: Duration = Duration::from_secs(15);
/// How often a message is sent again that was not heard everywhere.
const AGAIN: Duration = Duration::from_millis(50);
/// Dials that may fail before a broker is said to refuse us.
const ATTEMPTS: u32 = 3;

/// The brokers of a network do not hand messages on to each other, or let nobody in.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The TLS settings could not be made.
    #[error("broker {broker}: TLS cannot be set up: {why}")]
    Tls {
        /// The broker.
        broker: String,
        /// Why.
        why: String,
    },
    /// It cannot be connected to.
    #[error("broker {broker} is ready and cannot be used: {source}")]
    Connect {
        /// The broker.
        broker: String,
        /// Why.
        source: BusError,
    },
    /// A message got lost between two of them.
    #[error(
        "a message from broker {from} did not reach broker {to} within {} s, though their links \
         stand (logs: {from}.log, {to}.log)",
        HEARD_WITHIN.as_secs()
    )]
    Unheard {
        /// Where it went in.
        from: String,
        /// Where it did not come out.
        to: String,
    },
}

/// Sends a message from every broker of `posts` to every other, until each has heard all.
///
/// # Errors
/// When a broker does not let us in, or a message does not arrive within [`HEARD_WITHIN`].
pub async fn all_hear_each_other(
    posts: &[&Post],
    authority: &Authority,
    login: Option<&Login>,
) -> Result<(), ProbeError> {
    let subject = format!("loadgen.probe.{}", uuid::Uuid::new_v4().simple());
    let dialer = SwarmDialer::new(DialLimit::default());
    let ends = posts
        .iter()
        .map(|post| End::open(post, &dialer, authority, login, &subject));
    let mut ends = try_join_all(ends).await?;
    let names: BTreeSet<String> = posts.iter().map(|post| post.name.clone()).collect();
    let deadline = Instant::now() + HEARD_WITHIN;
    let heard = loop {
        for end in &ends {
            // One that is gone shows as not heard.
            let _ = end.bus.publish(&subject, end.name.clone().into()).await;
        }
        join_all(ends.iter_mut().map(|end| end.listen(&names))).await;
        let deaf = ends.iter().find_map(|end| {
            let from = names.difference(&end.heard).next()?;
            Some(ProbeError::Unheard {
                from: from.clone(),
                to: end.name.clone(),
            })
        });
        match deaf {
            None => break Ok(()),
            Some(deaf) if Instant::now() > deadline => break Err(deaf),
            Some(_) => {}
        }
    };
    join_all(ends.iter().map(|end| end.bus.close())).await;
    heard
}

/// The probe's connection to one broker.
struct End {
    name: String,
    bus: Arc<dyn Bus>,
    inbound: Inbound,
    heard: BTreeSet<String>,
}

impl End {
    async fn open(
        post: &Post,
        dialer: &SwarmDialer,
        authority: &Authority,
        login: Option<&Login>,
        subject: &str,
    ) -> Result<Self, ProbeError> {
        let mut dial = Dial::new(vec![post.url()], "loadgen probe");
        dial.give_up_after = Some(ATTEMPTS);
        let settings = match post.tls {
            Tls::None => None,
            Tls::Server => Some(tls::server_verified(authority.root())),
            Tls::Mutual => {
                let own = authority.broker("loadgen-probe")?;
                Some(tls::mutual(authority.root(), &own.certificate, &own.key))
            }
        };
        dial.tls = settings.transpose().map_err(|error| ProbeError::Tls {
            broker: post.name.clone(),
            why: error.to_string(),
        })?;
        dial.user = login.map(|login| login.user.clone());
        dial.password = login.map(|login| login.password.clone());
        let refused = |source| ProbeError::Connect {
            broker: post.name.clone(),
            source,
        };
        let Link { bus, inbound } = dialer.dial(dial).await.map_err(refused)?;
        bus.subscribe(subject, None).await.map_err(refused)?;
        Ok(Self {
            name: post.name.clone(),
            bus,
            inbound,
            heard: BTreeSet::new(),
        })
    }

    /// Listens until all are heard, and no longer than until the next sending.
    async fn listen(&mut self, all: &BTreeSet<String>) {
        let until = Instant::now() + AGAIN;
        while self.heard.len() < all.len() {
            match timeout_at(until, self.inbound.next()).await {
                Ok(Incoming::Message(message)) => {
                    let name = String::from_utf8_lossy(&message.payload);
                    self.heard.insert(name.into_owned());
                }
                Ok(Incoming::Closed) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
