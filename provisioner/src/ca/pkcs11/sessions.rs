//! A few sessions with one token, logged in and at the key.
//!
//! A token that was pulled out, restarted or logged out takes all sessions with it: the first that
//! fails ends the others, and a new one logs in again. A PIN that was refused is not tried a
//! second time, because tokens lock themselves after a few wrong ones.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::RvError;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Limit, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::error::{answer, said};
use super::{KeyUri, Pin, TokenError, TokenSettings, module};

/// How long a signature waits for a free session.
const WAIT: Duration = Duration::from_secs(10);

/// The sessions of one key.
#[derive(Debug)]
pub(super) struct Sessions {
    settings: TokenSettings,
    pool: Mutex<Pool>,
    freed: Condvar,
    login: Login,
}

#[derive(Debug)]
struct Pool {
    idle: Vec<AtKey>,
    /// Idle ones and those in use.
    open: usize,
    /// The most there may be; less once a token said so.
    most: usize,
    /// Counts how often the token was lost: what is older is not used again.
    lost: u64,
}

/// A session, logged in, and the key it found.
#[derive(Debug)]
struct AtKey {
    session: Session,
    key: ObjectHandle,
    since: u64,
}

impl Sessions {
    pub(super) fn new(settings: TokenSettings) -> Self {
        let most = settings.sessions.max(1);
        Self {
            login: Login::new(settings.pin.clone()),
            settings,
            pool: Mutex::new(Pool {
                idle: Vec::new(),
                open: 0,
                most,
                lost: 0,
            }),
            freed: Condvar::new(),
        }
    }

    /// The key in words.
    pub(super) fn key(&self) -> String {
        self.settings.uri.to_string()
    }

    /// Signs; once more with a new session where one that was open fails.
    pub(super) fn sign(&self, how: &Mechanism<'_>, data: &[u8]) -> Result<Vec<u8>, TokenError> {
        let at_key = self.take()?;
        match at_key.session.sign(how, at_key.key, data) {
            Ok(signed) => {
                self.give_back(at_key);
                Ok(signed)
            }
            Err(error) => {
                tracing::warn!(
                    key = self.key(),
                    "the token failed and is logged in to again: {}",
                    said(&error)
                );
                self.lose(at_key);
                let at_key = self.take()?;
                let signed = at_key.session.sign(how, at_key.key, data);
                if signed.is_ok() {
                    self.give_back(at_key);
                } else {
                    self.lose(at_key);
                }
                Ok(signed?)
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for this caller alone: an idle one, a new one, or the next that becomes free.
    fn take(&self) -> Result<AtKey, TokenError> {
        let until = Instant::now() + WAIT;
        let mut pool = self.locked();
        loop {
            if let Some(at_key) = pool.idle.pop() {
                return Ok(at_key);
            }
            if pool.open < pool.most {
                pool.open += 1;
                let since = pool.lost;
                drop(pool);
                return self.open(since).inspect_err(|_| self.closed());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TokenError::Busy(pool.most));
            }
            let waited = self.freed.wait_timeout(pool, left);
            pool = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give_back(&self, at_key: AtKey) {
        let mut pool = self.locked();
        if at_key.since == pool.lost {
            pool.idle.push(at_key);
            drop(pool);
            self.freed.notify_one();
        } else {
            drop(pool);
            drop(at_key);
            self.closed();
        }
    }

    /// Ends a session that failed, and the idle ones of its time with it.
    fn lose(&self, at_key: AtKey) {
        let mut pool = self.locked();
        let mut gone = vec![];
        if at_key.since == pool.lost {
            pool.lost += 1;
            gone = std::mem::take(&mut pool.idle);
            pool.open -= gone.len();
        }
        drop(pool);
        drop((at_key, gone));
        self.closed();
    }

    fn closed(&self) {
        self.locked().open -= 1;
        self.freed.notify_all();
    }

    fn open(&self, since: u64) -> Result<AtKey, TokenError> {
        let uri = &self.settings.uri;
        let library = module::load(uri.module())?;
        let (slot, token) = module::token(&library, uri)?;
        if let Limit::Max(most) = token.max_session_count() {
            let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
            let mut pool = self.locked();
            pool.most = pool.most.min(most);
        }
        let session = library.open_ro_session(slot)?;
        self.login.log_in(&session, &token)?;
        let key = find(&session, uri)?.ok_or_else(|| TokenError::Key {
            key: uri.to_string(),
            why: "is not there".to_owned(),
        })?;
        Ok(AtKey {
            session,
            key,
            since,
        })
    }
}

/// Who knows the PIN.
#[derive(Debug)]
pub(super) struct Login {
    pin: Pin,
    /// A PIN the token did not take.
    refused: Mutex<Option<Zeroizing<String>>>,
}

impl Login {
    pub(super) const fn new(pin: Pin) -> Self {
        Self {
            pin,
            refused: Mutex::new(None),
        }
    }

    /// Logs in, unless another session of this process did; that counts for all of them
    /// (PKCS #11 §5.6.8).
    pub(super) fn log_in(&self, session: &Session, token: &TokenInfo) -> Result<(), TokenError> {
        let wrong = |why: &str| TokenError::Pin {
            token: format!("{:?}", token.label().trim_end()),
            why: why.to_owned(),
        };
        if !token.login_required() {
            return Ok(());
        }
        if token.user_pin_locked() {
            return Err(wrong(
                "is locked after too many wrong PINs; its security officer can open it",
            ));
        }
        // One at a time, so that a wrong PIN is tried once and not by everybody.
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = match &self.pin {
            Pin::None if token.protected_authentication_path() => None,
            Pin::None => {
                return Err(wrong(
                    "wants a PIN; name its file with key_pin_file or pin-source, or a variable \
                     with key_pin_env",
                ));
            }
            Pin::Text(pin) => Some(Zeroizing::new(pin.reveal().to_owned())),
            Pin::File(path) => {
                let text = std::fs::read_to_string(path).map(Zeroizing::new);
                let text = text.map_err(|error| {
                    wrong(&format!("wants the PIN in {}: {error}", path.display()))
                })?;
                let line = text.lines().next().unwrap_or_default().trim_end();
                Some(Zeroizing::new(line.to_owned()))
            }
        };
        if pin.is_some() && *refused == pin {
            return Err(wrong(
                "did not take its PIN; it is not tried again until it is another, so that the \
                 token does not lock itself",
            ));
        }
        let secret = pin.as_ref().map(|pin| AuthPin::from(pin.to_string()));
        let Err(error) = session.login(UserType::User, secret.as_ref()) else {
            *refused = None;
            return Ok(());
        };
        match answer(&error) {
            Some(RvError::UserAlreadyLoggedIn) => Ok(()),
            Some(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange) => {
                *refused = pin;
                Err(wrong("does not take its PIN"))
            }
            Some(RvError::PinLocked) => {
                *refused = pin;
                Err(wrong(
                    "is locked after too many wrong PINs; its security officer can open it",
                ))
            }
            Some(RvError::PinExpired) => Err(wrong("wants a new PIN: the old one has expired")),
            Some(RvError::UserPinNotInitialized) => Err(wrong("has no user PIN yet")),
            _ => Err(error.into()),
        }
    }
}

/// The private key that a URI means, if it is there.
///
/// # Errors
/// When it means several, or one that asks for the PIN before each signature.
pub(super) fn find(session: &Session, uri: &KeyUri) -> Result<Option<ObjectHandle>, TokenError> {
    let wrong = |why: String| TokenError::Key {
        key: uri.to_string(),
        why,
    };
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    wanted.extend(uri.object().map(|label| Attribute::Label(label.into())));
    wanted.extend(uri.id().map(|id| Attribute::Id(id.into())));
    let found = session.find_objects(&wanted)?;
    let key = match found.as_slice() {
        [] => return Ok(None),
        [key] => *key,
        several => {
            return Err(wrong(format!(
                "is said of {} keys; add `id` to the URI",
                several.len()
            )));
        }
    };
    let each_time = session.get_attributes(key, &[AttributeType::AlwaysAuthenticate])?;
    if each_time.contains(&Attribute::AlwaysAuthenticate(true)) {
        return Err(wrong(
            "wants its PIN before every signature (CKA_ALWAYS_AUTHENTICATE), which is for people; \
             make one without"
                .to_owned(),
        ));
    }
    Ok(Some(key))
}
