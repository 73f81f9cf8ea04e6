//! TLS over buffers that are lent: between records a session is its keys and nothing else.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use lru::LruCache;
use rustls::ClientConfig;
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls_pki_types::ServerName;

use super::pool::READ_SIZE;
use super::socket::Lost;

/// What TLS adds to a piece of plaintext, generously.
const RECORD_OVERHEAD: usize = 64;
/// Most plaintext bytes in one record.
const RECORD: usize = 16 * 1024;

/// The client side of one TLS connection.
pub(super) struct TlsSession {
    connection: UnbufferedClientConnection,
    /// The beginning of a record whose end has not arrived.
    partial: Vec<u8>,
}

impl TlsSession {
    pub(super) fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedClientConnection::new(config, name)?,
            partial: Vec::new(),
        })
    }

    /// Copies the unfinished record to the front of `buffer`; new bytes follow it.
    pub(super) fn restore(&mut self, buffer: &mut [u8]) -> Result<usize, Lost> {
        let held = self.partial.len();
        match buffer.get_mut(..held) {
            Some(room) if held < READ_SIZE => room.copy_from_slice(&self.partial),
            _ => {
                let why = "the server sends a longer handshake than is sound";
                return Err(rustls::Error::General(why.to_owned()).into());
            }
        }
        self.partial = Vec::new();
        Ok(held)
    }

    /// The unfinished record, to be given to [`TlsSession::receive`] once more.
    pub(super) fn take_partial(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.partial)
    }

    /// Advances by what arrived: plaintext goes to `on`, anything to be sent into `out`. Tells whether
    /// application data may be sent.
    pub(super) fn receive(
        &mut self,
        incoming: &mut [u8],
        out: &mut Vec<u8>,
        on: &mut dyn FnMut(&[u8]) -> Result<(), Lost>,
    ) -> Result<bool, Lost> {
        let mut at = 0;
        let ready = loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut incoming[at..]);
            let ready = match state? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        discard += record.discard;
                        on(record.payload)?;
                    }
                    None
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(out, 0, |room| data.encode(room).map_err(Shortage::from))?;
                    None
                }
                // What was encoded is in `out`, which goes before anything later.
                ConnectionState::TransmitTlsData(data) => {
                    data.done();
                    None
                }
                ConnectionState::BlockedHandshake => Some(false),
                ConnectionState::WriteTraffic(_) => Some(true),
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err(Lost::Ended),
                other => return Err(unexpected(&other)),
            };
            at += discard;
            if let Some(ready) = ready {
                break ready;
            }
        };
        self.partial = incoming[at..].to_vec();
        Ok(ready)
    }

    /// Appends `plain` to `out` as records.
    pub(super) fn send(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Lost> {
        let estimate = plain.len() + (plain.len() / RECORD + 1) * RECORD_OVERHEAD;
        self.when_writable(out, |traffic, out| {
            append(out, estimate, |room| {
                traffic.encrypt(plain, room).map_err(Shortage::from)
            })
        })
    }

    /// Appends the notice that nothing follows.
    pub(super) fn send_close(&mut self, out: &mut Vec<u8>) -> Result<(), Lost> {
        self.when_writable(out, |traffic, out| {
            append(out, RECORD_OVERHEAD, |room| {
                traffic.queue_close_notify(room).map_err(Shortage::from)
            })
        })
    }

    fn when_writable(
        &mut self,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Traffic<'_>, &mut Vec<u8>) -> Result<(), Lost>,
    ) -> Result<(), Lost> {
        loop {
            let UnbufferedStatus { discard, state } =
                self.connection.process_tls_records(&mut self.partial);
            match state? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    write(&mut traffic, out)?;
                    self.partial.drain(..discard);
                    return Ok(());
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(out, 0, |room| data.encode(room).map_err(Shortage::from))?;
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed | ConnectionState::Closed => return Err(Lost::Ended),
                other => return Err(unexpected(&other)),
            }
            self.partial.drain(..discard);
        }
    }
}

type Traffic<'a> = rustls::unbuffered::WriteTraffic<'a, rustls::client::ClientConnectionData>;

/// Why something could not be written into the room given.
enum Shortage {
    Needs(usize),
    Never(&'static str),
}

impl From<EncodeError> for Shortage {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::Needs(size.required_size),
            EncodeError::AlreadyEncoded => Self::Never("a handshake record was encoded twice"),
        }
    }
}

impl From<EncryptError> for Shortage {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::Needs(size.required_size),
            EncryptError::EncryptExhausted => Self::Never("the session's keys are used up"),
        }
    }
}

/// Lets `write` fill the end of `out`, with as much room as it asks for.
fn append(
    out: &mut Vec<u8>,
    estimate: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Shortage>,
) -> Result<(), Lost> {
    let start = out.len();
    let mut room = estimate;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match write(&mut out[start..]) {
            Ok(written) => {
                out.truncate(start + written);
                return Ok(());
            }
            Err(Shortage::Needs(size)) => room = size,
            Err(Shortage::Never(why)) => return Err(rustls::Error::General(why.to_owned()).into()),
        }
    }
    Err(rustls::Error::General("a record did not fit the room it asked for".to_owned()).into())
}

fn unexpected<T: std::fmt::Debug>(state: &T) -> Lost {
    rustls::Error::General(format!("unexpected state {state:?}")).into()
}

/// The settings of a swarm's sessions: those given, without a store of resumable sessions, which
/// would cost each connection more than its keys. A few are remembered, so that connections which
/// were given the same settings keep sharing one copy.
pub(super) struct Settings {
    known: Mutex<LruCache<usize, Known>>,
}

struct Known {
    /// Keeps the address from being used again, not the settings alive.
    given: Weak<ClientConfig>,
    lean: Weak<ClientConfig>,
}

/// Settings remembered: swarms share one or two; with one each there is nothing to share.
const REMEMBERED: std::num::NonZeroUsize = std::num::NonZeroUsize::MIN.saturating_add(7);

impl Default for Settings {
    fn default() -> Self {
        Self {
            known: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }
}

impl Settings {
    pub(super) fn lean(&self, given: &Arc<ClientConfig>) -> Arc<ClientConfig> {
        let key = Arc::as_ptr(given) as usize;
        let mut known = self.known();
        if let Some(entry) = known.get(&key)
            && let (Some(same), Some(lean)) = (entry.given.upgrade(), entry.lean.upgrade())
            && Arc::ptr_eq(&same, given)
        {
            return lean;
        }
        let mut config = ClientConfig::clone(given);
        config.resumption = Resumption::disabled();
        let lean = Arc::new(config);
        known.put(
            key,
            Known {
                given: Arc::downgrade(given),
                lean: Arc::downgrade(&lean),
            },
        );
        lean
    }

    /// A poisoned lock leaves a cache, no more.
    fn known(&self) -> MutexGuard<'_, LruCache<usize, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use crate::trust::tls;
    use std::sync::Arc;

    #[test]
    fn connections_with_the_same_settings_share_one_copy() {
        let settings = Settings::default();
        let given = tls::anonymous();
        let one = settings.lean(&given);
        assert!(Arc::ptr_eq(&one, &settings.lean(&given)));
        assert!(!Arc::ptr_eq(&one, &given));
        let other = Arc::new((*given).clone());
        assert!(!Arc::ptr_eq(&one, &settings.lean(&other)));
    }
}
