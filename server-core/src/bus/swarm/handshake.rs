//! From an address to a connection that may be used: TCP, `INFO`, TLS, `CONNECT`, the first `PONG`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream, lookup_host};

use super::plan::{Plan, Target};
use super::protocol::{Connect, Info, MAX_LINE, Operation, PING};
use super::socket::{Lost, Socket};
use crate::bus::{BusError, Took};

/// A connection that has said hello.
pub(super) struct Established {
    pub(super) socket: Socket,
    pub(super) info: Info,
    pub(super) target: Target,
    pub(super) took: Took,
}

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
    let mut info = None;
    hear(&mut socket, Expect::Info, &mut info)
        .await
        .map_err(failed)?;
    let greeted = Instant::now();
    let tls = secure(plan, target, &mut socket, info.as_ref()).await?;
    let secured = Instant::now();

    greet(plan, target, &mut socket);
    hear(&mut socket, Expect::Pong, &mut info)
        .await
        .map_err(failed)?;
    let info = info.unwrap_or_default();
    socket.parser.set_max_payload(info.payload_limit());
    let nats = greeted.duration_since(begun).saturating_sub(tcp) + secured.elapsed();
    Ok(Established {
        socket,
        info,
        target: target.clone(),
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

fn greet(plan: &Plan, target: &Target, socket: &mut Socket) {
    let dial = &plan.dial;
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
        auth_token: dial.token.as_deref(),
    };
    connect.encode(socket.queue());
    socket.queue().extend_from_slice(PING);
}

/// What has to come next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Info,
    Pong,
}

/// Sends what is queued and listens until the expected word comes; an `INFO` on the way replaces the
/// last one.
async fn hear(socket: &mut Socket, expect: Expect, info: &mut Option<Info>) -> Result<(), Lost> {
    socket.drained().await?;
    let mut heard = None;
    while heard.is_none() {
        let mut on = |operation: Operation<'_>| {
            let said = match operation {
                Operation::Info(json) => Info::parse(json).map_err(Lost::from).map(|parsed| {
                    *info = Some(parsed);
                    expect == Expect::Info
                }),
                Operation::Pong => Ok(expect == Expect::Pong),
                Operation::Error(words) => Err(Lost::Said(plain(words))),
                Operation::Ping | Operation::Ok | Operation::Message { .. } => Ok(false),
            };
            match said {
                Ok(false) => {}
                Ok(true) => heard = heard.take().or(Some(Ok(()))),
                Err(lost) => heard = Some(Err(lost)),
            }
        };
        socket.read_more(&mut on).await?;
    }
    heard.unwrap_or(Ok(()))
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
