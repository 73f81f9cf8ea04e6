//! Asking a service about itself from another process.
//!
//! The ledger's file belongs to one process at a time. A running service
//! answers on a socket (mode 0600) in the state folder, one JSON line in, one
//! JSON document out; when no service runs, the same answers are read from the
//! file, or from the bucket of a shared ledger. Whoever asks does not need to know which.
//!
//! Operators tell the service what to do in the same way ([`Command`]), and the
//! kernel says who they are. What is told to a stopped service is written into
//! its ledger, and holds once it runs.

mod ask;
mod person;
mod place;
mod stopped;
mod tell;

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use server_core::words::Identity;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::config::{Config, Mistakes};
use crate::crl::Publisher;
use crate::election::Standing;
use crate::events::Telling;
use crate::ledger::{Ledger, LedgerError, RenewalTerms, Store};
use crate::report::{self, Member, Service};
use crate::step::State;
pub use ask::{anchor, nearest, nodes, revocations, show, status};
use person::Said;
pub use tell::{Command, Told};

/// Longest question, bytes.
const MAX_QUESTION: u64 = 4_096;
/// Longest answer, bytes.
const MAX_ANSWER: u64 = 1 << 30;
/// Questions answered at once.
const AT_ONCE: usize = 16;
/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(30);
/// How long a service that just starts or ends may take to let go of the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Query {
    /// [`report::Status`].
    Status,
    /// A list of [`report::Node`].
    Nodes {
        /// Only nodes in this state.
        state: Option<State>,
    },
    /// The known name most like an unknown one, or null.
    Nearest {
        /// The unknown name.
        identity: String,
    },
    /// The last line of the audit log that the ledger knows, or null.
    Anchor,
    /// A list of [`crate::ledger::Revocation`].
    Revocations,
    /// [`report::Show`], or null for an unknown identity.
    Show {
        /// The node.
        identity: String,
        /// By what its certificate is renewed, where it is.
        #[serde(default)]
        renewed: Option<RenewalTerms>,
    },
}

/// One line on the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Query(Query),
    Command {
        #[serde(flatten)]
        command: Command,
        #[serde(flatten)]
        said: Said,
    },
}

/// What a service adds to what its ledger says, and how it heeds what it is told.
pub trait Live: Send + Sync {
    /// Its time.
    fn now(&self) -> Timestamp;
    /// A person decided about a node, which is in this state now.
    fn decided(&self, node: &Identity, state: State);
    /// No new node is to be taken up, or they are again.
    fn paused(&self, paused: bool);
    /// Why it is not ready, a line each; nothing when it is.
    fn missing(&self) -> Vec<String>;
    /// What it did not take in since it started, by code.
    fn dropped(&self) -> BTreeMap<String, u64>;
    /// Who shares its ledger with it, itself included; nobody where it is not shared.
    fn members(&self) -> Vec<Member>;
    /// Who leads, where there is an election.
    fn election(&self) -> Option<Standing>;
    /// How far a stream was told what is decided and done, where one is.
    fn telling(&self) -> Option<Telling>;
    /// Who publishes its list of revoked certificates, if it has one.
    fn publisher(&self) -> Option<Arc<Publisher>>;
    /// Where it serves metrics.
    fn http(&self) -> Option<String>;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A service runs and does not answer.
    #[error(
        "a service runs behind {} and did not answer: {source}; see its log, or try again",
        socket.display()
    )]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Whoever runs the command is not whose service it is.
    #[error(
        "{0} may neither ask nor tell this service anything: only its own user and root may (sudo)"
    )]
    NotAllowed(String),
    /// The command could not be carried out on a stopped service's ledger.
    #[error("the ledger cannot be written here: {0}")]
    Runtime(io::Error),
    /// No service of this folder runs, and the bucket of its ledger cannot be read.
    #[error("no service of {} runs, and {says}", state_dir.display())]
    Bucket {
        /// The state folder.
        state_dir: PathBuf,
        /// What went wrong.
        says: String,
    },
    /// The configuration cannot be loaded.
    #[error(transparent)]
    Site(#[from] Mistakes),
    /// An answer of another version.
    #[error("the running service answers in another form than this version: {0}")]
    Form(#[from] serde_json::Error),
}

/// Tells the service of this configuration, or its ledger when none runs, to do
/// something.
///
/// # Errors
/// Neither a service nor a ledger is there, or it is somebody else's.
pub fn tell(config: &Config, command: &Command) -> Result<Told, ControlError> {
    let line = Line::Command {
        command: command.clone(),
        said: Said::here(),
    };
    service_or(&config.state_dir, &line, || {
        stopped::carry_out(config, command)
    })
}

/// The answer of the running service, or what `stopped` makes of its ledger when
/// there is none. A service that starts or ends at this moment has the file but
/// no socket: wait a little.
fn service_or<T: DeserializeOwned>(
    state_dir: &Path,
    line: &Line,
    stopped: impl Fn() -> Result<T, ControlError>,
) -> Result<T, ControlError> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask_service(state_dir, line)? {
            return Ok(serde_json::from_value(answer)?);
        }
        match stopped() {
            Err(ControlError::Ledger(LedgerError::InUse(_))) if begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(50));
            }
            other => return other,
        }
    }
}

/// The answer of a running service; `None` when nobody listens.
fn ask_service(state_dir: &Path, line: &Line) -> Result<Option<Value>, ControlError> {
    let socket = socket_in(state_dir);
    let failed = |source| ControlError::Socket {
        socket: socket.clone(),
        source,
    };
    let reach = place::Reach::new(&socket);
    let mut stream = match reach.and_then(|reach| StdStream::connect(reach.path())) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(ControlError::NotAllowed(person::here()));
        }
        Err(_) => return Ok(None),
    };
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    let mut line = serde_json::to_vec(line)?;
    line.push(b'\n');
    let mut text = Vec::new();
    let asked = stream.write_all(&line).and_then(|()| {
        let mut limited = (&stream).take(MAX_ANSWER);
        limited.read_to_end(&mut text)
    });
    match asked {
        // It ended in the middle of the answer: as good as not there.
        Ok(_) if text.is_empty() => Ok(None),
        Ok(_) => Ok(Some(serde_json::from_slice(&text)?)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            let says = format!("nothing within {}", humantime::format_duration(LIMIT));
            Err(failed(io::Error::new(io::ErrorKind::TimedOut, says)))
        }
        Err(error) => Err(failed(error)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionReset)
}

/// The socket of a state folder.
fn socket_in(state_dir: &Path) -> PathBuf {
    state_dir.join("service.sock")
}

/// The answer to a question, from the ledger and from what only a service knows.
fn answer(store: &Store, query: &Query, live: Option<&dyn Live>) -> Result<Value, ControlError> {
    let value = match query {
        Query::Status => {
            let mut status = report::status(store)?;
            if let Some(live) = live {
                status.service = Service::Running;
                status.missing = live.missing();
                status.ready = status.missing.is_empty();
                status.http = live.http();
                status.members = live.members();
                status.election = live.election();
                status.events = live.telling();
                status.dropped = live.dropped();
            }
            serde_json::to_value(status)?
        }
        Query::Nodes { state } => serde_json::to_value(report::nodes(store, *state)?)?,
        Query::Nearest { identity } => serde_json::to_value(report::nearest(store, identity)?)?,
        Query::Revocations => serde_json::to_value(store.revocations()?)?,
        Query::Anchor => serde_json::to_value(store.anchor()?)?,
        Query::Show { identity, renewed } => {
            let now = live.map_or_else(Timestamp::now, Live::now);
            let renewed = renewed.as_ref().map(|terms| (terms, now));
            serde_json::to_value(report::show(store, identity, renewed)?)?
        }
    };
    Ok(value)
}

/// The socket of a running service; removed when dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    socket: PathBuf,
    // Keeps the way to a deep folder open.
    _reach: place::Reach,
}

impl Server {
    /// Opens the socket. The ledger must be open already: it proves that no
    /// other service of this folder runs, so a socket that is there is a dead one's.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn bind(state_dir: &Path) -> io::Result<Self> {
        let socket = socket_in(state_dir);
        match std::fs::remove_file(&socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let reach = place::Reach::new(&socket)?;
        let listener = UnixListener::bind(reach.path())?;
        std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self {
            listener,
            socket,
            _reach: reach,
        })
    }

    /// Answers until dropped.
    pub async fn serve(self, ledger: Ledger, live: Arc<dyn Live>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else {
                return;
            };
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the status socket cannot take a question");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (ledger, live) = (ledger.clone(), Arc::clone(&live));
            tokio::spawn(async move {
                let one = serve_one(stream, ledger, live);
                if let Ok(Err(error)) = tokio::time::timeout(LIMIT, one).await {
                    tracing::debug!(%error, "a question was not answered");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
    }
}

async fn serve_one(
    stream: UnixStream,
    ledger: Ledger,
    live: Arc<dyn Live>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let uid = stream.peer_cred()?.uid();
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_QUESTION))
        .read_line(&mut line)
        .await?;
    let bytes = match serde_json::from_str(&line)? {
        Line::Query(query) => {
            let store = Arc::clone(ledger.store());
            let answering = move || {
                let answer = answer(&store, &query, Some(live.as_ref()));
                answer.and_then(|answer| Ok(serde_json::to_vec(&answer)?))
            };
            tokio::task::spawn_blocking(answering).await??
        }
        Line::Command { command, said } => {
            let by = person::name(uid, &said);
            let told = if person::may_tell(uid) {
                // Whoever asks may give up: what the ledger has taken in is heeded all the same.
                let carried = async move {
                    let publisher = live.publisher();
                    tell::carry_out(&ledger, command, by, Some(live.as_ref()), publisher).await
                };
                tokio::spawn(carried).await??
            } else {
                let says = ControlError::NotAllowed(by).to_string();
                Told::Invalid { says }
            };
            serde_json::to_vec(&told)?
        }
    };
    write.write_all(&bytes).await?;
    write.shutdown().await?;
    Ok(())
}
