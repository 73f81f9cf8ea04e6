//! Making an authority: a root to lock away and an intermediate that signs.
//!
//! The root may also be one that exists already; then only the intermediate is made.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::RngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use zeroize::Zeroizing;

use super::authority::issuer_for;
use super::keyfile;
use super::trust::to_pem;
use crate::code::{Code, Refusal};

/// The files of an authority, as they are named in the configuration.
pub const ROOT_CERTIFICATE: &str = "ca.pem";
/// The root's key: not needed here, to be moved away.
pub const ROOT_KEY: &str = "root.key";
/// The intermediate that signs.
pub const INTERMEDIATE_CERTIFICATE: &str = "intermediate.pem";
/// The intermediate's key.
pub const INTERMEDIATE_KEY: &str = "intermediate.key";

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
    pub root: Option<(PathBuf, PathBuf)>,
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
    pub intermediate_key: PathBuf,
    /// When the root expires, when one was made.
    pub root_not_after: Option<Timestamp>,
    /// When the intermediate expires.
    pub intermediate_not_after: Timestamp,
}

/// Makes the files of an authority; nothing that exists is ever overwritten.
///
/// # Errors
/// `ca.config`, naming the file and what to do.
pub fn init(
    settings: &InitSettings,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Result<InitOutcome, Refusal> {
    let file = |name: &str| settings.folder.join(name);
    let outcome = InitOutcome {
        root_certificate: file(ROOT_CERTIFICATE),
        root_key: settings.root.is_none().then(|| file(ROOT_KEY)),
        intermediate_certificate: file(INTERMEDIATE_CERTIFICATE),
        intermediate_key: file(INTERMEDIATE_KEY),
        root_not_after: settings
            .root
            .is_none()
            .then(|| end(now, settings.root_validity))
            .transpose()?,
        intermediate_not_after: end(now, settings.intermediate_validity)?,
    };
    std::fs::create_dir_all(&settings.folder).map_err(|error| failed(&settings.folder, &error))?;
    refuse_to_overwrite(&outcome)?;

    let (root_pem, issuer, root_key) = match &settings.root {
        Some((certificate, key)) => existing_root(certificate, key)?,
        None => new_root(settings, now, rng)?,
    };
    let intermediate_key = new_key()?;
    let intermediate = authority(
        &format!("{} Enrolment CA", settings.name),
        0,
        (now, outcome.intermediate_not_after),
        rng,
    )?
    .signed_by(&intermediate_key, &issuer)
    .map_err(unmade)?;

    if let (Some(path), Some(pem)) = (&outcome.root_key, &root_key) {
        write(path, pem, 0o600)?;
    }
    let pem = Zeroizing::new(intermediate_key.serialize_pem());
    write(&outcome.intermediate_key, &pem, 0o600)?;
    write(&outcome.root_certificate, &root_pem, 0o644)?;
    write(
        &outcome.intermediate_certificate,
        &to_pem(intermediate.der()),
        0o644,
    )?;
    Ok(outcome)
}

type Root = (String, Issuer<'static, KeyPair>, Option<Zeroizing<String>>);

fn new_root(
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
        Issuer::new(params, key),
        Some(pem),
    ))
}

fn existing_root(certificate: &Path, key: &Path) -> Result<Root, Refusal> {
    let pem = std::fs::read_to_string(certificate).map_err(|error| failed(certificate, &error))?;
    let key = keyfile::read(key)?;
    let issuer = issuer_for(&pem, &key)
        .map_err(|refusal| wrong(format!("{}: {}", certificate.display(), refusal.message)))?;
    Ok((pem, issuer, None))
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
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial.to_vec()));
    params.not_before = time(from - BACKDATE)?;
    params.not_after = time(until)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(levels));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn new_key() -> Result<KeyPair, Refusal> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(unmade)
}

fn end(now: Timestamp, validity: Duration) -> Result<Timestamp, Refusal> {
    now.checked_add(validity)
        .and_then(|end| Timestamp::new(end.as_second(), 0))
        .map_err(|error| wrong(format!("the validity is out of range: {error}")))
}

fn refuse_to_overwrite(outcome: &InitOutcome) -> Result<(), Refusal> {
    let existing = [
        Some(&outcome.root_certificate),
        outcome.root_key.as_ref(),
        Some(&outcome.intermediate_certificate),
        Some(&outcome.intermediate_key),
    ]
    .into_iter()
    .flatten()
    .find(|path| path.symlink_metadata().is_ok());
    match existing {
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
