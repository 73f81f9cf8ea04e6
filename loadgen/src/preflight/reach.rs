//! Are the brokers of somebody else there, and do they fit the scenario? Each is greeted once
//! before anything starts.

use std::io::{self, ErrorKind, Read as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use serde::Deserialize;
use thiserror::Error;

use super::{Finding, waiting};
use crate::formation::external::{Reach, reach_all};
use crate::plan::Plan;
use crate::scenario::{Action, Tls};
use crate::units::grouped;

/// How long a broker may take from the first packet to its greeting.
const GREETED_WITHIN: Duration = Duration::from_secs(3);
/// A greeting longer than this is none.
const MAX_GREETING_BYTES: usize = 64 * 1024;
/// What the protocol adds around the body of a message, bytes.
const ENVELOPE_BYTES: u64 = 4 * 1024;

/// What a broker says of itself at once (`INFO`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Greeting {
    /// Its version.
    pub version: String,
    /// The largest message it takes, bytes.
    pub max_payload: u64,
    /// Whether clients have to speak TLS.
    pub tls_required: bool,
    /// Whether they may.
    pub tls_available: bool,
    /// Whether they have to show a certificate.
    pub tls_verify: bool,
    /// Whether they have to say who they are.
    pub auth_required: bool,
}

/// A broker does not greet us.
#[derive(Debug, Error)]
pub enum ReachError {
    /// Nobody listens.
    #[error("refuses connections: is it running, and is this its port?")]
    Refused,
    /// It ends the connection without a word.
    #[error(
        "ends the connection without a word: is its limit of connections reached, or is \
         something else at this port?"
    )]
    Closed,
    /// It never speaks.
    #[error("took the connection and said nothing for {} s: it hangs, or is no NATS broker", GREETED_WITHIN.as_secs())]
    Silent,
    /// Packets go nowhere.
    #[error("cannot be reached: {0}; check the address and what is between")]
    Unreachable(io::Error),
    /// What it says is not NATS.
    #[error("does not speak NATS; it said {0:?}")]
    Stranger(String),
}

/// Greets every broker of somebody else; nothing where they are ours.
pub fn greet_all(plan: &Plan) -> Vec<Finding> {
    let reaches = match reach_all(&plan.scenario.topology.tiers) {
        Ok(reaches) => reaches,
        Err(error) => return vec![Finding::new("brokers", false, error.to_string())],
    };
    let body = largest_body(plan);
    let mut findings = greet_each(&reaches, body);
    findings.extend(waiting::judge(plan, &reaches));
    findings
}

fn greet_each(reaches: &[Reach], body: u64) -> Vec<Finding> {
    std::thread::scope(|scope| {
        let mut greetings = Vec::new();
        for reach in reaches {
            for (name, address) in &reach.brokers {
                let greeted = scope.spawn(move || greet(address, GREETED_WITHIN));
                greetings.push((reach, name, address, greeted));
            }
        }
        let judged = greetings
            .into_iter()
            .map(|(reach, name, address, greeted)| {
                let who = format!("broker {name} ({address})");
                match greeted.join() {
                    Ok(Ok(greeting)) => judge(&who, &greeting, reach, body),
                    Ok(Err(error)) => Finding::new("brokers", false, format!("{who} {error}")),
                    Err(_) => Finding::new("brokers", false, format!("{who} could not be greeted")),
                }
            });
        judged.collect()
    })
}

/// The largest body the scenario publishes.
fn largest_body(plan: &Plan) -> u64 {
    let ops = plan.scenario.phases.iter().flat_map(|phase| &phase.ops);
    let bodies = ops.filter_map(|op| match &op.action {
        Action::Publish { body, .. } => Some(body.0),
        _ => None,
    });
    bodies.max().unwrap_or_default()
}

/// Connects and reads the greeting, within a time for both together.
///
/// # Errors
/// When there is none.
pub fn greet(address: &str, within: Duration) -> Result<Greeting, ReachError> {
    let deadline = Instant::now() + within;
    let found = address.to_socket_addrs().map_err(ReachError::Unreachable)?;
    let mut last = ReachError::Unreachable(ErrorKind::NotFound.into());
    for address in found {
        match TcpStream::connect_timeout(&address, within) {
            Ok(stream) => return read_greeting(stream, deadline),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                last = ReachError::Refused;
            }
            Err(error) => last = ReachError::Unreachable(error),
        }
    }
    Err(last)
}

fn read_greeting(mut stream: TcpStream, deadline: Instant) -> Result<Greeting, ReachError> {
    let mut said = Vec::new();
    let mut part = [0; 4096];
    while !said.contains(&b'\n') && said.len() < MAX_GREETING_BYTES {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ReachError::Silent);
        }
        let limited = stream.set_read_timeout(Some(left));
        match limited.and_then(|()| stream.read(&mut part)) {
            Ok(0) => return Err(ReachError::Closed),
            Ok(n) => said.extend_from_slice(part.get(..n).unwrap_or_default()),
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => ReachError::Silent,
                    _ => ReachError::Closed,
                });
            }
        }
    }
    let text = String::from_utf8_lossy(&said);
    let line = text.lines().next().unwrap_or_default();
    let greeting = line.strip_prefix("INFO ").map(serde_json::from_str);
    match greeting {
        Some(Ok(greeting)) => Ok(greeting),
        _ => Err(ReachError::Stranger(line.chars().take(60).collect())),
    }
}

/// What of the scenario does not fit the broker.
fn judge(who: &str, greeting: &Greeting, reach: &Reach, body: u64) -> Finding {
    let offers_tls = greeting.tls_required || greeting.tls_available;
    let login = &reach.login;
    let has_login = login.user.is_some() || login.token.is_some();
    let needs = body + ENVELOPE_BYTES;
    let wrong = if reach.tls == Tls::None && greeting.tls_required {
        Some("wants TLS and the scenario says tls = \"none\"; write tls = \"server\"".to_owned())
    } else if reach.tls != Tls::None && !offers_tls {
        Some("speaks no TLS; write tls = \"none\"".to_owned())
    } else if greeting.tls_verify && reach.issuer.is_none() {
        Some(
            "wants a certificate of every client; write issuer and issuer_key, which sign \
             certificates that it trusts, or use a listener without tls verify"
                .to_owned(),
        )
    } else if greeting.auth_required && !has_login {
        Some("wants to know who connects; write user and password_file, or token_file".to_owned())
    } else if greeting.max_payload < needs {
        Some(format!(
            "takes messages of {} bytes and the scenario's need {} ({} for the body); raise its \
             max_payload",
            grouped(greeting.max_payload),
            grouped(needs),
            grouped(body)
        ))
    } else {
        None
    };
    let ok = wrong.is_none();
    let says = wrong.unwrap_or_else(|| {
        format!(
            "is nats-server {}, takes {} bytes",
            greeting.version,
            grouped(greeting.max_payload)
        )
    });
    Finding::new("brokers", ok, format!("{who} {says}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use std::io::Write as _;
    use std::net::TcpListener;

    use super::*;
    use crate::message::Login;
    use crate::scenario::Role;

    const SOON: Duration = Duration::from_millis(300);

    fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    /// What is said of a broker that answers a connection with these bytes, or not at all.
    fn said_of(answer: Option<&'static [u8]>) -> String {
        let (listener, address) = listener();
        let held = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            if let Some(bytes) = answer {
                stream.write_all(bytes).unwrap();
                return;
            }
            std::thread::sleep(SOON * 3);
        });
        let before = Instant::now();
        let said = greet(&address, SOON).unwrap_err().to_string();
        assert!(before.elapsed() < SOON * 3, "bounded in time");
        held.join().unwrap();
        said
    }

    #[test]
    fn who_refuses_who_drops_and_who_never_speaks_are_told_apart() {
        let (gone, address) = listener();
        drop(gone);
        let refused = greet(&address, SOON).unwrap_err().to_string();
        assert!(refused.contains("refuses connections"), "{refused}");
        let dropped = said_of(Some(b""));
        assert!(dropped.contains("without a word"), "{dropped}");
        let silent = said_of(None);
        assert!(silent.contains("said nothing for 3 s"), "{silent}");
        let stranger = said_of(Some(b"220 mail.example.net ESMTP\r\n"));
        assert!(stranger.contains("220 mail.example.net"), "{stranger}");
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_to_write() {
        let reach = |tls, user: Option<&str>| Reach {
            tier: "hub".to_owned(),
            brokers: Vec::new(),
            role: Role::Production,
            tls,
            login: Login {
                user: user.map(str::to_owned),
                ..Login::default()
            },
            issuer: None,
            ca: None,
        };
        let fits = Greeting {
            version: "2.15.1".to_owned(),
            max_payload: 1 << 20,
            ..Greeting::default()
        };
        let wants_tls = Greeting {
            tls_required: true,
            ..fits.clone()
        };
        let wants_user = Greeting {
            auth_required: true,
            ..fits.clone()
        };
        let wants_certificate = Greeting {
            tls_verify: true,
            ..wants_tls.clone()
        };
        let plain = reach(Tls::None, None);
        assert!(judge("b", &fits, &plain, 256).ok);
        assert!(judge("b", &wants_user, &reach(Tls::None, Some("me")), 256).ok);
        assert!(judge("b", &wants_tls, &reach(Tls::Server, None), 256).ok);
        for (greeting, reach, body, part) in [
            (&wants_tls, &plain, 0, "write tls = \"server\""),
            (&fits, &reach(Tls::Server, None), 0, "write tls = \"none\""),
            (&wants_user, &plain, 0, "write user and password_file"),
            (
                &wants_certificate,
                &reach(Tls::Server, None),
                0,
                "certificate of every client",
            ),
            (
                &fits,
                &plain,
                1 << 20,
                "need 1,052,672 (1,048,576 for the body)",
            ),
        ] {
            let found = judge("b", greeting, reach, body);
            assert!(!found.ok && found.says.contains(part), "{}", found.says);
        }
    }
}
