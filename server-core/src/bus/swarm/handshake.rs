//! From an address to a connection that may be used: TCP, `INFO`, TLS, `CONNECT`, the first `PONG`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::plan::{Plan, Target};
use super::protocol::{self, Connect, Info, MAX_LINE, Operation, PING};
use super::socket::{Lost, Socket};
use crate::bus::{BusError, Message, Took};
use crate::trust::jwt::Credential;

/// A connection that has said hello.
pub(super) struct Established {
    pub(super) socket: Socket,
    pub(super) info: Info,
    pub(super) target: Target,
    /// Messages that came with the greeting, with the ids of their subscriptions.
    pub(super) early: Vec<(u64, Message)>,
    pub(super) took: Took,
}

/// Messages that may come with a greeting; a broker that sends more before its first `PONG` is mad.
const MOST_EARLY: usize = 1_024;

/// Connects to `target`. The caller limits the time.
pub(super) async fn establish(
    plan: &Plan,
    target: &Target,
    source: Option<SocketAddr>,
) -> Result<Established, BusError> {
    let begun = Instant::now();
    let failed = |lost: Lost| explain(target, &lost);
    let stream = open(target, source)
        .await
        .map_err(|error| failed(error.into()))?;
    let tcp = begun.elapsed();

    let mut socket = Socket::new(stream, MAX_LINE);
    let mut heard = Heard::default();
    heard
        .until(&mut socket, Expect::Info)
        .await
        .map_err(failed)?;
    let greeted = Instant::now();
    let tls = secure(plan, target, &mut socket, heard.info.as_ref()).await?;
    let secured = Instant::now();

    greet(plan, target, &mut socket, heard.info.as_ref())?;
    heard
        .until(&mut socket, Expect::Pong)
        .await
        .map_err(failed)?;
    let info = heard.info.unwrap_or_default();
    socket.parser.set_max_payload(info.payload_limit());
    let nats = greeted.duration_since(begun).saturating_sub(tcp) + secured.elapsed();
    Ok(Established {
        socket,
        info,
        target: target.clone(),
        early: heard.early,
        took: Took { tcp, tls, nats },
    })
}

async fn open(target: &Target, source: Option<SocketAddr>) -> std::io::Result<TcpStream> {
    let mut failure = None;
    for address in lookup_host((&*target.host, target.port)).await? {
        match open_one(address, source).await {
            Ok(stream) => {
                // Replies are small and wanted at once.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| std::io::Error::other("the name has no address")))
}

async fn open_one(address: SocketAddr, source: Option<SocketAddr>) -> std::io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
        // Leaves the choice of a port to the connect, where it is per destination.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(source)?;
    }
    socket.connect(address).await
}

/// Brings TLS up where the dial asks for it; how long that took.
async fn secure(
    plan: &Plan,
    target: &Target,
    socket: &mut Socket,
    info: Option<&Info>,
) -> Result<Option<Duration>, BusError> {
    let refuse = |why: &str| BusError::Tls {
        server: target.url.to_string(),
        why: why.to_owned(),
    };
    let (required, offered) = info.map_or((false, false), |info| {
        (info.tls_required, info.tls_required || info.tls_available)
    });
    let Some(config) = &plan.tls else {
        return match required {
            true => Err(refuse(
                "the broker requires TLS and no TLS settings are given",
            )),
            false => Ok(None),
        };
    };
    if !offered {
        return Err(refuse("the broker does not offer TLS"));
    }
    let begun = Instant::now();
    let name = ServerName::try_from(target.certificate_name.to_string())
        .map_err(|error| refuse(&error.to_string()))?;
    let handshake = async {
        socket.begin_tls(config.clone(), name)?;
        loop {
            let ready = socket.tls_ready()?;
            socket.drained().await?;
            if ready {
                return Ok(());
            }
            socket.read_more(&mut |_| {}).await?;
        }
    };
    handshake
        .await
        .map_err(|lost: Lost| explain(target, &lost))?;
    Ok(Some(begun.elapsed()))
}

fn greet(
    plan: &Plan,
    target: &Target,
    socket: &mut Socket,
    info: Option<&Info>,
) -> Result<(), BusError> {
    let dial = &plan.dial;
    let proven = dial.credential.as_deref();
    let nonce = info.map_or("", |info| &*info.nonce);
    let sig = proven
        .map(|credential| credential.answer(nonce))
        .transpose();
    let sig = sig.map_err(|error| BusError::Refused {
        server: target.url.to_string(),
        why: error.to_string(),
    })?;
    let jwt = proven.map(Credential::token);
    let (user, pass) = match (&dial.user, &dial.password, &target.login) {
        (Some(user), Some(pass), _) => (Some(user.as_str()), Some(pass.as_str())),
        (_, _, Some((user, pass))) => (Some(&**user), Some(&**pass)),
        _ => (None, None),
    };
    let connect = Connect {
        verbose: false,
        pedantic: false,
        tls_required: plan.tls.is_some(),
        lang: "rust",
        version: env!("CARGO_PKG_VERSION"),
        protocol: 1,
        echo: true,
        headers: true,
        no_responders: false,
        name: &dial.name,
        user,
        pass,
        auth_token: jwt.or(dial.token.as_deref()),
        jwt,
        sig,
    };
    connect.encode(socket.queue());
    for (id, subject) in plan.subscriptions() {
        protocol::subscribe(socket.queue(), id, subject, None);
    }
    socket.queue().extend_from_slice(PING);
    Ok(())
}

/// What has to come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Info,
    Pong,
}

/// What the broker has said so far.
#[derive(Default)]
struct Heard {
    info: Option<Info>,
    early: Vec<(u64, Message)>,
}

impl Heard {
    /// Sends what is queued and listens until the expected word comes; an `INFO` on the way replaces
    /// the last one.
    async fn until(&mut self, socket: &mut Socket, expect: Expect) -> Result<(), Lost> {
        socket.drained().await?;
        let mut heard = None;
        while heard.is_none() {
            let mut on = |operation: Operation<'_>| match self.take(operation, expect) {
                Ok(false) => {}
                Ok(true) => heard = heard.take().or(Some(Ok(()))),
                Err(lost) => heard = Some(Err(lost)),
            };
            socket.read_more(&mut on).await?;
        }
        heard.unwrap_or(Ok(()))
    }

    /// Whether this was the expected word.
    fn take(&mut self, operation: Operation<'_>, expect: Expect) -> Result<bool, Lost> {
        match operation {
            Operation::Info(json) => {
                self.info = Some(Info::parse(json)?);
                return Ok(expect == Expect::Info);
            }
            Operation::Pong => return Ok(expect == Expect::Pong),
            Operation::Error(words) if is_about_one_subject(words) => {
                tracing::warn!(words = %plain(words), "the broker refuses a subject");
            }
            Operation::Error(words) => return Err(Lost::Said(plain(words))),
            Operation::Message { .. } if self.early.len() == MOST_EARLY => {
                return Err(Lost::Said("messages instead of a greeting".to_owned()));
            }
            Operation::Message {
                sid,
                subject,
                payload,
            } => self.early.push((sid, message(subject, payload))),
            Operation::Ping | Operation::Ok => {}
        }
        Ok(false)
    }
}

/// A message as it is handed on.
pub(super) fn message(subject: &[u8], payload: &[u8]) -> Message {
    Message {
        subject: String::from_utf8_lossy(subject).into_owned(),
        payload: Bytes::copy_from_slice(payload),
    }
}

/// After these words the connection lives on.
pub(super) fn is_about_one_subject(words: &[u8]) -> bool {
    let words = words.to_ascii_lowercase();
    memchr::memmem::find(&words, b"permissions violation").is_some()
}

/// The text of an `-ERR`, without its quotes.
pub(super) fn plain(words: &[u8]) -> String {
    String::from_utf8_lossy(words).trim_matches('\'').to_owned()
}

/// Sorts the reasons into those an operator can act on.
fn explain(target: &Target, lost: &Lost) -> BusError {
    let (server, why) = (target.url.to_string(), lost.to_string());
    match lost {
        Lost::Tls(_) => BusError::Tls { server, why },
        Lost::Said(words) if words.to_ascii_lowercase().contains("authentication") => {
            BusError::Refused { server, why }
        }
        Lost::Said(words) if words.to_ascii_lowercase().contains("authorization") => {
            BusError::Refused { server, why }
        }
        _ => BusError::Unreachable { server, why },
    }
}
