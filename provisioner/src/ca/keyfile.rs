//! Private key files: made for their owner alone, and read only while they still are.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::unistd::Uid;
use openssl::pkey::PKey;
use zeroize::Zeroizing;

use crate::code::{Code, Refusal};

/// No key file is larger than this.
const MAX_KEY_FILE: u64 = 64 * 1024;

/// Reads a private key in PEM, after checking that nobody else can.
///
/// # Errors
/// `ca.config`, naming the file and what to do.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, Refusal> {
    let refuse = |what: String| Refusal::new(Code::CaConfig, format!("{}: {what}", path.display()));
    let file = File::open(path).map_err(|error| refuse(format!("cannot be opened: {error}")))?;
    let about = file
        .metadata()
        .map_err(|error| refuse(format!("cannot be looked at: {error}")))?;
    if !about.is_file() {
        return Err(refuse("is not a file".to_owned()));
    }
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(refuse(format!(
            "others may use this private key (mode {mode:04o}); chmod 600 {}",
            path.display()
        )));
    }
    let owner = Uid::from_raw(about.uid());
    if owner != Uid::effective() && !owner.is_root() {
        return Err(refuse(format!(
            "this private key belongs to user {owner}, the service runs as user {}; chown it",
            Uid::effective()
        )));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_KEY_FILE)
        .read_to_string(&mut text)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    Ok(text)
}

/// A private key in PEM without encryption, from one that has it or not.
///
/// # Errors
/// `ca.config` when there is encryption and no passphrase, or the other way round, or the
/// passphrase is another one.
pub(crate) fn opened(
    key: Zeroizing<String>,
    passphrase: Option<&str>,
) -> Result<Zeroizing<String>, Refusal> {
    let refuse = |what: String| Err(Refusal::new(Code::CaConfig, what));
    match (key.contains("ENCRYPTED"), passphrase) {
        (false, None) => Ok(key),
        (true, None) => refuse(
            "the private key is encrypted; name its passphrase with `key_passphrase_file` or \
             `key_passphrase_env` in [ca]"
                .to_owned(),
        ),
        (false, Some(_)) => refuse(
            "the private key is not encrypted though [ca] has a passphrase for it; encrypt it \
             with: openssl pkcs8 -topk8, or remove the passphrase"
                .to_owned(),
        ),
        (true, Some(passphrase)) => {
            let opened =
                PKey::private_key_from_pem_passphrase(key.as_bytes(), passphrase.as_bytes())
                    .and_then(|key| key.private_key_to_pem_pkcs8());
            let Ok(opened) = opened else {
                return refuse("the passphrase does not open the private key".to_owned());
            };
            let opened = Zeroizing::new(opened);
            match std::str::from_utf8(&opened) {
                Ok(text) => Ok(Zeroizing::new(text.to_owned())),
                Err(error) => refuse(error.to_string()),
            }
        }
    }
}

/// Writes a file that must not exist yet, with this mode, and makes it durable.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when there is one, and whatever else the system says.
pub(crate) fn create(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
