//! The library of a token's maker, and the token behind it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::RvError;
use cryptoki::slot::{Slot, TokenInfo};

use super::error::{answer, said};
use super::{KeyUri, TokenError};

/// A library is initialised once in a process (PKCS #11 §5.4), whoever uses it.
static LOADED: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// The library at this path, loaded and initialised.
///
/// # Errors
/// When it is not there or is none.
pub(super) fn load(path: &Path) -> Result<Pkcs11, TokenError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = loaded.get(path) {
        return Ok(library.clone());
    }
    let unusable = |error: cryptoki::error::Error| TokenError::Library {
        path: path.to_owned(),
        why: said(&error),
    };
    let library = Pkcs11::new(path).map_err(unusable)?;
    match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(error) if answer(&error) != Some(RvError::CryptokiAlreadyInitialized) => {
            return Err(unusable(error));
        }
        _ => {}
    }
    loaded.insert(path.to_owned(), library.clone());
    Ok(library)
}

/// The one token that a URI means.
///
/// # Errors
/// When none or several are there.
pub(super) fn token(library: &Pkcs11, uri: &KeyUri) -> Result<(Slot, TokenInfo), TokenError> {
    let mut there = Vec::new();
    let mut meant = Vec::new();
    for slot in library.get_slots_with_token()? {
        // One that is pulled out in this moment is not there.
        let token = library.get_token_info(slot).ok();
        let Some(token) = token.filter(TokenInfo::token_initialized) else {
            continue;
        };
        there.push(format!("{:?}", token.label().trim_end()));
        if uri.means(slot, &token) {
            meant.push((slot, token));
        }
    }
    let wrong = |found: String| {
        Err(TokenError::Token {
            wanted: uri.token(),
            found,
        })
    };
    match (meant.len(), meant.pop()) {
        (1, Some(token)) => Ok(token),
        (0, _) if there.is_empty() => wrong("not there, and no other token is either".to_owned()),
        (0, _) => wrong(format!("not there; tokens that are: {}", there.join(", "))),
        (number, _) => wrong(format!("said of {number} tokens; add `serial` to the URI")),
    }
}
