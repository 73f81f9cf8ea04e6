//! Making an authority: a root to lock away and an intermediate that signs.
//!
//! The root may also be one that exists already; then only the intermediate is made. Where that
//! root is out of reach, [`request`] makes the intermediate's key and a request to be signed there.
//! The intermediate's key is a file, or it is made in a token and stays there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use zeroize::Zeroizing;

use super::authority::{Issuing, Signer};
use super::key::{Attempt, AuthorityKey, KeySource};
use super::keyfile;
use super::pkcs11::{TokenKey, TokenSettings, find_or_make};
use super::trust::to_pem;
use crate::code::{Code, Refusal};
use crate::judge::KeyKind;

/// The files of an authority, as they are named in the configuration.
pub const ROOT_CERTIFICATE: &str = "ca.pem";
/// The root's key: not needed here, to be moved away.
pub const ROOT_KEY: &str = "root.key";
/// The intermediate that signs.
pub const INTERMEDIATE_CERTIFICATE: &str = "intermediate.pem";
/// The intermediate's key.
pub const INTERMEDIATE_KEY: &str = "intermediate.key";
/// The request for an intermediate, to be signed by a root elsewhere.
pub const INTERMEDIATE_REQUEST: &str = "intermediate.csr";

/// How far validity starts before now, for machines whose clock is behind.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// What to make.
#[derive(Clone, Debug)]
pub struct InitSettings {
    /// The folder for the files; made when it is missing.
    pub folder: PathBuf,
    /// The first part of both common names.
    pub name: String,
    /// How long a new root is valid.
    pub root_validity: Duration,
    /// How long the intermediate is valid.
    pub intermediate_validity: Duration,
    /// Certificate and key of a root that exists already.
    pub root: Option<(PathBuf, KeySource)>,
    /// Where the intermediate's key is to be.
    pub key: NewKey,
}

/// Where a new key is to be.
#[derive(Clone, Debug, Default)]
pub enum NewKey {
    /// In a file beside its certificate: P-256.
    #[default]
    File,
    /// In a token. One of this name that is there already is used as it is.
    Token {
        /// Which key in which token.
        token: Box<TokenSettings>,
        /// What is made where it is not there.
        kind: KeyKind,
    },
}

/// Where a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOutcome {
    /// In this new file.
    File(PathBuf),
    /// In a token.
    Token {
        /// Which one and where, in words.
        key: String,
        /// Whether it was made just now.
        new: bool,
    },
}

/// What was made and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitOutcome {
    /// The trust anchor.
    pub root_certificate: PathBuf,
    /// The new root's key, when a root was made.
    pub root_key: Option<PathBuf>,
    /// The certificate that signs.
    pub intermediate_certificate: PathBuf,
    /// Its key.
    pub intermediate_key: KeyOutcome,
    /// When the root expires, when one was made.
    pub root_not_after: Option<Timestamp>,
    /// When the intermediate expires.
    pub intermediate_not_after: Timestamp,
}

/// Makes the files of an authority; nothing that exists is ever overwritten.
///
/// # Errors
/// `ca.config`, naming the file or the token and what to do.
pub fn init(
    settings: &InitSettings,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Result<InitOutcome, Refusal> {
    let folder = &settings.folder;
    let intermediate_not_after = end(now, settings.intermediate_validity)?;
    let new_root = settings.root.is_none();
    let root_not_after = new_root
        .then(|| end(now, settings.root_validity))
        .transpose()?;
    let mut files = vec![ROOT_CERTIFICATE];
    files.extend(new_root.then_some(ROOT_KEY));
    files.push(INTERMEDIATE_CERTIFICATE);
    files.extend(settings.key.file());
    prepare(folder, &files)?;

    let (root_pem, signer, root_key) = match &settings.root {
        Some((certificate, key)) => existing_root(certificate, key)?,
        None => make_root(settings, now, rng)?,
    };
    let key = settings.key.make(folder, rng)?;
    let certificate = authority(
        &intermediate_name(&settings.name),
        0,
        (now, intermediate_not_after),
        rng,
    )?;
    let intermediate = signer.sign("the intermediate", |issuer| {
        certificate.signed_by(&key.key, issuer)
    })?;

    if let Some(pem) = &root_key {
        write(&folder.join(ROOT_KEY), pem, 0o600)?;
    }
    key.keep()?;
    write(&folder.join(ROOT_CERTIFICATE), &root_pem, 0o644)?;
    let intermediate_certificate = folder.join(INTERMEDIATE_CERTIFICATE);
    write(
        &intermediate_certificate,
        &to_pem(intermediate.der()),
        0o644,
    )?;
    Ok(InitOutcome {
        root_certificate: folder.join(ROOT_CERTIFICATE),
        root_key: new_root.then(|| folder.join(ROOT_KEY)),
        intermediate_certificate,
        intermediate_key: key.outcome,
        root_not_after,
        intermediate_not_after,
    })
}

/// What was asked for and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestOutcome {
    /// The request (PKCS #10, PEM).
    pub request: PathBuf,
    /// The key it is for.
    pub key: KeyOutcome,
}

/// Makes an intermediate's key and a request for its certificate; nothing is overwritten.
///
/// # Errors
/// `ca.config`, naming the file or the token and what to do.
pub fn request(
    folder: &Path,
    name: &str,
    key: &NewKey,
    rng: &mut dyn RngCore,
) -> Result<RequestOutcome, Refusal> {
    let mut files = vec![INTERMEDIATE_REQUEST];
    files.extend(key.file());
    prepare(folder, &files)?;
    let key = key.make(folder, rng)?;
    let params = powers(&intermediate_name(name), 0);
    let attempt = Attempt::with(&key.key);
    let request = params
        .serialize_request(&attempt)
        .and_then(|request| request.pem());
    let request = request.map_err(|error| attempt.refusal("the request", &error))?;
    key.keep()?;
    let file = folder.join(INTERMEDIATE_REQUEST);
    write(&file, &request, 0o644)?;
    Ok(RequestOutcome {
        request: file,
        key: key.outcome,
    })
}

/// A key that was made, and is not kept yet where it is to be a file.
struct Made {
    key: AuthorityKey,
    outcome: KeyOutcome,
}

impl Made {
    fn keep(&self) -> Result<(), Refusal> {
        match (&self.key, &self.outcome) {
            (AuthorityKey::Memory(key), KeyOutcome::File(path)) => {
                write(path, &Zeroizing::new(key.serialize_pem()), 0o600)
            }
            _ => Ok(()),
        }
    }
}

impl NewKey {
    const fn file(&self) -> Option<&'static str> {
        match self {
            Self::File => Some(INTERMEDIATE_KEY),
            Self::Token { .. } => None,
        }
    }

    fn make(&self, folder: &Path, rng: &mut dyn RngCore) -> Result<Made, Refusal> {
        match self {
            Self::File => Ok(Made {
                key: AuthorityKey::Memory(new_key()?),
                outcome: KeyOutcome::File(folder.join(INTERMEDIATE_KEY)),
            }),
            Self::Token { token, kind } => {
                let made = find_or_make(token, *kind, rng).map_err(|error| error.for_good())?;
                let key = TokenKey::open(token, &made.spki).map_err(|error| error.for_good())?;
                Ok(Made {
                    key: AuthorityKey::Token(Box::new(key)),
                    outcome: KeyOutcome::Token {
                        key: token.uri.to_string(),
                        new: made.new,
                    },
                })
            }
        }
    }
}

fn intermediate_name(name: &str) -> String {
    format!("{name} Enrolment CA")
}

type Root = (String, Signer, Option<Zeroizing<String>>);

fn make_root(
    settings: &InitSettings,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Result<Root, Refusal> {
    let key = new_key()?;
    let until = end(now, settings.root_validity)?;
    let params = authority(&format!("{} Root CA", settings.name), 1, (now, until), rng)?;
    let certificate = params.self_signed(&key).map_err(unmade)?;
    let pem = Zeroizing::new(key.serialize_pem());
    Ok((
        to_pem(certificate.der()),
        Signer::new(params, key),
        Some(pem),
    ))
}

fn existing_root(certificate: &Path, key: &KeySource) -> Result<Root, Refusal> {
    let pem = std::fs::read_to_string(certificate).map_err(|error| failed(certificate, &error))?;
    let issuing = Issuing::read(&pem, |spki| key.open(spki))
        .map_err(|refusal| wrong(format!("{}: {}", certificate.display(), refusal.message)))?;
    Ok((pem, issuing.signer, None))
}

/// The certificate of an authority with so many levels of authorities below it.
fn authority(
    name: &str,
    levels: u8,
    (from, until): (Timestamp, Timestamp),
    rng: &mut dyn RngCore,
) -> Result<CertificateParams, Refusal> {
    let time = |time: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(time.as_second())
            .map_err(|error| wrong(format!("the validity is out of range: {error}")))
    };
    let mut serial = [0; 20];
    rng.fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = powers(name, levels);
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params.not_before = time(from - BACKDATE)?;
    params.not_after = time(until)?;
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Its name and what it may do.
fn powers(name: &str, levels: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(levels));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn new_key() -> Result<KeyPair, Refusal> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmade)
}

fn end(now: Timestamp, validity: Duration) -> Result<Timestamp, Refusal> {
    now.checked_add(validity)
        .and_then(|end| Timestamp::new(end.as_second(), 0))
        .map_err(|error| wrong(format!("the validity is out of range: {error}")))
}

/// Makes the folder, and refuses one that holds any of these files.
fn prepare(folder: &Path, files: &[&str]) -> Result<(), Refusal> {
    std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    let mut files = files.iter().map(|file| folder.join(file));
    match files.find(|path| path.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(path) => Err(wrong(format!(
            "{} exists already and is not overwritten; choose another folder with --out, or move \
             it away",
            path.display()
        ))),
    }
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), Refusal> {
    keyfile::create(path, text, mode).map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Refusal {
    wrong(format!("{}: {error}", path.display()))
}

fn unmade(error: rcgen::Error) -> Refusal {
    wrong(format!("the certificate could not be made: {error}"))
}

fn wrong(what: String) -> Refusal {
    Refusal::new(Code::CaConfig, what)
}
