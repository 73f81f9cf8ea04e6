//! The account at an ACME server: made once, and kept in a file that only its owner may read.

use std::io::ErrorKind;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::transport::Transport;
use super::{AcmeSettings, problem};
use crate::ca::{read_secret, write_secret};
use crate::code::Code;
use crate::hook::HookError;
use crate::hook::http::HttpClient;
use crate::secret::Secret;

/// An account that the server's people know otherwise, and that a new one is bound to (RFC 8555
/// §7.3.4).
#[derive(Clone, Debug)]
pub struct ExternalAccount {
    kid: String,
    key: Secret,
}

impl ExternalAccount {
    /// Its identifier, and its key as servers hand it out: base64 for URLs.
    ///
    /// # Errors
    /// When the key is not that.
    pub fn new(kid: String, key: Secret) -> Result<Self, String> {
        let account = Self { kid, key };
        account.bytes().map(|_| account)
    }

    fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let text = self.key.reveal().trim_end_matches('=');
        let bytes = URL_SAFE_NO_PAD.decode(text);
        bytes
            .map(Zeroizing::new)
            .map_err(|_| "is not base64 as it is written in URLs".to_owned())
    }
}

/// The account of this service: that in the file, or a new one, kept there.
///
/// # Errors
/// `ca.config` when the file cannot be used, and whatever keeps the server from answering.
pub(super) async fn open(
    settings: &AcmeSettings,
    client: &HttpClient,
) -> Result<Account, HookError> {
    let builder = Account::builder_with_http(Box::new(Transport(client.clone())));
    let directory = client.target().base();
    match read(&settings.account, directory)? {
        Some(known) => builder
            .from_credentials(known)
            .await
            .map_err(problem::error),
        None => {
            let contact: Vec<_> = settings.contact.iter().map(String::as_str).collect();
            let account = NewAccount {
                contact: &contact,
                terms_of_service_agreed: settings.terms_agreed,
                only_return_existing: false,
            };
            let external = settings.external.as_ref();
            let external = external.map(|external| {
                let key = external.bytes().map_err(config)?;
                Ok::<_, HookError>(ExternalAccountKey::new(external.kid.clone(), &key))
            });
            let external = external.transpose()?;
            let made = builder.create(&account, directory.to_owned(), external.as_ref());
            let (account, credentials) = made.await.map_err(problem::error)?;
            keep(&settings.account, &credentials)?;
            tracing::info!(
                account = account.id(), file = %settings.account.display(),
                "an account was made at the ACME server"
            );
            Ok(account)
        }
    }
}

/// What of a file is looked at before the library does.
#[derive(Deserialize)]
struct Kept {
    directory: String,
}

fn read(file: &Path, directory: &str) -> Result<Option<AccountCredentials>, HookError> {
    let missing = file.symlink_metadata();
    if missing.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let text = read_secret(file).map_err(|refusal| config(refusal.message))?;
    let damaged = |error: serde_json::Error| {
        // Without the text: it holds a key.
        let at = (error.line(), error.column());
        config(format!(
            "{}: is no ACME account (line {}, column {}); move it away, and another one is made",
            file.display(),
            at.0,
            at.1
        ))
    };
    let kept: Kept = serde_json::from_str(&text).map_err(damaged)?;
    if kept.directory != directory {
        return Err(config(format!(
            "{} is an account at {}, and `url` in [ca] is {directory}; name another file as \
             `account`",
            file.display(),
            kept.directory
        )));
    }
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

fn keep(file: &Path, credentials: &AccountCredentials) -> Result<(), HookError> {
    let text = serde_json::to_string(credentials).map(Zeroizing::new);
    let text = text.map_err(|error| config(error.to_string()))?;
    write_secret(file, &text).map_err(|error| {
        config(format!(
            "the new ACME account cannot be kept in {}: {error}",
            file.display()
        ))
    })
}

fn config(says: String) -> HookError {
    HookError::unsent(Code::CaConfig, says)
}
